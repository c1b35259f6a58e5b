"""Checkpoints to resume from, and snapshots of weights, that survive a power cut.

A checkpoint is one safetensors file whose name ends in the SHA-256 of its content. A weights file has its checksum in
its own metadata: the SHA-256 of the whole file with these 64 digits as zeros.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.atomic_io import FULL, TEMPORARY, put_in_place
from core.errors import DiskFullError, RunError
from core.model import all_finite
from core.training.trainer import Trainer

_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{64})\.safetensors")
_KEY = "sha256_with_these_digits_as_zeros"
_ZEROS = "0" * 64
_STORED = re.compile(f'"{_KEY}":"([0-9a-f]{{64}})"'.encode())
_LONGEST_HEADER = 100_000_000  # bytes; safetensors refuses longer ones


def save_checkpoint(folder: Path, trainer: Trainer) -> Path:
    """Save all that the next step depends on, and delete all checkpoints except this one and the one before it.

    Raises RunError (DiskFullError if the disk is full); earlier checkpoints are then unchanged.
    """
    temporary = folder / f"{TEMPORARY}checkpoint"
    with _saving("checkpoint", temporary):
        save_tensors(_plain(trainer.state_dict()), temporary, {"step": str(trainer.step)})
        path = folder / f"step-{trainer.step:08d}-{_digest(temporary)}.safetensors"
        put_in_place(temporary, path)
    before = [other for other in _checkpoints(folder) if _step(other) < trainer.step]
    for other in _checkpoints(folder):
        if other not in (path, *before[:1]):
            other.unlink(missing_ok=True)
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest intact checkpoint, or None if there is none; raises RunError if all are damaged."""
    checkpoints = _checkpoints(folder)
    newest = next(filter(_intact, checkpoints), None)
    if checkpoints and newest is None:
        raise RunError(
            f"All {len(checkpoints)} checkpoints in {folder} are damaged, so this run cannot resume. Start it again "
            "from the beginning, or restore the folder from a copy."
        )
    return newest


def newer_checkpoints(folder: Path, than: Path) -> int:
    """Return how many checkpoints are newer than one; those newer than `latest_checkpoint` are damaged."""
    return _checkpoints(folder).index(than)


def newest_save(folder: Path) -> int:
    """Return the step of the newest checkpoint by its name; -1 if there is none."""
    return max(map(_step, _checkpoints(folder)), default=-1)


def load_checkpoint(path: Path, trainer: Trainer) -> None:
    """Load a saved state into a trainer; raises RunError if it is damaged, TrainingError if from another model."""
    if not _intact(path):
        raise RunError(
            f"The checkpoint {path.name} is missing, or is not the one that was saved. Resume from the one before it."
        )
    trainer.load_state_dict(_read(path))


def save_weights(path: Path, model: nn.Module, step: int) -> None:
    """Save a model's weights (tied ones once) with their step; raises the same errors as `save_checkpoint`."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with _saving("model", temporary):
        save_with_checksum(_plain(dict(model.named_parameters())), temporary, {"step": str(step)})
        put_in_place(temporary, path)


@torch.no_grad()
def load_weights(path: Path, model: nn.Module) -> int:
    """Load saved weights into a model, and return their step.

    Raises RunError if the file is missing, damaged, of another shape, or not finite; the model is then unchanged.
    """
    check_weights(path)
    weights = _read(path)
    parameters = dict(model.named_parameters())
    if {name: w.shape for name, w in weights.items()} != {name: p.shape for name, p in parameters.items()}:
        raise RunError(f"The weights in {path.name} are of a model with other settings, so they do not fit this one.")
    if not all_finite(weights.values()):
        raise RunError(
            f"The weights in {path.name} contain numbers that are not finite (inf or nan), so the model cannot "
            "predict anything. Choose the weights of an earlier step."
        )
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {}).get("step", 0))


def check_weights(path: Path) -> None:
    """Raise RunError if a weights file cannot be read or its checksum is wrong."""
    try:
        if checksum_holds(path):
            return
    except OSError:
        raise _unreadable(path) from None
    raise RunError(
        f"The file {path.name} is damaged: its checksum differs from that of the saved file. Restore it from a copy, "
        "or choose the weights of another step."
    )


def save_with_checksum(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with a checksum for `checksum_holds`; raises OSError if that fails."""
    save_tensors(tensors, path, {**metadata, _KEY: _ZEROS})
    with path.open("r+b") as file:
        _sort_metadata(file)
        at, _, computed = _digests(file)
        file.seek(at)
        file.write(computed)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; raises OSError if it cannot be written."""
    try:
        save_file(dict(tensors), path, dict(metadata))
    except SafetensorError as error:  # its message has the system's error number: `(os error 28)`
        if number := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from None
        raise


def checksum_holds(path: Path) -> bool:
    """Return whether a file is as written, or has no checksum of ours; raises OSError if it cannot be read."""
    stat = path.stat()
    return _holds(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _holds(path: Path, _inode: int, _changed: int, _size: int) -> bool:
    with path.open("rb") as file:
        _, stored, computed = _digests(file)
    return stored is None or stored == computed


def _sort_metadata(file: BinaryIO) -> None:
    """Sort the metadata in the header: safetensors randomizes its order, but equal weights must give equal files."""
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    file.seek(8)
    file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))
    file.seek(0)


def _digests(file: BinaryIO) -> tuple[int, bytes | None, bytes]:
    """Return the checksum's offset, the stored checksum and the computed one; -1 and None if there is none."""
    length = file.read(8)
    header = file.read(min(int.from_bytes(length, "little"), _LONGEST_HEADER))
    stored = _STORED.search(header)
    if stored is None:
        return -1, None, b""
    digest = hashlib.sha256(length + header[: stored.start(1)] + _ZEROS.encode() + header[stored.end(1) :])
    while block := file.read(1 << 20):
        digest.update(block)
    return 8 + stored.start(1), stored[1], digest.hexdigest().encode()


def snapshot_steps(total: int, count: int) -> list[int]:
    """Return at most `count` steps from 0 to `total` (only `total` for a count of 1), closer together early."""
    if count < 2:
        return [total]
    steps = [0]
    for index in range(1, min(count, total + 1)):
        even = round(total ** ((index - 1) / max(1, count - 2)))  # equal factors from 1 to total
        steps.append(min(total, max(steps[-1] + 1, even)))
    return sorted({*steps[: count - 1], total})


def _checkpoints(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name)), reverse=True)


def _step(path: Path) -> int:
    name = _NAME.fullmatch(path.name)
    assert name is not None, "`_checkpoints` lists no other"
    return int(name[1])


def _intact(path: Path) -> bool:
    name = _NAME.fullmatch(path.name)
    with suppress(OSError):
        return name is not None and _digest(path) == name[2]
    return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        raise _unreadable(path) from None


def _unreadable(path: Path) -> RunError:
    return RunError(f"The file {path.name} is missing, or damaged, so no weights can be read from it.")


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


@contextmanager
def _saving(what: str, temporary: Path) -> Iterator[None]:
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        kind = DiskFullError if isinstance(error, OSError) and error.errno in FULL else RunError
        raise kind(
            f"The {what} could not be saved in {temporary.parent}: {why}. Free disk space or check the permissions, "
            "then resume the run."
        ) from None
