"""The live views of a run's dashboard, fed by the run's stream without reruns of the page."""

from collections.abc import Mapping
from typing import Any

from core.palette import DARK, LIGHT
from core.runs.records import Status
from core.training.gauge import ADVICE, PARTS
from core.training.progress_summary import SENTENCES
from explorer.charts.loss import SMOOTHING, ParentCurve, loss_figure
from explorer.components.modules import Component

_dashboard = Component("dashboard", sentences=[*SENTENCES.values(), *PARTS.values(), *ADVICE.values()])
_loss = Component("loss_chart", isolate=False)
# Not isolated: the page's own style sheet checks whether it shows a step (assets/app.css).
_step_detail = Component("step_detail", isolate=False)


def live_loss(run_id: str, steps: int, parent: ParentCurve | None, bytes_per_token: float | None = None) -> None:
    """Draw the loss chart, with smoothing, log axes and a zoom that survives new data; `parent` is for a fork.

    `bytes_per_token` is for a run whose rows lack bits per byte.
    """
    # Without plotly's template: the figure has all its colors.
    figures = {
        name: loss_figure([], None, steps, palette, parent=parent).update_layout(template="none").to_plotly_json()
        for name, palette in (("light", LIGHT), ("dark", DARK))
    }
    fork = parent and {"begins": parent.step, "mark": parent.mark}
    data = {"run": run_id, "steps": steps, "figures": figures, "smoothing": SMOOTHING, "fork": fork}
    _loss(data=data | {"bytes_per_token": bytes_per_token}, key="live_loss_view", height="stretch")


def live_status(
    run_id: str, *, name: str, status: Status, grad_clip: float, machine: str, waits: str
) -> tuple[str | None, int | None]:
    """Draw the four numbers at the top; return the state just changed to, and the step to fork from, each or None.

    `waits` tells the run's place in the queue, or is "".
    """
    shown = ("state", "attempt", "notice", "waits_for", "reason", "steps")
    drawn = {key: getattr(status, key) for key in shown}
    data = {"run": run_id, "name": name, **drawn, "grad_clip": grad_clip, "machine": machine}
    data["waits"] = waits
    clicked = _dashboard("status", data, key="live_status_view", triggers=["state", "fork"])
    return clicked.state, int(clicked.fork) if clicked.fork is not None else None


def live_view(view: str, run_id: str, *, height: str = "content", **data: Any) -> Any:
    """Draw "curves", "samples", "attention", the "embedding" map or the "gauge" of a run; return what it reports."""
    triggers = ["head"] if view == "attention" else []
    return _dashboard(view, {"run": run_id, **data}, key=f"live_{view}_view", height=height, triggers=triggers)


def live_rate(run_id: str, *, peak: float) -> None:
    """Show the learning rate that the schedule gives now, below the slider for its peak."""
    _dashboard("rate", {"run": run_id, "peak": peak}, key="live_rate_view")


def live_setting_changes(
    run_id: str, *, known: int, waiting: list[str], going: bool, ended: bool
) -> tuple[str, Any] | None:
    """List the changed settings; return the one to restore and its value, if just clicked.

    The page shows `known` changes and reruns when there are others; no worker has applied those in `waiting` yet.
    """
    data = {"run": run_id, "known": known, "waiting": waiting, "going": going, "ended": ended}
    clicked = _dashboard("changes", data, key="live_changes_view", triggers=["changed", "restore"]).restore
    valid = isinstance(clicked, Mapping) and isinstance(clicked.get("setting"), str)
    return (clicked["setting"], clicked.get("value")) if valid else None


def live_step_detail(run_id: str) -> None:
    """Draw the last single step token by token, while the run is paused after it."""
    _step_detail(data={"run": run_id}, key="live_step_detail_view")
