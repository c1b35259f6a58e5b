"""A run's training health: small multiples by block, at one step and over time. L blocks, H heads, S measurements."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log10

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from core.formatting import head_name
from core.palette import LIGHT, Palette
from core.training.health import BINS, WIDTH, Health
from core.training.health_readings import USUAL
from explorer.charts.theme import MovingFigure, legend_above, line, style
from explorer.i18n.language import N_, _

_TOP, _PANEL, _GAP, _BOTTOM = 22, 104, 46, 28  # pixels: title, panel, gap between panels, axis below
_LEGEND, _AROUND = 19, 20  # pixels: a line of the legend, and the margin around the legend
_RATIOS = (1e-4, 1e-3, 1e-2, 1e-1)  # on an axis
_BEFORE_FIRST = 0.5  # where step 0 lies on a logarithmic axis
HISTOGRAMS = ("activations", "gradients")  # two runs share their scale
_KINDS = {
    "c_attn": N_("queries, keys, values"),
    "attn.c_proj": N_("attention output"),
    "c_fc": N_("MLP input"),
    "mlp.c_proj": N_("MLP output"),
    "wte": N_("token embeddings"),
    "wpe": N_("position embeddings"),
    "lm_head": N_("output layer"),
    "bigram": N_("bigram table"),
    "c_gate": N_("attention gate"),
    "router": N_("router"),
}


def histograms(history: Sequence[Health], name: str, palette: Palette = LIGHT) -> MovingFigure:
    """Draw one panel per block with the "activations" or "gradients" of each measurement."""
    places = (np.arange(BINS) - BINS // 2) * (2 * WIDTH / BINS)  # in root mean squares
    layers = len(history[0].activation_rms)
    figure = _grid([_("block {block}", block=layer + 1) for layer in range(layers)], palette)
    color = palette.training if name == "activations" else palette.validation
    look = {"fill": "tozeroy", "hoverinfo": "x"}
    names = [_("block {block}", block=layer + 1) for layer in range(layers)]
    figure.add_traces([line([], [], color, 1.6, name, **look, **_axes(at)) for at, name in enumerate(names)])
    figure.update_yaxes(showticklabels=False, showgrid=False, rangemode="tozero")
    figure.update_layout(showlegend=False, margin_l=10)
    figure.update_xaxes(exponentformat="e", minexponent=2)
    moves = []
    for health in history:
        shares, sizes = getattr(health, name), getattr(health, f"{name[:-1]}_rms")
        reach = 3.2 * max(float(sizes.max()), 1e-30)  # the same in all panels, so that a narrow histogram looks narrow
        traces = [
            {"x": (places * size).tolist(), "y": share.tolist()} for share, size in zip(shares, sizes, strict=True)
        ]
        mark = float(f"{0.6 * reach:.0e}")
        axis = {"range": [-reach, reach], "tickvals": [-mark, 0, mark]}
        layout = {f"xaxis{n or ''}.{name}": value for n in _panels(layers) for name, value in axis.items()}
        moves.append({"traces": traces, "layout": layout})
    return MovingFigure(figure, moves)


def update_ratios_figure(history: Sequence[Health], palette: Palette = LIGHT) -> MovingFigure:
    """Draw the update-to-weight ratio of each matrix over time: one panel per block, and one for the other matrices."""
    layers = len(history[0].activation_rms)
    names = dict.fromkeys(name for health in history for name in health.updates)
    figure = _grid(
        [*(_("block {block}", block=layer + 1) for layer in range(layers)), _("other matrices")], palette, legend=2
    )
    taken = [health for health in history if health.updates]
    steps, in_legend, traces = [health.step for health in taken], set(), []
    for matrix in names:
        block = matrix.startswith("h.")
        panel = int(matrix.split(".")[1]) if block else layers
        kind = next((kind for kind in _KINDS if matrix.endswith(kind)), matrix)
        ratios = [health.updates.get(matrix) or None for health in taken]
        color = palette.runs[list(_KINDS).index(kind) % len(palette.runs)] if kind in _KINDS else palette.lines
        label = _(_KINDS.get(kind, kind))
        look = {"legendgroup": kind, "showlegend": kind not in in_legend} | _axes(panel)
        look["hovertemplate"] = f"{label}: %{{y:.1e}}<extra></extra>"
        traces.append(line(steps, ratios, color, 1.6, label, **look))
        in_legend.add(kind)
    figure.add_traces(traces)
    figure.update_yaxes(
        type="log",
        range=[-5.2, 0.3],
        tickvals=_RATIOS,
        ticktext=[f"{ratio:.0e}".replace("e-0", "e-") for ratio in _RATIOS],
    )
    figure.add_hline(USUAL, line={"color": palette.lines, "dash": "dash", "width": 1})
    return _with_cursor(figure, history, layers + 1, palette)


def dead_units_figure(history: Sequence[Health], palette: Palette = LIGHT) -> MovingFigure:
    """Draw the share of dead units of each block over time."""
    figure, steps = _grid([""], palette, panel=2 * _PANEL, legend=1), _log_steps(history)
    for layer in range(len(history[0].dead)):
        name, color = _("block {block}", block=layer + 1), palette.runs[layer % len(palette.runs)]
        shares = [float(health.dead[layer]) for health in history]
        figure.add_trace(line(steps, shares, color, 2, name, hovertemplate=f"{name}: %{{y:.1%}}<extra></extra>"))
    most = max(float(health.dead.max()) for health in history)
    figure.update_yaxes(tickformat=".0%", range=[0, max(0.2, min(1, 1.1 * most))])
    return _with_cursor(figure, history, 1, palette)


def entropy_figure(history: Sequence[Health], palette: Palette = LIGHT) -> MovingFigure:
    """Draw one panel per block with the attention entropy of each head over time, 1 for uniform attention."""
    (layers, heads), steps, traces = history[0].entropy.shape, _log_steps(history), []
    figure = _grid([_("block {block}", block=layer + 1) for layer in range(layers)], palette)
    for layer, head in np.ndindex(layers, heads):
        name = _("head {head}", head=head_name(layer, head))
        values = [float(health.entropy[layer, head]) for health in history]
        look = {"showlegend": False, "hovertemplate": f"{name}: %{{y:.2f}}<extra></extra>"} | _axes(layer)
        traces.append(line(steps, values, palette.runs[head % len(palette.runs)], 1.6, name, **look))
    figure.add_traces(traces)
    figure.update_yaxes(range=[-0.02, 1.05], tickvals=[0, 0.5, 1])
    return _with_cursor(figure, history, layers, palette)


def norms_figure(history: Sequence[Health], palette: Palette, norms: np.ndarray) -> MovingFigure:
    """Draw the residual stream's norm by depth at each measurement, and at the first one; the axis fits all `norms`."""
    first = history[0].norms
    parts = (len(first) - 1) // len(history[0].activation_rms)
    labels = [_("embedding")]
    for block in range(1, len(history[0].activation_rms) + 1):
        labels += [_("block {block}", block=block)] if parts == 1 else [f"{block} attn", f"{block} MLP"]
    figure, places = _grid([""], palette, panel=2 * _PANEL, legend=1), list(range(len(first)))
    hover = {"hovertemplate": "%{y:.3g}<extra></extra>"}
    name = _("step {step}", step=f"{history[0].step:,}")
    figure.add_trace(line(places, first.tolist(), palette.lines, 1.4, name, dash="dot", **hover))
    figure.add_trace(line(places, [], palette.accent, 2.4, _("this step"), mode="lines+markers", **hover))
    low, high = max(float(norms.min()), 1e-6), max(float(norms.max()), 1e-5)
    figure.update_yaxes(type="log", range=[log10(low) - 0.1, log10(high) + 0.1], dtick=1)
    every = ceil(len(labels) / 9)
    figure.update_xaxes(tickvals=places[::every], ticktext=labels[::every], tickangle=0 if len(labels) < 6 else -40)
    return MovingFigure(figure, [{"traces": [{}, {"y": health.norms.tolist()}]} for health in history])


