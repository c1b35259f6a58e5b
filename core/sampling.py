"""Text generation, one token at a time."""

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from core.errors import NotFiniteError
from core.fast.compiled import CompiledDecoder, cached_bytes, is_supported, is_worthwhile, with_int8_weights
from core.fast.decode import Decoder
from core.fast.threads import one_thread, threads_for
from core.model import GPT, Bigram, Hook, evaluating, finite_logits, parameter_count
from core.sampling_config import GenerationConfig
from core.text.tokenizers import IncrementalDecoder, Tokenizer

_MAX_AT_ONCE, _MAX_CACHED = 16, 256_000_000  # texts, and bytes of their keys and values
_AT_ONCE_SECONDS, _MAX_TOKENS = 0.01, 64  # per kernel call, which returns its tokens at the end
_LARGE = 4_000_000  # parameters; these exceed a core's cache, so each token reads them from memory


class GeneratedToken(NamedTuple):
    """One generated token; except for `sampled`, probabilities are the model's, before temperature and cuts."""

    id: int
    probability: float
    alternatives: tuple[tuple[int, float], ...]  # the top tokens and their probabilities, best first
    sampled: float  # its probability at the temperature, after top-k, top-p and min-p


def generate(
    model: GPT | Bigram,
    prompt: list[int],
    settings: GenerationConfig = GenerationConfig(),  # noqa: B008 - frozen
    *,
    use_cache: bool = True,  # False recomputes the whole context for every token (same text, slower)
    hook: Hook | None = None,  # reads or changes activations; disables the cache
    alternatives: int = 5,  # how many top tokens to report
    compiled: bool = True,  # use Numba kernels if they are faster; logits differ only in the last digits
    use_all_threads: bool = False,  # for large models: faster if nothing else runs, slower during training
) -> Iterator[GeneratedToken]:
    """Continue a prompt, yielding each token as it is sampled. The model reads the prompt from `context_start` on.

    A separate random generator, seeded by `settings.seed`, leaves torch's random state unchanged.
    Raises NotFiniteError if the logits are not finite, ValueError if the prompt is empty.
    """
    text = _Text(0, list(prompt), settings)
    if hook is None and use_cache and compiled and _is_compiled(model, [settings]):
        for _, token in _write(model, [text], alternatives, threads=1):
            if isinstance(token, NotFiniteError):
                raise token
            yield token
        return
    if settings.weights == "int8":
        model = with_int8_weights(model)
    device = next(model.parameters()).device
    decoder = None
    if hook is None and use_cache and isinstance(model, GPT) and not model.config.sees_ahead:
        decoder = Decoder(model)
    step_threads = nullcontext if use_all_threads and parameter_count(model) >= _LARGE else one_thread
    while text.left:
        read = text.unread(model.block_size)
        if decoder and not read:
            with step_threads(), torch.inference_mode():
                token = _sampled(decoder.step(text.context[-1]), settings, text.uniform(), alternatives)
        else:
            read = read or text.context[text.cached_from :]
            with evaluating(model), threads_for(len(read) * parameter_count(model)), torch.inference_mode():
                if decoder:
                    logits = decoder.read(read)
                else:
                    logits = model(torch.tensor([read], device=device), hook=hook)[0][0, -1]
            with step_threads(), torch.inference_mode():
                token = _sampled(logits, settings, text.uniform(), alternatives)
        yield token
        text.add(token)


def generate_together(
    model: GPT | Bigram,
    prompts: Sequence[list[int]],
    settings: Sequence[GenerationConfig],  # for each text
    *,
    end: int | None = None,  # the token after which a text is complete
    alternatives: int = 5,
    compiled: bool = True,
    use_all_threads: bool = False,  # with eight texts or more, several threads share them
) -> list[Iterator[GeneratedToken]]:
    """Continue several prompts in parallel; returns one lazy iterator of tokens for each.

    Each text is the same as from `generate`, unless the last digits of the logits decide a token.
    Closing an iterator stops its text, and a text whose logits are not finite does not stop the others.
    The compiled kernels compute four texts in about the time of two; other models compute one text after another.
    """
    texts = [_Text(number, list(ids), how) for number, (ids, how) in enumerate(zip(prompts, settings, strict=True))]
    if texts and compiled and _is_compiled(model, settings):
        threads = torch.get_num_threads() if use_all_threads else 1
        return _one_iterator_each(_write(model, texts, alternatives, threads, end), texts)
    how: Any = {"alternatives": alternatives, "compiled": compiled, "use_all_threads": use_all_threads}
    return [_until(generate(model, text.context, text.settings, **how), end) for text in texts]


