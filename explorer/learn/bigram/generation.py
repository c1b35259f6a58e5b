"""Generating text with the bigram model, and the limits of a context of one character."""

from collections import Counter
from functools import lru_cache
from itertools import product

import streamlit as st
import torch
from torch import Tensor

from core.lessons import bigram
from core.text.token_display import visible
from explorer.components.text import WrittenToken, token_text
from explorer.learn.bigram.predictions import TRAINED, choose_model, draw_next_characters
from explorer.learn.bigram.training import trained_bigram
from explorer.learn.bigram.training_text import context_losses
from explorer.learn.state import LessonData, StepState
from explorer.learn.steps import Step, draw_table, redraw_button
from explorer.widgets.layout import card
from explorer.widgets.prompt import newline_hint, read_line

_SAMPLE_LENGTH = 400
_GREEDY_LENGTH = 120
_DRAW_COUNT = "lesson-writing-drawn"


def _draw_writing(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        trained = trained_bigram(state)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            which = choose_model(state)
            typed = state.value(
                "start", "T", st.text_input, "control start", max_chars=30, width=220, help=newline_hint()
            )
            draw_count = redraw_button(state, _DRAW_COUNT)
        model = trained.model if which == TRAINED else bigram.new_bigram(state.vocab_size, state.seed)
        encoded = bigram.encode(read_line(typed, state.tokens), state.id_of)
        start = torch.tensor(encoded or [state.id_of.get("\n", 0)])
        seed = state.seed + draw_count
        ids = bigram.sample_ids(model, start, _SAMPLE_LENGTH, seed)
        state.results["start"] = start
        prompt = bigram.decode(start.tolist(), state.tokens)
        token_text(
            prompt=prompt,
            go=f"{which}-{seed}-{start.tolist()}-{state.data.name}",
            key="lesson_text_written",
            tokens=_generated_tokens(state, model.table(), ids, len(start)),
        )
        state.write("result", last=visible(prompt[-1]))


def _generated_tokens(state: StepState, table: Tensor, ids: Tensor, begin: int) -> list[WrittenToken]:
    top = table.topk(min(5, state.vocab_size), dim=1)
    generated = []
    for before, now in zip(ids[begin - 1 : -1].tolist(), ids[begin:].tolist(), strict=True):
        best = zip(top.indices[before].tolist(), top.values[before].tolist(), strict=True)
        generated.append(
            WrittenToken(
                text=state.tokens[now], visible=state.shown_tokens[now], p=round(float(table[before, now]), 5),
                alternatives=[(state.shown_tokens[id], round(share, 5)) for id, share in best],
            )
        )  # fmt: skip
    return generated


def _greedy(state: StepState) -> Tensor:
    return bigram.greedy_ids(
        state.results["trained"].model, state.results["start"], 2 * state.vocab_size + _GREEDY_LENGTH
    )


WRITING = Step(
    "writing",
    _draw_writing,
    code=(bigram.sample_ids, bigram.greedy_ids),
    answer=lambda state: "circle" if bigram.repeated_cycle(_greedy(state)) else "varied",
    named=lambda state: ["sense", "circle", "varied"],
    show=lambda state, response: st.code(
        bigram.decode(_greedy(state).tolist()[:_GREEDY_LENGTH], state.tokens), language=None, wrap_lines=True
    ),
    more=lambda state: {"circle": "".join(state.shown_tokens[id] for id in bigram.repeated_cycle(_greedy(state)))},
)


_MAX_CONTEXT = 3  # characters
_BARS = 5


def _draw_context(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        begin = frequent_trigram(state.text)
        typed = state.value("context", begin, st.text_input, "control", max_chars=20, width=260, help=newline_hint())
        typed = "".join(letter for letter in read_line(typed, state.tokens) if letter in state.tokens) or begin
        ends = [typed[-length:] for length in range(1, min(_MAX_CONTEXT, len(typed)) + 1)]
        for column, end in zip(st.columns(_MAX_CONTEXT), ends, strict=False):
            with column:
                following = bigram.next_character_counts(state.text, end)
                key = "after" if sum(following.values()) else "never"
                state.write(key, end=_shown(end), times=f"{sum(following.values()):,}")
                if following:
                    counts = torch.tensor([following[token] for token in state.tokens], dtype=torch.float64)
                    _bars(state, counts / counts.sum(), f"lesson_after_{len(end)}")
        state.write("result")
    with card(state.label("panel rows"), key="lesson_rows_needed"):
        losses = context_losses(state)
        trained_bigram(state)  # the question asks about it
        draw_table(state, "lesson_table_sizes", _table_sizes(state, [on_val for _unused, on_val in losses]))
        state.write("rows", most=f"{bigram.rows_needed(state.vocab_size, 8):,}")


def _table_sizes(state: StepState, losses: list[float]) -> dict[str, list[str]]:
    train = state.text[: len(state.train_ids)]
    memories = range(1, 6)
    return {
        "column letters": [str(letters) for letters in memories],
        "column rows": [f"{bigram.rows_needed(state.vocab_size, letters):,}" for letters in memories],
        "column seen": [f"{_count_contexts(train, letters):,}" for letters in memories],
        "column loss": [f"{losses[letters]:.2f}" for letters in memories],
    }


@lru_cache(maxsize=32)
def _count_contexts(text: str, letters: int) -> int:
    return len({text[start : start + letters] for start in range(len(text) - letters)})


@lru_cache(maxsize=8)
def frequent_trigram(text: str) -> str:
    """Return the most frequent trigram, preferably one of letters only."""
    counts = Counter(text[start : start + _MAX_CONTEXT] for start in range(len(text) - _MAX_CONTEXT + 1)).most_common()
    return next((trigram for trigram, _unused in counts if trigram.isalpha()), counts[0][0])


@lru_cache(maxsize=8)
def ambiguous_pair(data: LessonData) -> tuple[str, str]:
    """Return two frequent pairs with the same last character and the most different continuations in the text."""
    text, V = data.text, data.tokenizer.vocab_size
    ids, letters = data.ids, data.tokenizer.tokens
    counts = torch.bincount(ids[:-1] * V + ids[1:], minlength=V * V)
    places = [divmod(int(place), V) for place in counts.argsort(descending=True, stable=True)[:120]]
    pairs = [letters[a] + letters[b] for a, b in places if counts[a * V + b]]
    pairs = [pair for pair in pairs if pair.isalpha()][:40] or pairs[:40]
    shares = {}
    for pair in pairs:
        following = bigram.next_character_counts(text, pair)
        total = max(1, sum(following.values()))
        shares[pair] = torch.tensor([following[letter] / total for letter in letters])
    alike = [(one, other) for one, other in product(pairs, pairs) if one < other and one[-1] == other[-1]]
    return max(
        alike, key=lambda pair: float((shares[pair[0]] - shares[pair[1]]).abs().sum()), default=(pairs[0], pairs[0])
    )


def _predict(state: StepState, context: str) -> torch.Tensor:
    ids = torch.tensor([state.tokenizer.encode(context)])
    with torch.no_grad():
        return state.results["trained"].model(ids)[0][0, -1].softmax(dim=-1)


def _show_both(state: StepState, response: str) -> None:
    for column, context in zip(st.columns(2), ambiguous_pair(state.data), strict=True):
        with column:
            state.write("model after", end=_shown(context))
            _bars(state, _predict(state, context), f"lesson_model_{context}")


def _bars(state: StepState, probabilities: torch.Tensor, key: str) -> None:
    draw_next_characters(state, probabilities.numpy(), key, "what-follows", _BARS)


def _shown(text: str) -> str:
    return "".join(map(visible, text))


CONTEXT = Step(
    "context",
    _draw_context,
    code=(bigram.next_character_counts, bigram.rows_needed),
    answer=lambda state: (
        "same" if torch.equal(*(_predict(state, pair) for pair in ambiguous_pair(state.data))) else "different"
    ),
    named=lambda state: ["same", "different"],
    show=_show_both,
    numbers=lambda state: dict(zip(("first", "second"), map(_shown, ambiguous_pair(state.data)), strict=True)),
)
