"""What a run will cost, told before it starts: parameters, memory, time."""

from dataclasses import dataclass

from core.config import RunConfig
from core.errors import OutOfMemoryEstimate
from core.training.hardware import Hardware, free_memory
from core.training.speed import MachineSpeed, step_seconds
from core.training.work import work_per_token
from core.words import memory_in_words

FLOAT_BYTES = 4
_MUON_ROOM = 5  # times its matrices: looking ahead, put together by shape, and turned into a step
WORKER_BYTES = 400 * 2**20  # Python with torch loaded, and room for the text
_MEASURED_TOKENS = 2048  # at once, as the trainer does; more where a batch is larger
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


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a whole run.

    Attributes:
        parameters: exact.
        memory_bytes: held by the tensors of training at its fullest moment.
        seconds: from the first loss to the end, with measurements, sampled texts and all that is written down.
        flops_per_token: of one training step, forward and backward.
    """

    parameters: int
    memory_bytes: int
    seconds: float
    flops_per_token: float


def estimate(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> Estimate:
    """Count the parameters and estimate memory and time, without building the model.

    Time: what `speed` has measured of this machine, applied to these settings.
    """
    work, train = work_per_token(config.model, vocab_size, precision), config.train
    memory = memory_needed(config, vocab_size, precision)
    training = train.steps * (step_seconds(config, vocab_size, speed, precision) + _BETWEEN_STEPS)
    seconds = (
        training
        + _measuring_seconds(config, vocab_size, speed, precision)
        + _sampling_seconds(config, vocab_size, speed)
        + _saving_seconds(config, work.parameters)
        + _OPENING_SECONDS
        + memory * _TAKEN_SECONDS
    )
    return Estimate(work.parameters, memory, seconds * _looking(config, speed), work.flops)


def memory_needed(config: RunConfig, vocab_size: int, precision: str = "float32") -> int:
    """Bytes held by the tensors of training at its fullest moment.

    Weights, gradients and AdamW's two averages (Muon keeps one), plus what the backward pass needs of one batch or,
    once that is gone, Muon's update in the making, plus the windows that are measured on.
    """
    work = work_per_token(config.model, vocab_size, precision)
    train, block_size = config.train, config.model.block_size
    batch = train.batch_size * block_size * (work.numbers_kept + work.numbers_passing)
    if precision == "bfloat16":
        batch += work.parameters / 2  # the weights once more, rounded, until the backward pass has used them
    muon = work.muon_numbers if train.optimizer == "muon" else 0
    floats = 4 * work.parameters - muon + max(batch, _MUON_ROOM * muon)
    windows = 2 * train.eval_windows * (block_size + 1) * 8  # int64, both splits
    return int(FLOAT_BYTES * floats + windows)


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


def _measuring_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> float:
    """Losses on both splits: forward passes only, a third of a step's work each, without its update."""
    train, block_size = config.train, config.model.block_size
    measurements = 1 + -(-train.steps // train.eval_interval)
    at_once = max(train.batch_size, _MEASURED_TOKENS // block_size)
    passes = 2 * -(-train.eval_windows // at_once)
    per_token = _forward_seconds(config, vocab_size, speed, precision)
    fixed = _call_seconds(config, speed, precision)
    return measurements * (passes * fixed + 2 * train.eval_windows * block_size * per_token)


def _sampling_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed) -> float:
    """Texts written on the way: one token at a time while the context has room, then the whole context each time."""
    train, block_size = config.train, config.model.block_size
    work = work_per_token(config.model, vocab_size)
    texts = 1 + train.steps // train.sample_interval
    read = work.parameters * speed.float32.number_seconds  # every weight, for each token
    alone = speed.token_seconds + work.layers * speed.token_layer_seconds + read
    past = max(0, train.sample_length - block_size) if config.model.kind == "gpt" else 0
    anew = block_size * _forward_seconds(config, vocab_size, speed, "float32")
    return texts * (train.sample_length * alone + past * anew)


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
