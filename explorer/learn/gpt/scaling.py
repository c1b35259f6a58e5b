"""Why scores are divided by the square root of the head size."""

import math
from functools import lru_cache

import streamlit as st

from core.lessons.self_attention import max_attention, random_scores, softmax_slope
from explorer.charts.gpt_lesson import curves, share_pairs
from explorer.charts.text_format import percent
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHOWN = 8  # keys
ASKED = 256


@lru_cache(maxsize=8)
def _measured(seed: int) -> dict[bool, list[float]]:
    """For every head size the share of the favourite, divided or not."""
    scores = {divide: [random_scores(size, divide, seed=seed) for size in SIZES] for divide in (False, True)}
    return {divide: [max_attention(one) for one in many] for divide, many in scores.items()}


def _draw(lab: Lab) -> None:
    palette = current_palette()
    names = {False: lab.plain("plain"), True: lab.plain("divided")}
    colors = {names[False]: palette.bad, names[True]: palette.accent}
    with card(lab.plain("panel"), key="lesson_result"):
        size = lab.value("size", 64, st.select_slider, lab.plain("control"), SIZES)
        raw = random_scores(size, divide=False, seed=lab.seed)[0, :_SHOWN]
        shares = {
            names[divide]: (raw / (math.sqrt(size) if divide else 1)).softmax(dim=0).tolist()
            for divide in (False, True)
        }
        keys = [str(number + 1) for number in range(_SHOWN)]
        chart(
            share_pairs(keys, shares, colors, palette), key="lesson_saturation", name="softmax",
            numbers=lambda: {"key": keys, **shares},
        )  # fmt: skip
        spread = float(random_scores(size, divide=False, seed=lab.seed).std())
        st.markdown(
            lab.say(
                "result", size=size, spread=f"{spread:.1f}", root=f"{math.sqrt(size):.1f}",
                most=percent(max(shares[names[False]])), less=percent(max(shares[names[True]])),
            )
        )  # fmt: skip
    with card(lab.plain("panel sizes"), key="lesson_favourite"):
        found = _measured(lab.seed)
        favourites = {names[divide]: found[divide] for divide in (False, True)}
        steps = [math.log2(size) for size in SIZES]
        figure = curves(
            {name: (steps, values) for name, values in favourites.items()}, colors,
            (lab.plain("axis size"), lab.plain("axis weight")), palette,
        )  # fmt: skip
        figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
        figure.update_traces(hovertemplate="%{y:.0%}")
        figure.update_xaxes(tickvals=steps[::2], ticktext=[str(size) for size in SIZES[::2]], range=[-0.3, 10.3])
        chart(figure, key="lesson_favourites", name="favourite", numbers=lambda: {"head size": SIZES, **favourites})
        kept = [found[divide][SIZES.index(size)] for divide in (False, True)]
        st.markdown(
            lab.say(
                "sizes", size=size, plain_share=percent(kept[0]), divided_share=percent(kept[1]),
                slope=f"{softmax_slope(random_scores(size, divide=False, seed=lab.seed)):.2f}",
                slope_divided=f"{softmax_slope(random_scores(size, divide=True, seed=lab.seed)):.2f}",
            )
        )  # fmt: skip


def spread_asked(lab: Lab) -> float:
    """How far apart the scores of random queries and keys of the asked size lie: their standard deviation."""
    return float(random_scores(ASKED, divide=False, seed=lab.seed).std())


def _show_spreads(lab: Lab, given: float) -> None:
    spreads = [float(random_scores(size, divide=False, seed=lab.seed).std()) for size in SIZES]
    st.dataframe(
        {
            lab.plain("axis size"): SIZES,
            lab.plain("spread"): [f"{spread:.1f}" for spread in spreads],
            lab.plain("root"): [f"{math.sqrt(size):.1f}" for size in SIZES],
        },
        hide_index=True, width=480, key="lesson_spreads",
    )  # fmt: skip


STEP = Step(
    "scaling",
    _draw,
    code=(random_scores, max_attention, softmax_slope),
    question=Question(
        answer=spread_asked, show=_show_spreads, tolerance=2.0,
        more=lambda lab: {"size": ASKED, "root": f"{math.sqrt(ASKED):.0f}"},
    ),
)  # fmt: skip
