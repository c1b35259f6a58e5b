"""The first four steps: the training text, tokenization, the split and batches."""

import random
import re
from functools import partial

import streamlit as st
import torch

from core.lessons.bigram import (
    character_ids,
    decode,
    encode,
    examples,
    most_frequent,
    ngram_loss,
    ngram_losses,
    vocabulary_of,
)
from core.text import split_point
from core.text.batches import random_batch, split_ids
from core.text.token_display import kind_of, visible
from explorer.charts.bars import character_bars
from explorer.charts.lessons import two_losses
from explorer.charts.text_format import percent
from explorer.components.text import MarkedRow, marked_text, token_pairs, token_strip
from explorer.i18n.language import _
from explorer.learn.state import StepState
from explorer.learn.steps import Step, choose_unit, draw_curves, redraw_button
from explorer.widgets import session
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.prompt import read_line

_SHOWN_CHARACTERS = 700  # characters of the text at a time
_BARS = 24
LONGEST_CONTEXT = 6  # characters of context


def _draw_text(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        start = state.value("start", 0, st.slider, "control", 0, max(1, len(state.text) - _SHOWN_CHARACTERS), step=100)
        st.code(state.text[start : start + _SHOWN_CHARACTERS], language=None, height=260, wrap_lines=True)
        state.write("result")
        token_strip(state.tokens, [state.id_of[letter] for letter in state.tokens], note="", key="lesson_alphabet")


def _show_frequent(state: StepState, response: str) -> None:
    counts = most_frequent(state.text)
    letters, numbers = zip(*counts[:_BARS], strict=True)
    shown = [visible(letter) for letter in letters]
    figure = character_bars(shown, [kind_of(letter) for letter in letters], numbers, len(state.text), current_palette())
    chart(figure, key="lesson_frequent", name="characters", numbers=lambda: {"character": shown, "count": numbers})


def _most_frequent(state: StepState) -> dict[str, str]:
    [(letter, count), *_others] = most_frequent(state.text)
    name = state.label("space") if letter == " " else visible(letter)
    return {"named": name, "share": percent(count / len(state.text))}


TEXT = Step(
    "text",
    _draw_text,
    code=(vocabulary_of, most_frequent),
    answer=lambda state: visible(most_frequent(state.text)[0][0]),
    options=lambda state: [
        visible(letter) for letter in sorted(letter for letter, _count in most_frequent(state.text)[:4])
    ],
    show=_show_frequent,
    more=_most_frequent,
)


def candidate_words(state: StepState) -> list[str]:
    """Return three equally long words of the text for the question; the first is the right one."""
    words = sorted(set(re.findall(r"\b[^\W\d_]{5}\b", state.text[:20_000])))
    if len(words) < 3:
        words = sorted({state.text[start : start + 5] for start in range(0, min(2000, len(state.text) - 5), 7)})
    return random.Random(state.seed).sample(words, min(3, len(words)))


def _draw_numbers(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        typed = state.value("typed", "Romeo", st.text_input, "control", max_chars=60)
        typed = read_line(typed, state.tokens)
        numbers = encode(typed, state.id_of)
        note = state.label("note") if set(typed) <= set(state.tokens) else state.label("strange")
        token_strip(list(typed), [state.id_of.get(letter) for letter in typed], note=note, key="lesson_typed")
        st.code(f"encode(text)    = {numbers}\ndecode(numbers) = {decode(numbers, state.tokens)!r}", wrap_lines=True)
        state.write("result")


def _show_words(state: StepState, response: str) -> None:
    for name, word in (("chosen", response), ("secret", candidate_words(state)[0])):
        st.caption(state.label(name))
        token_strip(list(word), [state.id_of.get(letter) for letter in word], note="", key=f"lesson_word_{name}")


NUMBERS = Step(
    "numbers",
    _draw_numbers,
    code=(vocabulary_of, character_ids, encode, decode),
    answer=lambda state: candidate_words(state)[0],
    options=lambda state: sorted(candidate_words(state)),
    show=_show_words,
    numbers=lambda state: {"secret": " ".join(map(str, encode(candidate_words(state)[0], state.id_of)))},
)


def _splits(state: StepState) -> tuple[str, str]:
    cut = len(state.train_ids)
    return state.text[:cut], state.text[cut:]


def context_losses(state: StepState) -> list[tuple[float, float]]:
    """Return the n-gram losses on both splits by context length."""
    make = partial(ngram_losses, *_splits(state), state.vocab_size, LONGEST_CONTEXT)
    return state.compute(("memory",), make, state.word("computing"))


def _draw_split(state: StepState) -> None:
    train, val = _splits(state)
    names = state.label("train"), state.label("val")
    with card(state.label("panel"), key="lesson_result"):
        for column, name, text in zip(st.columns(2), names, (train, val), strict=True):
            with column:
                st.caption(f"{name}: {len(text):,}")
                st.code(text[:150].strip(), language=None, height=110, wrap_lines=True)
        unit = state.results["unit"] = choose_unit(state)
        letters = state.value("letters", 2, st.slider, "control", 0, LONGEST_CONTEXT)
        with st.container(height=175, border=False):
            losses = state.results["losses"] = context_losses(state)
            on_train, on_val = losses[letters]
            figure = two_losses({names[0]: on_train, names[1]: on_val}, losses[0][0], current_palette(), unit)
            chart(
                figure, key="lesson_two", name="memory",
                numbers=lambda: {"part": names, "loss": [on_train, on_val]},
            )  # fmt: skip
        state.write("result")


def _show_loss_curves(state: StepState, response: float) -> None:
    palette, unit = current_palette(), state.results["unit"]
    losses = (list(map(unit.of, part)) for part in zip(*state.results["losses"], strict=True))
    lines = dict(zip((state.label("train"), state.label("val")), losses, strict=True))
    draw_curves(
        range(LONGEST_CONTEXT + 1), lines, (palette.training, palette.validation),
        (state.label("axis"), unit.title(_("loss"))), ("letters", *lines), key="lesson_memory", name="memory-all",
        mode="lines+markers", xaxis={"dtick": 1},
    )  # fmt: skip


SPLIT = Step(
    "split",
    _draw_split,
    code=(split_ids, split_point, ngram_loss),
    answer=lambda state: min(enumerate(state.results["losses"]), key=lambda losses: losses[1][1])[0],
    show=_show_loss_curves,
    numbers=lambda state: {"train_length": f"{len(state.train_ids):,}", "val_length": f"{len(state.val_ids):,}"},
)


def batch_slot(state: StepState) -> str:
    """Return the session key that counts the batches drawn in this step."""
    return f"lesson-batch-{state.step}"


def batch_of(state: StepState, sequences: int, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the batch shown, x and y (B, T); the button "Draw another batch" changes it."""
    drawn = session.recall(batch_slot(state), 0)
    return random_batch(state.train_ids, sequences, block, torch.Generator().manual_seed(state.seed + drawn))


def _draw_batch(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        left, right = st.columns(2)
        sequences = state.value("pieces", 4, left.slider, "control pieces", 1, 8)
        block = state.value("block", 8, right.slider, "control block", 2, 12)
        x, y = state.results["batch"] = batch_of(state, sequences, block)
        token_pairs(x.tolist(), y.tolist(), state.tokens, key="lesson_pairs")
        redraw_button(state, batch_slot(state), "another", key=batch_slot(state))


def _show_examples(state: StepState, response: float) -> None:
    x, y = state.results["batch"]
    rows, number = [], 0
    for piece, (ids, targets) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        words = []
        for context, target in examples(ids, targets):
            number += 1
            read = visible(decode(context, state.tokens))
            words.append(state.label("example", number=number, context=read, target=state.shown_tokens[target]))
        tokens = [state.shown_tokens[target] for target in targets]
        rows.append(MarkedRow(tokens, [0.5] * len(targets), words, lead=f"{piece + 1}"))
    marked_text(rows, note=state.label("examples note"), key="lesson_examples")


BATCH = Step(
    "batch",
    _draw_batch,
    code=(random_batch, examples),
    answer=lambda state: state.results["batch"][1].numel(),
    show=_show_examples,
    more=lambda state: dict(zip(("pieces", "block"), state.results["batch"][1].shape, strict=True)),
)
