"""Is the training healthy? Activations, gradients, updates, dead units, attention entropy and the residual stream."""

from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from core.runs.folder import RunFolder, open_run
from core.training.health import PROBE_TOKENS, Health
from core.training.health_readings import SENTENCES, Reading, read_all
from explorer.charts.health import FIGURES, HISTOGRAMS
from explorer.charts.theme import MovingFigure
from explorer.components.time_machine import TimeMachineState, moving_figure
from explorer.i18n.language import N_, _
from explorer.look_inside.inspection import Inspection, choose_other
from explorer.services import shared
from explorer.widgets.layout import card, current_palette, literal

CARDS = {
    "activations": (
        N_("Activations by block"),
        N_("Are the inputs of the nonlinearities neither tiny nor huge?"),
        N_(
            "Histograms of each nonlinearity's inputs (without an MLP, attention's outputs). Near zero a nonlinearity "
            "is straight; far from it, it is flat or lets the numbers grow."
        ),
    ),
    "gradients": (
        N_("Gradients by block"),
        N_("Does the gradient reach the first block?"),
        N_(
            "Histograms of the mean loss's gradient with respect to these activations, on one axis. A spike in the "
            "lower blocks is a gradient that vanishes on its way down."
        ),
    ),
    "updates": (
        N_("Update-to-weight ratio"),
        N_("Is the learning rate right for every matrix?"),
        N_(
            "The norm of one step's update over that of the matrix. Far above the dashed line (1e-3, Karpathy's "
            "makemore, part 3) a matrix forgets, far below it learns slowly."
        ),
    ),
    "dead": (
        N_("Dead units"),
        N_("Do all neurons still learn?"),
        N_(
            "The share of each MLP's units that pass on less than 1% of the gradient at every token. A ReLU that is "
            "never above zero is dead and stays so."
        ),
    ),
    "entropy": (
        N_("Attention entropy by head"),
        N_("Is attention neither uniform nor stuck on one token?"),
        N_(
            "Entropy of each head's attention weights as a share of uniform attention's. 1 averages all tokens; 0 "
            "attends to one, where the softmax is saturated and its gradient is zero."
        ),
    ),
    "norms": (
        N_("Residual stream by depth"),
        N_("Does the residual stream keep a reasonable size?"),
        N_(
            "The mean norm of a token's vector before the first block, and after each attention and MLP. Every block "
            "adds to it; the dotted line is the first measurement."
        ),
    ),
}  # by the name of the measurement: title, question, help
_ABSENT = N_(
    "**{name}** has no measurements of its training's health: it was trained before they were recorded, or elsewhere. "
    "A new run has them."
)


class _Side(NamedTuple):
    """One of the runs shown."""

    state: TimeMachineState
    name: str
    history: list[Health]

    @property
    def steps(self) -> list[int]:
        return [health.step for health in self.history]

    def has(self, measurement: str) -> bool:
        return bool(self.history) and measurement in read_all(self.history[-1])


def draw(inspection: Inspection) -> None:
    """Draw all measurements of one run at the current step, or of two runs side by side."""
    sides = [_side(inspection.time_machine, inspection.folder)]
    if other := choose_other(inspection.time_machine):
        sides.append(_side(other, open_run(shared.data_dir(), other.run)))
    for column, side in zip(st.columns(len(sides)), sides, strict=True):
        with column:
            _draw_summary(side)
    measurements = [name for name in CARDS if any(side.has(name) for side in sides)]
    cells = [(name, side) for name in measurements for side in sides]
    norms = np.concatenate([health.norms for side in sides for health in side.history] or [np.ones(1)])
    for first in range(0, len(cells), 2):
        for column, (name, side) in zip(st.columns(2), cells[first : first + 2], strict=False):
            if side.has(name):
                other = next((each for each in sides if each is not side and each.has(name)), None)
                with column:
                    _draw_measurement(name, side, norms, other)


def _side(state: TimeMachineState, folder: RunFolder) -> _Side:
    return _Side(state, folder.name, folder.health())


def _draw_summary(side: _Side) -> None:
    if not side.history:
        st.info(_(_ABSENT, name=literal(side.name)), icon=":material/monitor_heart:")
        return
    words = []
    for health in side.history:
        readings = read_all(health).values()
        trouble = [_in_words(reading) for reading in readings if reading.trouble]
        words.append(trouble or [(_("All {count} measurements are in a good range.", count=len(readings)), False)])
    note = _(
        "Is the training healthy? Measured on the same tokens of held-out text, at most {count}.", count=PROBE_TOKENS
    )
    with card(_("Training health"), note, height="stretch", key=_key("card_health", side)):
        _draw_moving("summary", side, None, words)


def _draw_measurement(name: str, side: _Side, norms: np.ndarray, other: _Side | None) -> None:
    title, note, more = map(_, CARDS[name])
    compared = None
    if other and name in HISTOGRAMS:
        moves = FIGURES[name](other.history, current_palette(), norms).moves
        compared = {"side": other.state.side, "steps": other.steps, "layouts": [move["layout"] for move in moves]}
    with card(title, note, more=more, height="stretch", key=_key(f"card_health_{name}", side)):
        figure = FIGURES[name](side.history, current_palette(), norms)
        _draw_moving(name, side, figure, [[_in_words(read_all(health)[name])] for health in side.history], compared)


def _draw_moving(
    name: str,
    side: _Side,
    figure: MovingFigure | None,
    words: list[list[tuple[str, bool]]],
    compared: dict[str, Any] | None = None,
) -> None:
    look = {"key": _key(f"health_{name}", side), "name": f"health-{name}", "compared": compared}
    moving_figure(side.state, side.steps, figure, words, **look)


def _in_words(reading: Reading) -> tuple[str, bool]:
    return _(SENTENCES[reading.kind], **reading.numbers), reading.trouble


def _key(name: str, side: _Side) -> str:
    return f"{name}_{side.state.side}"
