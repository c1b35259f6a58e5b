"""The cost of a run before it starts: parameters, memory and time."""

import math
import sys
from itertools import pairwise
from typing import Literal, NamedTuple

from core.config import RunConfig
from core.errors import OutOfMemoryEstimate
from core.formatting import memory_in_words
from core.model.gpt import feed_forward_width
from core.sampling import context_start
from core.sampling_config import GenerationConfig
from core.settings import Config
from core.training.evaluation import sequences_at_once, windows_at_once
from core.training.hardware import Hardware, free_memory
from core.training.health import probe_shape
from core.training.work import exact_parameters, work_of_update, work_per_token

Precision = Literal["float32", "bfloat16"]

FLOAT_BYTES = 4
TYPICAL_VOCABULARY = 80  # about the number of distinct characters in the default text
# Python with torch, its threads and caches, and the baselines, which are counted once for a text. A forked worker
# (`core.runs.engines.fork_server`) shares with its parent all of torch's memory that it does not write to.
WORKER_BYTES = (50 if sys.platform == "linux" else 370) * 2**20
# Fragmentation factors on the memory of an update and of a batch: freed blocks of other sizes seldom fit. With dropout
# they fit even less, because masks and random draws keep them apart and small. Measured by tests/benchmarks/memory.py.
_UPDATE_FRAGMENTS, _BATCH_FRAGMENTS, _DROPOUT_FRAGMENTS = 1.5, 1.17, 1.45
_TEXT_BYTES = {"char": 6, "byte": 6}  # per character: its id, and the text itself while it is read
_MAX_TEXT_BYTES = 9  # the same for a tokenizer whose vocabulary is trained
# Seconds for everything but training, on a busy machine.
_FILE_SECONDS = 0.012  # per file, written so that it survives a power cut
_BYTE_SECONDS = 2e-9  # per byte of a file
_START_SECONDS = 0.35  # counting the baselines
_MORE = 1.02  # factor on the total, for rows, probes and the loop around a step
_STREAMED = 5  # numbers read sequentially in the time of one of `numbers_moved`
_EVICTED = GenerationConfig().evict_fraction


class CostCoefficients(Config):
    """The seconds that parts of a training step take in one precision."""

    step_seconds: float  # per pass, for any model
    layer_seconds: float  # per layer in a pass, for any size
    flop_seconds: float  # per floating-point operation of matrix products
    moved_seconds: float  # per float32 number moved outside of them
    update_moved_seconds: float  # the same in the weight update, by a fused kernel that reads sequentially
    update_flop_seconds: float  # per operation of the update's own matrix products (Muon's), which are small


class MachineSpeed(Config):
    """The speed of training and generation on this machine; `to_json` and `parse` write and read it as JSON."""

    device: str
    threads: int
    float32: CostCoefficients
    bfloat16: CostCoefficients | None  # None if the machine has no instructions for it
    random_seconds: float  # per 64-bit random number that dropout draws
    token_seconds: float  # per generated token, for any model
    token_layer_seconds: float  # per generated token and layer
    peak: dict[str, float]  # floating-point operations per second in one large matrix product, by precision

    def coefficients(self, precision: str) -> CostCoefficients:
        """Return the coefficients of a precision; float32's for one that was not measured."""
        return self.bfloat16 if precision == "bfloat16" and self.bfloat16 else self.float32


class Estimate(NamedTuple):
    """The expected cost of a whole run."""

    parameters: int  # exact
    memory_bytes: int  # see `memory_needed`
    seconds: float  # from the first loss to the end, with evaluations, samples and files


class Correction(Config):
    """Measured duration divided by the estimated one, from `core.training.speed.measure_correction`."""

    step: float = 1.0
    evaluation: float = 1.0
    sampling: float = 1.0


