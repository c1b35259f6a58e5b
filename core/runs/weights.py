"""A run's weights: from its last save, and from the snapshots of earlier steps."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import nn

from core.config import TrainConfig
from core.errors import RunError
from core.model import GPT, Bigram, all_finite, build_uninitialized_model
from core.runs.folder import RunFolder
from core.text.tokenizers import TOKENIZERS, Tokenizer, load_tokenizer
from core.training.checkpoints import load_weights, save_weights, snapshot_steps
from core.training.cost import TYPICAL_VOCABULARY

SNAPSHOT_BYTES = 2**30  # for all snapshots of a run together


class LoadedModel(NamedTuple):
    """A model with its tokenizer."""

    model: GPT | Bigram  # on the CPU, in evaluation mode
    tokenizer: Tokenizer
    step: int  # at which the weights were saved


def load_model(run: RunFolder, weights: Path | None = None) -> LoadedModel:
    """Return a run's model with its newest weights, or with the file `weights`; raises ExplorerError if it has none."""
    config = run.record().config.model
    weights = weights or require_weights(run, None)[0]
    tokenizer = load_tokenizer(run.tokenizer_path)
    model = build_uninitialized_model(config, tokenizer.vocab_size)
    step = load_weights(weights, model)
    return LoadedModel(model.eval(), tokenizer, step)


def vocab_size_of(run: RunFolder) -> int:
    """Return a run's vocabulary size; before its tokenizer exists, the expected size."""
    if run.tokenizer_path.exists():
        return load_tokenizer(run.tokenizer_path).vocab_size
    data = run.record().config.data
    return data.vocab_size if TOKENIZERS[data.tokenizer].from_text is None else TYPICAL_VOCABULARY


def require_weights(run: RunFolder, step: int | None) -> tuple[Path, int]:
    """Return the file of a run's weights at a step (None: the newest), and the step. Raises RunError if none exist."""
    if step is None:
        newest = latest_weights(run)
        if newest is None:
            raise RunError(f"The run {run.name!r} has saved no weights yet. Wait for its first steps, or train it.")
        return newest, weights_step(newest)
    for path in (run.snapshot_path(step), run.weights_path):
        if weights_step(path) == step:
            return path, step
    raise RunError(
        f"The run {run.name!r} has no weights of step {step}. It has the weights of "
        f"{', '.join(f'{step:,}' for step in steps_with_weights(run)) or 'no step yet'}."
    )


def steps_with_weights(run: RunFolder) -> list[int]:
    """Return the steps of the snapshots, and of the last save if it is newer."""
    steps = [step for step, _ in run.snapshots()]
    last = weights_step(run.weights_path)
    return [*steps, last] if last > max(steps, default=-1) else steps


def find_weights(run: RunFolder, step: int) -> Path | None:
    """Return the file of the weights at a step; None if there is none, or none any more."""
    path = run.snapshot_path(step)
    return path if path.exists() else run.weights_path if weights_step(run.weights_path) == step else None


def latest_weights(run: RunFolder) -> Path | None:
    """Return the file of the newest weights, from a save or a snapshot; None before the first.

    If both are at the same step, return the snapshot, like `find_weights`, so that a model is opened only once.
    A damaged last save counts as the newest, so loading it raises an error instead of using an older snapshot.
    """
    step, newest = max(run.snapshots(), default=(-1, None))
    if not run.weights_path.exists():
        return newest
    return newest if 0 <= weights_step(run.weights_path) <= step else run.weights_path


def weights_step(path: Path) -> int:
    """Return the step at which a weights file was written; -1 if the file is missing or damaged."""
    try:
        stat = path.stat()
        return _cached_step(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    except (OSError, SafetensorError, KeyError, ValueError):
        return -1


@lru_cache(maxsize=1024)
def _cached_step(path: Path, _inode: int, _changed: int, _size: int) -> int:
    with safe_open(path, "np") as file:  # cached until the next save, because a stream asks several times a second
        return int((file.metadata() or {})["step"])


class Snapshots:
    """A run's snapshots, limited in number and bytes; more frequent early, when most changes."""

    def __init__(self, run: RunFolder, model: nn.Module, config: TrainConfig):
        self._run, self._model = run, model
        self.size = sum(parameter.nbytes for parameter in model.parameters())  # bytes of one snapshot
        self._fit = SNAPSHOT_BYTES // self.size
        self._most = min(config.snapshots, self._fit)
        self.plan(config.steps)

    def plan(self, steps: int) -> None:
        """Plan further snapshots as in a run of `steps` steps."""
        self._steps = set(snapshot_steps(steps, self._most)) if self._fit else set()

    def due(self, step: int) -> bool:
        """Return whether a snapshot is planned at this step, and the weights are finite."""
        return step in self._steps and all_finite(self._model.parameters())

    def take(self, step: int) -> None:
        """Save the weights, and remove the most redundant snapshots beyond the limit."""
        save_weights(self._run.snapshot_path(step), self._model, step)
        steps = [step for step, _ in self._run.snapshots()]
        while len(steps) > max(1, self._most):
            removed = most_redundant_step(steps)
            steps.remove(removed)
            self._run.snapshot_path(removed).unlink(missing_ok=True)


def most_redundant_step(steps: list[int]) -> int:
    """Return the step whose neighbors are closest, as a ratio; never the last, nor the first of several."""
    gaps = {step: (after + 1) / (before + 1) for before, step, after in zip(steps, steps[1:], steps[2:], strict=False)}
    return min(gaps, key=gaps.__getitem__, default=steps[0])
