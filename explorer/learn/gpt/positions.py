"""Positions: what a model cannot tell apart without them."""

import streamlit as st
import torch

from core.lessons.self_attention import predictions_after_shuffling
from core.model.gpt import rotary_angles, rotate, sinusoidal_positions
from core.text.token_display import visible
from explorer.charts.gpt_lesson import curves, share_pairs
from explorer.learn.gpt.trained import courses, typed_ids
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

KINDS = ("none", "learned", "sinusoidal", "rope")
_MOST, _BARS = 16, 8


def _draw(lab: Lab) -> bool:
    palette = current_palette()
    with card(lab.plain("panel"), key="lesson_result"):
        found = courses(lab, {kind: {"n_layer": 1, "position": kind} for kind in KINDS})
        if found is None:
            return False
        left, right = st.columns([2, 3])
        with left:
            typed = lab.value("typed", "the quee", st.text_input, lab.plain("control"), max_chars=_MOST)
        with right:
            kind = lab.value(
                "kind", "none", st.segmented_control, lab.plain("control kind"), list(KINDS), format_func=lab.plain
            )
        ids = typed_ids(lab, typed, _MOST, "the king")
        shuffled, before, after = predictions_after_shuffling(found[kind].model, ids)
        texts = ["".join(visible(lab.tokens[id]) for id in row) for row in (ids, shuffled)]
        _bars(lab, before, after, texts, "lesson_shuffled")
        apart = float((before - after).abs().max())
        part = "same" if apart < 1e-5 else "apart"
        st.markdown(lab.say(part, first=texts[0], second=texts[1], most=f"{100 * apart:.0f}"))
    with card(lab.plain("panel curves"), key="lesson_position_curves"):
        names = {kind: lab.plain(kind) for kind in KINDS}
        colors = dict(zip(names.values(), (palette.lines, *palette.runs), strict=False))
        lines = {names[kind]: (course.steps[1:], course.val[1:]) for kind, course in found.items()}
        figure = curves(lines, colors, (lab.plain("axis step"), lab.plain("axis loss")), palette)
        figure.update_yaxes(rangemode="normal")
        chart(
            figure, key="lesson_positions", name="positions",
            numbers=lambda: {"step": found["none"].steps[1:], **{name: line for name, (_, line) in lines.items()}},
        )  # fmt: skip
        losses = {kind: f"{course.val[-1]:.2f}" for kind, course in found.items()}
        st.markdown(lab.say("curves", **losses))
    lab.found["courses"], lab.found["ids"] = found, ids
    return True


def _bars(lab: Lab, before: torch.Tensor, after: torch.Tensor, texts: list[str], key: str) -> None:
    palette = current_palette()
    best = torch.maximum(before, after).argsort(descending=True)[:_BARS].tolist()
    names = [lab.plain("after", text=text) for text in texts]
    names[1] += " " if names[0] == names[1] else ""
    shares = {name: held[best].tolist() for name, held in zip(names, (before, after), strict=True)}
    signs = [visible(lab.tokens[id]) for id in best]
    chart(
        share_pairs(signs, shares, dict(zip(names, (palette.accent, palette.runs[2]), strict=True)), palette),
        key=key, name="next-letter", numbers=lambda: {"next letter": signs, **shares},
    )  # fmt: skip


def told_apart(lab: Lab) -> str:
    """Whether the model without positions notices that the last letter was exchanged too: "yes" or "no"."""
    before, after = _with_another_last(lab)
    return "no" if torch.allclose(before, after, atol=1e-6) else "yes"


def _with_another_last(lab: Lab) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model without positions expects after the text, and after it with its last two letters exchanged."""
    model, ids = lab.found["courses"]["none"].model, _asked_ids(lab)
    swapped = [*ids[:-2], ids[-1], ids[-2]]
    with torch.no_grad():
        return tuple(model(torch.tensor([row]))[0][0, -1].softmax(dim=0) for row in (ids, swapped))


def _asked_ids(lab: Lab) -> list[int]:
    """The text typed, or where its last two letters are the same one, as much of it as has two different ones."""
    ids = lab.found["ids"]
    while len(ids) > 2 and ids[-1] == ids[-2]:
        ids = ids[:-1]
    return ids


def _asked(lab: Lab) -> dict[str, str]:
    ids = _asked_ids(lab)
    swapped = [*ids[:-2], ids[-1], ids[-2]]
    first, second = ("".join(visible(lab.tokens[id]) for id in row) for row in (ids, swapped))
    return {"first": first, "second": second}


def _show(lab: Lab, given: str) -> None:
    asked = _asked(lab)
    _bars(lab, *_with_another_last(lab), [asked["first"], asked["second"]], "lesson_swapped")


STEP = Step(
    "positions",
    _draw,
    code=(predictions_after_shuffling, sinusoidal_positions, rotary_angles, rotate),
    question=Question(answer=told_apart, options=lambda lab: ["no", "yes"], named=True, show=_show, more=_asked),
)
