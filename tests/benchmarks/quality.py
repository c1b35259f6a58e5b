"""Do the lecture's presets reach the published losses on Tiny Shakespeare?"""

from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from core.presets import preset
from core.text.batches import split_ids
from core.text.own_text import read_text
from core.text.tokenizers import CharTokenizer
from core.training.evaluation import whole_split_loss
from core.training.hardware import knows_bfloat16
from core.training.trainer import Trainer


class Splits(NamedTuple):
    train: Tensor  # ids (N,), int64
    val: Tensor
    vocab_size: int


def read_splits(path: Path, val_fraction: float = 0.1) -> Splits:
    """Return Tiny Shakespeare as our benchmarks read it: characters, the last tenth kept aside, as in nanoGPT."""
    text = read_text(path.read_bytes())
    tokenizer = CharTokenizer.from_text(text)
    return Splits(*split_ids(torch.from_numpy(tokenizer.encode_array(text)), val_fraction), tokenizer.vocab_size)


def measure(text_path: Path) -> dict[str, str]:
    """Losses in nats a character over the whole validation split, after each preset's own number of steps."""
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
