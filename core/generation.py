"""Writing with a model, one token at a time."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from core.config import GenerationConfig
from core.model import GPT, Bigram, KVCache, evaluating


class GeneratedToken(NamedTuple):
    """One written token, and what the model thought at that moment.

    Probabilities are the model's own, before temperature, top-k and top-p.
    """

    id: int
    probability: float
    alternatives: tuple[tuple[int, float], ...]  # the likeliest tokens with their probabilities, best first


def generate(
    model: GPT | Bigram,
    prompt: list[int],
    settings: GenerationConfig = GenerationConfig(),  # noqa: B008 - frozen
    *,
    stop: Collection[int] = (),
    use_cache: bool = True,
    alternatives: int = 5,
) -> Iterator[GeneratedToken]:
    """Continue a prompt, yielding each token as it is chosen.

    The dice are a generator of their own, seeded by `settings.seed`: writing disturbs nobody else's randomness.
    While the context has room, keys and values are cached; past it the window slides and is read anew.

    Args:
        prompt: at least one token id; only the last `block_size` of them can be seen.
        stop: token ids that end the text; they are not yielded.
        use_cache: False recomputes the whole context for every token (the same text, slower).
        alternatives: how many of the likeliest tokens to report.

    Raises:
        ValueError: the prompt is empty.
    """
    if not prompt:
        raise ValueError("a prompt needs at least one token to start from")
    device = next(model.parameters()).device
    dice = torch.Generator().manual_seed(settings.seed)
    context = list(prompt)
    cache = (
        KVCache(model.config, device=device) if use_cache and isinstance(model, GPT) and model.config.causal else None
    )
    unread = context[-model.block_size :]
    for _ in range(settings.max_new_tokens):
        if cache and cache.length + len(unread) > model.block_size:
            cache = None
        if cache is None:
            unread = context[-model.block_size :]
        with torch.no_grad(), evaluating(model):
            logits, _ = model(torch.tensor([unread], device=device), cache=cache)
        logits = logits[0, -1].float().cpu()  # (V,)
        chosen = choose(logits, settings, dice)
        if chosen in stop:
            return
        belief = logits.softmax(dim=-1)
        best = belief.topk(min(alternatives, len(belief)))
        yield GeneratedToken(
            chosen, belief[chosen].item(), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        )
        context.append(chosen)
        unread = [chosen]


def choose(logits: Tensor, settings: GenerationConfig, dice: torch.Generator) -> int:
    """Draw one token from logits (V,) after temperature, top-k (Fan 2018) and top-p (Holtzman 2019).

    Temperature 0 takes the likeliest, and of equals the first.
    """
    if settings.temperature == 0:
        return int(logits.argmax())
    logits = (logits - logits.max()) / settings.temperature  # the likeliest stays at 0, so nothing overflows
    if 0 < settings.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(settings.top_k).values[-1], float("-inf"))
    probabilities = logits.softmax(dim=-1)
    if settings.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(dim=-1) - ordered >= settings.top_p  # the token that crosses the line stays in
        probabilities[order[beyond]] = 0
    return int(torch.multinomial(probabilities, 1, generator=dice))
