"""Tiny Shakespeare as our benchmarks read it: characters, the last tenth kept aside, as in nanoGPT."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from core.text.batches import split_ids
from core.text.own_text import read_text
from core.text.tokenizers import CharTokenizer


class Splits(NamedTuple):
    train: Tensor  # ids (N,), int64
    val: Tensor
    vocab_size: int


def read_splits(path: Path, val_fraction: float = 0.1) -> Splits:
    text = read_text(path.read_bytes())
    tokenizer = CharTokenizer.from_text(text)
    return Splits(*split_ids(torch.from_numpy(tokenizer.encode_array(text)), val_fraction), tokenizer.vocab_size)
