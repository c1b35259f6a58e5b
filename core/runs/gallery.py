"""The gallery: small trained models that come with the app, and the recipes they were trained with.

`make gallery` retrains them into `assets/gallery`. Each is a read-only run folder with a few snapshots in float16. It
contains nothing that depends on the clock, so a machine writes the same bytes each time.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from core.atomic_io import write_atomically
from core.classroom import check_gallery_open
from core.config import RunConfig
from core.errors import RunError
from core.paths import class_root, gallery_dir, shared_names
from core.presets import preset
from core.runs.folder import RUN_ID, RunFolder, list_runs, open_run
from core.terminal import print_line

_SNAPSHOTS = 12  # at most, for each model
_MAX_SNAPSHOTS = 200  # the bound of `train.snapshots`
_CREATED = "2026-11-29T00:00:00+00:00"
_CLOCK = ("seconds", "tokens_per_second")  # columns of metrics.jsonl that differ between trainings
_ALIKE = {"train.device": "cpu", "train.precision": "float32", "train.compile": "off"}  # independent of the machine


RECIPES: dict[str, tuple[str, RunConfig]] = {  # name and settings by id; the page Home shows the first
    "gallery-shakespeare": ("Shakespeare", preset("gpt-quick").replace({"train.steps": 6000})),
    "gallery-layers": (
        "Shakespeare, four layers",
        preset("gpt-quick").replace(
            {"model.n_layer": 4, "model.n_embd": 48, "model.block_size": 64, "train.steps": 4000}
        ),
    ),
    "gallery-bigram": ("Shakespeare, bigram", preset("bigram")),
    "gallery-induction": ("Induction heads", preset("induction")),
    "gallery-grokking": (
        "Addition modulo 59, grokked",
        preset("modular-addition").replace(
            {"model.n_embd": 56, "train.log_interval": 50, "train.sample_interval": 200, "train.snapshots": 12}
        ),
    ),
}
# Steps whose snapshots are kept for models that learn suddenly; the others keep snapshots like any run.
_STEPS = {
    "gallery-induction": (0, 60, 90, 110, 120, 130, 140, 150, 170, 230, 600),
    "gallery-grokking": (0, 200, 450, 800, 1050, 1100, 1150, 1300, 1350, 1600, 4000),
}


def gallery_runs(data_dir: Path | None = None) -> list[RunFolder]:
    """Return the models that come with the app; empty if the member with this data folder may not open them."""
    with suppress(RunError):
        if data_dir:
            check_gallery_open(data_dir)
        return [folder for id in RECIPES if (folder := RunFolder(gallery_dir() / id)).path.is_dir()]
    return []


def shared_runs(data_dir: Path) -> list[RunFolder]:
    """Return the runs that others share with the class member who has this data folder, newest first."""
    runs: list[RunFolder] = []
    if (root := class_root(data_dir)) == data_dir:
        return runs
    for id in filter(RUN_ID.fullmatch, shared_names(root)):
        with suppress(RunError):
            if (run := open_run(data_dir, id)).is_shared:
                runs.append(run)
    return runs


def runs_with_weights(data_dir: Path) -> Iterator[RunFolder]:
    """Yield the runs that have weights: the data folder's, newest first, then shared ones, then the gallery's."""
    return (run for run in (*list_runs(data_dir), *shared_runs(data_dir), *gallery_runs(data_dir)) if run.has_weights)


def make_model(place: Path, name: str, config: RunConfig, steps: Sequence[int] = ()) -> RunFolder:
    """Train a model in this process, with one thread, and replace the folder `place` with it.

    Keeps the snapshots nearest to `steps`; without `steps`, at most `_SNAPSHOTS` at the usual steps.
    """
    from core.runs.ancestry import new_run
    from core.runs.worker import train_run

    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        snapshots = _MAX_SNAPSHOTS if steps else min(_SNAPSHOTS, config.train.snapshots)
        run = new_run(data_dir, config.replace(_ALIKE | {"train.snapshots": snapshots}), name)
        train_run(run, data_dir, threads=1)
        return _publish(run, place, config, steps)


def _publish(run: RunFolder, place: Path, config: RunConfig, steps: Sequence[int]) -> RunFolder:
    """Copy the files of a run that pages show, with snapshots in float16 and without anything clock-dependent.

    The record has the recipe's own settings, so that a fork trains on any machine's device.
    """
    shutil.rmtree(place, ignore_errors=True)
    made = RunFolder(place)
    for folder in (made.snapshots_folder, made.probes):
        folder.mkdir(parents=True)
    record = run.record().model_copy(update={"created": _CREATED, "config": config})
    write_atomically(made.record_path, record.model_dump_json(indent=2, exclude={"id"}).encode())
    status = run.status().model_dump(mode="json")
    for field in ("seconds", "waited", "tokens_per_second", "oom_kills", "slowest", "updated", "attempt"):
        status.pop(field, None)
    write_atomically(made.status_path, json.dumps(status).encode())
    for path in (run.tokenizer_path, run.baselines_path, run.samples_path, run.health_path):
        if path.exists():  # a bigram has no health
            shutil.copyfile(path, place / path.name)
    _save_again(run.probe_path, made.probe_path)
    rows = [{name: value for name, value in row.items() if name not in _CLOCK} for row in run.rows("metrics")]
    write_atomically(made.metrics_path, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    paths = dict(run.snapshots())
    for step in {min(paths, key=lambda step: abs(step - wanted)) for wanted in steps} or paths:
        _save_again(paths[step], made.snapshot_path(step), half=True)
    return made


def _save_again(path: Path, target: Path, *, half: bool = False) -> None:
    """Write a safetensors file with its metadata in a fixed order, which the library does not guarantee."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    from core.training.checkpoints import save_with_checksum

    with safe_open(path, "pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name in ("step", "tokens")}
    save_with_checksum({name: t.half() if half else t for name, t in load_file(path).items()}, target, metadata)


if __name__ == "__main__":
    for id, (name, config) in RECIPES.items():
        print_line(f"Training {name!r} ...")
        folder = make_model(gallery_dir() / id, name, config, _STEPS.get(id, ()))
        print_line(f"{folder.status().val_loss:.3f} nats a token, {folder.size / 1e6:.2f} MB")
