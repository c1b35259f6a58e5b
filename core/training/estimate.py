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


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a whole run.

    Attributes:
        parameters: exact.
        memory_bytes: held by the tensors of training at its fullest moment.
        seconds: from the first step to the last, with measurements and sampled texts.
        flops_per_token: of one training step, forward and backward.
    """

    parameters: int
    memory_bytes: int
    seconds: float
    flops_per_token: float


def estimate(config: RunConfig, vocab_size: int, speed: MachineSpeed) -> Estimate:
    """Count the parameters and estimate memory and time, without building the model.

    Memory: weights, gradients and AdamW's two averages (Muon keeps one), plus what the backward pass needs of one
    batch or, once that is gone, Muon's update in the making, plus the windows that are measured on. Time: see
    `MachineSpeed`; on the processor within about 30 %.
    """
    work = work_per_token(config.model, vocab_size)
    train, block_size = config.train, config.model.block_size
    batch = train.batch_size * block_size * (work.numbers_kept + work.numbers_passing)
    muon = work.muon_numbers if train.optimizer == "muon" else 0
    floats = 4 * work.parameters - muon + max(batch, _MUON_ROOM * muon)
    windows = 2 * train.eval_windows * (block_size + 1) * 8  # int64, both splits
    step = step_seconds(config, vocab_size, speed)
    seconds = train.steps * step + _measuring_seconds(config, step) + _sampling_seconds(config, vocab_size, speed)
    return Estimate(work.parameters, int(FLOAT_BYTES * floats + windows), seconds, work.flops)


def check_fits(expected: Estimate, hardware: Hardware, free: int | None = None) -> None:
    """Refuse what the machine cannot hold beside all else that runs on it, before anything starts.

    Args:
        free: bytes to be had; those that are free at this moment if left out.

    Raises:
        OutOfMemoryEstimate: with the memory needed and the memory there is.
    """
    needed = expected.memory_bytes + (WORKER_BYTES if hardware.device != "cuda" else 0)
    free = free_memory(hardware) if free is None else free
    if needed > free:
        less = f", of which {memory_in_words(free)} are free" if free < hardware.memory_bytes else ""
        raise OutOfMemoryEstimate(
            f"These settings need about {memory_in_words(needed)} of memory, but {hardware.name} has "
            f"{memory_in_words(hardware.memory_bytes)}{less}. Choose a smaller batch, a shorter context or a "
            "smaller model."
        )


def _measuring_seconds(config: RunConfig, step: float) -> float:
    """Losses on both splits: forward passes only, a third of a step's work each."""
    train = config.train
    measurements = 1 + -(-train.steps // train.eval_interval)
    return measurements * 2 * train.eval_windows / train.batch_size * step / 3


def _sampling_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed) -> float:
    """Texts written on the way: one token at a time while the context has room, then the whole context each time."""
    train, block_size = config.train, config.model.block_size
    work = work_per_token(config.model, vocab_size)
    texts = 1 + train.steps // train.sample_interval
    alone = 2 * speed.step_seconds + work.layers * speed.layer_seconds / 3
    read_anew = block_size * (work.flops * speed.flop_seconds + work.numbers_moved * speed.number_seconds) / 3
    return texts * (train.sample_length * alone + max(0, train.sample_length - block_size) * read_anew)
