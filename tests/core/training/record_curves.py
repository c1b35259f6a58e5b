"""`python -m tests.core.training.record_curves`: train the short runs for `test_progress_summary.py`."""

import json
from pathlib import Path
from typing import Any

import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.tokenizers import CharTokenizer
from core.training.trainer import Trainer

FILE = Path(__file__).with_name("recorded_curves.json")
RATE = "train.learning_rate"
# Per run: settings, changes during training as {step: (setting, value)}, and the length of the text.
RUNS: dict[str, dict[str, Any]] = {
    "still falling": {"steps": 300, "settings": {"train.schedule": "constant"}},
    "settled": {"steps": 1500},
    "ruined by the learning rate": {"steps": 1500, "changes": {1100: (RATE, 1.0)}},
    "slightly worse after the learning rate": {"steps": 1000, "changes": {600: (RATE, 0.05)}},
    "recovers": {"steps": 1500, "changes": {500: (RATE, 0.3), 560: (RATE, 0.006)}},
    "overfitting": {"steps": 1500, "text": 6000},
    "slow": {"steps": 400, "settings": {RATE: 1e-6, "train.min_learning_rate": 0.0}},
    "too fast from the start": {"steps": 600, "settings": {RATE: 1.0, "train.min_learning_rate": 1.0}},
    "finer steps help": {"steps": 1000, "changes": {500: (RATE, 0.001)}, "settings": {"train.schedule": "constant"}},
    "bigram": {"steps": 1500, "settings": {"model.kind": "bigram", "train.learning_rate": 0.05}},
}


def record(name: str) -> dict[str, Any]:
    """Train one of `RUNS`; return its measured rows and its setting changes as (step, setting, before, value)."""
    wanted = RUNS[name]
    config = RunConfig(
        model=ModelConfig(n_layer=2, n_head=4, n_embd=32, block_size=32, position="rope"),
        train=TrainConfig(
            steps=wanted["steps"],
            batch_size=16,
            learning_rate=6e-3,
            min_learning_rate=6e-4,
            warmup_steps=20,
            eval_interval=50,
            eval_windows=64,
            device="cpu",
            precision="float32",
        ),
    ).replace(wanted.get("settings", {}))
    text = load_corpus("shakespeare", FILE.parent)[: wanted.get("text", 500_000)]
    tokenizer = CharTokenizer.from_text(text)
    ids = torch.from_numpy(tokenizer.encode_array(text))
    trainer = Trainer(config, *split_ids(ids, config.data.val_fraction), tokenizer.vocab_size)
    rows, changes, norm = [], [], None
    for step in range(config.train.steps + 1):
        if step in wanted.get("changes", {}):
            setting, value = wanted["changes"][step]
            changes.append([step, setting, trainer.config.train.learning_rate, value])
            trainer.change_setting(setting, value)
        if step % config.train.eval_interval == 0:
            found = trainer.evaluate()
            row = {"step": step, "train_loss": round(found.train_loss, 4), "val_loss": round(found.val_loss, 4)}
            rows.append(row | ({"grad_norm": round(norm, 3)} if norm is not None else {}))
        if step < config.train.steps:
            norm = trainer.train_step().grad_norm
    return {"steps": config.train.steps, "rows": rows, "changes": changes}


if __name__ == "__main__":
    torch.set_num_threads(1)
    lines = [f"{json.dumps(name)}: {json.dumps(record(name))}" for name in RUNS]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
