"""Writing with a bigram: ask for the next token, roll the dice, begin again."""

import torch
from torch import Tensor
from torch.nn import functional as F

from core.model import Bigram


@torch.no_grad()
def write(model: Bigram, ids: Tensor, count: int, seed: int) -> Tensor:
    """Continue ids (T,) by `count` tokens, each drawn as likely as the model believes it: (T + count,)."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(count):
        logits, _ = model(ids[None, -1:])  # (1, 1, V): the last token is all that a bigram looks at
        probabilities = F.softmax(logits[0, -1], dim=-1)  # (V,)
        next_id = torch.multinomial(probabilities, 1, generator=rng)  # (1,)
        ids = torch.cat([ids, next_id])
    return ids


@torch.no_grad()
def write_likeliest(model: Bigram, ids: Tensor, count: int) -> Tensor:
    """The same without dice: always the likeliest token."""
    for _ in range(count):
        logits, _ = model(ids[None, -1:])
        ids = torch.cat([ids, logits[0, -1].argmax()[None]])
    return ids


def circle(ids: Tensor) -> list[int]:
    """The shortest stretch that ids (T,) end with twice in a row; empty if they do not go in a circle."""
    ids = ids.tolist()
    for length in range(1, len(ids) // 2 + 1):
        if ids[-length:] == ids[-2 * length : -length]:
            return ids[-length:]
    return []
