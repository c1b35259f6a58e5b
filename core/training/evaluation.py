"""How surprised a model is by text, measured without leaving a trace."""

import torch
from torch import Tensor

from core.config import RunConfig
from core.model import GPT, Bigram, evaluating
from core.text.batches import predicted_positions
from core.text.ngrams import Baselines, count_baselines


@torch.no_grad()
def mean_loss(model: GPT | Bigram, windows: Tensor, batch_size: int) -> float:
    """Mean loss in nats a token over windows (N, T+1): their first T tokens are read, their last T predicted.

    Dropout is off meanwhile, no random number is drawn, and the model is left in the mode it was in.

    Raises:
        ValueError: there are no windows.
    """
    if not len(windows):
        raise ValueError("a mean over no windows at all does not exist")
    with evaluating(model):
        losses = [model(part[:, :-1], part[:, 1:])[1] for part in windows.split(batch_size)]
    sizes = [len(part) for part in windows.split(batch_size)]
    # One transfer for all of them: asking a GPU for each number by itself would make it wait every time.
    values = torch.stack(losses).tolist()
    return sum(value * size for value, size in zip(values, sizes, strict=True)) / len(windows)


def whole_split_loss(model: GPT | Bigram, ids: Tensor, batch_size: int = 64) -> float:
    """Mean loss in nats a token over all of ids (N,), read in windows side by side, the last one shorter.

    Every token but the first is predicted exactly once.

    Raises:
        ValueError: fewer than two tokens.
    """
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
    """Return the baselines measured on exactly the tokens that a run's validation loss is measured on.

    Args:
        config: `block_size` and `eval_windows` decide on those tokens.
        train_ids, val_ids: the two splits, each (N,).

    Raises:
        TextError: the text is too short to count triples.
    """
    predicted = predicted_positions(len(val_ids), config.model.block_size, config.train.eval_windows)
    return count_baselines(train_ids.numpy(), val_ids.numpy(), vocab_size, predicted.numpy())
