"""Faster ways to compute, kept apart from the code of the model: decoding, kernels, Muon, threads, the allocator."""
