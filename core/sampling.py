"""Generation of text, one token at a time."""

import random
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from core.fast.compiled import CompiledDecoder, is_supported, is_worthwhile, with_int8_weights
from core.fast.decode import Decoder
from core.fast.threads import one_thread, threads_for
from core.model import GPT, Bigram, Hook, evaluating, finite_logits, parameter_count
from core.sampling_config import GenerationConfig
from core.text.tokenizers import IncrementalDecoder, Tokenizer

_LARGE = 4_000_000  # parameters: more than fit into a core's cache, so that each token reads them from memory


class GeneratedToken(NamedTuple):
    """One generated token; but for `sampled`, probabilities are the model's own, before temperature and cuts."""

    id: int
    probability: float
    alternatives: tuple[tuple[int, float], ...]  # the most likely tokens with their probabilities, best first
    sampled: float  # its probability at the temperature, after top-k, top-p and min-p


def generate(
    model: GPT | Bigram,
    prompt: list[int],
    settings: GenerationConfig = GenerationConfig(),  # noqa: B008 - frozen
    *,
    use_cache: bool = True,  # False computes the whole context again for every token (the same text, slower)
    hook: Hook | None = None,  # reads or changes activations, without a cache
    alternatives: int = 5,  # how many of the most likely tokens to report
    compiled: bool = True,  # by Numba's kernels where that is faster: the same logits but for their last digits
    use_all_threads: bool = False,  # of a large model: faster where nothing else runs, slower during training
) -> Iterator[GeneratedToken]:
    """Continue a prompt from `context_start` on, yielding each token as it is sampled.

    The random numbers come from a generator of their own, seeded by `settings.seed`, so torch's state does not change.
    Raises NotFiniteError where the logits are not finite, ValueError where the prompt is empty.
    """
    if not prompt:
        raise ValueError("a prompt needs at least one token to start from")
    rng = random.Random(settings.seed)
    if settings.weights == "int8":
        model = with_int8_weights(model)
    context, device = list(prompt), next(model.parameters()).device
    decoder = _decoder(model, settings, compiled) if hook is None and use_cache else None
    step_threads = nullcontext if use_all_threads and parameter_count(model) >= _LARGE else one_thread
    kernels = decoder if isinstance(decoder, CompiledDecoder) else None
    kernels_sample = kernels is not None and settings.top_k == 0 and settings.top_p == 1
    cached_from = -1  # the first token whose keys and values are cached
    for _ in range(settings.max_new_tokens):
        first = context_start(len(context), model.block_size, settings.evict_fraction)
        if decoder is None or first != cached_from:
            read = context[first:]
            with evaluating(model), threads_for(len(read) * parameter_count(model)), torch.inference_mode():
                if decoder:
                    logits = decoder.read(read)
                else:
                    logits = model(torch.tensor([read], device=device), hook=hook)[0][0, -1]
        elif kernels:
            logits = kernels.step(context[-1])
        else:
            with step_threads():
                logits = decoder.step(context[-1])
        if kernels and kernels_sample:
            token = GeneratedToken(*kernels.sample(settings.temperature, settings.min_p, rng.random(), alternatives))
        else:
            with step_threads(), torch.inference_mode():
                token = _sampled(logits, settings, rng.random(), alternatives)
        yield token
        context.append(token.id)
        cached_from = first


def _decoder(model: GPT | Bigram, settings: GenerationConfig, compiled: bool) -> Decoder | CompiledDecoder | None:
    """Return the fastest way to read one more token, None for a model that has to read all of them again."""
    if not isinstance(model, GPT) or model.config.sees_ahead:
        return None
    if compiled and is_supported(model, settings.weights) and is_worthwhile(model, settings.max_new_tokens):
        return CompiledDecoder(model, settings.weights)
    return Decoder(model)


def _sampled(logits: Tensor, settings: GenerationConfig, uniform: float, alternatives: int) -> GeneratedToken:
    logits = logits.float().cpu()
    id, sampled = sample_with_probability(logits, settings, uniform)
    probabilities = logits.softmax(dim=-1)
    best = probabilities.topk(min(alternatives, len(probabilities)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return GeneratedToken(id, float(probabilities[id]), tuple(pairs), sampled)


def text_of(tokens: Iterable[GeneratedToken], tokenizer: Tokenizer, stop: str = "") -> Iterator[str]:
    """Yield the text of generated tokens as they come, up to the first of the `stop` characters."""
    decoder = IncrementalDecoder(tokenizer)
    for token in tokens:
        text = decoder.add(token.id)
        end = next((index for index, character in enumerate(text) if character in stop), None)
        if end is not None:
            yield text[:end]
            return
        yield text
    yield decoder.finish()


def context_start(length: int, block_size: int, evict_fraction: float) -> int:
    """Return the first token that the model reads of a text of `length` tokens to predict the next one.

    Whenever the context is full, the oldest `evict_fraction * block_size` tokens (at least one) are dropped. With the
    default quarter most of the work is saved, without a loss of quality: over the same 40,000 characters of Tiny
    Shakespeare the mean loss was 1.823 for gpt-tiny and 1.700 for gpt-fast; always with the full context it was 1.899
    and 1.715. A fraction of 0 reads the last `block_size` tokens for each new one, as nanoGPT's `generate`.
    """
    step = max(1, int(evict_fraction * block_size))
    return max(0, -((block_size - length) // step) * step)  # the excess, rounded up to whole steps


def sampling_distribution(logits: Tensor, settings: GenerationConfig) -> Tensor:
    """Return the probabilities (V,) that a token is sampled from, of logits (V,); after a cut their sum is below 1.

    They follow temperature, top-k (Fan 2018), top-p (Holtzman 2019) and min-p (Nguyen 2024). Raises NotFiniteError
    where the logits are not finite.
    """
    finite_logits(logits)
    if settings.temperature == 0:
        return functional.one_hot(logits.argmax(), len(logits)).float()
    logits = (logits - logits.max()) / settings.temperature  # the largest is 0, so nothing overflows
    if 0 < settings.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(settings.top_k).values[-1], float("-inf"))
    probabilities = logits.softmax(dim=-1)
    if settings.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(dim=-1) - ordered >= settings.top_p  # the token that reaches p stays in
        probabilities[order[beyond]] = 0
    if settings.min_p > 0:
        probabilities[probabilities < settings.min_p * probabilities.max()] = 0
    return probabilities


def sample_token(logits: Tensor, settings: GenerationConfig, uniform: float) -> int:
    """Sample one token from logits (V,). `uniform` is a random number in [0, 1). Raises as `sampling_distribution`."""
    return sample_with_probability(logits, settings, uniform)[0]


def sample_with_probability(logits: Tensor, settings: GenerationConfig, uniform: float) -> tuple[int, float]:
    """Return the same token with the probability that it is sampled with."""
    if settings.temperature == 0:
        return int(finite_logits(logits).argmax()), 1.0
    probabilities = sampling_distribution(logits, settings)
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    token = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    return token, float(probabilities[token] / cumulative[-1])
