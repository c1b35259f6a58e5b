"""The language of the pages: sentences, units, numbers and names of parts in it."""
