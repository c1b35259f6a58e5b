"""Sweeps: many runs that differ in chosen settings, their search, and what their losses say."""
