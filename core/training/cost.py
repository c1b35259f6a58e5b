"""What a run will cost, told before it starts: parameters, memory, time."""

from dataclasses import dataclass
from itertools import pairwise

from core.config import RunConfig
from core.errors import OutOfMemoryEstimate
from core.formatting import memory_in_words
from core.sampling import context_start
from core.sampling_config import GenerationConfig
from core.settings import Config
from core.training.evaluation import windows_at_once
from core.training.hardware import Hardware, free_memory
from core.training.speed import MachineSpeed, step_seconds
from core.training.work import work_per_token

FLOAT_BYTES = 4
_MUON_ROOM = 5  # times its matrices: looking ahead, put together by shape, and turned into a step
WORKER_BYTES = 350 * 2**20  # Python with torch loaded
_TEXT_BYTES = 6  # a character: its id, and the text itself while it is read
# Seconds beside training. Rows, files and looks come from one profile on one machine that did much else; bytes, the
# opening, the first touch of memory and the loop are assumed, not measured each by itself.
_ROW_SECONDS = 0.0004  # of the curve, with the status beside it
_FILE_SECONDS = 0.012  # written so that a power cut cannot hurt it
_BYTE_SECONDS = 2e-9
_OPENING_SECONDS = 0.35  # counting pairs and triples of the text, for the lines on the chart
_LOOK_SECONDS = 0.004  # at the board's sentence, besides reading it
_TAKEN_SECONDS = 4e-10  # a byte, the first time it is taken from the system
_LOOKS_EVERY, _LOOKS_SHARE = 0.4, 0.05  # seconds; and of all time at most
_BETWEEN_STEPS = 0.00003  # the loop around a step
_STREAMED = 3  # numbers that are only read, one after the other, in the time of one that is read here and written there
_EVICTED = GenerationConfig().evict_fraction


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a whole run.

    Attributes:
        parameters: exact.
        memory_bytes: see `memory_needed`.
        seconds: from the first loss to the end, with measurements, sampled texts and all that is written down.
        flops_per_token: of one training step, forward and backward.
    """

    parameters: int
    memory_bytes: int
    seconds: float
    flops_per_token: float


class Correction(Config):
    """How many times as long as reckoned it really takes, as `core.training.trial` finds out; 1 where it was right."""

    step: float = 1.0
    measuring: float = 1.0
    writing: float = 1.0


def estimate(
    config: RunConfig,
    vocab_size: int,
    speed: MachineSpeed,
    precision: str,
    correction: Correction = Correction(),  # noqa: B008 - frozen
    text_length: int = 0,
) -> Estimate:
    """Count the parameters and estimate memory and time, without building the model.

    Time: what `speed` has measured of this machine, applied to these settings, times what a trial of them has shown.
    """
    work, train = work_per_token(config.model, vocab_size, precision), config.train
    memory = memory_needed(config, vocab_size, precision, text_length)
    step = step_seconds(config, vocab_size, speed, precision) * correction.step
    measurements, texts = 1 + -(-train.steps // train.eval_interval), 1 + train.steps // train.sample_interval
    seconds = (
        train.steps * (step + _BETWEEN_STEPS)
        + measurements * measuring_seconds(config, vocab_size, speed, precision) * correction.measuring
        + texts * writing_seconds(config, vocab_size, speed) * correction.writing
        + _saving_seconds(config, work.parameters)
        + _OPENING_SECONDS
        + memory * _TAKEN_SECONDS
    )
    return Estimate(work.parameters, memory, seconds * _looking(config, speed), work.flops)


def memory_needed(config: RunConfig, vocab_size: int, precision: str = "float32", text_length: int = 0) -> int:
    """Bytes that a worker takes for training, besides Python and torch (`WORKER_BYTES`).

    Weights, gradients and AdamW's two averages (Muon keeps one), plus what the backward pass needs of one batch or,
    once that is gone, Muon's update in the making, plus what evaluation takes: its windows, and its logits with their
    logarithms, since freed memory is kept and blocks of another size seldom fit into it. Plus the text.

    Args:
        text_length: characters in the text.
    """
    work = work_per_token(config.model, vocab_size, precision)
    train, block_size = config.train, config.model.block_size
    batch = train.batch_size * block_size * (work.numbers_kept + work.numbers_passing)
    if precision == "bfloat16":
        batch += work.parameters / 2  # the weights once more, rounded, until the backward pass has used them
    muon = work.muon_numbers if train.optimizer == "muon" else 0
    floats = 4 * work.parameters - muon + max(batch, _MUON_ROOM * muon)
    windows = 2 * train.eval_windows * (block_size + 1) * 8  # int64, both splits
    evaluated = min(windows_at_once(config, vocab_size), train.eval_windows) * block_size * vocab_size
    return int(FLOAT_BYTES * (floats + 2 * evaluated) + windows + _TEXT_BYTES * text_length)


def check_fits(memory_bytes: int, hardware: Hardware, free: int | None = None) -> None:
    """Refuse what the machine cannot hold beside all else that runs on it, before anything starts.

    Args:
        memory_bytes: see `memory_needed`.
        free: bytes to be had; those that are free at this moment if left out.

    Raises:
        OutOfMemoryEstimate: with the memory needed and the memory there is.
    """
    needed = memory_bytes + (WORKER_BYTES if hardware.device != "cuda" else 0)
    free = free_memory(hardware) if free is None else free
    if needed > free:
        less = f", of which {memory_in_words(free)} are free" if free < hardware.memory_bytes else ""
        raise OutOfMemoryEstimate(
            f"These settings need about {memory_in_words(needed)} of memory, but {hardware.name} has "
            f"{memory_in_words(hardware.memory_bytes)}{less}. Choose a smaller batch, a shorter context or a "
            "smaller model."
        )


def measuring_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> float:
    """The losses on both splits, once: forward passes only, a third of a step's work each, without its update."""
    train, block_size = config.train, config.model.block_size
    passes = 2 * -(-train.eval_windows // windows_at_once(config, vocab_size))
    per_token = _forward_seconds(config, vocab_size, speed, precision)
    return passes * _call_seconds(config, speed, precision) + 2 * train.eval_windows * block_size * per_token


def writing_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed) -> float:
    """One text on the way: token by token, and all that can be seen read anew whenever the oldest are forgotten."""
    length, block_size = config.train.sample_length, config.model.block_size
    work = work_per_token(config.model, vocab_size)
    weights = work.parameters * speed.float32.number_seconds / _STREAMED  # each is read for each token
    alone = speed.token_seconds + work.layers * speed.token_layer_seconds + weights
    anew = 0
    if config.model.kind == "gpt":
        firsts = [context_start(written, block_size, _EVICTED) for written in range(1, length + 1)]
        anew = sum(
            written - first for written, (before, first) in enumerate(pairwise(firsts), start=2) if first != before
        )
    return length * alone + anew * _forward_seconds(config, vocab_size, speed, "float32")


