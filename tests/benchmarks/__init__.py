"""Benchmarks: `make bench TEXT=path/to/tinyshakespeare.txt` measures this machine and writes docs/benchmarks.md."""