def estimate(
    config: RunConfig,
    vocab_size: int,
    speed: MachineSpeed,
    precision: str,
    correction: Correction = Correction(),  # noqa: B008 - frozen
    text_length: int = 0,
) -> Estimate:
    """Count the parameters and estimate memory and time, without building the model."""
    train, model = config.train, config.model
    parameters, memory = exact_parameters(model, vocab_size), memory_needed(config, vocab_size, precision, text_length)
    step = step_seconds(config, vocab_size, speed, precision) * correction.step
    evaluations, samples = 1 + -(-train.steps // train.eval_interval), 1 + train.steps // train.sample_interval
    seconds = (
        train.steps * step
        + evaluations * evaluation_seconds(config, vocab_size, speed, precision) * correction.evaluation
        + samples * sampling_seconds(config, vocab_size, speed) * correction.sampling
        + _saving_seconds(config, parameters)
        + _START_SECONDS
    )
    return Estimate(parameters, memory, _MORE * seconds)


def contention(threads: int, cores: int, load: float) -> float:
    """Return the factor by which other programs slow a run down if they keep `load` cores busy.

    The system gives every computing thread the same share of the cores.
    """
    return max(1.0, (threads + load) / cores)


def step_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> float:
    """Return the expected seconds of one training step."""
    return sum(parts_of_a_step(config, vocab_size, speed, precision))


class StepParts(NamedTuple):
    """Expected seconds of one training step, by activity."""

    products: float  # matrix products
    calls: float  # overhead of PyTorch calls, regardless of sizes
    memory: float  # numbers read or written outside of products
    casting: float  # float32 to bfloat16 and back
    dropout: float  # random numbers for its masks


def parts_of_a_step(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> StepParts:
    """Return the expected seconds of one training step, by activity."""
    coefficients, tokens = speed.coefficients(precision), tokens_of_a_step(config)
    work = work_per_token(config.model, vocab_size, precision)
    calls, layer_calls, flops, moved, updated, update_flops = amounts(config, vocab_size, precision)
    casting = (tokens * work.numbers_cast + calls * work.weights_cast) * coefficients.moved_seconds
    return StepParts(
        products=flops * coefficients.flop_seconds + update_flops * coefficients.update_flop_seconds,
        calls=calls * coefficients.step_seconds + layer_calls * coefficients.layer_seconds,
        memory=moved * coefficients.moved_seconds + updated * coefficients.update_moved_seconds - casting,
        casting=casting,
        dropout=tokens * work.random_numbers * speed.random_seconds,
    )


def amounts(config: RunConfig, vocab_size: int, precision: str) -> tuple[float, ...]:
    """Return the factor of each of the `CostCoefficients` in one training step."""
    work, tokens = work_per_token(config.model, vocab_size, precision), tokens_of_a_step(config)
    update = work_of_update(config.model, vocab_size, config.train.optimizer)
    calls = -(-tokens // (sequences_at_once(config.train) * config.model.block_size))
    moved = tokens * work.numbers_moved + calls * work.weights_cast
    return calls, calls * _layers(config), tokens * work.flops, moved, update.numbers_moved, update.flops


def tokens_of_a_step(config: RunConfig) -> int:
    """Return how many tokens each process trains on in one step."""
    return config.train.batch_size // config.train.processes * config.model.block_size


def memory_needed(config: RunConfig, vocab_size: int, precision: str = "float32", text_length: int = 0) -> int:
    """Return the bytes that each process of a run needs for training, besides Python and torch (`WORKER_BYTES`).

    Freed memory is not returned to the system, and blocks of other sizes seldom fit into it.
    """
    model, train, block_size = config.model, config.train, config.model.block_size
    parameters, work = exact_parameters(model, vocab_size), work_per_token(model, vocab_size, precision)
    update = work_of_update(model, vocab_size, train.optimizer)
    gradients = vocab_size + 2 * feed_forward_width(model) * (model.kind == "gpt")  # at the start of the backward pass
    gradients += vocab_size * bool(train.label_smoothing or train.z_loss)  # of the terms added to the loss
    probed = math.prod(probe_shape(block_size, vocab_size)) if model.kind == "gpt" else 0
    batch = max(sequences_at_once(train) * block_size, probed) * (work.saved_numbers + gradients)
    batch *= _DROPOUT_FRAGMENTS if model.dropout else _BATCH_FRAGMENTS
    if precision == "bfloat16":
        batch += parameters / 2  # the rounded weights, kept for the backward pass
    floats = 2 * parameters + update.state + max(batch, _UPDATE_FRAGMENTS * update.memory)
    windows = 2 * train.eval_windows * (block_size + 1) * 8  # int64, both splits
    text_bytes = _TEXT_BYTES.get(config.data.tokenizer, _MAX_TEXT_BYTES)
    evaluated = min(windows_at_once(config, vocab_size), train.eval_windows) * block_size * vocab_size
    return int(FLOAT_BYTES * (floats + 2 * evaluated) + windows + text_bytes * text_length)


def check_fits(memory_bytes: int, hardware: Hardware, free: int | None = None, processes: int = 1) -> None:
    """Raise OutOfMemoryEstimate if `memory_needed` exceeds the free bytes, by default those free now.

    On GPUs, each process has its own; on a CPU, all processes share its memory.
    """
    needed = memory_bytes if hardware.device == "cuda" else processes * (memory_bytes + WORKER_BYTES)
    free = free_memory(hardware) if free is None else free
    if needed > free:
        less = f", of which {memory_in_words(free)} are free" if free < hardware.memory_bytes else ""
        raise OutOfMemoryEstimate(
            f"These settings need about {memory_in_words(needed)} of memory, but {hardware.name} has "
            f"{memory_in_words(hardware.memory_bytes)}{less}. Choose a smaller batch, a shorter context or a "
            "smaller model."
        )


def evaluation_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> float:
    """Return the seconds of one evaluation of both splits."""
    windows = config.train.eval_windows
    calls = 2 * -(-windows // windows_at_once(config, vocab_size))
    return _forward_seconds(config, vocab_size, speed, precision, 2 * windows * config.model.block_size, calls)


def sampling_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed) -> float:
    """Return the seconds of one sample: token by token, with the context recomputed whenever a part is dropped."""
    length, block_size = config.train.sample_length, config.model.block_size
    weights = exact_parameters(config.model, vocab_size) * speed.float32.moved_seconds / _STREAMED
    alone = speed.token_seconds + _layers(config) * speed.token_layer_seconds + weights
    read_again = 0
    if config.model.kind == "gpt":
        firsts = [context_start(written, block_size, _EVICTED) for written in range(1, length + 1)]
        read_again = sum(
            written - first for written, (before, first) in enumerate(pairwise(firsts), start=2) if first != before
        )
    return length * alone + _forward_seconds(config, vocab_size, speed, "float32", read_again)


def _forward_seconds(
    config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str, tokens: int, calls: int = 0
) -> float:
    """Return the seconds of a forward pass over the tokens, a third of what training on them takes."""
    work, coefficients = work_per_token(config.model, vocab_size, precision), speed.coefficients(precision)
    per_token = work.flops * coefficients.flop_seconds + work.numbers_moved * coefficients.moved_seconds
    return (tokens * per_token + calls * (coefficients.step_seconds + _layers(config) * coefficients.layer_seconds)) / 3


def _saving_seconds(config: RunConfig, parameters: int) -> float:
    train = config.train
    saves, snapshots = -(-train.steps // train.checkpoint_interval), min(train.snapshots, train.steps)
    bytes = (4 * saves + snapshots) * FLOAT_BYTES * parameters
    return (2 * saves + snapshots) * _FILE_SECONDS + bytes * _BYTE_SECONDS


def _layers(config: RunConfig) -> int:
    return config.model.n_layer if config.model.kind == "gpt" else 0
