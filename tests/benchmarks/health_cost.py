"""Measure the share of training time that the measurements of training health take in a run."""

from pathlib import Path
from time import perf_counter

import torch

from core.presets import preset
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.tokenizers import CharTokenizer
from core.training.checkpoints import snapshot_steps
from core.training.health import MAX_ROWS
from core.training.trainer import Trainer


def measure() -> dict[str, str]:
    """Return the share for the whole training of gpt-quick, and the time of one measurement beside that of a step."""
    config = preset("gpt-quick").replace({"train.device": "cpu", "train.precision": "float32"})
    text = load_corpus("shakespeare", Path())
    tokenizer = CharTokenizer.from_text(text)
    train_ids, val_ids = split_ids(torch.from_numpy(tokenizer.encode_array(text).copy()), config.data.val_fraction)
    trainer = Trainer(config, train_ids, val_ids, tokenizer.vocab_size)
    planned = set(snapshot_steps(config.train.steps, MAX_ROWS))
    measuring, started = 0.0, perf_counter()
    while trainer.step < config.train.steps:
        trainer.train_step(measure_update=trainer.step + 1 in planned)
        if trainer.step in planned:
            begun = perf_counter()
            trainer.health().row()
            measuring += perf_counter() - begun
    training = perf_counter() - started - measuring
    return {
        f"share of the steps' time, {len(planned)} measurements in {config.train.steps:,} steps of gpt-quick": (
            f"{measuring / training:.1%}"
        ),
        "one measurement, in steps": f"{measuring / (len(planned) - 1) / (training / config.train.steps):.1f}",
    }
