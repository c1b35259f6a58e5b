"""The lesson on tokenizers: bytes, pairs, merges, and the price of a vocabulary."""

import math
import re
from functools import lru_cache, partial

import numpy as np
import streamlit as st

from core.formatting import decimal
from core.lessons.byte_pairs import (
    TokenizerTrial,
    bytes_of_tokens,
    compare_tokenizers,
    merge_pair,
    most_frequent_pair,
    pair_counts,
    train_byte_pairs,
    words_of,
)
from core.text.bpe import BYTES, MergeHistory, merge_history, merges_of
from core.text.token_display import visible
from core.text.tokenizers import BPETokenizer, token_texts
from explorer.components.text import MarkedRow, marked_text, token_strip
from explorer.learn.state import StepState
from explorer.learn.steps import Step, draw_curves, draw_shares, draw_table
from explorer.services import shared
from explorer.widgets.layout import card, current_palette

_SENTENCE = 240  # characters to merge by hand
_MAX_MERGES = 40
_QUESTION_MERGES = 3
_TOP = 6  # pairs in the table
_SHOWN = 500  # characters of the text, as tokens
_SIZES = (256, 300, 400, 512, 768, 1024, 1536, 2048, 3072, 4096)
_QUESTION_SIZE = 512
_SMALL, _LARGE = 384, 1024  # vocabulary sizes to compare; smaller ones for a short text


def _word(state: StepState) -> str:
    """Return a word of the text with the most bytes; if all its letters have one byte, replace the last by an é."""
    words = re.findall(r"[^\W\d_]{4,9}", state.text[:20_000]) or ["word"]
    longest = max(words[:200], key=lambda word: len(word.encode()))
    return longest if len(longest.encode()) > len(longest) else f"{longest[:-1]}é"


def _spelled(word: str) -> dict[str, list[str]]:
    return {
        "character": [visible(character) for character in word],
        "code point": [f"U+{ord(character):04X}" for character in word],
        "bytes": [" ".join(map(str, character.encode())) for character in word],
    }


