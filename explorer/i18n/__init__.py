"""The language of the pages: their sentences, units, numbers and names of parts."""