def _until(tokens: Iterator[GeneratedToken], end: int | None) -> Iterator[GeneratedToken]:
    for token in tokens:
        yield token
        if token.id == end:
            return


def _one_iterator_each(written: Iterator["_Written"], texts: list["_Text"]) -> list[Iterator[GeneratedToken]]:
    """Return an iterator over each text's tokens; tokens of the other texts are queued for their readers."""
    waiting: list[deque[GeneratedToken | NotFiniteError]] = [deque() for _ in texts]
    errors: list[Exception] = []

    def read_on() -> bool:
        try:
            number, token = next(written)
        except StopIteration:
            if errors:  # raised earlier, to the reader of another text
                raise errors[0] from None
            return False
        except Exception as error:
            errors.append(error)
            raise
        waiting[number].append(token)
        return True

    def tokens_of(text: _Text) -> Iterator[GeneratedToken]:
        try:
            while waiting[text.number] or read_on():
                if waiting[text.number]:
                    token = waiting[text.number].popleft()
                    if isinstance(token, NotFiniteError):
                        raise token
                    yield token
        finally:
            text.closed = True

    return [tokens_of(text) for text in texts]


class _Text:
    """A text that is being generated: its tokens, and which of them are cached."""

    def __init__(self, number: int, context: list[int], settings: GenerationConfig):
        if not context:
            raise ValueError("a prompt needs at least one token to start from")
        self.number, self.context, self.settings = number, context, settings
        self.left, self.closed = settings.max_new_tokens, False
        self.cached_from = -1  # the first token whose keys and values are cached
        self._rng, self._uniforms = random.Random(settings.seed), deque[float]()

    def uniform(self, ahead: int = 0) -> float:
        """Return the random number in [0, 1) for the next token, or for the one `ahead` tokens later."""
        while len(self._uniforms) <= ahead:
            self._uniforms.append(self._rng.random())
        return self._uniforms[ahead]

    def unread(self, block_size: int) -> list[int]:
        """Return the tokens that the model has to read; empty if all but the last one are cached."""
        first = context_start(len(self.context), block_size, self.settings.evict_fraction)
        if first == self.cached_from:
            return []
        self.cached_from = first
        return self.context[first:]

    def add(self, token: GeneratedToken) -> None:
        self.context.append(token.id)
        self.left -= 1
        self._uniforms.popleft()


_Written = tuple[int, GeneratedToken | NotFiniteError]  # a text's number, and its next token or final error


def _is_compiled(model: GPT | Bigram, settings: Sequence[GenerationConfig]) -> bool:
    weights = {how.weights for how in settings}
    if len(weights) > 1 or not isinstance(model, GPT) or model.config.sees_ahead:
        return False
    tokens = sum(how.max_new_tokens for how in settings)
    return is_supported(model, weights.pop()) and is_worthwhile(model, tokens)


