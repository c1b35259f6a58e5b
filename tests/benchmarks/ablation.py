"""Measure what each setting of `gpt-fast` gains: remove each one alone, then add all of them one after the other."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.config import RunConfig
from core.presets import preset
from core.settings import value_at
from core.training.evaluation import whole_split_loss
from core.training.trainer import Trainer
from tests.benchmarks.quality import Splits, read_splits
from tests.benchmarks.report import report

SEEDS = (1, 2)
ROUNDS, STEPS_A_ROUND = 20, 5
# What each part is when it is off: GPT-2 with nanoGPT's optimizer and schedule. Where AdamW does everything it wants
# smaller steps than the embeddings alone do.
PARTS: dict[str, dict[str, Any]] = {
    "rotary positions": {"model.position": "learned"},
    "Muon": {"train.optimizer": "adamw", "train.learning_rate": 6e-3},
    "normalised rows of Muon's updates": {"train.muon_normalize_rows": False},
    "two heads of twice the size": {"model.n_head": 4},
    "no clipping": {"train.grad_clip": 1.0},
    "a look one token back": {"model.token_shift": False},
    "RMS norm": {"model.norm": "layer"},
    "squared ReLU": {"model.activation": "gelu"},
    "normalised queries and keys": {"model.qk_norm": False},
    "blocks that start at zero": {"model.zero_init": False},
    "start from counted pairs": {"model.bigram_start": False},
    "straight to zero": {"train.schedule": "cosine", "train.min_learning_rate": 1.5e-3},
}


def measure(text: Path) -> None:
    splits = read_splits(text)
    whole = preset("gpt-fast")
    without = {"gpt-fast, whole": whole} | {f"without {name}": whole.replace(off) for name, off in PARTS.items()}
    ladder = {"the plain recipe": whole.replace({path: value for off in PARTS.values() for path, value in off.items()})}
    for name, off in PARTS.items():
        last = list(ladder.values())[-1]
        ladder[f"+ {name}"] = last.replace({path: value_at(whole, path) for path in off})
    configs = list(without.values()) + list(ladder.values())[:-1]  # whose end is gpt-fast again

    losses = [statistics.mean(_loss(config, splits, seed) for seed in SEEDS) for config in configs]
    seconds = _step_seconds(configs, splits)
    measured = list(zip(losses, seconds, strict=True))
    parts = len(PARTS) + 1
    report("Ablation: each part taken out alone", _rows(without, measured[:parts], base=measured[0]))
    rungs = [*measured[parts:], measured[0]]
    report("Ablation: one part added after the other", _rows(ladder, rungs, base=rungs[0]))


def _rows(
    names: Iterable[str], measured: list[tuple[float, float]], base: tuple[float, float]
) -> list[dict[str, object]]:
    return [
        {
            "recipe": name,
            "validation loss": f"{loss:.3f}",
            "against the first": f"{loss - base[0]:+.3f}",
            "seconds a step, against the first": f"{seconds / base[1]:.2f}",
        }
        for name, (loss, seconds) in zip(names, measured, strict=True)
    ]


def _loss(config: RunConfig, splits: Splits, seed: int) -> float:
    """Return the loss on the whole validation split, after all steps."""
    trainer = _trainer(config.replace({"train.seed": seed}), splits)
    for _ in range(config.train.steps):
        trainer.train_step()
    return whole_split_loss(trainer.model, splits.val, batch_size=128)


def _step_seconds(configs: list[RunConfig], splits: Splits) -> list[float]:
    """Return the seconds of a step of each, measured alternately, because the machine's speed drifts."""
    trainers = [_trainer(config, splits) for config in configs]
    seconds: list[list[float]] = [[] for _ in configs]
    for _ in range(ROUNDS):
        for trainer, mine in zip(trainers, seconds, strict=True):
            mine.extend(trainer.train_step().seconds for _ in range(STEPS_A_ROUND))
    return [statistics.median(mine) for mine in seconds]


def _trainer(config: RunConfig, splits: Splits) -> Trainer:
    return Trainer(config, splits.train, splits.val, splits.vocab_size, "cpu")
