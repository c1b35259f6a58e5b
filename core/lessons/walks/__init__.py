"""Scripts in pieces, to be read by `core.interop.lessons` and by people; importing one would run it."""
