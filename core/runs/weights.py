"""The weights that a run keeps: as of its last save, and along the way."""

from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from core.errors import RunError
from core.runs.paths import RunPaths


def weights_step(path: Path) -> int:
    """The step at which a weights file of ours was written; -1 for a file that is missing or damaged."""
    try:
        with safe_open(path, "np") as file:
            return int((file.metadata() or {})["step"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return -1


@lru_cache(maxsize=1024)
def _step_of(path: Path, _inode: int, _changed: int) -> int:
    return weights_step(path)


class RunWeights(RunPaths):
    """The part of a run's folder that a model is loaded from."""

    def snapshot_path(self, step: int) -> Path:
        return self.snapshots_folder / f"step-{step:08d}.safetensors"

    def snapshots(self) -> list[tuple[int, Path]]:
        """The weights kept along the way, by step."""
        found = sorted(self.snapshots_folder.glob("step-*.safetensors"))
        return [(int(path.stem.removeprefix("step-")), path) for path in found]

    def moments(self) -> list[int]:
        """The steps at which the run can be looked into: its snapshots, and its last save where that is newer."""
        steps = [step for step, _ in self.snapshots()]
        last = self._last_saved()
        return [*steps, last] if last > max(steps, default=-1) else steps

    def weights_at(self, step: int) -> Path | None:
        """The weights of a moment; None where there are none, or no longer."""
        path = self.snapshot_path(step)
        return path if path.exists() else self.weights_path if self._last_saved() == step else None

    def _last_saved(self) -> int:
        """The step of the weights saved last, read again only after a save: a stream asks several times a second."""
        try:
            found = self.weights_path.stat()
        except OSError:
            return -1
        return _step_of(self.weights_path, found.st_ino, found.st_mtime_ns)

    @property
    def has_weights(self) -> bool:
        """Whether there are any, told without opening one: lists ask it of every run."""
        return self.weights_path.exists() or any(self.snapshots_folder.glob("step-*.safetensors"))

    def latest_weights(self) -> Path | None:
        """The newest weights there are, of a checkpoint, the end or a snapshot. None before the first.

        A damaged last save is the newest all the same: whoever loads it is told, and no older snapshot takes its place.
        """
        snapshots = self.snapshots()
        if not self.weights_path.exists():
            return snapshots[-1][1] if snapshots else None
        last = weights_step(self.weights_path)
        return snapshots[-1][1] if snapshots and 0 <= last < snapshots[-1][0] else self.weights_path


def weights_of(folder: "RunWeights", step: int | None) -> tuple[Path, int]:
    """Return a run's weights of a step, the newest if None, and that step. Raises RunError where none were kept."""
    if step is None:
        newest = folder.latest_weights()
        if newest is None:
            raise RunError(f"The run {folder.name!r} has saved no weights yet. Wait for its first steps, or train it.")
        return newest, weights_step(newest)
    for path in (folder.snapshot_path(step), folder.weights_path):
        if weights_step(path) == step:
            return path, step
    kept = sorted({step for step, _ in folder.snapshots()} | {weights_step(folder.weights_path)} - {-1})
    raise RunError(
        f"The run {folder.name!r} has kept no weights of step {step}. It has those of "
        f"{', '.join(f'{step:,}' for step in kept) or 'no step yet'}."
    )
