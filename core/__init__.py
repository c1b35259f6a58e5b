"""The lab: texts, models, training, interpretability and runs. It imports no web library."""