FIGURES: Mapping[str, Callable[[Sequence[Health], Palette, np.ndarray], MovingFigure]] = {
    "activations": lambda history, palette, _norms: histograms(history, "activations", palette),
    "gradients": lambda history, palette, _norms: histograms(history, "gradients", palette),
    "updates": lambda history, palette, _norms: update_ratios_figure(history, palette),
    "dead": lambda history, palette, _norms: dead_units_figure(history, palette),
    "entropy": lambda history, palette, _norms: entropy_figure(history, palette),
    "norms": norms_figure,
}
"""The function that draws each measurement, by field name, from a history, a palette and all norms to compare."""


def _grid(titles: Sequence[str], palette: Palette, panel: int = _PANEL, legend: int = 0) -> go.Figure:
    """Return panels with a title each, up to three in a row, below `legend` lines for a legend."""
    columns = _columns(len(titles))
    rows = ceil(len(titles) / columns)
    top = _TOP + (legend and legend * _LEGEND + _AROUND)
    inside = rows * panel + (rows - 1) * _GAP
    spacing = {
        "vertical_spacing": _GAP / inside if rows > 1 else 0,
        "horizontal_spacing": 0.12,
    }
    figure = make_subplots(rows, columns, subplot_titles=titles, **spacing)
    style(figure, palette, height=inside + top + _BOTTOM)
    axis = figure.layout.yaxis.to_plotly_json() | {"automargin": False}
    for settings in (figure.update_xaxes, figure.update_yaxes):
        settings(**{name: axis[name] for name in ("gridcolor", "zeroline", "linecolor", "tickfont", "fixedrange")})
    figure.update_xaxes(showgrid=False)
    figure.update_annotations(font={"color": palette.muted, "size": 12}, yshift=-2)
    legend_above(figure, y=1 + _TOP / inside, tracegroupgap=0, font={"size": 11, "color": palette.text})
    return figure.update_layout(margin={"l": 44, "r": 10, "t": top, "b": _BOTTOM}, hovermode="closest")


