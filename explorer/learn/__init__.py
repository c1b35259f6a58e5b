"""The lessons as pages: each step draws what `core.lessons` computes on the visitor's own text."""