def _draw_bytes(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        typed = state.value("typed", "Größe 你好 🙂", st.text_input, "control", max_chars=24, width=340)
        typed = "".join(character for character in typed if not "\ud800" <= character <= "\udfff") or "a"
        draw_table(state, "lesson_bytes", _spelled(typed), 560)
        state.write("result", characters=len(typed), bytes=len(typed.encode()))


BYTES_STEP = Step(
    "bytes",
    _draw_bytes,
    code=(words_of,),
    numbers=lambda state: {"word": _word(state)},
    answer=lambda state: len(_word(state).encode()),
    show=lambda state, _response: draw_table(state, "lesson_word", _spelled(_word(state)), 560),
)


def _names(state: StepState, merges: int) -> tuple[list[str], list[tuple[str, int]], list[list[int]]]:
    """Return the tokens' names after some merges, the next pairs with their counts, and the sentence's words."""
    pairs, words = train_byte_pairs(state.text[:_SENTENCE], merges)
    names = [visible(data.decode("utf-8", "spell_bytes")) for data in bytes_of_tokens(pairs)]
    counts = pair_counts(words)
    first = sorted(counts, key=lambda pair: (-counts[pair], pair))[:_TOP]
    return names, [(f"{names[left]} + {names[right]}", counts[left, right]) for left, right in first], words


def _draw_pairs(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        merges = state.value("merges", 0, st.slider, "control", 0, _MAX_MERGES)
        names, following, words = _names(state, merges)
        ids = [id for word in words for id in word]
        token_strip([names[id] for id in ids], ids, note=state.label("note"), key="lesson_merged")
        before = len(state.text[:_SENTENCE].encode())
        if merges:
            state.write("result", before=before, tokens=len(ids), made=names[-1])
        else:
            state.write("untouched", before=before)
    with card(state.label("panel counts"), key="lesson_counts"):
        _draw_counts(state, following, "lesson_following")
        state.write("counts")


def _draw_counts(state: StepState, pairs: list[tuple[str, int]], key: str) -> None:
    draw_table(state, key, dict(zip(("pair", "count"), map(list, zip(*pairs, strict=True)), strict=True)), 420)


def _next_pairs(state: StepState) -> list[tuple[str, int]]:
    return _names(state, _QUESTION_MERGES)[1]


PAIRS = Step(
    "pairs",
    _draw_pairs,
    code=(words_of, pair_counts, most_frequent_pair, merge_pair, train_byte_pairs),
    answer=lambda state: _next_pairs(state)[0][0],
    options=lambda state: sorted(pair for pair, _count in _next_pairs(state)[:4]),
    show=lambda state, _response: _draw_counts(state, _next_pairs(state), "lesson_asked"),
    more=lambda state: {"merges": _QUESTION_MERGES, "count": _next_pairs(state)[0][1]},
)


@lru_cache(maxsize=4)
def _history(text: str) -> MergeHistory:
    return merge_history(text, shared.data_dir())


@lru_cache(maxsize=16)
def _tokenizer(text: str, size: int) -> BPETokenizer:
    return BPETokenizer.from_merges(merges_of(text, shared.data_dir())[: size - BYTES])


def _sizes(state: StepState) -> list[int]:
    most = BYTES + len(_history(state.text).pairs)
    return [size for size in _SIZES if size <= most]


def _token_length(state: StepState, size: int) -> float:
    lengths = _history(state.text).lengths()
    return lengths[0] / lengths[size - BYTES]


def _draw_merges(state: StepState) -> None:
    history = _history(state.text)
    sizes, lengths = _sizes(state), history.lengths()
    with card(state.label("panel"), key="lesson_result"):
        size = state.value("size", min(_QUESTION_SIZE, sizes[-1]), st.select_slider, "control", sizes)
        tokenizer = _tokenizer(state.text, size)
        ids = tokenizer.encode(state.text[:_SHOWN])
        shades = [0.15 + 0.55 * (place % 2) for place in range(len(ids))]
        marked_text(
            [MarkedRow(token_texts(tokenizer, ids), shades, [visible(tokenizer.tokens[id]) for id in ids])],
            note=state.label("note"), key="lesson_tokens", breaks=True,
        )  # fmt: skip
        made = size - BYTES
        state.write(
            "result",
            vocab=f"{size:,}", bytes=f"{lengths[0]:,}", tokens=f"{lengths[made]:,}",
            each=f"{_token_length(state, size):.2f}",
            made=visible(tokenizer.tokens[-1]), count=f"{history.counts[made - 1]:,}" if made else 0,
        )  # fmt: skip
    with card(state.label("panel curve"), key="lesson_curve"):
        places = np.unique(np.geomspace(1, len(lengths), 200).astype(int)) - 1
        titles = state.label("axis vocabulary"), state.label("axis tokens")
        draw_curves(
            (BYTES + places).tolist(), {titles[1]: lengths[places].tolist()}, [current_palette().accent], titles,
            ("vocabulary", "tokens"), key="lesson_lengths", name="text-length", hover=",.0f", height=260,
            xaxis={"type": "log", "tickvals": sizes, "tickformat": ",d"}, yaxis={"rangemode": "tozero"},
        )  # fmt: skip
        state.write("curve")


def _question_size(state: StepState) -> int:
    return min(_QUESTION_SIZE, _sizes(state)[-1])


def _show_sizes(state: StepState, _response: float) -> None:
    sizes = _sizes(state)
    columns = {"size": sizes, "each": [f"{_token_length(state, size):.2f}" for size in sizes]}
    draw_table(state, "lesson_sizes", columns, 420)


def _about_size(state: StepState) -> dict[str, object]:
    size, lengths = _question_size(state), _history(state.text).lengths()
    context = round(32 * _token_length(state, size))
    return {"vocab": f"{size:,}", "seen": context, "bytes": f"{lengths[0]:,}", "tokens": f"{lengths[size - BYTES]:,}"}


MERGES = Step(
    "merges",
    _draw_merges,
    code=(merge_history,),
    answer=lambda state: _token_length(state, _question_size(state)),
    tolerance=0.06,
    show=_show_sizes,
    more=_about_size,
)


def _trials(state: StepState) -> dict[str, TokenizerTrial]:
    large = min(_LARGE, BYTES + len(merges_of(state.text, shared.data_dir())))
    sizes = {"small": min(_SMALL, (BYTES + large) // 2), "large": large}
    state.numbers |= {name: f"{size:,}" for name, size in sizes.items()}
    kinds = {"char": state.tokenizer} | {name: _tokenizer(state.text, size) for name, size in sizes.items()}
    make = partial(compare_tokenizers, state.text, kinds, state.seed)
    return state.compute(("price",), make, state.label("computing"))


def _draw_price(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        trials = state.results["trials"] = _trials(state)
        columns = {
            "tokenizer": list(map(state.label, trials)),
            "parameters": [f"{trial.parameters:,}" for trial in trials.values()],
            "nats": [f"{trial.nats:.3f}" for trial in trials.values()],
            "each": [f"{trial.bytes_per_token:.2f}" for trial in trials.values()],
            "bits": [f"{trial.bits_per_byte:.3f}" for trial in trials.values()],
        }
        draw_table(state, "lesson_prices", columns)
        first = trials["char"]
        state.write(
            "result",
            nats=f"{first.nats:.3f}", ln2=f"{math.log(2):.3f}", each=f"{first.bytes_per_token:.2f}",
            bits=f"{first.bits_per_byte:.3f}",
        )  # fmt: skip


def _best(state: StepState) -> str:
    trials = state.results["trials"]
    return min(trials, key=lambda name: trials[name].bits_per_byte)


def _show_bits(state: StepState, _response: str) -> None:
    state.write("see")
    bits = {state.label(name): trial.bits_per_byte for name, trial in state.results["trials"].items()}
    draw_shares(
        list(bits), {state.label("axis"): list(bits.values())}, [current_palette().accent], ("tokenizer", "bits"),
        key="lesson_bits", name="bits-per-byte", height=220,
    )  # fmt: skip


PRICE = Step(
    "price",
    _draw_price,
    code=(compare_tokenizers,),
    answer=_best,
    named=lambda state: list(state.results["trials"]),
    show=_show_bits,
    more=lambda state: {"best": decimal(state.results["trials"][_best(state)].bits_per_byte)},
)

STEPS = (BYTES_STEP, PAIRS, MERGES, PRICE)
