"""The GPT lesson: from the mean of all earlier tokens to a transformer, one part at a time."""

from explorer.learn.gpt.architecture import LADDER, TODAY
from explorer.learn.gpt.attention import ATTENTION, AVERAGING
from explorer.learn.gpt.attention_variants import MASK, POSITIONS, SCALING
from explorer.learn.gpt.sampling import LIKELIEST, SAMPLING

STEPS = (AVERAGING, ATTENTION, SCALING, MASK, LADDER, POSITIONS, TODAY, SAMPLING, LIKELIEST)
