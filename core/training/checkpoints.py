"""Saves that survive a power cut: full states to resume from, and bare weights to look at later.

A checkpoint is one safetensors file whose name ends in the SHA-256 of its content, so a single wrong byte anywhere in
it is noticed before it is used. Every file is complete or absent: it is written under another name, forced to disk,
then renamed.
"""

import hashlib
import re
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from core.atomic_io import FULL, put_in_place
from core.errors import DiskFullError, RunError
from core.training.checksums import checksum_holds, save_tensors, save_with_checksum
from core.training.finite import all_finite
from core.training.trainer import Trainer

_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{64})\.safetensors")


def save_checkpoint(folder: Path, trainer: Trainer) -> Path:
    """Save all that the next step depends on, and keep only this save and the one before it.

    Saves of later steps are of a course that was left when an earlier one was resumed; they go too.

    Raises:
        DiskFullError: there is no room; earlier saves are still there.
        RunError: the folder cannot be written to for another reason.
    """
    temporary = folder / ".checkpoint.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(_plain(trainer.state_dict()), temporary, {"step": str(trainer.step)})
        path = folder / f"step-{trainer.step:08d}-{_digest(temporary)}.safetensors"
        put_in_place(temporary, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        raise _cannot_write("checkpoint", folder, error) from None
    before = [other for other in _checkpoints(folder) if _step(other) < trainer.step]
    for other in _checkpoints(folder):
        if other not in (path, *before[:1]):
            other.unlink(missing_ok=True)
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest save whose content is what was written, or None where nothing was ever saved.

    Raises:
        RunError: there are saves, but every one is damaged.
    """
    checkpoints = _checkpoints(folder)
    for path in checkpoints:
        if _intact(path):
            return path
    if checkpoints:
        raise RunError(
            f"All {len(checkpoints)} checkpoints in {folder} are damaged, so this run cannot go on from where it was. "
            "Start it again from the beginning, or restore the folder from a copy."
        )
    return None


def newer_checkpoints(folder: Path, than: Path) -> int:
    """How many saves there are after one: damaged ones, where that one is `latest_checkpoint`."""
    return _checkpoints(folder).index(than)


def newest_save(folder: Path) -> int:
    """The step of the newest save by its name, without looking into it; -1 where nothing was ever saved."""
    return max(map(_step, _checkpoints(folder)), default=-1)


def load_checkpoint(path: Path, trainer: Trainer) -> None:
    """Put a trainer into the saved state; the steps that follow are those that would have followed.

    Raises:
        RunError: the file is missing or damaged.
        TrainingError: it belongs to a model of another shape.
    """
    if not _intact(path):
        raise RunError(
            f"The checkpoint {path.name} is missing, or not what was saved under that name. "
            "Resume from the one before it."
        )
    trainer.load_state_dict(_read(path))


def save_weights(path: Path, model: nn.Module, step: int) -> None:
    """Save a model's weights (tied ones once) with the step they are of.

    Raises:
        DiskFullError: there is no room; earlier weights are still there.
        RunError: the folder cannot be written to for another reason.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_with_checksum(_plain(dict(model.named_parameters())), temporary, {"step": str(step)})
        put_in_place(temporary, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        raise _cannot_write("model", path.parent, error) from None


@torch.no_grad()
def load_weights(path: Path, model: nn.Module) -> int:
    """Fill a model with saved weights, and return the step they are of.

    Raises:
        RunError: the file is missing or damaged, of a model of another shape, or holds numbers that are not finite;
            the model is unchanged then.
    """
    check_weights(path)
    weights = _read(path)
    parameters = dict(model.named_parameters())
    if {name: w.shape for name, w in weights.items()} != {name: p.shape for name, p in parameters.items()}:
        raise RunError(f"The weights in {path.name} are of a model with other settings, so they do not fit this one.")
    if not all_finite(weights.values()):
        raise RunError(
            f"The weights in {path.name} hold numbers that are not finite (inf or nan), so the model can predict "
            "nothing. Choose the weights of an earlier step."
        )
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {}).get("step", 0))


def check_weights(path: Path) -> None:
    """Raises RunError where a file of weights cannot be read, or a checksum tells that it is not what was saved."""
    try:
        holds = checksum_holds(path)
    except OSError:
        raise _unreadable(path) from None
    if not holds:
        raise RunError(
            f"The file {path.name} is damaged: its checksum is not that of what was saved. "
            "Restore it from a copy, or choose the weights of another step."
        )


def snapshot_steps(total: int, count: int) -> list[int]:
    """At most `count` steps from 0 to `total`, both included, closer together early, where most changes.

    With one or none there is only the end.
    """
    if count < 2:
        return [total]
    steps = [0]
    for index in range(1, min(count, total + 1)):
        even = round(total ** ((index - 1) / max(1, count - 2)))  # equal factors from 1 to total
        steps.append(min(total, max(steps[-1] + 1, even)))
    return sorted({*steps[: count - 1], total})


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted((path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name)), reverse=True)


def _step(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def _intact(path: Path) -> bool:
    name = _NAME.fullmatch(path.name)
    try:
        return name is not None and _digest(path) == name[2]
    except OSError:
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
    """The tensors as safetensors writes them: on the processor, and without gaps."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _cannot_write(what: str, folder: Path, error: OSError | SafetensorError) -> RunError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    kind = DiskFullError if isinstance(error, OSError) and error.errno in FULL else RunError
    return kind(
        f"The {what} could not be saved in {folder}: {why}. Make room or check the permissions, then resume the run."
    )
