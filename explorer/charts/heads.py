"""Head roles, when they emerge, and the cost of ablating each head."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from plotly import graph_objects as go

from core.formatting import decimal, head_name
from core.interpretability.head_roles import ROLES, TASK_TITLES, HeadName
from core.palette import LIGHT, Palette
from explorer.charts.bars import horizontal_bars
from explorer.charts.heatmaps import signed_heatmap
from explorer.charts.loss import NATS
from explorer.charts.theme import line, row_ticks, style
from explorer.i18n.formatting import named
from explorer.i18n.language import _

_TITLES = ROLES | TASK_TITLES
_LABEL = 0.05, 0.08  # the width of a head's label as a share of the steps, and its height in scores


def role_colors(palette: Palette) -> dict[str, str]:
    """Return one color per role, the same in every chart; roles of different tasks may share one."""
    own = palette.runs[len(ROLES) :]
    return dict(zip(ROLES, palette.runs, strict=False)) | {
        role: own[number % len(own)] for number, role in enumerate(TASK_TITLES)
    }


def roles_board(names: Sequence[Sequence[HeadName]], palette: Palette = LIGHT) -> go.Figure:
    """Draw every head with its role: layers downward, heads across. A head without a role stays pale."""
    colors = role_colors(palette)
    figure = go.Figure()
    few = len(names[0]) <= 6
    flat = [(layer, head, name) for layer, row in enumerate(names) for head, name in enumerate(row)]
    for layer, head, name in flat:
        figure.add_shape(
            type="rect",
            x0=head - 0.46, x1=head + 0.46, y0=layer - 0.42, y1=layer + 0.42,
            fillcolor=colors[name.role] if name.role else palette.grid,
            opacity=0.25 + 0.6 * name.score if name.role else 0.6,
            line_width=0, layer="below",
        )  # fmt: skip
    unchanged = {"marker": {"opacity": 0}, "textfont": {"color": palette.text}}
    figure.add_scatter(
        x=[head for _unused, head, _unused in flat],
        y=[layer for layer, _unused, _unused in flat],
        mode="markers+text",  # the invisible markers take the clicks
        marker={"symbol": "square", "size": 64 if few else 40, "opacity": 0},
        customdata=[[layer, head] for layer, head, _unused in flat],
        selected=unchanged,
        unselected=unchanged,
        text=[_words(layer, head, name, few) for layer, head, name in flat],
        textfont={"color": palette.text, "size": 12 if few else 10},
        hovertext=[
            _(
                "head {head}: {role}, {score}",
                head=head_name(layer, head), role=named(name.words), score=f"{name.score:.2f}",
            )
            for layer, head, name in flat
        ],
        hoverinfo="text",
    )  # fmt: skip
    style(figure, palette, height=62 + 88 * len(names))
    # A head's score on the prompt differs from this one, so each chart says what it was measured on.
    title = _("scores on held-out text")
    figure.update_xaxes(showticklabels=False, title_text=title, range=[-0.5, len(names[0]) - 0.5])
    return figure.update_yaxes(visible=False, range=[len(names) - 0.5, -0.5])


def role_bars(scores: Mapping[str, float], thresholds: Mapping[str, float], palette: Palette = LIGHT) -> go.Figure:
    """Draw one head's score in every role, with a mark at each threshold."""
    colors, values = role_colors(palette), list(scores.values())
    names = [named(_TITLES[role]) for role in scores]
    drawn = [colors[role] for role in scores]
    row = 38 if len(values) <= len(ROLES) else 30
    figure = horizontal_bars(values, names, drawn, [""] * len(values), palette, span=(0, 1.12), row=row)
    figure.add_scatter(  # in a column of their own, clear of the line at the threshold
        x=[1.12] * len(values),
        y=list(range(len(values))),
        mode="text",
        text=[f"{value:.2f}" for value in values],
        textposition="middle left",
        textfont={"color": palette.text, "size": 13},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[thresholds[role] for role in scores],
        y=list(range(len(values))),
        mode="markers",
        marker={"symbol": "line-ns", "size": row - 12, "line": {"color": palette.muted, "width": 1.5}},
        hovertext=[_("A role needs {score}.", score=f"{thresholds[role]:.2f}") for role in scores],
        hoverinfo="text",
    )
    figure.update_layout(showlegend=False)
    return figure.update_xaxes(visible=True, showticklabels=False, title_text=_("score on held-out text"))