def _saving_seconds(config: RunConfig, parameters: int) -> float:
    """Checkpoints (weights and averages, and the weights once more), snapshots and the rows of the curve."""
    train = config.train
    weights = FLOAT_BYTES * parameters
    saves = -(-train.steps // train.checkpoint_interval)
    snapshots = min(train.snapshots, train.steps)
    rows = train.steps // train.log_interval + train.steps // train.sample_interval
    files = (2 * saves + snapshots) * _FILE_SECONDS + (4 * saves + snapshots) * weights * _BYTE_SECONDS
    return files + rows * _ROW_SECONDS


def _looking(config: RunConfig, speed: MachineSpeed) -> float:
    """By how much the live board's looks into the model lengthen a run."""
    look = _LOOK_SECONDS + _layers(config) * speed.token_layer_seconds
    return 1 + min(_LOOKS_SHARE, look / _LOOKS_EVERY)


def _forward_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> float:
    """Reading one token, among many at once."""
    work, prices = work_per_token(config.model, vocab_size, precision), speed.prices(precision)
    return (work.flops * prices.flop_seconds + work.numbers_moved * prices.number_seconds) / 3


def _call_seconds(config: RunConfig, speed: MachineSpeed, precision: str) -> float:
    """One forward pass, however few its tokens."""
    prices = speed.prices(precision)
    return (prices.step_seconds + _layers(config) * prices.layer_seconds) / 3


def _layers(config: RunConfig) -> int:
    return config.model.n_layer if config.model.kind == "gpt" else 0
