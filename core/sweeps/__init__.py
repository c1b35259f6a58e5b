"""Sweeps: many runs that differ in chosen settings, the search methods, and the results."""
