"""The live views of a run's board. Each is mounted once and fed by the run's stream, without reruns of the page."""

from collections.abc import Mapping
from typing import Any

from plotly import graph_objects as go

from core.runs.records import Status
from core.training.progress_summary import SENTENCES
from explorer.charts.forks import Before
from explorer.charts.loss import SMOOTHING, loss_figure
from explorer.charts.palette import DARK, LIGHT, both_palettes
from explorer.components.bundle import component
from explorer.services.shared import live_streams

_loss = component("live_loss", "loss_chart/view.js", "loss_chart/style.css", isolate=False)
_ready = component("get_ready", "page/get_ready.js")
_status = component("live_status", "dashboard/status.js", "dashboard/status.css", sentences=SENTENCES.values())
_curves = component("live_curves", "dashboard/curves.js", "dashboard/curves.css")
_samples = component("live_samples", "dashboard/samples.js", "dashboard/samples.css")
_attention = component("live_attention", "dashboard/attention.js", "dashboard/attention.css")
_embedding = component("live_embedding", "dashboard/embedding.js", "dashboard/embedding.css")
_turns = component("live_turns", "live_settings/changes.js", "live_settings/changes.css")
_rate = component("live_rate", "live_settings/rate.js", "live_settings/rate.css")
# Not isolated: the page's own style sheet looks at whether there is a step to see (assets/app.css).
_step_detail = component("live_closeup", "step_detail/view.js", "step_detail/style.css", isolate=False)


def get_ready() -> None:
    """Put this at the end of a page from which a run may be started; the board is then drawn sooner."""
    if live_streams():
        _ready(key="get_ready", height=1)


def live_loss(run_id: str, steps: int, *, before: Before | None = None, height: int = 360) -> None:
    """The loss chart, with smoothing, log axes and a zoom that is kept while it streams.

    Args:
        before: of a fork, what it began with.
    """
    figures = {
        name: _plain(loss_figure([], None, steps, palette, before=before, height=height))
        for name, palette in (("light", LIGHT), ("dark", DARK))
    }
    fork = before and {"begins": before.step, "mark": before.mark.label}
    data = {"run": run_id, "steps": steps, "figures": figures, "smoothing": SMOOTHING, "height": height, "fork": fork}
    _loss(key="live_loss_view", data=data | _palettes())


def live_status(
    run_id: str, *, name: str, status: Status, grad_clip: float, machine: str
) -> tuple[str | None, int | None]:
    """Draw the four numbers above the board.

    Returns:
        The state that the run has just changed to, and the step that somebody has just asked to fork from; else None.

    Args:
        name, status: of the run, as the page shows them; another name, state, attempt or notice reruns the page.
        machine: where it trains, in words that follow "letters a second, ".
    """
    drawn = {key: getattr(status, key) for key in ("state", "attempt", "notice", "steps")}
    data = {"run": run_id, "name": name, **drawn, "grad_clip": grad_clip, "machine": machine}
    asked = _status(key="live_status_view", data=data | _palettes(), on_state_change=_nothing, on_fork_change=_nothing)
    return asked.state, int(asked.fork) if asked.fork is not None else None


def live_curves(run_id: str, steps: int, curves: list[dict[str, str]]) -> None:
    """Small curves of columns of the metrics.

    Args:
        curves: of each the `column`, its `label`, and the `format` of its values: "rate", "short" or "plain".
    """
    data = {"run": run_id, "steps": steps, "curves": curves}
    _curves(key="live_curves_view", data=data | _palettes(), height="stretch")


def live_rate(run_id: str, *, peak: float) -> None:
    """Beside the knob of the learning rate, which sets the peak: where the schedule has brought it."""
    _rate(key="live_rate_view", data={"run": run_id, "peak": peak})


def live_turns(run_id: str, *, known: int, waiting: list[str], going: bool, ended: bool) -> tuple[str, Any] | None:
    """What was turned while the run trains, with a way back.

    Args:
        known: how many turns the page knows of; when there are others, the page is drawn again.
        waiting: in words, what was turned and no worker has taken yet.
        going: whether a worker will take it at once.
        ended: whether the run has ended, so that there is nothing to put back.

    Returns:
        A knob that shall be put back, and the value, if that was asked just now.
    """
    data = {"run": run_id, "known": known, "waiting": waiting, "going": going, "ended": ended}
    back = _turns(key="live_turns_view", data=data, on_turned_change=_nothing, on_back_change=_nothing).back
    asked = isinstance(back, Mapping) and isinstance(back.get("knob"), str)
    return (back["knob"], back.get("value")) if asked else None


def live_step_detail(run_id: str | None, step_detail: dict[str, Any] | None = None) -> None:
    """The last single step, letter by letter; there only while the run is paused behind it.

    Args:
        run_id: whose stream brings it; None without streams.
        closeup: where there is no stream (`explorer.streaming.step_detail`).
    """
    _step_detail(key="live_closeup_view", data={"run": run_id, "closeup": step_detail} | _palettes())


def live_samples(run_id: str) -> None:
    """What the model writes, the newest text first."""
    _samples(key="live_samples_view", data={"run": run_id} | _palettes(), height="stretch")


def live_attention(run_id: str, *, height: int) -> tuple[int, int] | None:
    """Every head on the probe sentence. Returns the head clicked just now as (layer, head) from 0.

    Args:
        height: at least, in pixels, so that nothing moves when the first picture arrives.
    """
    data = {"run": run_id, "height": height}
    clicked = _attention(key="live_attention_view", data=data | _palettes(), on_head_change=_nothing).head
    return (int(clicked[0]), int(clicked[1])) if clicked else None


def live_embedding(run_id: str, *, height: int) -> None:
    """The map of the token embeddings, whose letters glide."""
    _embedding(key="live_embedding_view", data={"run": run_id, "height": height} | _palettes())


def _palettes() -> dict[str, Any]:
    return {"palettes": both_palettes()}


def _plain(figure: go.Figure) -> dict[str, Any]:
    """The figure as plain values, without plotly's own template: our colours are all in it."""
    return figure.update_layout(template="none").to_plotly_json()


def _nothing() -> None:
    """Streamlit reports a value only for events that have a callback."""
