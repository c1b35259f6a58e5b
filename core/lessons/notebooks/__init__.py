"""Scripts in pieces, to be read by `core.import_export.lesson_notebooks` and by people; importing one would run it."""
