"""The lab: texts, models, training, interpretability and runs; imports no web library."""
