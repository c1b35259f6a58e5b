"""Compare the losses of the lecture's presets on Tiny Shakespeare with the published ones."""

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.config import RunConfig
from core.presets import preset
from core.text.batches import split_ids
from core.text.own_text import read_text
from core.text.tokenizers import CharTokenizer
from core.training.cost import MachineSpeed, estimate
from core.training.evaluation import whole_split_loss
from core.training.hardware import knows_bfloat16
from core.training.scaling_law import fit_joint_law
from core.training.speed import choose_precision, measure_speed
from core.training.timed_recipe import (
    SHAPES,
    TEXTS,
    dropout_loss,
    expected_loss,
    recipe_for,
    size_and_tokens,
    sized_recipe,
)
from core.training.trainer import Trainer
from tests.benchmarks.report import report


class Splits(NamedTuple):
    train: Tensor  # ids (N,), int64
    val: Tensor
    vocab_size: int


# Shapes of the recipe for given minutes, and the millions of tokens that runs of each read to fit its law.
FITTED = {0: (0.4, 1.1, 2.5), 1: (0.4, 1.2), 2: (0.42, 1.0)}
PUBLISHED = 4, 33.0, 1.4697  # nanoGPT's best on a GPU: with the shape of the largest, after so many tokens
MINUTES = (0.5, 1, 2, 3, 5, 10)


def read_splits(path: Path, val_fraction: float = 0.1) -> Splits:
    """Return Tiny Shakespeare as our benchmarks read it: characters, the last tenth for validation, as in nanoGPT."""
    text = read_text(path.read_bytes())
    tokenizer = CharTokenizer.from_text(text)
    return Splits(*split_ids(torch.from_numpy(tokenizer.encode_array(text)), val_fraction), tokenizer.vocab_size)


def fit_recipe(text_path: Path) -> None:
    """Print the coefficients of `core.training.timed_recipe`, fitted to six minutes of runs on Tiny Shakespeare.

    Without the published loss of a large model nothing would say how little a text gives that is read many times.
    """
    splits, length = read_splits(text_path), TEXTS["tinyshakespeare"][1]
    largest, most, published = PUBLISHED
    configs = [sized_recipe(SHAPES[at], 1e6 * tokens, length) for at in FITTED for tokens in FITTED[at]]
    precision = "bfloat16" if knows_bfloat16("cpu") else "float32"
    losses = [_loss_after(config, splits, precision) for config in configs]
    configs.append(sized_recipe(SHAPES[largest], 1e6 * most, length))
    losses = [loss - dropout_loss(config) for config, loss in zip(configs, [*losses, published], strict=True)]
    print_law(*zip(*(size_and_tokens(config, length) for config in configs), strict=True), losses)


def print_law(sizes: Sequence[float], tokens: Sequence[float], losses: Sequence[float]) -> None:
    law = fit_joint_law(sizes, tokens, losses)
    (floor, of_size, of_data), (alpha, beta), (size, data) = law.coefficients, law.exponents, law.units
    print(f"E {floor:.4f}, A {of_size * size**alpha:.4f}, alpha {alpha:.4f}")
    print(f"B {of_data * data**beta:.4f}, beta {beta:.4f}")
    print(f"one run lies {law.noise:.4f} off; {np.round(np.asarray(losses) - law.losses(sizes, tokens), 4)}")


def measure_recipe(text_path: Path) -> None:
    """Train for some minutes each; compare time and loss with the estimates. Nothing else should run."""
    splits, length = read_splits(text_path), TEXTS["tinyshakespeare"][1]
    speed, rows = measure_speed(), []
    for minutes in MINUTES:
        config = recipe_for(minutes, length, lambda each: _seconds(each, splits, speed))
        config = config.replace({"data.corpus": "tinyshakespeare"})
        began = perf_counter()
        loss = _loss_after(config, splits, choose_precision(config, speed).precision)
        model, expected = config.model, expected_loss(config)
        rows.append(
            {
                "minutes": minutes,
                "layers/heads/width": f"{model.n_layer}/{model.n_head}/{model.n_embd}",
                "context": model.block_size,
                "batch": config.train.batch_size,
                "steps": config.train.steps,
                "took": f"{(perf_counter() - began) / 60:.2f}",
                "expected loss": f"{expected:.3f}",
                "loss": f"{loss:.3f}",
                "off": f"{loss - expected:+.3f}",
            }
        )
    report("Training for some minutes", rows)


def _seconds(config: RunConfig, splits: Splits, speed: MachineSpeed) -> float:
    return estimate(config, splits.vocab_size, speed, choose_precision(config, speed).precision).seconds


def _loss_after(config: RunConfig, splits: Splits, precision: str) -> float:
    """Return the loss on the whole validation split after all steps, evaluations included."""
    trainer = Trainer(config, splits.train, splits.val, splits.vocab_size, "cpu", precision)
    for _ in trainer.events():
        pass
    return whole_split_loss(trainer.model, splits.val)


def measure(text_path: Path) -> dict[str, str]:
    """Return losses in nats per character over the whole validation split, after each preset's own number of steps."""
    text = read_text(text_path.read_bytes())
    tokenizer = CharTokenizer.from_text(text)
    figures = {}
    for name, target in (("bigram", 2.50), ("gpt-tiny", 1.90), ("gpt-quick", None)):
        config = preset(name)
        half = config.model.kind == "gpt" and knows_bfloat16("cpu")  # in bfloat16, where that is what a run would take
        train, val = split_ids(torch.from_numpy(tokenizer.encode_array(text)), config.data.val_fraction)
        for precision in ("float32", "bfloat16") if half else ("float32",):
            trainer = Trainer(config, train, val, tokenizer.vocab_size, "cpu", precision)
            started = perf_counter()
            for _ in range(config.train.steps):
                trainer.train_step()
            seconds = perf_counter() - started
            loss = whole_split_loss(trainer.model, val)
            aim = f" (target: at most {target:.2f})" if target else ""
            figures[f"{name} in {precision}: validation loss"] = f"{loss:.4f}{aim}"
            figures[f"{name} in {precision}: seconds to train"] = f"{seconds:.0f}"
    return figures


if __name__ == "__main__":
    fit_recipe(Path(sys.argv[1]))
