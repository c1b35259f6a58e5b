"""The GPT lesson: from the mean of the past to a transformer, one part at a time."""

from explorer.learn.gpt import attention, averaging, choosing, ladder, likeliest, mask, positions, scaling, today
from explorer.learn.step import Step

STEPS: tuple[Step, ...] = (
    averaging.STEP,
    attention.STEP,
    scaling.STEP,
    mask.STEP,
    ladder.STEP,
    positions.STEP,
    today.STEP,
    choosing.STEP,
    likeliest.STEP,
)
