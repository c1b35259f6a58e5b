"""The bigram lesson: from a text to a model that has learned which character follows which."""

from explorer.learn.bigram.generation import CONTEXT, WRITING
from explorer.learn.bigram.predictions import LOSS, TABLE
from explorer.learn.bigram.training import GRADIENT, TRAINING
from explorer.learn.bigram.training_text import BATCH, NUMBERS, SPLIT, TEXT

STEPS = (TEXT, NUMBERS, SPLIT, BATCH, TABLE, LOSS, GRADIENT, TRAINING, WRITING, CONTEXT)
