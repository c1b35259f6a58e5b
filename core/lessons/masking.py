"""Two things that a model may not see: the future, which the mask hides, and the order, which positions tell."""

import torch
from torch import Tensor

from core.interpretability.attention import attention_patterns
from core.interpretability.residual_stream import next_token_probabilities
from core.interpretability.token_losses import window_losses
from core.model import GPT
from core.text.batches import fixed_windows

WINDOWS = 200


def loss_by_place(model: GPT, ids: Tensor) -> Tensor:
    """Mean loss in nats at each place of the context, on text ids (N,): (T,). At the last place no future stands."""
    return window_losses(model, fixed_windows(ids, model.block_size, WINDOWS)).mean(dim=0)


def look_ahead(model: GPT, ids: Tensor) -> float:
    """The share of attention that goes to the very next token, the answer: the most that any head gives, 0 to 1."""
    patterns = torch.from_numpy(attention_patterns(model, ids[: model.block_size]))  # (L, H, T, T)
    return float(patterns.diagonal(offset=1, dim1=-2, dim2=-1).mean(dim=-1).max())


def after_shuffling(model: GPT, ids: list[int], seed: int = 0) -> tuple[list[int], Tensor, Tensor]:
    """The tokens with all but the last in another order, and what the model expects next: before (V,) and after (V,).

    The last token stays, because it is the one that asks.
    """
    order = torch.randperm(len(ids) - 1, generator=torch.Generator().manual_seed(seed)).tolist()
    shuffled = [ids[place] for place in order] + ids[-1:]
    before, after = (torch.as_tensor(next_token_probabilities(model, row)) for row in (ids, shuffled))
    return shuffled, before, after
