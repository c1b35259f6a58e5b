"""One moment of a training as the time machine draws it: all that moves, of one snapshot and one prompt.

Frames are bounded whatever the model: of a long prompt only the last tokens are read, and fewer drawn where heads are
many; of a large vocabulary only the first are mapped, and a large model continues for fewer tokens. They are computed
once and kept, for all who look.
"""

import asyncio
import json
import threading
from base64 import b64encode
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.errors import ExplorerError
from core.fast.threads import one_thread
from core.interpretability.attention import attention_patterns, to_bytes
from core.interpretability.embeddings import project_along, token_embeddings
from core.interpretability.logit_lens import lens_logits
from core.lessons.lesson_text import ENGLISH
from core.model import GPT, Bigram, parameter_count
from core.runs.folder import RunFolder
from core.runs.models import load_model
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import kind_of, visible
from core.text.tokenizers import Tokenizer, token_texts
from explorer.i18n.language import _, in_language
from explorer.i18n.units import speaking_of, worded
from explorer.look_inside.captions import (
    answers_in_words,
    head_in_words,
    heads_seen_in_words,
    lens_in_words,
    map_in_words,
    next_in_words,
)
from explorer.services import shared
from explorer.streaming.run_events import MOST_TOKENS, on_the_map
from explorer.widgets.prompt import read_prompt

MOST_SEEN = 128  # tokens of a prompt: more cells than that no screen can tell apart
MOST_CELLS = 2**19  # of attention in one frame, a byte each
LENS_CELLS = 2**18  # scores of the logit lens a stage: of so many last tokens of the prompt, times the vocabulary
LENS_LEAST = 20  # of the prompt's last tokens
GUESSES = 8
CONTINUED = 60  # tokens
_LARGE = 20_000_000  # parameters; such a model writes a token in tens of milliseconds
_CONTINUED_BY_LARGE = 16
_KEPT_BYTES = 2**26  # of all frames together
_LIGHT_FILE = 2**26  # bytes of weights that are read again sooner than they push models out of the pages' memory

MOST_WAITING = 200  # frames asked for and not made: some of each browser in a class

# Two at a time: browsers ask for what comes next while somebody waits for what is now.
_threads = ThreadPoolExecutor(2, thread_name_prefix="frames")
_kept: OrderedDict[tuple, bytes] = OrderedDict()
_keeping = threading.Lock()
_waiting: set[asyncio.Future] = set()


class TooManyFrames(ExplorerError):
    """So many frames are being made that no other one is begun."""


class FrameRequest(NamedTuple):
    """What a frame is of."""

    step: int
    prompt: str  # as typed
    anchor: int | None = None  # the step whose map decides on the directions of all maps; None: its own
    language: str = ENGLISH  # of its sentences


async def frame_bytes(folder: RunFolder, asked: FrameRequest) -> bytes:
    """A frame as JSON, from memory where it is known.

    Raises ExplorerError where the run keeps no weights of that step, a file is damaged, or too many frames are waiting.
    """
    if len(_waiting) >= MOST_WAITING:
        with in_language(asked.language):
            raise TooManyFrames(_("Many people are looking at this moment. Wait a little and choose the step again."))
    making = asyncio.get_running_loop().run_in_executor(_threads, frame_now, folder, asked)
    _waiting.add(making)
    making.add_done_callback(_waiting.discard)
    return await making


def frame_now(folder: RunFolder, asked: FrameRequest) -> bytes:
    """The same, computed by the calling thread."""
    path = _weights_at(folder, asked.step)
    key = (path, path.stat().st_mtime_ns, asked)
    with _keeping:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    made = json.dumps(make_frame(folder, asked), ensure_ascii=False, separators=(",", ":")).encode()
    with _keeping:
        _kept[key] = made
        while len(_kept) > 1 and sum(map(len, _kept.values())) > _KEPT_BYTES:
            _kept.popitem(last=False)
    return made


def make_frame(folder: RunFolder, asked: FrameRequest) -> dict[str, Any]:
    """All that moves, as plain values: `attention`, `next`, `lens`, `written` (None without a prompt) and `map`."""
    path = _weights_at(folder, asked.step)
    if path.stat().st_size > _LIGHT_FILE:
        opened = shared.open_model(folder.id, asked.step)
        with in_language(asked.language), speaking_of(opened.tokenizer):
            return _drawn(folder, asked, path, opened.model, opened.tokenizer)
    with one_thread():
        model, tokenizer, _unused = load_model(folder, path)
        with in_language(asked.language), speaking_of(tokenizer):
            return _drawn(folder, asked, path, model, tokenizer)


def _drawn(
    folder: RunFolder, asked: FrameRequest, path: Path, model: GPT | Bigram, tokenizer: Tokenizer
) -> dict[str, Any]:
    prompt = read_prompt(asked.prompt, tokenizer, min(model.block_size, MOST_SEEN))
    count, limit = len(prompt.ids), longest_seen(model)
    drawn = _("So many heads are drawn for the last {limit} of the {count} letters read.", limit=limit, count=count)
    cut = worded(drawn) if count > limit else ""
    frame: dict[str, Any] = {"step": asked.step, "prompt": prompt.text, "tokens": prompt.shown[-limit:], "cut": cut}
    anchor = folder.weights_at(asked.anchor) if asked.anchor is not None else None
    frame["map"] = _map(folder, model, tokenizer, anchor or path)
    if prompt.ids:
        frame |= {
            "attention": _attention(model, prompt.ids, limit),
            **_lens_and_next(model, tokenizer, prompt.ids),
            "written": _written(model, tokenizer, prompt.ids),
        }
    return frame


