"""What one attempt at a run needs before its first step: its text, tokenizer and model, and where it goes on from."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.config import RunConfig
from core.errors import OutOfMemoryEstimate, RunError
from core.runs.checks import NO_TOKENIZER
from core.runs.disk_space import DiskSpace
from core.runs.folder import RunFolder
from core.runs.numerics import resolve_numerics
from core.runs.probes import probe_sentence
from core.runs.records import RunRecord, Turn
from core.text.batches import split_ids
from core.text.corpora import load_corpus, text_hash
from core.text.own_text import check_trainable
from core.text.tokenizers import TOKENIZERS, Tokenizer, load_tokenizer
from core.training.checkpoints import latest_checkpoint, load_checkpoint, load_weights, newer_checkpoints
from core.training.cost import WORKER_BYTES, check_fits, memory_needed
from core.training.evaluation import run_baselines
from core.training.hardware import Hardware, find_hardware, free_memory
from core.training.trainer import Trainer

MEMORY_SECONDS = 5.0  # to wait for memory that another process is giving back
_LOOK_SECONDS = 0.05  # between two looks whether it has
_DAMAGED = "The newest save was damaged; the one before it was used."

log = logging.getLogger(__name__)


@dataclass
class Session:
    """Everything loaded.

    Attributes:
        trainer: at the step of the newest save, or at the beginning, with all knobs as they were turned by then.
        ahead: turns that an earlier attempt took at later steps, to be taken again there.
        probe_text: ids of the sentence that the live board shows.
        baselines: counts on the training text what the loss is compared with, on the tokens of the evaluation windows.
        notices: sentences on what is not as it was, for the status.
    """

    trainer: Trainer
    tokenizer: Tokenizer
    ahead: list[Turn]
    probe_text: list[int]
    baselines: Callable[[], dict[str, Any]]
    notices: list[str]


def prepare(
    folder: RunFolder, data_dir: Path, device: str | None, threads: int | None, disk_space: DiskSpace
) -> Session:
    """Load a run's text and model from its folder, and settle in its record how it is computed.

    Args:
        home, device, threads: see `core.runs.training_loop.train_run`.
        room: for what is written.

    Raises:
        ExplorerError: the text, the device, the memory or the last save is not what the run needs.
    """
    record = folder.record()
    config = record.config
    hardware = find_hardware(device or config.train.device)
    log.info("run %s. %s", folder.id, hardware.sentence)
    text, digest = _text(record, data_dir)
    checkpoint = latest_checkpoint(folder.checkpoints)
    how = resolve_numerics(record, hardware, threads or hardware.cores, data_dir, begun=checkpoint is not None)
    torch.set_num_threads(how.threads)
    disk_space.write(lambda: folder.update_record(corpus_hash=digest, **how.changes))
    tokenizer = _tokenizer(folder, config, text, disk_space)
    _check_memory(folder.config_now(), tokenizer.vocab_size, hardware, how.precision)
    ids = torch.from_numpy(tokenizer.encode_array(text, np.int32))
    del text  # up to 80 MB that training has no use for
    train_ids, val_ids = split_ids(ids, config.data.val_fraction)

    trainer = Trainer(config, train_ids, val_ids, tokenizer.vocab_size, hardware.device, how.precision)
    ahead = folder.turns()
    if checkpoint:
        load_checkpoint(checkpoint, trainer)
        ahead = take_again(ahead, trainer)
    elif record.parent_step is not None:
        load_weights(folder.start_path, trainer.model)
    folder.cut_after(trainer.step if checkpoint else -1)
    notices = [how.notice] if how.notice else []
    if damaged := newer_checkpoints(folder.checkpoints, checkpoint) if checkpoint else 0:
        log.warning("%d save(s) newer than that of step %d are damaged", damaged, trainer.step)
        notices.append(_DAMAGED)
    return Session(
        trainer,
        tokenizer,
        ahead,
        probe_sentence(val_ids, tokenizer, config.model.block_size),
        lambda: asdict(run_baselines(config, train_ids, val_ids, tokenizer.vocab_size)),
        notices,
    )


def take_again(turns: list[Turn], trainer: Trainer) -> list[Turn]:
    """Take the turns that an earlier attempt took at this step, or on the way to it; returns those still ahead."""
    for turn in turns:
        if turn.step <= trainer.step:
            trainer.change_setting(turn.knob, turn.value)
    return [turn for turn in turns if turn.step > trainer.step]


def _text(record: RunRecord, data_dir: Path) -> tuple[str, str]:
    """The run's text and its hash; raises RunError where it is another one than the run began with."""
    data = record.config.data
    text = load_corpus(data.corpus, data_dir)
    digest = text_hash(text)
    if record.corpus_hash and record.corpus_hash != digest:
        raise RunError(
            f"The text {data.corpus!r} is no longer the one this run began with, so it cannot go on. "
            "Start a new run on the new text."
        )
    check_trainable(text, record.config.model.block_size, data.val_fraction)
    return text, digest


def _tokenizer(folder: RunFolder, config: RunConfig, text: str, disk_space: DiskSpace) -> Tokenizer:
    """The one this run began with; made from the text the first time."""
    if folder.tokenizer_path.exists():
        return load_tokenizer(folder.tokenizer_path)
    kind = TOKENIZERS[config.data.tokenizer]
    if not kind.from_text_alone:
        raise RunError(NO_TOKENIZER)
    tokenizer = kind.from_text(text)
    disk_space.write(lambda: tokenizer.save(folder.tokenizer_path))
    return tokenizer


def _check_memory(config: RunConfig, vocab_size: int, hardware: Hardware, precision: str) -> None:
    """The machine may have filled up since the run was submitted; another run that has just ended may still hold some.

    Raises OutOfMemoryEstimate.
    """
    needed, until = memory_needed(config, vocab_size, precision), time.monotonic() + MEMORY_SECONDS
    while True:
        try:
            # Torch, for one, this process holds already; on a GPU's memory it does not count.
            held = WORKER_BYTES if hardware.device != "cuda" else 0
            return check_fits(needed, hardware, free_memory(hardware) + held)
        except OutOfMemoryEstimate:
            if time.monotonic() >= until:
                raise
        time.sleep(_LOOK_SECONDS)
