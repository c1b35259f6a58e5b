"""What the live board draws of a model while it learns: attention on one sentence, and the table of embeddings."""

import numpy as np
import torch
from torch import Tensor

from core.interpretability.attention import attention_patterns, to_bytes
from core.interpretability.embeddings import token_embeddings
from core.model import GPT, Bigram, evaluating
from core.runs.folder import RunFolder
from core.text.tokenizers import Tokenizer

PROBE_LENGTH = 32  # tokens: every head of every layer still fits on one screen
_MOST_EMBEDDINGS = 1000  # of the tokens that come first: a map of more is a cloud


def probe_sentence(val_ids: Tensor, tokenizer: Tokenizer, block_size: int) -> list[int]:
    """The ids of a piece of text the model never trains on, begun at a line's start; at most PROBE_LENGTH."""
    length = min(PROBE_LENGTH, block_size)
    opening = val_ids[: 40 * PROBE_LENGTH].tolist()
    starts = [place + 1 for place, id in enumerate(opening[:-length]) if tokenizer.tokens[id] == "\n"]
    # The first line is usually cut in the middle by the split, and blank lines are no beginning.
    start = next((place for place in starts if not tokenizer.tokens[opening[place]].isspace()), 0)
    return opening[start : start + length]


@torch.inference_mode()
def computes_numbers(model: GPT | Bigram, ids: list[int]) -> bool:
    """Return whether all logits of the probe sentence are finite numbers."""
    with evaluating(model):
        logits, _ = model(torch.tensor([ids], device=next(model.parameters()).device))  # (1, T, V)
    return bool(logits.isfinite().all())


def write_probe(folder: RunFolder, model: GPT | Bigram, step: int, ids: list[int], tokenizer: Tokenizer) -> None:
    """Compute both for the model as it is, and put them where the board looks."""
    attention = to_bytes(attention_patterns(model, ids))  # (L, H, T, T) uint8
    largest = np.finfo(np.float16).max
    embedding = token_embeddings(model)[:_MOST_EMBEDDINGS].clip(-largest, largest).astype(np.float16)  # (V, C)
    folder.write_probe(step, attention, embedding, [tokenizer.tokens[id] for id in ids])
