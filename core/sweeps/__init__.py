"""Sweeps: many runs that differ in chosen settings, how these are searched, and the results."""
