"""Writing with the table."""

import streamlit as st
import torch
from torch import Tensor

from core.lessons.bigram import character_ids, decode, encode, greedy_ids, new_bigram, repeated_cycle, sample_ids
from core.text.token_display import visible
from explorer.components.text import WrittenToken, token_text
from explorer.learn.bigram.learned import learned
from explorer.learn.bigram.loss import FRESH, TRAINED
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets import session
from explorer.widgets.layout import card
from explorer.widgets.prompt import newline_hint, read_line

_LENGTH = 400
_GREEDY = 120
_DRAWN = "lesson-writing-drawn"


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        found = learned(lab)
        if found is None:
            return False
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            which = lab.value(
                "model", TRAINED, st.segmented_control, lab.plain("control model"), [FRESH, TRAINED],
                format_func=lab.plain,
            )  # fmt: skip
            typed = lab.value(
                "start", "T", st.text_input, lab.plain("control start"), max_chars=30, width=220, help=newline_hint()
            )
            st.button(
                lab.word("again"), icon=":material/casino:", key="lesson_again",
                on_click=lambda: session.remember(_DRAWN, session.recall(_DRAWN, 0) + 1),
            )  # fmt: skip
        model = found.model if which == TRAINED else new_bigram(lab.vocab_size, lab.seed)
        start = torch.tensor(start_of(lab, typed))
        drawn = lab.seed + session.recall(_DRAWN, 0)
        ids = sample_ids(model, start, _LENGTH, drawn)
        lab.found["start"] = start
        go = f"{which}-{drawn}-{start.tolist()}-{lab.material.name}"
        prompt = decode(start.tolist(), lab.tokens)
        token_text(prompt=prompt, go=go, key="lesson_text_written", tokens=_told(lab, model.table(), ids, len(start)))
        st.markdown(lab.say("result", last=visible(prompt[-1])))
    return True


def start_of(lab: Lab, typed: str) -> list[int]:
    """What the model begins with: what was typed, as far as it has numbers for it, else a new line or its first one."""
    id_of = character_ids(lab.tokens)
    return encode(read_line(typed, lab.tokens), id_of) or [id_of.get("\n", 0)]


def _told(lab: Lab, table: Tensor, ids: Tensor, begin: int) -> list[WrittenToken]:
    """Each written token with its probability and what else was likely."""
    signs = [visible(token) for token in lab.tokens]
    likely = table.topk(min(5, lab.vocab_size), dim=1)
    told = []
    for before, now in zip(ids[begin - 1 : -1].tolist(), ids[begin:].tolist(), strict=True):
        best = zip(likely.indices[before].tolist(), likely.values[before].tolist(), strict=True)
        told.append(
            WrittenToken(
                text=lab.tokens[now], visible=signs[now], p=round(float(table[before, now]), 5),
                alternatives=[(signs[id], round(share, 5)) for id, share in best],
            )
        )  # fmt: skip
    return told


def _greedy(lab: Lab) -> Tensor:
    return greedy_ids(lab.found["learned"].model, lab.found["start"], 2 * lab.vocab_size + _GREEDY)


def greedily(lab: Lab) -> str:
    """What becomes of a text of likeliest letters: "circle", or "varied" where it does not go in one."""
    return "circle" if repeated_cycle(_greedy(lab)) else "varied"


def _show_greedy(lab: Lab, given: str) -> None:
    st.code(decode(_greedy(lab).tolist()[:_GREEDY], lab.tokens), language=None, wrap_lines=True)


STEP = Step(
    "writing",
    _draw,
    code=(sample_ids, greedy_ids),
    question=Question(
        answer=greedily,
        options=lambda lab: ["sense", "circle", "varied"],
        named=True,
        show=_show_greedy,
        more=lambda lab: {"circle": "".join(visible(lab.tokens[id]) for id in repeated_cycle(_greedy(lab)))},
    ),
)
