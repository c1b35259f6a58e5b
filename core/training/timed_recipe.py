"""A recipe with one dial, the minutes of training: it sets size, context, batch and steps, and predicts the loss.

Everything else is as in `gpt_fast`. Among a few shapes, the recipe takes the one with the lowest expected loss after
the tokens that it can read in that time. The loss follows a law of size and data fitted to our own runs (Hoffmann and
others 2022, section 3.3; for a text read several times, Muennighoff and others 2023).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from core.config import RunConfig
from core.errors import ConfigError
from core.formatting import duration_in_words
from core.model_config import ModelConfig
from core.presets import gpt_fast

MINUTES = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60)  # offered on a page
MAX_MINUTES = 24 * 60


class Shape(NamedTuple):
    """The size of a model."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int


SHAPES = (
    Shape(2, 2, 96, 64),
    Shape(3, 2, 128, 128),
    Shape(3, 3, 192, 128),
    Shape(4, 4, 256, 256),
    Shape(6, 6, 384, 256),
)

# Fitted by `fit_recipe` in tests/benchmarks/quality.py: L = E + A N^-alpha + B D^-beta, in nats/token, for N millions
# of parameters in the blocks and D millions of tokens read. Each text has its own E, listed with its character count.
# Dropout p adds C p N^-gamma, fitted to three runs (docs/benchmarks.md): it costs small models most.
TEXTS = {"tinyshakespeare": (1.333, 1_115_394), "shakespeare": (1.338, 4_668_438)}
_OF_SIZE, _SIZE_EXPONENT, _OF_DATA, _DATA_EXPONENT = 0.0171, 1.119, 0.2161, 0.464
_OF_DROPOUT, _DROPOUT_EXPONENT = 0.3, 0.7
_REPEATED = 2.0  # first readings that all rereadings count at most; Muennighoff (2023) has 15 for far larger texts
# A batch of this many tokens suits this many steps; both grow with the square root of the total tokens.
_BATCH_TOKENS, _STEPS = 1024, 500
# (readings of the text times N from which it applies, dropout), in descending order. Without dropout, 3/3/192 on Tiny
# Shakespeare was best after four readings; 2/2/96, a sixth of its size, still improved within three.
_DROPOUTS = ((12.0, 0.2), (5.0, 0.1))
_MAX_PER_CHARACTER = 10  # parameters per character, as in nanoGPT's recipe; the law was fitted to no smaller text
_MIN_TOKENS, _MAX_TOKENS = 20_000, 4_000_000_000
_TRIES = 14  # bisections of the range of tokens: accurate to a thousandth


def recipe_for(minutes: float, text_length: int, seconds: Callable[[RunConfig], float]) -> RunConfig:
    """Return the settings with the lowest expected final loss among runs that take at most `minutes`.

    Args:
        minutes: for the whole run, with evaluations and samples. The run is shorter if a longer one, which needs
            dropout, is not expected to end with a lower loss.
        text_length: characters of the whole text, 90% of which are the training split.
        seconds: returns the expected duration of a run on this machine, like `core.runs.machine.estimate_run`.

    Raises ConfigError for minutes outside 0 to MAX_MINUTES, or if even the shortest run takes longer.
    """
    if not 0 < minutes <= MAX_MINUTES:
        raise ConfigError(f"Minutes cannot be {minutes:g}: they must be above 0 and at most {MAX_MINUTES:,}.")
    suited = [shape for shape in SHAPES if _matrix_parameters(shape) <= _MAX_PER_CHARACTER * text_length] or SHAPES[:1]
    shortest = [seconds(sized_recipe(shape, _MIN_TOKENS, text_length)) for shape in suited]
    shapes = [shape for shape, least in zip(suited, shortest, strict=True) if least <= 60 * minutes]
    if not shapes:
        least = duration_in_words(min(shortest))
        raise ConfigError(f"Minutes cannot be {minutes:g}: the shortest run takes about {least} on this machine.")
    runs = [run for shape in shapes for run in _runs_within(60 * minutes, shape, text_length, seconds)]
    return min(runs, key=lambda config: _loss(config, text_length))


def expected_loss(config: RunConfig) -> float | None:
    """Return the expected final validation loss of a run with these settings, nats/token.

    None if the law was not fitted to them: for another text, or if a setting that matters differs from the recipe's.
    """
    shape = Shape(*(getattr(config.model, name) for name in Shape._fields))
    if config.data.corpus not in TEXTS or shape not in SHAPES:
        return None
    floor, text_length = TEXTS[config.data.corpus]
    train, ours = config.train, sized_recipe(shape, _tokens(config), text_length)
    batches = train.batch_size / ours.train.batch_size
    same: dict[str, str | float] = {"data.corpus": config.data.corpus}
    same |= {"train.batch_size": train.batch_size, "train.steps": train.steps}
    same |= {"model.dropout": _dropout(config.model, _tokens(config), text_length)}
    if not 0.5 <= batches <= 2 or _learning(ours.replace(same)) != _learning(config):
        return None
    return floor + _loss(config, text_length)


