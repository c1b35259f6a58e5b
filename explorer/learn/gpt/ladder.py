"""The ladder: one part after the other, each drawn as the loss that it takes off."""

import math
from functools import partial
from itertools import pairwise

import streamlit as st
from plotly import graph_objects as go

from core.formatting import decimal
from core.lessons.ladder import RUNGS, RungLoss, rung_configs, train_ladder
from core.model.gpt import Block
from core.training.work import exact_parameters
from explorer.charts.gpt_lesson import drop_bars, ladder_chart
from explorer.components.figure import growing_figure
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette

_COUNTED = ("uniform", "unigram", "bigram")


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        key = (*lab.key, "ladder")
        make = partial(train_ladder, lab.train_ids, lab.val_ids, lab.vocab_size, lab.seed)
        reached = result_of(key, make, lab.plain("coming"), partial(_rising, lab))
        if reached is None:
            return False
        _chart(lab, reached)
        best, counted = reached[-1].loss, reached[2].loss
        st.markdown(
            lab.say(
                "result", steps=next(iter(rung_configs(lab.seed).values())).train.steps, best=f"{best:.2f}",
                bigram=f"{counted:.2f}", letters=f"{math.exp(best):.1f}", from_letters=f"{math.exp(counted):.1f}",
            )
        )  # fmt: skip
    with card(lab.plain("panel parts"), key="lesson_parts"):
        _parts(lab, reached)
    lab.found["reached"] = reached
    return True


def _rising(lab: Lab, reached: list[RungLoss] | None) -> None:
    """The rungs reached so far."""
    if reached:
        growing_figure(_figure(lab, reached), key="lesson_rising")


def _figure(lab: Lab, reached: list[RungLoss]) -> go.Figure:
    names = [rung.name for rung in reached]
    to_come = [rung.name for rung in RUNGS if rung.name not in names]
    return ladder_chart(
        [lab.plain(name) for name in names], [rung.loss for rung in reached],
        [not rung.trained for rung in reached], [rung.optional for rung in reached],
        [lab.plain(name) for name in to_come], current_palette(),
    )  # fmt: skip


def _chart(lab: Lab, reached: list[RungLoss]) -> None:
    names = [rung.name for rung in reached]
    chart(
        _figure(lab, reached), key="lesson_ladder", name="ladder",
        numbers=lambda: {
            "rung": names, "validation loss": [rung.loss for rung in reached],
            "training loss": [rung.train_loss for rung in reached],
        },
    )  # fmt: skip


def _parts(lab: Lab, reached: list[RungLoss]) -> None:
    """What each rung adds, in words, with what it costs in parameters."""
    losses = {rung.name: rung.loss for rung in reached}
    configs = rung_configs(lab.seed)
    below = "bigram"
    for rung in RUNGS:
        numbers = exact_parameters(configs[rung.name].model, lab.vocab_size)
        change = losses[rung.name] - losses[below]
        told = decimal(change, plus=True)
        about = lab.say(f"about {rung.name}")
        st.markdown(f"**{lab.plain(rung.name)}** ({told}, {numbers:,} {lab.plain('parameters')}): {about}")
        if not rung.optional:
            below = rung.name


def drops(lab: Lab) -> dict[str, float]:
    """What each trained rung after the first takes off the loss of the rung that it stands on, in nats."""
    ladder = [rung for rung in lab.found["reached"] if not rung.optional and rung.name not in _COUNTED]
    return {above.name: below.loss - above.loss for below, above in pairwise(ladder)}


def largest_drop(lab: Lab) -> str:
    """The rung that takes the most off."""
    found = drops(lab)
    return max(found, key=found.__getitem__)


def _show_drops(lab: Lab, given: str) -> None:
    named = {lab.plain(name): drop for name, drop in drops(lab).items()}
    chart(
        drop_bars(named, lab.plain(given), current_palette()), key="lesson_drops", name="drops",
        numbers=lambda: {"rung": list(named), "taken off": list(named.values())},
    )  # fmt: skip
    st.markdown(lab.say("see"))


STEP = Step(
    "ladder",
    _draw,
    code=(rung_configs, train_ladder, Block),
    question=Question(
        answer=largest_drop,
        options=lambda lab: list(drops(lab)),
        named=True,
        show=_show_drops,
        more=lambda lab: {"drop": f"{max(drops(lab).values()):.2f}"},
    ),
)
