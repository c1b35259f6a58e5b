"""Faster computation, kept apart from the model's code: decoding, kernels, Muon, threads, the allocator."""
