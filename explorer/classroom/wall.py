"""The wall of a class: every shared run is a point, and the wall grows while the class trains."""

from collections.abc import Callable, Sequence
from math import log10
from threading import Condition
from typing import Any, NamedTuple

import streamlit as st
from cachetools import TTLCache, cached
from plotly import graph_objects as go

from core.classroom import Classroom
from core.errors import ExplorerError
from core.palette import LIGHT, Palette
from core.paths import shared_names
from core.runs.folder import RUN_ID, RunFolder, open_run
from core.settings import value_at
from core.text.tokenizers import load_tokenizer
from core.training.work import exact_parameters
from explorer.charts.csv_export import Columns
from explorer.charts.text_format import plain
from explorer.charts.theme import legend_above, style
from explorer.i18n.language import N_, _, language
from explorer.widgets.address import open_page
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.run_rows import RunRow

_LOOK_AGAIN = 3.0  # seconds
_HEIGHT = 430  # px
_SAMPLE = 160  # characters of the newest sample, shown at a point
_LINE = 40  # characters
_MIN_SPAN = 0.2  # of a linear axis, relative to its largest value
_MARGIN = 1.15  # factor on the span, so that no point lies on the frame
_TEACHER = N_("Teacher")


class SharedRun(NamedTuple):
    """One run on the wall."""

    row: RunRow
    student: str
    place: int  # of the student among the members
    parameters: int | None  # None before the model is built
    sample: str  # the newest one


def _setting(path: str) -> Callable[[SharedRun], float | None]:
    return lambda shared: float(value_at(shared.row.config, path))


AXES: dict[str, tuple[str, Callable[[SharedRun], float | None], bool]] = {  # label, value, logarithmic
    "val_loss": (N_("Validation loss (nats/token)"), lambda shared: shared.row.status.val_loss, False),
    "bits": (N_("Validation loss (bits/byte)"), lambda shared: shared.row.status.val_bits_per_byte, False),
    "parameters": (N_("Parameters"), lambda shared: shared.parameters, True),
    "step": (N_("Steps taken"), lambda shared: shared.row.status.step or None, True),
    "seconds": (N_("Seconds of training"), lambda shared: shared.row.status.seconds or None, True),
    "rate": (N_("Learning rate"), _setting("train.learning_rate"), True),
    "layers": (N_("Layers"), _setting("model.n_layer"), False),
    "width": (N_("Width"), _setting("model.n_embd"), False),
    "context": (N_("Context"), _setting("model.block_size"), False),
}


def draw_wall(classroom: Classroom) -> None:
    """Draw all shared runs over two selectable axes, redrawn while they train."""
    note = _(
        "Share a run with the switch on its page. Every shared run is a point: hover for its text, click to open it."
    )
    with card(_("The wall"), note, key="wall"):
        names = {name: _(label) for name, (label, *_rest) in AXES.items()}
        with st.container(horizontal=True, gap="small"):
            x = st.selectbox(_("Horizontal axis"), list(names), index=2, format_func=names.get, key="wall_x")
            y = st.selectbox(_("Vertical axis"), list(names), format_func=names.get, key="wall_y")
        st.fragment(_draw, run_every=_LOOK_AGAIN)(classroom, x, y)


def _draw(classroom: Classroom, x: str, y: str) -> None:
    runs, figure = _drawn(classroom, x, y, current_palette())
    if not any(_point(run, x, y) for run in runs):
        st.caption(_("Nothing is shared yet. The first run that somebody shares appears here automatically."))
        return
    alt = _("The shared runs of the class: {y} over {x}.", x=_(AXES[x][0]), y=_(AXES[y][0]))
    select = {"on_select": "rerun", "selection_mode": "points"}
    chosen = chart(figure, key="wall_chart", numbers=lambda: _numbers(runs), name="wall", alt=alt, **select)
    for point in chosen.selection.points:
        open_page("look_inside", point["customdata"][0])


# Cached for all viewers: it is the same for everybody, and takes 70 ms with thirty runs.
@cached(
    TTLCache(16, 0.8 * _LOOK_AGAIN),
    key=lambda classroom, x, y, palette: (classroom.root, language(), x, y, palette is LIGHT),
    condition=Condition(),
)
def _drawn(classroom: Classroom, x: str, y: str, palette: Palette) -> tuple[list[SharedRun], go.Figure]:
    runs = shared_on_wall(classroom)
    return runs, wall_figure(runs, x, y, palette)


