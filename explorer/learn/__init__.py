"""The lesson pages: each step draws the results that `core.lessons` computes on the visitor's text."""
