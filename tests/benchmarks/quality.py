"""Do the lecture's presets reach the published losses on Tiny Shakespeare?"""

from pathlib import Path
from time import perf_counter

import torch

from core.presets import preset
from core.text.batches import split_ids
from core.text.own_text import read_text
from core.text.tokenizer import CharTokenizer
from core.training.evaluation import whole_split_loss
from core.training.trainer import Trainer


def measure(text_path: Path) -> dict[str, str]:
    """Losses in nats a character over the whole validation split, after each preset's own number of steps."""
    text = read_text(text_path.read_bytes())
    tokenizer = CharTokenizer.from_text(text)
    figures = {}
    for name, target in (("bigram", 2.50), ("gpt-tiny", 1.90), ("gpt-quick", None)):
        config = preset(name)
        train, val = split_ids(torch.from_numpy(tokenizer.encode_array(text)), config.data.val_fraction)
        trainer = Trainer(config, train, val, tokenizer.vocab_size, "cpu")
        started = perf_counter()
        for _ in range(config.train.steps):
            trainer.train_step()
        seconds = perf_counter() - started
        loss = whole_split_loss(trainer.model, val)
        figures[f"{name}: validation loss"] = f"{loss:.4f}" + (f" (target: at most {target:.2f})" if target else "")
        figures[f"{name}: seconds to train"] = f"{seconds:.0f}"
    return figures
