"""Measure the time to nanoGPT's loss: its recipe for a CPU against `gpt-fast`, to the same loss and to its end.

The checkout of nanoGPT is only read: its train.py runs unchanged, in a temporary folder that contains the data. Both
sides start their clock after all imports, and evaluate during training, with the clock running.
"""

import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from core.config import RunConfig
from core.fast.threads import keep_freed_memory
from core.import_export.external_weights import build
from core.import_export.nanogpt import read_checkpoint
from core.presets import preset
from core.training.cost import MachineSpeed
from core.training.evaluation import whole_split_loss
from core.training.speed import choose_precision, measure_speed
from core.training.trainer import Trainer
from tests.benchmarks.quality import Splits, read_splits
from tests.benchmarks.report import report

SHORT = 200  # steps of `gpt-fast` that end below 1.88 on the whole validation split, below nanoGPT's recipe
ROUNDS, THEIR_ROUNDS = 5, 3  # of nanoGPT fewer: its seed is fixed, so only the time differs
THEIRS = "nanoGPT's recipe for a processor"
# As its README writes it for a processor, but saved at every measurement: so the last weights are there to be measured.
RECIPE = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 "
    "--batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0 "
    "--always_save_checkpoint=True"
)
# Runs train.py as it is, and tells the seconds from after the imports to the end.
CLOCKED = """
import runpy, sys, time
import model
sys.argv = ["train.py", *sys.argv[1:]]
start = time.perf_counter()
runpy.run_path("train.py", run_name="__main__")
print("clocked", time.perf_counter() - start)
"""


def measure(checkout: Path, text: Path, rounds: int = ROUNDS) -> None:
    splits = read_splits(text)
    config = preset("gpt-fast")
    _speed()  # known before any clock runs, as it is in the app
    keep_freed_memory()  # as a worker does
    runs: dict[str, list[tuple[float, float]]] = {THEIRS: []}
    recipes = {
        f"gpt-fast of {steps} steps": config.replace({"train.steps": steps}) for steps in (SHORT, config.train.steps)
    }
    for round in range(rounds):
        if round < THEIR_ROUNDS:
            with tempfile.TemporaryDirectory() as folder:
                runs[THEIRS].append(run_nanogpt(checkout, splits, Path(folder), RECIPE))
        for name, recipe in recipes.items():
            seed = {"train.seed": recipe.train.seed + round}
            runs.setdefault(name, []).append(to_the_end(recipe.replace(seed), splits))
    theirs = statistics.median(seconds for seconds, _ in runs[THEIRS])
    rows = [_row(name, each, theirs) for name, each in runs.items()]
    report("Time to quality", rows)


def _row(name: str, runs: list[tuple[float, float]], theirs: float) -> dict[str, object]:
    seconds = statistics.median(run[0] for run in runs)
    return {
        "run": name,
        "seconds (median)": f"{seconds:.1f}",
        "validation loss": " ".join(f"{run[1]:.4f}" for run in runs),
        "of nanoGPT's time": f"{seconds / theirs:.3f}",
    }


def to_the_end(config: RunConfig, splits: Splits) -> tuple[float, float]:
    """Return the seconds of the whole run with its evaluations, and its loss on the whole validation split."""
    start = perf_counter()
    trainer = _trainer(config, splits)
    for _ in trainer.events():
        pass
    return perf_counter() - start, whole_split_loss(trainer.model, splits.val)


def _trainer(config: RunConfig, splits: Splits) -> Trainer:
    """Return a trainer as in a worker: in the precision measured to be faster on this machine."""
    precision = choose_precision(config, _speed()).precision
    return Trainer(config, splits.train, splits.val, splits.vocab_size, "cpu", precision)


@cache
def _speed() -> MachineSpeed:
    return measure_speed()


def run_nanogpt(checkout: Path, splits: Splits, folder: Path, recipe: str) -> tuple[float, float]:
    """Return the seconds of train.py with this recipe, and its last loss on the whole validation split."""
    prepare(checkout, splits, folder)
    (folder / "clocked.py").write_text(CLOCKED, "utf-8")
    run = subprocess.run(
        [sys.executable, "clocked.py", *recipe.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if run.returncode:
        raise RuntimeError(f"nanoGPT's train.py failed:\n{run.stderr[-2000:]}")
    seconds = float(run.stdout.split()[-1])
    return seconds, whole_split_loss(build(read_checkpoint(next(folder.glob("out*/ckpt.pt")))), splits.val)


def prepare(checkout: Path, splits: Splits, folder: Path) -> None:
    """Make a folder with the files of train.py and the data, as its prepare.py writes them."""
    for name in ("train.py", "model.py", "configurator.py", "config"):
        (folder / name).symlink_to(checkout.resolve() / name)
    data = folder / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    splits.train.numpy().astype(np.uint16).tofile(data / "train.bin")
    splits.val.numpy().astype(np.uint16).tofile(data / "val.bin")
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": splits.vocab_size}))
