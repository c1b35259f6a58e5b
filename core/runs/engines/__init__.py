"""Where workers run: on this machine or on the hosts of a Ray cluster, behind one interface."""