def shared_on_wall(classroom: Classroom) -> list[SharedRun]:
    """Return the shared runs that can be read, oldest first."""
    nicknames, runs = {member.id: member.nickname for member in classroom.members()}, []
    joined = sorted(classroom.members(), key=lambda member: member.joined)
    places = {member.id: place for place, member in enumerate(joined, start=1)}  # so that a student keeps a color
    for id in reversed([*filter(RUN_ID.fullmatch, shared_names(classroom.root))]):
        try:
            folder = open_run(classroom.root, id)
            row = RunRow(folder, folder.record(), folder.status(), None)
        except ExplorerError:  # deleted, or damaged
            continue
        student = nicknames.get(folder.member, "") if folder.member else _(_TEACHER)
        place = places.get(folder.member, 0)
        runs.append(SharedRun(row, student, place, _parameters(folder), _last_sample(folder)))
    return runs


def _parameters(folder: RunFolder) -> int | None:
    try:
        return exact_parameters(folder.record().config.model, load_tokenizer(folder.tokenizer_path).vocab_size)
    except ExplorerError:
        return None


def _last_sample(folder: RunFolder) -> str:
    samples = folder.rows("samples")
    return str(samples[-1].get("text", ""))[:_SAMPLE] if samples else ""


def _point(run: SharedRun, x: str, y: str) -> tuple[float, float] | None:
    across, up = AXES[x][1](run), AXES[y][1](run)
    return None if across is None or up is None else (across, up)


def wall_figure(runs: Sequence[SharedRun], x: str, y: str, palette: Palette = LIGHT) -> go.Figure:
    """Draw a point for each run, with a color for each student; a run in training is hollow."""
    figure = go.Figure()
    for student, place in dict.fromkeys((run.student, run.place) for run in runs):
        own = [(run, point) for run in runs if run.student == student and (point := _point(run, x, y))]
        color = palette.runs[place % len(palette.runs)]
        figure.add_trace(
            go.Scatter(
                x=[point[0] for _run, point in own],
                y=[point[1] for _run, point in own],
                mode="markers",
                name=plain(student),
                marker={
                    "color": color,
                    "size": 11,
                    "symbol": ["circle-open" if run.row.going_on else "circle" for run, _point in own],
                    "line": {"width": 2, "color": color},
                },
                customdata=[(run.row.id, _hover(run)) for run, _point in own],
                hovertemplate="%{customdata[1]}<extra></extra>",
            )
        )
    (across, _value, log_x), (up, _value, log_y) = AXES[x], AXES[y]
    points = [point for run in runs if (point := _point(run, x, y))]
    style(figure, palette, height=_HEIGHT, zoom=True).update_layout(
        hovermode="closest",
        clickmode="event+select",
        uirevision=f"{x} {y}",
        xaxis={"title": {"text": _(across)}} | axis_span([point[0] for point in points], logarithmic=log_x),
        yaxis={"title": {"text": _(up)}} | axis_span([point[1] for point in points], logarithmic=log_y),
    )
    return legend_above(figure)


def axis_span(values: Sequence[float], *, logarithmic: bool) -> dict[str, Any]:
    """Return type and range of an axis for all values, wide enough that noise between equal runs looks small.

    A linear axis spans at least a fifth of its largest value, a logarithmic one at least a factor of two.
    """
    kind = {"type": "log" if logarithmic else "linear"}
    ends = [log10(value) if logarithmic else value for value in values if value > 0 or not logarithmic]
    if not ends:
        return kind
    low, high = min(ends), max(ends)
    least = log10(2) if logarithmic else _MIN_SPAN * max(abs(low), abs(high), 1e-9)
    half = max(high - low, least) / 2 * _MARGIN
    return kind | {"range": [(low + high) / 2 - half, (low + high) / 2 + half]}


def _hover(run: SharedRun) -> str:
    lines = [run.sample[start : start + _LINE] for start in range(0, len(run.sample), _LINE)]
    loss = "" if run.row.status.val_loss is None else f"{run.row.status.val_loss:.3f}"
    head = f"<b>{plain(run.student)}</b> · {plain(run.row.name)} · {loss}"
    return "<br>".join([head, *(plain(line.replace("\n", " ")) for line in lines)])


def _numbers(runs: Sequence[SharedRun]) -> Columns:
    about = {_("Student"): [run.student for run in runs], _("Run"): [run.row.name for run in runs]}
    return about | {_(label): [value(run) for run in runs] for label, value, _log in AXES.values()}
