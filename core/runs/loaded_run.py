"""Loading of a run for training: its text, its tokenizer, and its model at the last save."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from core.atomic_io import cut_rows
from core.config import RunConfig
from core.errors import OutOfMemoryEstimate, RunError
from core.live_settings import SettingChange
from core.runs.commands import config_now, setting_changes
from core.runs.disk_space import DiskSpace
from core.runs.folder import RunFolder
from core.runs.machine import check_processes, resolve_numerics
from core.runs.records import RunRecord
from core.text.batches import split_ids
from core.text.bpe import new_tokenizer
from core.text.corpora import load_corpus, load_hash, load_ids
from core.text.own_text import check_trainable
from core.text.tasks import AnswerTokens, answers_of, task_of
from core.text.tokenizers import OnProgress, Tokenizer, load_tokenizer
from core.training.checkpoints import latest_checkpoint, load_checkpoint, load_weights, newer_checkpoints
from core.training.cost import WORKER_BYTES, check_fits, memory_needed
from core.training.evaluation import bytes_per_token, run_baselines
from core.training.hardware import Hardware, find_hardware, free_memory
from core.training.trainer import Trainer

MEMORY_SECONDS = 5.0  # to wait until another process has released memory
PROBE_LENGTH = 32  # tokens; the attention of all heads still fits on one screen
_CHECK_SECONDS = 0.05  # between two checks for memory

log = logging.getLogger(__name__)


class StopRequest:
    """A signal handler's request to save and stop this process's run; unlike a command, it needs no disk."""

    reason = ""


class LoadedRun(NamedTuple):
    """Everything that one attempt at a run has loaded."""

    trainer: Trainer  # at the newest save or at step 0, with all setting changes up to that step
    tokenizer: Tokenizer
    changes_ahead: list[SettingChange]  # made by an earlier attempt at later steps, to be repeated there
    probe_text: list[int]  # ids of the sentence that the dashboard shows
    baselines: Callable[[], dict[str, Any]]  # computes the losses of counted n-grams on the evaluation windows
    bytes_per_token: float  # over the tokens that an evaluation predicts
    notices: list[str]  # sentences for the status on what differs from earlier attempts
    checkpoint: Path | None  # the file that the trainer was loaded from


def prepare(
    folder: RunFolder,
    data_dir: Path,
    device: str | None,
    threads: int | None,
    disk_space: DiskSpace,
    report: OnProgress = lambda share: None,
) -> LoadedRun:
    """Load a run's text and model, and write threads, precision and versions into its record; raises ExplorerError.

    `report` is called with the share of the text that is tokenized.
    """
    record = folder.record()
    config = record.config
    check_processes(config, device)
    hardware = find_hardware(device or config.train.device)
    log.info("run %s. %s", folder.id, hardware.sentence)
    text, digest = _text(record, data_dir)
    checkpoint = latest_checkpoint(folder.checkpoints)
    how = resolve_numerics(record, hardware, threads or hardware.cores, data_dir, begun=checkpoint is not None)
    torch.set_num_threads(how.threads)
    disk_space.write(lambda: folder.update_record(corpus_hash=digest, **how.changes))
    if folder.tokenizer_path.exists():
        tokenizer = load_tokenizer(folder.tokenizer_path)
    else:
        tokenizer = new_tokenizer(config.data, text, data_dir, report)
        disk_space.write(lambda: tokenizer.save(folder.tokenizer_path))
    check_trainable(text, config.model.block_size, config.data.val_fraction, tokenizer)
    _check_memory(config_now(folder), tokenizer.vocab_size, hardware, how.precision)
    del text  # up to 80 MB that training does not need
    ids = torch.from_numpy(load_ids(config.data.corpus, tokenizer, data_dir, report))
    train_ids, val_ids = split_ids(ids, config.data.val_fraction)
    trainer, changes = _trainer_at_save(folder, ids, tokenizer, hardware.device, how.precision, checkpoint)
    answers, notices = trainer.answers, [how.notice] if how.notice else []
    if checkpoint and (damaged := newer_checkpoints(folder.checkpoints, checkpoint)):
        log.warning("%d save(s) newer than that of step %d are damaged", damaged, trainer.step)
        notices.append("The newest save was damaged; the one before it was used.")
    cut_after(folder, trainer.step if checkpoint else -1)
    return LoadedRun(
        trainer,
        tokenizer,
        changes,
        _probe_sentence(val_ids, tokenizer, config.model.block_size),
        lambda: _baselines(config, train_ids, val_ids, tokenizer.vocab_size, answers),
        bytes_per_token(config, val_ids, tokenizer, answers),
        notices,
        checkpoint,
    )


def _trainer_at_save(
    folder: RunFolder, ids: torch.Tensor, tokenizer: Tokenizer, device: str, precision: str, checkpoint: Path | None
) -> tuple[Trainer, list[SettingChange]]:
    """Return a trainer at a checkpoint, or at step 0 without one, and the setting changes at later steps."""
    record, changes = folder.record(), setting_changes(folder)
    splits = split_ids(ids, record.config.data.val_fraction)
    answers = answers_of(record.config.data.corpus, tokenizer)
    trainer = Trainer(record.config, *splits, tokenizer.vocab_size, device, precision, answers)
    if checkpoint:
        load_checkpoint(checkpoint, trainer)
        changes = repeat_changes(changes, trainer)
    elif record.parent_step is not None:
        load_weights(folder.start_path, trainer.model)
    return trainer, changes


def follower_trainer(
    folder: str, data_dir: str, device: str, precision: str, threads: int, checkpoint: str, index: int
) -> Trainer:
    """Return a follower's trainer, in the same state as the worker's; `index` is its GPU on this machine."""
    if device == "cuda":
        torch.cuda.set_device(index)
    torch.set_num_threads(threads)
    run = RunFolder(Path(folder))
    tokenizer = load_tokenizer(run.tokenizer_path)
    ids = torch.from_numpy(load_ids(run.record().config.data.corpus, tokenizer, Path(data_dir)))
    return _trainer_at_save(run, ids, tokenizer, device, precision, Path(checkpoint) if checkpoint else None)[0]


def cut_after(run: RunFolder, step: int) -> None:
    """Remove everything written about steps after `step`, where training resumes, except the events."""
    for path in (run.metrics_path, run.samples_path, run.health_path):
        cut_rows(path, lambda row: row.get("step", 0) <= step)
    for snapshot_step, path in run.snapshots():
        if snapshot_step > step:
            path.unlink(missing_ok=True)
    step_detail = run.read_step_detail()
    if step_detail and step_detail.step > step:
        run.step_detail_path.unlink(missing_ok=True)


def repeat_changes(changes: list[SettingChange], trainer: Trainer) -> list[SettingChange]:
    """Repeat the changes of an earlier attempt up to the trainer's step, and return those at later steps."""
    for change in changes:
        if change.step <= trainer.step:
            trainer.change_setting(change.setting, change.value)
    return [change for change in changes if change.step > trainer.step]


