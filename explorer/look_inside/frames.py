"""A frame of the time machine: everything that changes over training, for one snapshot and one prompt, with captions.

Frames are bounded for any model: only the last tokens of a long prompt are read, and fewer are drawn if there are
many heads; only the first tokens of a large vocabulary are mapped, and a large model generates fewer tokens. Frames
are computed once and cached for all visitors.
"""

import asyncio
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cachetools import LRUCache, cached

from core.errors import ExplorerError
from core.fast.threads import one_thread
from core.formatting import decimal, head_name
from core.interpretability.attention import attention_patterns, to_bytes
from core.interpretability.embeddings import cosines, project_along, token_embeddings
from core.interpretability.residual_stream import lens_logits
from core.lessons.lesson_text import ENGLISH
from core.model import GPT, Bigram
from core.runs.folder import RunFolder
from core.runs.weights import find_weights, load_model
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import kind_of, visible
from core.text.tokenizers import Tokenizer, token_texts
from explorer.charts.text_format import percent
from explorer.i18n.language import N_, _, in_language, ngettext
from explorer.look_inside.model_picture import PictureRequest, draw_picture, top_tokens
from explorer.services import shared
from explorer.services.shared import is_large
from explorer.services.visitors import for_visitor
from explorer.streaming.run_events import MAX_TOKENS, scale_to_square
from explorer.widgets.prompt import read_prompt

MAX_DRAWN = 128  # tokens of a prompt: a screen cannot show more cells
MAX_CELLS = 2**19  # of attention in one frame, one byte each
LENS_CELLS = 2**18  # logit lens scores per stage: the prompt's last tokens times the vocabulary
LENS_LEAST = 20  # at least this many of the prompt's last tokens
GUESSES = 8
CONTINUED = 60  # tokens
_CONTINUED_BY_LARGE = 16
_CACHE_BYTES = 2**26  # of all frames together
_LIGHT_FILE = 2**26  # bytes: smaller weights are read again, so that they evict no models from the pages' memory
MAX_WAITING = 200  # frames requested but not made yet: a few for each browser of a class

# Two at a time: browsers prefetch the next frames while others wait for the current one.
_threads = ThreadPoolExecutor(2, thread_name_prefix="frames")
_waiting: set[asyncio.Future] = set()


class TooManyFrames(ExplorerError):
    """Too many frames are waiting to start another one."""


class FrameRequest(NamedTuple):
    """What a frame shows."""

    step: int
    prompt: str  # as typed
    anchor: int | None = None  # the step to whose embedding map all maps are aligned; None: its own
    language: str = ENGLISH  # of its captions
    picture: PictureRequest | None = None  # a picture of the whole model instead of PARTS


