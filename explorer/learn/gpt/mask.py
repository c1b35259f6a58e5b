"""The causal mask, and a model that cheats without it."""

import streamlit as st

from core.lessons.sampling_steps import sample_text
from core.lessons.self_attention import attention_to_next, position_losses
from core.model.gpt import CausalSelfAttention
from core.text.token_display import visible
from explorer.charts.gpt_lesson import curves
from explorer.charts.text_format import percent
from explorer.learn.gpt.trained import courses
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.services.results_cache import result_for
from explorer.widgets.layout import card, chart, current_palette

MODELS = {"masked": {}, "open": {"causal": False}}
_WRITTEN = 200


def _draw(lab: Lab) -> bool:
    palette = current_palette()
    names = {name: lab.plain(name) for name in MODELS}
    colors = {names["masked"]: palette.accent, names["open"]: palette.bad}
    with card(lab.plain("panel"), key="lesson_result"):
        found = courses(lab, MODELS)
        if found is None:
            return False
        lines = {names[name]: (course.steps, course.train) for name, course in found.items()}
        chart(
            curves(lines, colors, (lab.plain("axis step"), lab.plain("axis loss")), palette),
            key="lesson_mask_curves", name="training-loss",
            numbers=lambda: {"step": found["masked"].steps, **{name: line for name, (_unused, line) in lines.items()}},
        )  # fmt: skip
        last = {name: course.train[-1] for name, course in found.items()}
        st.markdown(lab.say("result", masked=f"{last['masked']:.2f}", open=f"{last['open']:.2f}"))
    with card(lab.plain("panel texts"), key="lesson_mask_texts"):
        for column, (name, course) in zip(st.columns(2), found.items(), strict=True):
            model = course.model
            with column:
                st.markdown(f"**{names[name]}**")
                text, _unused = result_for(model, ("lesson-text", lab.key), lambda model=model: _text(lab, model))
                st.code(_shown(text), language=None, wrap_lines=True, height=170)
        st.markdown(lab.say("texts"))
    with card(lab.plain("panel why"), key="lesson_mask_why"):
        open_model = found["open"].model
        by_place = {
            names[name]: result_for(
                c.model, ("by-place", lab.key), lambda c=c: position_losses(c.model, lab.val_ids).tolist()
            )
            for name, c in found.items()
        }
        places = list(range(1, open_model.block_size + 1))
        chart(
            curves(
                {name: (places, losses) for name, losses in by_place.items()}, colors,
                (lab.plain("axis place"), lab.plain("axis val")), palette,
            ),
            key="lesson_by_place", name="loss-by-place", numbers=lambda: {"place": places, **by_place},
        )  # fmt: skip
        ahead = result_for(open_model, ("ahead", lab.key), lambda: attention_to_next(open_model, lab.val_ids))
        losses = by_place[names["open"]]
        st.markdown(
            lab.say(
                "why", ahead=percent(ahead), last=len(places), at_last=f"{losses[-1]:.2f}",
                before=f"{sum(losses[:-1]) / (len(losses) - 1):.3f}",
            )
        )  # fmt: skip
    lab.found["open"] = losses
    return True


def _text(lab: Lab, model) -> tuple[str, list[float]]:
    return sample_text(model, lab.tokenizer, lab.text[-1], _WRITTEN, temperature=0.8)


def _shown(text: str) -> str:
    """As it is, unless nothing of it can be seen."""
    return text if len(text.split()) > 3 else "".join(visible(letter) for letter in text)


def worst_place(lab: Lab) -> str:
    """Where in its context the model without a mask is worst."""
    losses = lab.found["open"]
    place = losses.index(max(losses))
    return "first" if place < len(losses) / 4 else "last" if place >= len(losses) - 1 else "middle"


def _show_places(lab: Lab, given: str) -> None:
    losses, palette = lab.found["open"], current_palette()
    places = list(range(1, len(losses) + 1))
    chart(
        curves(
            {lab.plain("open"): (places, losses)}, {lab.plain("open"): palette.bad},
            (lab.plain("axis place"), lab.plain("axis val")), palette, height=220,
        ),
        key="lesson_worst", name="loss-by-place", numbers=lambda: {"place": places, "loss": losses},
    )  # fmt: skip
    st.markdown(lab.say("see"))


STEP = Step(
    "mask",
    _draw,
    code=(CausalSelfAttention._explicit, attention_to_next, position_losses),
    question=Question(
        answer=worst_place,
        options=lambda lab: ["first", "middle", "last"],
        named=True,
        more=lambda lab: {"count": len(lab.found["open"]), "worst": f"{max(lab.found['open']):.2f}"},
        show=_show_places,
    ),
)
