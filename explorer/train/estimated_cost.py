"""The memory and time that a run will take, shown before it starts, and the slider ends that a class's limits set."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st

from core.config import SETTINGS, RunConfig
from core.formatting import duration_in_words, memory_in_words
from core.live_settings import STEPS
from core.settings import Setting
from core.training.cost import WORKER_BYTES, Estimate, check_fits
from core.training.hardware import find_hardware, memory_for_queued
from core.training.pace import SLOWED
from core.training.work import exact_parameters
from explorer.i18n.formatting import hardware_in_words
from explorer.i18n.language import _, ngettext
from explorer.services import shared
from explorer.services.cost_trials import trial_of
from explorer.services.visitors import limits, visitor
from explorer.train.time_budget import expected_loss_in_words
from explorer.widgets.forms import positions

_LOOK_AGAIN = 0.5  # seconds, while a trial runs
_VOCABULARY = "data.vocab_size"
_SIZES = ("model.n_layer", "model.n_embd", "model.block_size", _VOCABULARY)


class Cost(NamedTuple):
    """The estimated cost of a run."""

    figures: Estimate
    measured: bool  # by a trial of these very settings
    trial: tuple[RunConfig, int] | None  # the settings and vocabulary size of the trial under way


def cost_of(config: RunConfig, vocab_size: int, text_length: int) -> Cost:
    """Return the estimate for a run on a text of `text_length` characters; start a trial of its settings, once."""
    measured, under_way = trial_of(config, vocab_size)
    figures = shared.estimate_of(config, vocab_size, text_length)
    return Cost(figures, measured, (config, vocab_size) if under_way else None)


def check_memory(config: RunConfig, cost: Cost) -> None:
    """Raise OutOfMemoryEstimate if a run does not fit into this machine's memory."""
    hardware = find_hardware(config.train.device)
    check_fits(cost.figures.memory_bytes, hardware, memory_for_queued(hardware), config.train.processes)


def draw_cost(config: RunConfig, cost: Cost, *, is_fork: bool) -> None:
    """Draw the figures, their basis, and the hardware that the run would use; the page reruns after a trial."""
    slowdown = shared.contention_of(config)
    memory, worker = memory_in_words(cost.figures.memory_bytes), memory_in_words(WORKER_BYTES)
    lines = (
        ngettext("**{count}** parameter", "**{count}** parameters", cost.figures.parameters),
        _("**{memory}** for training, plus {worker} for PyTorch", memory=memory, worker=worker),
        _("about **{time}** on this machine", time=duration_in_words(cost.figures.seconds * slowdown)),
        "" if is_fork else expected_loss_in_words(config),
    )
    st.markdown("  \n".join(filter(None, lines)))
    if not visitor().is_teacher:
        now = limits()
        allowed = {"parameters": f"{now.most_parameters:,}", "steps": f"{now.most_steps:,}"}
        time = duration_in_words(60 * now.most_minutes)
        st.caption(
            _("Limits of your class: parameters {parameters}, steps {steps}, time {time}.", time=time, **allowed)
        )
    if slowdown >= SLOWED:
        times = f"{slowdown:.1f}"
        st.caption(_("Other programs use this machine: about {times}× the time of an idle one.", times=times))
    if cost.measured:
        st.caption(_("Measured on a few real steps of this model on this machine."))
    elif cost.trial:
        st.caption(_("Estimated from this machine's speed; timing a few real steps ..."))
        st.fragment(_wait_for_trial, run_every=_LOOK_AGAIN)(*cost.trial)
    else:
        st.caption(_("Estimated from this machine's speed."))
    hardware, choice = find_hardware(config.train.device), shared.chosen_precision(config)
    numbers = _(choice.why, precision=choice.precision, times=choice.times)
    st.caption(_("{machine} It computes in {numbers}", machine=hardware_in_words(hardware), numbers=numbers))


def _wait_for_trial(config: RunConfig, vocab_size: int) -> None:
    if not trial_of(config, vocab_size).under_way:
        st.rerun()


def most_steps() -> int:
    """Return how many steps the current user's runs may have."""
    return min(SETTINGS[STEPS].high, limits().most_steps)


def class_limit(
    path: str, setting: Setting, config: RunConfig, vocabulary: Callable[[RunConfig], int]
) -> tuple[int | None, str]:
    """Return a setting's maximum under the limits of a student's class, given the other settings, and a sentence why.

    The maximum is None if no limit applies.
    """
    if path not in (STEPS, *_SIZES) or visitor().is_teacher:
        return None, ""
    vocab_size = vocabulary(config)
    if path == STEPS:
        most, why = _most_steps(setting, config, vocab_size)
    else:
        allowed = limits().most_parameters
        values = positions(setting) if setting.in_factors else range(setting.low, setting.high + 1)
        most = _last(values, lambda value: _parameters(config, vocab_size, path, value) <= allowed)
        why = _("Limit of your class: parameters {most}.", most=f"{allowed:,}")
    return (most, why) if most < setting.high else (None, "")


def _most_steps(setting: Setting, config: RunConfig, vocab_size: int) -> tuple[int, str]:

    def seconds(steps: int) -> float:
        return shared.estimate_of(config.replace({STEPS: steps}), vocab_size).seconds

    allowed, seconds_allowed = most_steps(), 60 * limits().most_minutes
    most = _last(positions(setting._replace(high=allowed)), lambda steps: seconds(steps) <= seconds_allowed)
    if most < allowed:
        return most, _("Limit of your class: time {most}.", most=duration_in_words(seconds_allowed))
    return most, _("Limit of your class: steps {most}.", most=f"{allowed:,}")


def _parameters(config: RunConfig, vocab_size: int, path: str, value: int) -> int:
    if path == _VOCABULARY:
        return exact_parameters(config.model, value)
    one_head = {"n_head": 1, "n_kv_head": 0} if path == "model.n_embd" else {}  # which divides any width
    return exact_parameters(config.model.model_copy(update={path.partition(".")[2]: value} | one_head), vocab_size)


def _last(values: Sequence[int], is_allowed: Callable[[Any], bool]) -> int:
    """Return the last allowed one of ascending values, or the first if none is allowed."""
    if is_allowed(values[-1]):
        return values[-1]
    return values[max(0, bisect_left(values, True, key=lambda value: not is_allowed(value)) - 1)]
