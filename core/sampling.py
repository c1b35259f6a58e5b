"""Writing with a model, one token at a time."""

import random
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from core.fast.decode import Decoder
from core.fast.threads import one_thread, threads_for
from core.model import GPT, Bigram, Hook, evaluating, parameter_count
from core.sampling_config import GenerationConfig
from core.text.tokenizers import IncrementalDecoder, Tokenizer
from core.training.finite import finite_logits

_LARGE = 4_000_000  # parameters: more than a core holds close by, so that each token reads them from memory


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
    use_cache: bool = True,
    hook: Hook | None = None,
    alternatives: int = 5,
    spread: bool = False,
) -> Iterator[GeneratedToken]:
    """Continue a prompt, yielding each token as it is chosen.

    The dice are a generator of their own, seeded by `settings.seed`: writing disturbs nobody else's randomness.
    Each token is drawn from what the model expects after the tokens from `first_seen` on. Keys and values of those
    are cached, so each is read once, and once more whenever the oldest are forgotten.

    Args:
        prompt: at least one token id; only the last `block_size` of them can be seen.
        use_cache: False has the model read all that can be seen for every token (the same text, slower).
        tap: reads or changes what the model computes (`core.model.gpt`, `core.interpretability.ablation`). With it
            nothing is cached: the whole context is computed again for every token.
        alternatives: how many of the likeliest tokens to report.
        spread: a large model takes all of torch's threads. A quarter faster where nothing else runs, and half as fast
            beside training, where threads wait for each other.

    Raises:
        NotFiniteError: the model computes logits that give no probabilities.
        ValueError: the prompt is empty.
    """
    if not prompt:
        raise ValueError("a prompt needs at least one token to start from")
    rng = random.Random(settings.seed)
    context = list(prompt)
    remembers = hook is None and use_cache and isinstance(model, GPT) and not model.config.sees_ahead
    decoder = Decoder(model) if remembers else None
    alone = nullcontext if spread and parameter_count(model) >= _LARGE else one_thread
    remembered = -1  # the first token whose keys and values are held
    for _ in range(settings.max_new_tokens):
        first = context_start(len(context), model.block_size, settings.evict_fraction)
        if decoder is None or first != remembered:
            with evaluating(model), threads_for((len(context) - first) * parameter_count(model)):
                logits = decoder.read(context[first:]) if decoder else _read(model, context[first:], hook)
        with alone(), torch.inference_mode():
            if decoder and first == remembered:
                logits = decoder.step(context[-1])
            logits = logits.float().cpu()
            chosen = choose(logits, settings, rng.random())
            token = _with_belief(chosen, logits, alternatives)
        yield token
        context.append(chosen)
        remembered = first


def text_of(tokens: Iterable[GeneratedToken], tokenizer: Tokenizer, stop: str = "") -> Iterator[str]:
    """Yield the text of generated tokens as they come, each character once it is complete.

    Args:
        stop: characters, each of which ends the text wherever it lies within a token; it is not yielded.
    """
    decoder = IncrementalDecoder(tokenizer)
    for token in tokens:
        text = decoder.add(token.id)
        end = next((place for place, character in enumerate(text) if character in stop), None)
        if end is not None:
            yield text[:end]
            return
        yield text
    yield decoder.finish()


def context_start(length: int, block_size: int, evict_fraction: float) -> int:
    """Where the model begins to read a text of `length` tokens in order to write the next one.

    As long as the text fits into the context, at its beginning. Each time it has grown out of it, the oldest
    `evict_fraction * block_size` tokens (at least one) are dropped at once. So with the usual quarter every token is
    written in view of the last three quarters of the context or more, and most of the work is saved. It costs no
    quality, on the contrary: the ends of the context are what a model learns least about. Over the same 40,000 letters
    of Tiny Shakespeare, the mean loss with the last quarter of lengths was 1.823 for gpt-tiny and 1.700 for gpt-fast;
    always with the full context, as in exact sliding, it was 1.899 and 1.715. A fraction of 0 is that exact sliding:
    the last `block_size` tokens are read for each new one, as nanoGPT's `generate` crops them.
    """
    step = max(1, int(evict_fraction * block_size))
    return max(0, -((block_size - length) // step) * step)  # the excess, rounded up to whole steps


def choose(logits: Tensor, settings: GenerationConfig, uniform: float) -> int:
    """Pick one token from logits (V,) after temperature, top-k (Fan 2018), top-p (Holtzman 2019) and min-p (Nguyen
    2024).

    Temperature 0 takes the likeliest, and of equals the first.

    Args:
        roll: of the dice, evenly distributed in [0, 1).

    Raises NotFiniteError where the logits give no probabilities.
    """
    finite_logits(logits)
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
    if settings.min_p > 0:
        probabilities[probabilities < settings.min_p * probabilities.max()] = 0
    heaped = probabilities.cumsum(dim=-1, dtype=torch.float64)  # each token owns a stretch as long as its probability
    return int(torch.searchsorted(heaped, uniform * heaped[-1], right=True))


def _read(model: GPT | Bigram, ids: list[int], hook: Hook | None) -> Tensor:
    """Logits (V,) of what may follow these tokens, from the model itself."""
    with torch.inference_mode():
        return model(torch.tensor([ids], device=next(model.parameters()).device), hook=hook)[0][0, -1]


def _with_belief(chosen: int, logits: Tensor, alternatives: int) -> GeneratedToken:
    belief = logits.softmax(dim=-1)
    if not alternatives:
        return GeneratedToken(chosen, float(belief[chosen]), ())
    best = belief.topk(min(alternatives, len(belief)))
    return GeneratedToken(
        chosen, float(belief[chosen]), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    )
