"""What a model would say after each of its blocks."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette, colorscale
from explorer.charts.text_format import cut, percent, plain, quoted
from explorer.charts.theme import MONO, style
from explorer.i18n.language import _

ROW = 30  # pixels
_TOLD = 3  # alternatives named by pointing


def stage_words(stages: int) -> list[str]:
    """The stages of a model from the bottom up, in the language on view: the embedding, then each block."""
    return [_("embedding"), *(_("block {block}", block=block) for block in range(1, stages))]


def lens_heatmap(
    said: Sequence[Sequence[Sequence[str]]],
    probabilities: np.ndarray,
    settled: np.ndarray,
    tokens: Sequence[str],
    palette: Palette = LIGHT,
) -> go.Figure:
    """A column for each token read, a row for each stage, the last on top; in a cell what would be said there.

    A ring marks where the final answer first leads and stays.

    Args:
        said: (S, T, K) tokens as they are shown, the likeliest first.
        probabilities: (S, T, K), theirs.
        settled: (T,), from which stage on the last stage's answer leads.
        tokens: T tokens that are read, as they are shown.
    """
    stages, length, _unused = probabilities.shape
    if len(tokens) != length or len(settled) != length or len(said) != stages:
        raise ValueError(f"{stages} stages of {length} tokens do not fit {len(tokens)} tokens, {len(said)} rows said")
    names = stage_words(stages)
    hover = [[_cell_words(said[s][t], probabilities[s, t], tokens[t], s) for t in range(length)] for s in range(stages)]
    size = 14 if length <= 40 else 11 if length <= 64 else 8
    figure = go.Figure(
        go.Heatmap(
            z=probabilities[..., 0],
            zmin=0,
            zmax=1,
            text=[[plain(cut(cell[0])) for cell in row] for row in said],
            texttemplate="%{text}",
            textfont={"family": MONO, "size": size},
            hovertext=hover,
            hoverinfo="text",
            colorscale=colorscale(palette.sequential),
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    rings = [corner for place, stage in enumerate(settled) for corner in _ring(place, float(stage))]
    figure.add_scatter(
        x=[x for x, _unused in rings],
        y=[y for _unused, y in rings],
        mode="lines",
        line={"color": palette.validation, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    style(figure, palette, height=64 + ROW * stages)
    figure.update_xaxes(
        tickvals=list(range(length)), ticktext=[plain(cut(token)) for token in tokens], range=[-0.5, length - 0.5],
        showgrid=False, ticks="", tickangle=0, fixedrange=True,
        tickfont={"family": MONO, "size": size, "color": palette.text},
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(stages)), ticktext=[f"{name} " for name in names], range=[-0.5, stages - 0.5],
        showgrid=False, ticks="", fixedrange=True,
    )  # fmt: skip
    return figure


def _ring(x: float, y: float) -> list[tuple[float | None, float | None]]:
    """The outline of a cell, a little inside it, and a gap."""
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    return [*((x + 0.42 * right, y + 0.4 * up) for right, up in corners), (None, None)]


def _cell_words(said: Sequence[str], shares: np.ndarray, read: str, stage: int) -> str:
    told = [(quoted(token), percent(share)) for token, share in list(zip(said, shares, strict=True))[:_TOLD]]
    (answer, share), *others = told
    where = (
        _("having read {token}, after block {block}:", token=quoted(read), block=stage)
        if stage
        else _("having read {token}, from the embedding alone:", token=quoted(read))
    )
    first = _("{token} comes next with {share}", token=answer, share=share)
    if not others:
        return f"{where}<br>{first}"
    then = _("then {others}", others=", ".join(f"{token} {share}" for token, share in others))
    return f"{where}<br>{first}<br>{then}"
