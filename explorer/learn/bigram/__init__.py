"""The bigram lesson: from a text to a model that has learned which character follows which."""

from explorer.learn.bigram import context, gradient, loss, reading, table, training, writing
from explorer.learn.step import Step

STEPS: tuple[Step, ...] = (
    reading.TEXT,
    reading.NUMBERS,
    reading.SPLIT,
    reading.BATCH,
    table.STEP,
    loss.STEP,
    gradient.STEP,
    training.STEP,
    writing.STEP,
    context.STEP,
)