def _write(
    model: GPT | Bigram, texts: list[_Text], alternatives: int, threads: int, end: int | None = None
) -> Iterator[_Written]:
    """Generate texts with the compiled kernels, as many at once as fit into memory."""
    assert isinstance(model, GPT)
    weights = texts[0].settings.weights
    model = with_int8_weights(model) if weights == "int8" else model
    at_once = min(_MAX_AT_ONCE, max(1, _MAX_CACHED // cached_bytes(model)))
    for first in range(0, len(texts), at_once):
        some = texts[first : first + at_once]
        groups = max(1, min(threads, len(some) // 4))  # four texts are computed at once
        writers = [_Writer(model, some[group::groups], alternatives, end) for group in range(groups)]
        with ThreadPoolExecutor(groups) if groups > 1 else nullcontext() as pool:
            while writers := [writer for writer in writers if writer.texts]:
                for written in pool.map(_Writer.write, writers) if pool else map(_Writer.write, writers):
                    yield from written


class _Writer:
    """The texts of one thread, which generates some tokens at a time."""

    def __init__(self, model: GPT, texts: list[_Text], alternatives: int, end: int | None):
        self.decoder = CompiledDecoder(model, texts[0].settings.weights, len(texts))
        self.texts = dict(enumerate(texts))
        self.alternatives, self.end, self._tokens = alternatives, end, 1

    def write(self) -> list[_Written]:
        """Generate some tokens of each text, and drop texts that are complete or closed or have non-finite logits."""
        self.texts = {place: text for place, text in self.texts.items() if not text.closed}
        if not self.texts:
            return []
        self._read()
        cuts = any(text.settings.top_k or text.settings.top_p < 1 for text in self.texts.values())
        start = time.perf_counter()
        rows = [self._sample_one_by_one()] if cuts else self._sample()
        if time.perf_counter() - start < _AT_ONCE_SECONDS:
            self._tokens = min(2 * self._tokens, _MAX_TOKENS)
        written: list[_Written] = []
        for row in rows:
            for place, token in row.items():
                if place in self.texts:
                    text = self.texts[place]
                    written.append((text.number, token))
                    if not isinstance(token, NotFiniteError):
                        text.add(token)
                        if text.left and token.id != self.end:
                            continue
                    del self.texts[place]
        return written

    def _read(self) -> None:
        """Make the decoder read every text to its end."""
        block_size = self.decoder.config.block_size
        unread = {place: tuple(text.unread(block_size)) for place, text in self.texts.items()}
        alike: dict[tuple[int, ...], list[int]] = {}
        for place, ids in unread.items():
            alike.setdefault(ids, []).append(place)
        for ids, places in alike.items():
            if ids:
                with threads_for(len(ids) * parameter_count(self.decoder.model)):
                    self.decoder.read(list(ids), places)
            else:
                self.decoder.step([self.texts[place].context[-1] for place in places], places)

    def _sample(self) -> list[dict[int, GeneratedToken | NotFiniteError]]:
        texts = list(self.texts.values())
        fits = self.decoder.config.block_size - max(len(text.context) - text.cached_from for text in texts) + 1
        tokens = min(self._tokens, fits, *(text.left for text in texts))
        uniforms = [[text.uniform(ahead) for text in texts] for ahead in range(tokens)]
        settings = [(text.settings.temperature, text.settings.min_p) for text in texts]
        written = self.decoder.write(list(self.texts), settings, uniforms, self.alternatives)
        rows: list[dict[int, GeneratedToken | NotFiniteError]] = [
            {place: GeneratedToken(*token) for place, token in zip(self.texts, row, strict=True)} for row in written
        ]
        return rows or [self._sample_one_by_one()]  # empty if the logits of a text are not finite

    def _sample_one_by_one(self) -> dict[int, GeneratedToken | NotFiniteError]:
        sampled: dict[int, GeneratedToken | NotFiniteError] = {}
        with one_thread(), torch.inference_mode():
            for place, text in self.texts.items():
                try:
                    token = _sampled(self.decoder.logits(place), text.settings, text.uniform(), self.alternatives)
                except NotFiniteError as error:
                    token = error
                sampled[place] = token
        return sampled


def _sampled(logits: Tensor, settings: GenerationConfig, uniform: float, alternatives: int) -> GeneratedToken:
    logits = logits.float().cpu()
    id, sampled = sample_with_probability(logits, settings, uniform)
    probabilities = logits.softmax(dim=-1)
    pairs: tuple[tuple[int, float], ...] = ()
    if alternatives:
        best = probabilities.topk(min(alternatives, len(probabilities)))
        pairs = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return GeneratedToken(id, float(probabilities[id]), pairs, sampled)


def text_of(tokens: Iterable[GeneratedToken], tokenizer: Tokenizer, stop: str = "") -> Iterator[str]:
    """Yield the text of tokens as they are generated, up to the first of the `stop` characters."""
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
    """Return the index of the first token that the model reads, after `length` tokens, to predict the next one.

    Whenever the context is full, the oldest `evict_fraction * block_size` tokens (at least one) are dropped. The
    default of a quarter saves most of the work without loss of quality: over the same 40,000 characters of Tiny
    Shakespeare the mean loss was 1.823 for gpt-tiny and 1.700 for gpt-fast; always with the full context it was 1.899
    and 1.715. A fraction of 0 reads the last `block_size` tokens for each new one, like nanoGPT's `generate`.
    """
    step = max(1, int(evict_fraction * block_size))
    return max(0, -((block_size - length) // step) * step)  # the excess, rounded up to whole steps


def sampling_distribution(logits: Tensor, settings: GenerationConfig) -> Tensor:
    """Return the sampling probabilities (V,) for logits (V,); after top-p or min-p they sum to less than 1.

    Applies temperature, top-k (Fan 2018), top-p (Holtzman 2019) and min-p (Nguyen 2024), in this order. Raises
    NotFiniteError if the logits are not finite.
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
    """Sample a token from logits (V,) with a random number `uniform` in [0, 1). Raises like `sampling_distribution`."""
    return sample_with_probability(logits, settings, uniform)[0]


def sample_with_probability(logits: Tensor, settings: GenerationConfig, uniform: float) -> tuple[int, float]:
    """Sample like `sample_token`; return the token and the probability with which it is sampled."""
    if settings.temperature == 0:
        return int(finite_logits(logits).argmax()), 1.0
    probabilities = sampling_distribution(logits, settings)
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    total = float(cumulative[-1])
    token = int(torch.searchsorted(cumulative, uniform * total, right=True))
    return token, float(probabilities[token]) / total
