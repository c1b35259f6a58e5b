"""How a fork is drawn: from the step at which it branched off, over what its parent had learned by then and after."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor, isfinite
from typing import Any, NamedTuple

from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette
from explorer.charts.setting_changes import Mark
from explorer.i18n.language import _

FAINT = 0.4  # opacity of what another run learned
_LONGEST = 24  # characters of a name in the chart


class Before(NamedTuple):
    """The past of a fork, counted from where the oldest of its ancestors that is still kept began."""

    step: int  # at which the fork begins
    seconds: float  # of training until then
    parent: str  # its name; "" where it was deleted
    parent_step: int  # counted as the parent does
    rows: Sequence[Mapping[str, Any]]  # `step` and `val_loss` of the ancestors; the parent's go on past `step`

    @property
    def parent_in_words(self) -> str:
        if not self.parent:
            return _("a deleted run")
        return self.parent if len(self.parent) <= _LONGEST else f"{self.parent[: _LONGEST - 1]}…"

    @property
    def mark(self) -> Mark:
        """What stands at the fork's own step 0."""
        return Mark(0, _("from step {step} of {parent}", step=f"{self.parent_step:,}", parent=self.parent_in_words))


def parent_trace(before: Before | None, palette: Palette = LIGHT) -> go.Scatter:
    """How the ancestors did on validation text, behind everything else; empty for a run from scratch."""
    rows = before.rows if before else ()
    return go.Scatter(
        x=[row["step"] for row in rows],
        y=[row["val_loss"] for row in rows],
        name=_("validation of its parent"),
        mode="lines",
        line={"color": palette.validation, "width": 2},
        opacity=FAINT,
        zorder=-1,
        hovertemplate="%{y:.3f}",
    )


def step_axis(before: Before | None, steps: int) -> dict[str, Any]:
    """The step axis: of a fork as much of its past as of its own steps, if there is so much.

    As `stepRange` in assets/components/loss_chart/axes.js.
    """
    if before is None:
        return {"title": {"text": _("step")}, "range": [0, steps]}
    told = _("step, counted on from its parent's: its own step 0 is {step}", step=f"{before.step:,}")
    return {"title": {"text": told}, "range": [max(0, before.step - steps), before.step + steps]}


def fork_range(values: Iterable[float], before: Before) -> list[float]:
    """The loss axis of a fork: its own curve and its parent's about and past the branch, in steps of a tenth.

    The parent's first steps, which fell from far above, leave at the top. As `forkRange` in
    assets/components/loss_chart/axes.js.
    """
    beside = [row["val_loss"] for row in before.rows if row["step"] >= before.step / 2]
    known = [value for value in [*values, *beside] if isfinite(value)] or [0.0, 4.5]
    return [floor((min(known) - 0.06) * 10) / 10, ceil((max(known) + 0.12) * 10) / 10]
