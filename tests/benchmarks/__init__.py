"""Figures for README, measured on the machine at hand: `make bench TEXT=path/to/tinyshakespeare.txt`."""