def emergence_figure(
    steps: Sequence[int],
    scores: np.ndarray,
    emerged: np.ndarray,
    losses: tuple[Sequence[int], Sequence[float]],
    role: str,
    palette: Palette = LIGHT,
) -> go.Figure:
    """Draw a role's scores (S, L, H) at S steps and losses (steps, nats); dots mark `emerged` (L, H), -1 for never."""
    color = role_colors(palette)[role]
    hover = _("loss {loss}", loss="%{y:.3f}")
    figure = go.Figure(
        line(*losses, palette.validation, 2, _("validation loss"), dash="dot", yaxis="y2", hovertemplate=hover)
    )
    dots = []
    for layer, head in np.ndindex(*emerged.shape):
        place, step, values = head_name(layer, head), int(emerged[layer, head]), scores[:, layer, head]
        name = _("head {head}", head=place)
        drawn = {"color": color, "width": 2.2} if step >= 0 else {"color": palette.lines, "width": 1, "opacity": 0.5}
        figure.add_trace(
            line(list(steps), values, name=name, hovertemplate=f"{name}: %{{y:.2f}}<extra></extra>", **drawn)
        )
        if step >= 0:
            words = _("head {head}: from step {step} on", head=place, step=f"{step:,}")
            dots.append((step, float(values[list(steps).index(step)]), place, words))
    if dots:
        x, y, _places, words = zip(*dots, strict=True)
        figure.add_scatter(
            x=x, y=y, mode="markers+text", text=_dot_labels(dots, steps[-1]), textposition="top center",
            textfont={"color": color, "size": 12}, marker={"color": color, "size": 9}, cliponaxis=False,
            hovertext=words, hoverinfo="text",
        )  # fmt: skip
    title, ticks = (
        {"text": NATS.title(_("validation loss")), "font": {"color": palette.validation, "size": 12}},
        {"nticks": 5},
    )
    ticks |= {"tickfont": {"color": palette.muted, "size": 12}, "tickmode": "auto", "automargin": True}
    loss_axis = {"title": title, "overlaying": "y", "side": "right", "showgrid": False, "zeroline": False} | ticks
    return style(figure, palette, height=340, zoom=True).update_layout(
        showlegend=False,
        xaxis={"title": {"text": _("step")}, "tickformat": ",d"},
        yaxis={"title": {"text": _("{role} score", role=named(_TITLES[role]))}, "range": [0, 1.08]},
        yaxis2=loss_axis,
        margin={"r": 64},
    )


def _dot_labels(dots: Sequence[tuple[int, float, str, str]], last: int) -> list[str]:
    """Return a label for each dot (step, score, head, words): of dots close to each other, the highest names all."""
    labels = [""] * len(dots)
    left = sorted(range(len(dots)), key=lambda index: -dots[index][1])
    while left:
        step, score, *_names = dots[left[0]]
        near = [at for at in left if abs(dots[at][0] - step) <= _LABEL[0] * last and score - dots[at][1] <= _LABEL[1]]
        names = [dots[at][2] for at in sorted(near)]
        labels[left[0]] = ",<br>".join(", ".join(names[at : at + 4]) for at in range(0, len(names), 4))
        left = [at for at in left if at not in near]
    return labels


def costs_figure(costs: np.ndarray, palette: Palette = LIGHT) -> go.Figure:
    """Draw the cost of ablating each head (L, H), nats a token: layers downward, heads across, centered on zero."""
    layers, heads = costs.shape

    def words(layer: int, head: int, cost: float) -> str:
        change = decimal(cost, 3, plus=True)
        return _("loss without head {head}: {change}", head=head_name(layer, head), change=change)

    figure = signed_heatmap(costs, max(float(np.abs(costs).max()), 1e-6), words, palette, gap=3)
    figure.data[0].update(
        showscale=False,
        hovertext=figure.data[0].text,
        text=[[decimal(cost, plus=True) for cost in row] for row in costs],
        texttemplate="%{text}",
    )
    style(figure, palette, height=60 + 44 * layers)
    ticks = [_("head {head}", head=head + 1) for head in range(heads)]
    figure.update_xaxes(tickvals=list(range(heads)), ticktext=ticks)
    return figure.update_yaxes(row_ticks([_("layer {layer}", layer=layer + 1) for layer in range(layers)]))


def _words(layer: int, head: int, name: HeadName, few: bool) -> str:
    place = head_name(layer, head)
    if not few:
        return place
    role = "<br>".join(textwrap.wrap(named(name.words), 10))  # short lines, which fit into a cell on a phone
    return f"<b>{place}</b><br>{role}" + (f"<br>{name.score:.2f}" if name.role else "")