def longest_seen(model: GPT | Bigram) -> int:
    """How many tokens of a prompt are drawn: as many as fit into a frame with all heads."""
    config = model.config
    heads = config.n_layer * config.n_head if isinstance(model, GPT) else 1
    return min(model.block_size, MOST_SEEN, isqrt(MOST_CELLS // heads))


def _weights_at(folder: RunFolder, step: int) -> Path:
    path = folder.weights_at(step)
    if path is None:
        raise shared.no_weights_of(folder, step)
    return path


def _attention(model: GPT | Bigram, ids: list[int], limit: int) -> dict[str, Any] | None:
    """All heads, having read everything, among the last tokens."""
    patterns = attention_patterns(model, ids)  # (L, H, T, T)
    layers, heads = patterns.shape[:2]
    if not layers:
        return None
    causal = model.config.causal
    return {
        "layers": layers,
        "heads": heads,
        "length": min(len(ids), limit),
        "bytes": b64encode(to_bytes(patterns[..., -limit:, -limit:]).tobytes()).decode("ascii"),
        "words": [worded(head_in_words(pattern, causal)) for layer in patterns for pattern in layer],
        "all": worded(heads_seen_in_words(patterns)),
    }


def _lens_and_next(model: GPT | Bigram, tokenizer: Tokenizer, ids: list[int]) -> dict[str, Any]:
    """What would be said after each block at the last places, and the likeliest tokens after the prompt."""
    places = list(range(max(0, len(ids) - max(LENS_LEAST, LENS_CELLS // tokenizer.vocab_size)), len(ids)))
    logits = lens_logits(model, ids, places).astype(np.float32)  # (L + 1, P, V)
    best = logits.argmax(axis=-1)  # (L + 1, P)
    logits -= logits.max(axis=-1, keepdims=True)
    belief = 1 / np.exp(logits, out=logits).sum(axis=-1)  # of the best; `logits` is now the weights
    last = logits[-1, -1] * belief[-1, -1]  # (V,), sums to 1
    likeliest = np.argsort(-last, kind="stable")[:GUESSES]
    tokens = tokenizer.tokens
    guesses = [[visible(tokens[i]), kind_of(tokens[i]), round(float(last[i]), 5)] for i in likeliest]
    rows = [
        [[visible(tokens[token]), round(float(share), 4)] for token, share in zip(*row, strict=True)]
        for row in zip(best, belief, strict=True)
    ]
    # From which stage on the last one's answer leads: one above the last that would answer otherwise.
    otherwise = (best != best[-1]) * np.arange(1, len(best) + 1)[:, None]  # (L + 1, P)
    settled = otherwise.max(axis=0)  # (P,)
    return {
        "next": {
            "guesses": guesses,
            "others": tokenizer.vocab_size - len(guesses),
            "words": worded(next_in_words(guesses)),
        },
        "lens": {
            "tokens": [visible(tokens[ids[place]]) for place in places],
            "truth": [visible(tokens[id]) for id in ids[places[0] + 1 :]],
            "rows": rows,
            "settled": settled.tolist(),
            "words": lens_in_words(rows[-1][-1][0], int(settled[-1]), len(rows) - 1),
            "all": worded(answers_in_words(settled, len(rows) - 1)),
        },
    }


def _written(model: GPT | Bigram, tokenizer: Tokenizer, ids: list[int]) -> list[list]:
    """The greedy continuation: each token's text, how likely the model held it, and the token as it is listed."""
    count = _CONTINUED_BY_LARGE if parameter_count(model) > _LARGE else CONTINUED
    settings = GenerationConfig(max_new_tokens=count, temperature=0)
    written = list(generate(model, ids, settings, alternatives=0))
    texts = token_texts(tokenizer, [token.id for token in written])
    return [
        [text, round(token.probability, 4), tokenizer.tokens[token.id]]
        for text, token in zip(texts, written, strict=True)
    ]


def _map(folder: RunFolder, model: GPT | Bigram, tokenizer: Tokenizer, anchor: Path) -> dict[str, Any] | None:
    """The embeddings, turned and scaled as at the anchor, so that letters move from step to step and never jump."""
    tokens = tokenizer.tokens[:MOST_TOKENS]
    table = token_embeddings(model)[: len(tokens)]
    reference = _table(folder.path, anchor, anchor.stat().st_mtime_ns)
    if len(tokens) < 3 or not (np.isfinite(table).all() and np.isfinite(reference).all()):
        return None
    points, fixed = project_along([table, reference])
    return {
        "tokens": [visible(token) for token in tokens],
        "kinds": [kind_of(token) for token in tokens],
        "xy": np.round(on_the_map(points, fixed), 4).tolist(),
        "words": worded(map_in_words(points, fixed, table, [visible(token) for token in tokens])),
    }


@lru_cache(maxsize=8)
def _table(run: Path, weights: Path, _changed: int) -> np.ndarray:
    return token_embeddings(load_model(RunFolder(run), weights).model)[:MOST_TOKENS]