def sized_recipe(shape: Shape, tokens: float, text_length: int) -> RunConfig:
    """Return the recipe for a model of this shape that reads `tokens` tokens in total."""
    growth = math.sqrt(tokens / (_BATCH_TOKENS * _STEPS))
    batch = min(512, max(4, round(_BATCH_TOKENS * growth / shape.block_size)))
    steps = min(1_000_000, max(10, round(tokens / (batch * shape.block_size))))
    windows = min(65_536, max(8192, tokens / 100)) / shape.block_size
    return gpt_fast().replace(
        {f"model.{name}": value for name, value in shape._asdict().items()}
        | {
            "model.dropout": _dropout(shape, batch * steps * shape.block_size, text_length),
            "train.batch_size": batch,
            "train.steps": steps,
            "train.warmup_steps": min(100, max(10, steps // 50)),
            "train.eval_interval": min(100_000, -(-steps // 10)),
            "train.eval_windows": round(windows),
            "train.sample_interval": min(100_000, -(-steps // 10)),
            "train.checkpoint_interval": min(100_000, -(-steps // 5)),
            "train.log_interval": max(1, steps // 400),
        }
    )


def _runs_within(most: float, shape: Shape, text_length: int, seconds: Callable[[RunConfig], float]) -> list[RunConfig]:
    """Return recipes for a shape: one that takes `most` seconds, and the longest ones at each lower dropout."""
    low, high = math.log(_MIN_TOKENS), math.log(_MAX_TOKENS)
    for _ in range(_TRIES):
        middle = (low + high) / 2
        if seconds(sized_recipe(shape, math.exp(middle), text_length)) <= most:
            low = middle
        else:
            high = middle
    by_one_reading = 0.9 * text_length / (_matrix_parameters(shape) / 1e6)
    ends = [0.999 * readings * by_one_reading for readings, _ in _DROPOUTS]  # slightly fewer, because steps are rounded
    return [sized_recipe(shape, tokens, text_length) for tokens in (math.exp(low), *ends) if tokens <= math.exp(low)]


def _dropout(shape: Shape | ModelConfig, tokens: float, text_length: int) -> float:
    readings = tokens / (0.9 * text_length) * _matrix_parameters(shape) / 1e6
    return next((dropout for least, dropout in _DROPOUTS if readings >= least), 0.0)


def _loss(config: RunConfig, text_length: int) -> float:
    """Return the expected loss above that of an infinite model trained on infinite text."""
    size, tokens = size_and_tokens(config, text_length)
    return _OF_SIZE * size**-_SIZE_EXPONENT + _OF_DATA * tokens**-_DATA_EXPONENT + dropout_loss(config)


def dropout_loss(config: RunConfig) -> float:
    """Return by how much dropout raises the expected loss, nats/token."""
    return _OF_DROPOUT * config.model.dropout * (_matrix_parameters(config.model) / 1e6) ** -_DROPOUT_EXPONENT


def size_and_tokens(config: RunConfig, text_length: int) -> tuple[float, float]:
    """Return the law's N and D, in millions: the parameters of the blocks' matrices, and the tokens read.

    A reread token counts less the more often the text was read (Muennighoff 2023).
    """
    once, tokens = 0.9 * text_length, _tokens(config)
    if tokens > once:
        tokens = once * (1 + _REPEATED * (1 - math.exp(-(tokens / once - 1) / _REPEATED)))
    return _matrix_parameters(config.model) / 1e6, tokens / 1e6


def _matrix_parameters(shape: Shape | ModelConfig) -> int:
    """Return how many parameters the blocks' matrices have."""
    return 12 * shape.n_layer * shape.n_embd**2


def _tokens(config: RunConfig) -> int:
    return config.train.steps * config.train.batch_size * config.model.block_size


def _learning(config: RunConfig) -> object:
    """Return the settings on which the loss depends."""
    free = ("eval_", "log_", "sample_", "checkpoint_", "snapshots", "seed", "device", "precision", "compile", "warmup")
    train = {name: value for name, value in config.train if not name.startswith((*free, "gradient_accum", "processes"))}
    return config.model, config.data, train