def _baselines(
    config: RunConfig, train_ids: torch.Tensor, val_ids: torch.Tensor, vocab_size: int, answers: AnswerTokens | None
) -> dict[str, float]:
    """Return the losses of counted n-grams by name, and for a task the lowest possible loss as `floor`."""
    task = task_of(config.data.corpus)
    counted = asdict(run_baselines(config, train_ids, val_ids, vocab_size, answers))
    return counted | ({"floor": task.floor} if task else {})


def _text(record: RunRecord, data_dir: Path) -> tuple[str, str]:
    data = record.config.data
    text = load_corpus(data.corpus, data_dir)
    digest = load_hash(data.corpus, data_dir)
    if record.corpus_hash and record.corpus_hash != digest:
        raise RunError(
            f"The text {data.corpus!r} is no longer the one that this run started with, so it cannot continue. Start "
            "a new run on the new text."
        )
    return text, digest


def _check_memory(config: RunConfig, vocab_size: int, hardware: Hardware, precision: str) -> None:
    needed, deadline = memory_needed(config, vocab_size, precision), time.monotonic() + MEMORY_SECONDS
    while True:
        try:
            # This process already holds part of the needed memory, such as torch itself, but not on a GPU.
            held = WORKER_BYTES if hardware.device != "cuda" else 0
            return check_fits(needed, hardware, free_memory(hardware) + held, config.train.processes)
        except OutOfMemoryEstimate:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_CHECK_SECONDS)


def _probe_sentence(val_ids: torch.Tensor, tokenizer: Tokenizer, block_size: int) -> list[int]:
    length = min(PROBE_LENGTH, block_size)
    opening = val_ids[: 40 * PROBE_LENGTH].tolist()
    starts = [place + 1 for place, id in enumerate(opening[:-length]) if tokenizer.tokens[id] == "\n"]
    # The split usually cuts the first line in the middle, and the sentence should not start with a blank line.
    start = next((place for place in starts if not tokenizer.tokens[opening[place]].isspace()), 0)
    return opening[start : start + length]
