"""The loss of a model on text, computed without side effects."""

import math

import numpy as np
import torch
from torch import Tensor

from core.config import RunConfig
from core.model import GPT, Bigram, evaluating
from core.text.batches import predicted_positions
from core.text.ngrams import Baselines, count_baselines
from core.text.tokenizers import Tokenizer

_TOKENS_AT_ONCE = 2048  # larger batches run faster, but who trains with small ones may have little memory
_LOGITS_AT_ONCE = 2**23  # 32 MB; a vocabulary of thousands would need hundreds


def windows_at_once(config: RunConfig, vocab_size: int) -> int:
    """Return how many windows an evaluation reads together, so that it needs no more memory than a training step."""
    tokens = min(_TOKENS_AT_ONCE, _LOGITS_AT_ONCE // vocab_size)
    return max(config.train.batch_size, tokens // config.model.block_size)


@torch.no_grad()
def mean_loss(model: GPT | Bigram, windows: Tensor, batch_size: int) -> float:
    """Return the mean loss in nats/token over windows (N, T+1), without dropout; raises ValueError for none."""
    if not len(windows):
        raise ValueError("a mean over no windows at all does not exist")
    parts = windows.split(batch_size)
    # One transfer for all of them: asking a GPU for each number by itself would make it wait every time. A small tensor
    # left behind by each part would lie between the large ones that are freed, and the memory would grow by every part.
    losses = torch.empty(len(parts), device=windows.device)
    with evaluating(model):
        for index, part in enumerate(parts):
            losses[index] = model(part[:, :-1], part[:, 1:])[1]
    weighted = (loss * len(part) for loss, part in zip(losses.tolist(), parts, strict=True))
    return sum(weighted) / len(windows)


def whole_split_loss(model: GPT | Bigram, ids: Tensor, batch_size: int = 64) -> float:
    """Return the mean loss in nats/token over all of ids (N,), in adjacent windows; ValueError for too few."""
    if len(ids) < 2:
        raise ValueError(f"predicting takes two tokens at least, not {len(ids)}")
    device = next(model.parameters()).device
    size = model.block_size
    full = (len(ids) - 1) // size  # windows of `size` predictions each
    parts = []
    if full:
        parts.append(ids[: full * size + 1].unfold(0, size + 1, size))  # (full, T+1)
    if full * size < len(ids) - 1:
        parts.append(ids[full * size :].unsqueeze(0))
    total = sum(mean_loss(model, part.to(device), batch_size) * part[:, 1:].numel() for part in parts)
    return total / (len(ids) - 1)


def run_baselines(config: RunConfig, train_ids: Tensor, val_ids: Tensor, vocab_size: int) -> Baselines:
    """Return the baselines of splits (N,) on the very tokens of a run's validation loss; TextError for a short text."""
    predicted = predicted_positions(len(val_ids), config.model.block_size, config.train.eval_windows)
    return count_baselines(train_ids.numpy(), val_ids.numpy(), vocab_size, predicted.numpy())


def bytes_per_token(config: RunConfig, val_ids: Tensor, tokenizer: Tokenizer) -> float:
    """Return how many bytes of UTF-8 the tokens of a run's validation loss have on average."""
    predicted = predicted_positions(len(val_ids), config.model.block_size, config.train.eval_windows)
    lengths = np.array([len(data) for data in tokenizer.token_bytes])
    return float(lengths[val_ids[predicted.ravel()].numpy()].mean())


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """Return a loss in nats/token as bits/byte, which compares models of any tokenizer on the same text."""
    return loss / math.log(2) / bytes_per_token
