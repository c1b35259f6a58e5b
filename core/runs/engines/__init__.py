"""Engines, which start workers on this machine or on a Ray cluster, behind one interface."""
