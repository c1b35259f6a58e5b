"""Import and export: other programs' models, and scripts, notebooks and reports of a run."""
