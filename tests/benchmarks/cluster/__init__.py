"""Benchmarks of many runs on several hosts, and of one run in several processes."""
