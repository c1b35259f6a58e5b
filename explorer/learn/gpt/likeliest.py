"""Sampling against always taking the likeliest."""

import streamlit as st

from core.lessons.sampling_steps import mean_of, sample_text, share_of_repeats
from explorer.charts.gpt_lesson import curves, share_pairs
from explorer.charts.text_format import percent
from explorer.learn.gpt.trained import the_gpt, typed_ids
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets import session
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.prompt import newline_hint

_LENGTH = 300
_DRAWN = "lesson-likeliest-drawn"
_AVERAGED = 20  # letters


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        model = the_gpt(lab)
        if model is None:
            return False
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            typed = lab.value(
                "start", "To be", st.text_input, lab.plain("control"), max_chars=30, width=220, help=newline_hint()
            )
            temperature = lab.value(
                "temperature", 0.8, st.slider, lab.plain("temperature"), 0.1, 2.0, step=0.1, width=240
            )
            st.button(
                lab.word("again"), icon=":material/casino:", key="lesson_again",
                on_click=lambda: session.remember(_DRAWN, session.recall(_DRAWN, 0) + 1),
            )  # fmt: skip
        prompt = lab.tokenizer.decode(typed_ids(lab, typed, 30, "the king"))
        written = {
            name: sample_text(model, lab.tokenizer, prompt, _LENGTH, how, seed=1 + session.recall(_DRAWN, 0))
            for name, how in (("likeliest", 0.0), ("sampled", temperature))
        }
        for column, (name, (text, held)) in zip(st.columns(2), written.items(), strict=True):
            with column:
                st.markdown(f"**{lab.plain(name)}**")
                st.code(prompt + text, language=None, wrap_lines=True, height=240)
                st.markdown(lab.say("statistics", mean=percent(mean_of(held)), repeats=percent(share_of_repeats(text))))
    with card(lab.plain("panel probability"), key="lesson_held"):
        palette = current_palette()
        names = {name: lab.plain(name) for name in written}
        lines = {names[name]: _smooth(held) for name, (_unused, held) in written.items()}
        places = list(range(_AVERAGED, _LENGTH + 1))
        figure = curves(
            {name: (places, line) for name, line in lines.items()},
            dict(zip(names.values(), (palette.bad, palette.accent), strict=True)),
            (lab.plain("axis letter"), lab.plain("axis probability")), palette, height=230,
        )  # fmt: skip
        figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
        figure.update_traces(hovertemplate="%{y:.0%}")
        chart(figure, key="lesson_held_curve", name="held", numbers=lambda: {"letter": places, **lines})
        st.markdown(lab.say("result"))
    lab.found["written"] = written
    return True


def _smooth(held: list[float]) -> list[float]:
    """The mean over each letter and those before it, so that a line can be seen."""
    return [mean_of(held[end - _AVERAGED : end]) for end in range(_AVERAGED, len(held) + 1)]


def held_likelier(lab: Lab) -> str:
    """Which of the two texts the model itself holds for likelier, letter by letter."""
    means = {name: mean_of(held) for name, (_unused, held) in lab.found["written"].items()}
    return max(means, key=means.get)


def _means(lab: Lab) -> dict[str, str]:
    return {name: percent(mean_of(held)) for name, (_unused, held) in lab.found["written"].items()}


def _show_means(lab: Lab, given: str) -> None:
    means = {lab.plain(name): mean_of(held) for name, (_unused, held) in lab.found["written"].items()}
    label, palette = lab.plain("axis probability"), current_palette()
    chart(
        share_pairs(list(means), {label: list(means.values())}, {label: palette.accent}, palette, height=220),
        key="lesson_held_means",
        name="belief",
        numbers=lambda: {"text": list(means), "belief": list(means.values())},
    )
    st.markdown(lab.say("see"))


STEP = Step(
    "likeliest",
    _draw,
    code=(sample_text, mean_of, share_of_repeats),
    question=Question(
        answer=held_likelier,
        options=lambda lab: ["likeliest", "sampled"],
        named=True,
        show=_show_means,
        more=lambda lab: {"of_" + name: share for name, share in _means(lab).items()},
    ),
)