@dataclass(frozen=True)
class Snapshot:
    """The input from which the parts of a frame are computed."""

    folder: RunFolder
    anchor: Path  # the weights to whose embedding map this one is aligned
    model: GPT | Bigram
    tokenizer: Tokenizer
    ids: list[int]  # T tokens of the prompt

    @cached_property
    def lens_places(self) -> list[int]:
        """Return the positions in the prompt that the logit lens shows."""
        least = max(LENS_LEAST, LENS_CELLS // self.tokenizer.vocab_size)
        return list(range(max(0, len(self.ids) - least), len(self.ids)))

    @cached_property
    def lens(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the top token and its probability, (L + 1, P) each, and the last position's probabilities (V,)."""
        logits = lens_logits(self.model, self.ids, self.lens_places).astype(np.float32)  # (L + 1, P, V)
        best = logits.argmax(axis=-1)
        logits -= logits.max(axis=-1, keepdims=True)
        probability = 1 / np.exp(logits, out=logits).sum(axis=-1)  # of the top token; `logits` is now weights
        return best, probability, logits[-1, -1] * probability[-1, -1]


async def frame_bytes(folder: RunFolder, request: FrameRequest) -> bytes:
    """Return a frame as JSON, cached.

    Raises ExplorerError if the run has no weights of that step, a file is damaged, or too many frames are waiting.
    """
    if len(_waiting) >= MAX_WAITING:
        with in_language(request.language):
            raise TooManyFrames(_("Many people are looking at this step. Wait a little and choose it again."))
    making = asyncio.get_running_loop().run_in_executor(_threads, for_visitor(frame_now), folder, request)
    _waiting.add(making)
    making.add_done_callback(_waiting.discard)
    return await making


def _frame_key(folder: RunFolder, request: FrameRequest) -> tuple:
    path = shared.weights_at(folder, request.step)
    return request, path, path.stat().st_mtime_ns


@cached(LRUCache(_CACHE_BYTES, len), key=_frame_key, condition=threading.Condition())
def frame_now(folder: RunFolder, request: FrameRequest) -> bytes:
    """Return a frame as JSON, cached or computed in the calling thread."""
    return json.dumps(make_frame(folder, request), ensure_ascii=False, separators=(",", ":")).encode()


def make_frame(folder: RunFolder, request: FrameRequest) -> dict[str, Any]:
    """Return a frame as plain values: `step`, `prompt`, `tokens`, `cut`, and the parts in `PARTS`."""
    weights = shared.weights_at(folder, request.step)
    small = weights.stat().st_size <= _LIGHT_FILE
    with one_thread() if small else nullcontext(), in_language(request.language):
        opened = load_model(folder, weights) if small else shared.open_model(folder.id, request.step)
        model, tokenizer = opened.model, opened.tokenizer
        prompt = read_prompt(request.prompt, tokenizer, min(model.block_size, MAX_DRAWN))
        anchor = find_weights(folder, request.anchor) if request.anchor is not None else None
        snapshot = Snapshot(folder, anchor or weights, model, tokenizer, prompt.ids)
        count, limit = len(prompt.ids), longest_drawn(model)
        cut = ngettext(
            "Because there are many heads, the last {limit} of the {count} token read is drawn.",
            "Because there are many heads, the last {limit} of the {count} tokens read are drawn.",
            count, limit=limit, count=count,
        )  # fmt: skip
        frame = {"step": request.step, "prompt": prompt.text, "tokens": prompt.shown[-limit:]}
        frame["cut"] = cut if count > limit else ""
        parts = PARTS if prompt.ids else {"map": _map}
        if request.picture:
            parts = {"picture": partial(draw_picture, request=request.picture)} if prompt.ids else {}
        return frame | {name: part(snapshot) for name, part in parts.items()}


def longest_drawn(model: GPT | Bigram) -> int:
    """Return how many tokens of a prompt are drawn: as many as fit into a frame with all heads."""
    config = model.config
    heads = config.n_layer * config.n_head if isinstance(model, GPT) else 1
    return min(model.block_size, MAX_DRAWN, isqrt(MAX_CELLS // heads))


def _attention(snapshot: Snapshot) -> dict[str, Any] | None:
    patterns = attention_patterns(snapshot.model, snapshot.ids)  # (L, H, T, T)
    layers, heads = patterns.shape[:2]
    if not layers:
        return None
    limit, causal = longest_drawn(snapshot.model), snapshot.model.config.causal
    return {
        "layers": layers,
        "heads": heads,
        "length": min(len(snapshot.ids), limit),
        "bytes": b64encode(to_bytes(patterns[..., -limit:, -limit:]).tobytes()).decode("ascii"),
        "words": [head_in_words(pattern, causal) for layer in patterns for pattern in layer],
        "all": heads_in_words(patterns),
    }


def head_in_words(pattern: np.ndarray, causal: bool = True) -> str:
    """Return where a head's attention (T, T) goes, averaged over all tokens but the first, which has no choice."""
    length = len(pattern)
    if length < 2:
        return _("A single token can only attend to itself. Type a longer prompt.")
    rows = np.arange(1, length)
    distance = float((pattern[1:] * np.abs(rows[:, None] - np.arange(length)[None, :])).sum(axis=1).mean())
    shares = {
        "before": percent(pattern[rows, rows - 1].mean()),
        "itself": percent(pattern[rows, rows].mean()),
        "first": percent(pattern[rows, 0].mean()),
        "distance": f"{distance:.1f}",
    }
    where = _(
        "Of its attention {before} goes to the previous token, {itself} to the token itself and {first} to the first "
        "token.",
        **shares,
    )
    far = N_("Mean distance: {distance} tokens back.") if causal else N_("Mean distance: {distance} tokens.")
    return f"{where} {_(far, **shares)}"


def heads_in_words(patterns: np.ndarray) -> str:
    """Return which head attends most clearly to one position, and how many do, from all patterns (L, H, T, T)."""
    layers, heads, length, _length = patterns.shape
    if length < 3:
        return _("Type a longer prompt to see how the heads differ.")
    rows = np.arange(2, length)  # for the second token, the first and the previous token are the same
    shares = {
        N_("the previous token"): patterns[:, :, rows, rows - 1].mean(axis=-1),
        N_("the token itself"): patterns[:, :, rows, rows].mean(axis=-1),
        N_("the first token"): patterns[:, :, rows, 0].mean(axis=-1),
    }
    where, most = max(shares.items(), key=lambda entry: entry[1].max())  # (L, H)
    layer, head = np.unravel_index(int(most.argmax()), most.shape)
    half = sum(int((share >= 0.5).sum()) for share in shares.values())
    clearest = _(
        "Clearest on this prompt: head {place}, with {share} of its attention on {where}.",
        place=head_name(layer, head), share=percent(float(most.max())), where=_(where),
    )  # fmt: skip
    counted = _(
        "Heads with at least half on the previous token, on the token itself or on the first token: {half} of {count}.",
        half=half, count=layers * heads,
    )  # fmt: skip
    return f"{clearest} {counted} " + _("The Heads view measures roles on held-out text, with a lower threshold.")


def _next(snapshot: Snapshot) -> dict[str, Any]:
    probabilities = snapshot.lens[2]
    guesses = top_tokens(snapshot.tokenizer, probabilities, GUESSES)
    return {"guesses": guesses, "others": len(probabilities) - len(guesses), "words": next_in_words(guesses)}


def next_in_words(guesses: Sequence[tuple[str, str, float]]) -> str:
    """Return the most likely next tokens; guesses: (shown, kind, probability), best first."""
    (first, _kind, share), *others = guesses
    values = {"token": first, "share": percent(share)}
    if not others:
        return _("Most likely next: '{token}' {share}.", **values)
    second, _kind, second_share = others[0]
    return _(
        "Most likely next: '{token}' {share}, then '{second}' {second_share}.",
        second=second, second_share=percent(second_share), **values,
    )  # fmt: skip


def _lens(snapshot: Snapshot) -> dict[str, Any]:
    tokens, places = snapshot.tokenizer.tokens, snapshot.lens_places
    best, probability, _last = snapshot.lens
    rows = [
        [[visible(tokens[token]), round(float(share), 4)] for token, share in zip(*row, strict=True)]
        for row in zip(best, probability, strict=True)
    ]
    # The stage from which the final prediction stays on top: one above the last stage that predicts another token.
    otherwise = (best != best[-1]) * np.arange(1, len(best) + 1)[:, None]  # (L + 1, P)
    stable_from = otherwise.max(axis=0)  # (P,)
    return {
        "tokens": [visible(tokens[snapshot.ids[place]]) for place in places],
        "truth": [visible(tokens[id]) for id in snapshot.ids[places[0] + 1 :]],
        "rows": rows,
        "stable_from": stable_from.tolist(),
        "words": lens_in_words(rows[-1][-1][0], int(stable_from[-1]), len(rows) - 1),
        "all": stable_in_words(stable_from, len(rows) - 1),
    }


def lens_in_words(prediction: str, stable_from: int, layers: int) -> str:
    """Return after which stage the last token's final prediction stays on top; stage 0 is before any block."""
    if not layers:
        return _("A bigram reads '{token}' off its table.", token=prediction)
    if not stable_from:
        return _("'{token}' is the most likely token before any block, and after each.", token=prediction)
    words = {"token": prediction, "block": stable_from, "count": layers}
    return _("'{token}' is the most likely token from block {block} of {count} on.", **words)


def stable_in_words(stable_from: np.ndarray, layers: int) -> str:
    """Return how many predictions are final before the last block; stable_from (P,): the stage of each."""
    if not layers:
        return _("There is only one stage: its table.")
    return _(
        "The ring marks after which block each final prediction is first. Before the last block: {early} of {count}.",
        count=len(stable_from), early=int((stable_from < layers).sum()),
    )  # fmt: skip


def _continuation(snapshot: Snapshot) -> list[list]:
    tokenizer = snapshot.tokenizer
    count = _CONTINUED_BY_LARGE if is_large(snapshot.model) else CONTINUED
    settings = GenerationConfig(max_new_tokens=count, temperature=0)
    generated = list(generate(snapshot.model, snapshot.ids, settings, alternatives=0))
    texts = token_texts(tokenizer, [token.id for token in generated])
    both = zip(texts, generated, strict=True)
    return [[text, round(token.probability, 4), tokenizer.tokens[token.id]] for text, token in both]


def _map(snapshot: Snapshot) -> dict[str, Any] | None:
    """Return the embeddings projected and scaled like the anchor's, so that tokens move instead of jumping."""
    tokens = snapshot.tokenizer.tokens[:MAX_TOKENS]
    table = token_embeddings(snapshot.model)[: len(tokens)]
    reference = _table(snapshot.folder.path, snapshot.anchor, snapshot.anchor.stat().st_mtime_ns)
    if len(tokens) < 3 or not (np.isfinite(table).all() and np.isfinite(reference).all()):
        return None
    points, fixed = project_along([table, reference])
    shown = [visible(token) for token in tokens]
    return {
        "tokens": shown,
        "kinds": [kind_of(token) for token in tokens],
        "xy": np.round(scale_to_square(points, fixed), 4).tolist(),
        "words": embedding_map_in_words(points, fixed, table, shown),
    }


@lru_cache(maxsize=8)
def _table(run: Path, weights: Path, _changed: int) -> np.ndarray:
    return token_embeddings(load_model(RunFolder(run), weights).model)[:MAX_TOKENS]


def alike_in_words(vectors: np.ndarray, shown: Sequence[str], pairs: int = 2) -> str:
    """Return which tokens are nearest to each other, by the cosine of their vectors (V, C)."""
    alike = np.triu(cosines(vectors), 1)
    places = np.argsort(-alike, axis=None, kind="stable")[:pairs]
    nearest = [
        _("'{one}' and '{other}' ({cosine})", one=shown[i], other=shown[j], cosine=decimal(float(alike[i, j])))
        for i, j in zip(*np.unravel_index(places, alike.shape), strict=True)
    ]
    return _("Most similar by cosine: {pairs}.", pairs="; ".join(nearest))


def embedding_map_in_words(points: np.ndarray, last: np.ndarray, vectors: np.ndarray, shown: Sequence[str]) -> str:
    """Return the nearest pairs, and the spread (mean radius) of the points (V, 2) relative to the last step's."""
    size, full = (float(np.linalg.norm(each - each.mean(axis=0), axis=1).mean()) for each in (points, last))
    nearest = alike_in_words(vectors, shown)
    if full == 0 or np.array_equal(points, last):
        return nearest
    spread = _("Spread: {share} of the last step's.", share=percent(size / full))
    return f"{nearest} {spread}"


PARTS: dict[str, Callable[[Snapshot], Any]] = {
    "map": _map,
    "attention": _attention,
    "next": _next,
    "lens": _lens,
    "written": _continuation,
}
"""The parts of a frame for one snapshot and prompt, by name; the views of the time machine draw them."""
