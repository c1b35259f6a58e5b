"""How the training of the run on view went, from the inside."""
