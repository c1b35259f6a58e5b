"""The ladder: one part after the other, each drawn as the loss that it takes off."""

import math
from itertools import pairwise

import streamlit as st

from core.lessons.ladder import RUNGS, Reached, climb, rung_configs
from core.model.gpt import Block
from core.training.work import exact_parameters
from explorer.charts.gpt_lesson import ladder_chart
from explorer.jobs import Job, job, known, result_of
from explorer.lessons.lab import Lab
from explorer.lessons.questions import Question
from explorer.lessons.step import Step
from explorer.ui import card, chart, current_palette

_COUNTED = ("uniform", "unigram", "bigram")
_BIGGEST = [rung.name for rung in RUNGS if not rung.beside]


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        key = (*lab.key, "ladder")
        make = lambda: climb(lab.train_ids, lab.val_ids, lab.vocab_size, lab.seed)  # noqa: E731
        under_way = known(key) or job(key, make)
        reached = result_of(key, make, lab.word("training"))
        if reached is None:
            st.markdown(lab.say("coming"))
            _rising(lab, under_way)
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


@st.fragment(run_every=1.0)
def _rising(lab: Lab, under_way: Job) -> None:
    """The rungs reached so far, drawn anew as they come."""
    if under_way.result:
        _chart(lab, under_way.result)


def _chart(lab: Lab, reached: list[Reached]) -> None:
    names = [rung.name for rung in reached]
    to_come = [rung.name for rung in RUNGS if rung.name not in names]
    chart(
        ladder_chart(
            [lab.plain(name) for name in names], [rung.loss for rung in reached],
            [not rung.trained for rung in reached], [rung.beside for rung in reached],
            [lab.plain(name) for name in to_come], current_palette(),
        ),
        key="lesson_ladder", name="ladder",
        numbers=lambda: {
            "rung": names, "validation loss": [rung.loss for rung in reached],
            "training loss": [rung.train_loss for rung in reached],
        },
    )  # fmt: skip


def _parts(lab: Lab, reached: list[Reached]) -> None:
    """What each rung adds, in words, with what it costs in parameters."""
    losses = {rung.name: rung.loss for rung in reached}
    configs = rung_configs(lab.seed)
    below = "bigram"
    for rung in RUNGS:
        numbers = exact_parameters(configs[rung.name].model, lab.vocab_size)
        change = losses[rung.name] - losses[below]
        told = f"{change:+.2f}".replace("-", "−")
        about = lab.say(f"about {rung.name}")
        st.markdown(f"**{lab.plain(rung.name)}** ({told}, {numbers:,} {lab.plain('parameters')}): {about}")
        if not rung.beside:
            below = rung.name


def largest_drop(lab: Lab) -> str:
    """The trained rung, after the first one, that takes the most off the loss of the rung below it."""
    ladder = [rung for rung in lab.found["reached"] if not rung.beside and rung.name not in _COUNTED]
    drops = {above.name: below.loss - above.loss for below, above in pairwise(ladder)}
    return max(drops, key=drops.get)


def _drops(lab: Lab) -> dict[str, str]:
    losses = {rung.name: rung.loss for rung in lab.found["reached"]}
    best = largest_drop(lab)
    below = _BIGGEST[_BIGGEST.index(best) - 1]
    return {"drop": f"{losses[below] - losses[best]:.2f}"}


STEP = Step(
    "ladder",
    _draw,
    code=(rung_configs, climb, Block),
    question=Question(
        answer=largest_drop,
        options=lambda lab: _BIGGEST[1:],
        show=lambda lab, given: st.markdown(lab.say("see")),
        more=_drops,
    ),
)
