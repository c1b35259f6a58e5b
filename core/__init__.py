"""The lab itself: texts, models, training, inspection and runs. Knows no screen."""
