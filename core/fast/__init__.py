"""Tricks of speed, apart from the model that one reads: decoding, Muon, threads, the allocator."""
