"""Cross-entropy, worked out from the numbers."""

import math

import streamlit as st
import torch

from core.formatting import decimal
from core.lessons.bigram import cross_entropy_steps, new_bigram
from core.model import Bigram
from core.text.token_display import visible
from core.training.evaluation import whole_split_loss
from explorer.charts.bigram_lesson import cross_entropy_bars, cross_entropy_curve
from explorer.charts.text_format import percent
from explorer.learn.bigram.learned import learned
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

_LINE = 32  # characters of the line whose surprises are drawn
FRESH, TRAINED = "untrained", "trained"


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        found = learned(lab)
        if found is None:
            return False
        fresh = new_bigram(lab.vocab_size, lab.seed)
        lab.found["untrained"] = whole_split_loss(fresh, lab.val_ids)
        which = lab.value(
            "model", TRAINED, st.segmented_control, lab.plain("control model"), [FRESH, TRAINED], format_func=lab.plain
        )
        model = fresh if which == FRESH else found.model
        signs = {visible(token): id for id, token in enumerate(lab.tokens)}
        first, second = _example(lab)
        left, right = st.columns(2)
        with left:
            before = lab.value("first", first, st.selectbox, lab.plain("control first"), list(signs))
        with right:
            came = lab.value("second", second, st.selectbox, lab.plain("control second"), list(signs))
        with torch.no_grad():
            logits = model(torch.tensor([[signs[before]]]))[0][0, -1]  # (V,)
        worked = cross_entropy_steps(logits, signs[came])
        st.markdown(
            lab.say(
                "result", first=before, second=came, score=decimal(worked.score, 3), power=f"{worked.power:,.3f}",
                total=f"{worked.total:,.2f}", probability=f"{worked.probability:.4f}", loss=f"{worked.loss:.2f}",
                share=percent(worked.probability),
            )
        )  # fmt: skip
    with card(lab.plain("panel line"), key="lesson_line"):
        _draw_line(lab, model)
    return True


def line_of(lab: Lab) -> torch.Tensor:
    """The ids of the first line of the part kept aside that is long enough to be drawn, with what comes after it."""
    return lab.val_ids[: min(_LINE + 1, len(lab.val_ids))]


def _draw_line(lab: Lab, model: Bigram) -> None:
    ids = line_of(lab)
    with torch.no_grad():
        logits, mean = model(ids[None, :-1], ids[None, 1:])
    shares = logits[0].softmax(dim=-1)[torch.arange(len(ids) - 1), ids[1:]].tolist()
    signs = [visible(lab.tokens[id]) for id in ids[1:].tolist()]
    uniform = math.log(lab.vocab_size)
    labels = lab.plain("mean"), lab.plain("uniform")
    chart(
        cross_entropy_bars(signs, shares, uniform, labels, current_palette()), key="lesson_surprise", name="surprise",
        numbers=lambda: {"letter": signs, "probability": shares, "surprise": [-math.log(share) for share in shares]},
    )  # fmt: skip
    st.markdown(lab.say("line", mean=f"{mean.item():.2f}", choices=f"{math.exp(mean.item()):.1f}"))


def _example(lab: Lab) -> tuple[str, str]:
    """A pair that stands often in the text: what the selects show first."""
    ids = lab.train_ids
    counts = torch.bincount(ids[:-1] * lab.vocab_size + ids[1:], minlength=lab.vocab_size**2)
    letters = torch.tensor([token.isalpha() for token in lab.tokens])
    both = (letters[:, None] & letters[None, :]).flatten()
    place = int(torch.where(both, counts, -1).argmax())
    return visible(lab.tokens[place // lab.vocab_size]), visible(lab.tokens[place % lab.vocab_size])


def _show_curve(lab: Lab, given: float) -> None:
    V = lab.vocab_size
    marks = {f"1 / {V}: ln {V} = {math.log(V):.2f}": 1 / V, "1/2: 0.69": 0.5, "1: 0": 1.0}
    marks = dict(sorted(marks.items(), key=lambda entry: entry[1]))
    chart(
        cross_entropy_curve(marks, current_palette()), key="lesson_curve", name="surprise-curve",
        numbers=lambda: {"probability": list(marks.values()), "surprise": [-math.log(p) for p in marks.values()]},
    )  # fmt: skip


STEP = Step(
    "loss",
    _draw,
    code=(cross_entropy_steps,),
    question=Question(
        answer=lambda lab: lab.found["untrained"],
        show=_show_curve,
        tolerance=0.03,
        more=lambda lab: {"uniform": f"{math.log(lab.vocab_size):.2f}"},
    ),
)