def _columns(panels: int) -> int:
    return 1 if panels == 1 else 2 if panels <= 4 else 3


def _axes(panel: int) -> dict[str, str]:
    """Return the axes of a panel, counted from 0."""
    number = panel + 1 if panel else ""
    return {"xaxis": f"x{number}", "yaxis": f"y{number}"}


def _panels(count: int) -> list[int]:
    """Return the axis numbers of `count` panels: 0 for the first, whose number plotly leaves out."""
    return [0, *range(2, count + 1)]


def _log_steps(history: Sequence[Health]) -> list[float]:
    return [health.step or _BEFORE_FIRST for health in history]


def _with_cursor(figure: go.Figure, history: Sequence[Health], panels: int, palette: Palette) -> MovingFigure:
    """Return the figure over the steps with a vertical line that moves to the step of each measurement."""
    last = max(history[-1].step, 10)
    decades = [10**power for power in range(1, 7) if 10**power <= 1.2 * last]
    decades = decades[:: 2 if _columns(panels) > 2 else 1]  # more labels would overlap on a phone
    labels = ["0", *(f"{decade:,}" if decade < 1000 else f"{decade // 1000:,}k" for decade in decades)]
    span = [log10(_BEFORE_FIRST) - 0.1, log10(last) + 0.1]
    figure.update_xaxes(tickangle=0, type="log", tickvals=[_BEFORE_FIRST, *decades], ticktext=labels, range=span)
    fixed, look = [shape.to_plotly_json() for shape in figure.layout.shapes], {"color": palette.accent, "width": 1.2}
    moves = []
    for step in _log_steps(history):
        cursors = [
            {
                "type": "line",
                "x0": step,
                "x1": step,
                "y0": 0,
                "y1": 1,
                "xref": f"x{n or ''}",
                "yref": f"y{n or ''} domain",
            }
            for n in _panels(panels)
        ]
        moves.append({"layout": {"shapes": fixed + [cursor | {"line": look} for cursor in cursors]}})
    return MovingFigure(figure, moves)
