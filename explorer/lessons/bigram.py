"""The bigram lesson: from a text to a model that has learned which character follows which."""

import streamlit as st

from core.lessons.reading import alphabet, most_frequent
from core.text.display import kind_of, visible
from explorer.charts.text import character_bars
from explorer.charts.words import percent
from explorer.components.token_strip import token_strip
from explorer.lessons.lab import Lab
from explorer.lessons.questions import Question
from explorer.lessons.step import Step
from explorer.ui import card, chart, current_palette

_SHOWN = 700  # characters of the text at a time
_BARS = 24


def _draw_text(lab: Lab) -> None:
    with card(lab.plain("panel"), key="lesson_result"):
        start = lab.value("start", 0, st.slider, lab.plain("control"), 0, max(1, len(lab.text) - _SHOWN), step=100)
        st.code(lab.text[start : start + _SHOWN], language=None, height=260, wrap_lines=True)
        st.markdown(lab.say("result"))
        token_strip(
            alphabet(lab.text), {token: id for id, token in enumerate(lab.tokens)}, note="", key="lesson_alphabet"
        )


def _frequent_options(lab: Lab) -> list[str]:
    """The four most frequent characters, in the order of the alphabet: their order must not give the answer away."""
    return [visible(letter) for letter in sorted(letter for letter, _ in most_frequent(lab.text)[:4])]


def _show_frequent(lab: Lab, given: str) -> None:
    counts = most_frequent(lab.text)
    letters, numbers = zip(*counts[:_BARS], strict=True)
    shown = [visible(letter) for letter in letters]
    figure = character_bars(shown, [kind_of(letter) for letter in letters], numbers, len(lab.text), current_palette())
    chart(figure, key="lesson_frequent", name="characters", numbers=lambda: {"character": shown, "count": numbers})


STEPS = (
    Step(
        "text",
        _draw_text,
        code=(alphabet, most_frequent),
        question=Question(
            answer=lambda lab: visible(most_frequent(lab.text)[0][0]),
            options=_frequent_options,
            show=_show_frequent,
            more=lambda lab: {"share": percent(most_frequent(lab.text)[0][1] / len(lab.text))},
        ),
    ),
)
