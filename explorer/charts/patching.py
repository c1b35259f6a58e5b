"""Where in a model the difference between two prompts sits."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette, colorscale
from explorer.charts.text_format import cut, plain, quoted
from explorer.charts.theme import MONO, key_below, style
from explorer.i18n.language import _

ROW = 30  # pixels


def patch_heatmap(
    moved: np.ndarray,
    rows: Sequence[str],
    clean: Sequence[str],
    corrupted: Sequence[str],
    answers: tuple[str, str],
    palette: Palette = LIGHT,
) -> go.Figure:
    """A column for each place of the prompts, a row for each part, the last on top; colour says how far it moves.

    Places where the prompts differ carry both tokens, one above the other.

    Args:
        moved: (R, T), 0 for no move and 1 for all the way back; colours end at -1 and 1. nan stays blank.
        rows: R parts in words, from the bottom of the model up.
        clean, corrupted: T tokens each, as they are shown.
        answers: what the clean prompt calls for and what the other does, as they are shown.
    """
    if moved.shape != (len(rows), len(clean)) or len(corrupted) != len(clean):
        raise ValueError(f"moved of {moved.shape} does not fit {len(rows)} rows and {len(clean)} tokens")
    labels = [
        plain(cut(one)) if one == other else f"<b>{plain(cut(one))}</b><br>{plain(cut(other))}"
        for one, other in zip(clean, corrupted, strict=True)
    ]
    size = 14 if len(clean) <= 40 else 11 if len(clean) <= 64 else 8
    figure = go.Figure(
        go.Heatmap(
            z=moved,
            zmin=-1,
            zmax=1,
            hovertext=[
                [
                    ""
                    if np.isnan(value)
                    else _("{part}, at {token} (place {place}):", part=part, token=quoted(token), place=place)
                    + f"<br>{move_words(float(value), *answers)}"
                    for place, (token, value) in enumerate(zip(clean, row, strict=True), start=1)
                ]
                for part, row in zip(rows, moved, strict=True)
            ],
            hoverinfo="text",
            hoverongaps=False,
            colorscale=colorscale(palette.diverging),
            xgap=1,
            ygap=1,
            colorbar=key_below(
                palette,
                ypad=46,  # clear of two lines of tokens
                tickvals=[-1, 0, 1],
                ticktext=[_("away"), _("no move"), _("back")],
            ),
        )
    )
    style(figure, palette, height=110 + ROW * len(rows))
    figure.update_xaxes(
        tickvals=list(range(len(clean))), ticktext=labels, range=[-0.5, len(clean) - 0.5], showgrid=False, ticks="",
        tickangle=0, fixedrange=True, tickfont={"family": MONO, "size": size, "color": palette.text},
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[f"{row} " for row in rows], range=[-0.5, len(rows) - 0.5],
        showgrid=False, ticks="", fixedrange=True,
    )  # fmt: skip
    return figure


def move_words(moved: float, answer: str, rival: str) -> str:
    """How far the answer moved, for a hover: "moves the answer 83% of the way from 'o' back to 'e'"."""
    if abs(moved) < 0.005:
        return _("does not move the answer")
    share = f"{abs(moved):.0%}"
    if moved < 0:
        return _("moves the answer further towards {token}, by {share}", token=quoted(rival), share=share)
    return _("moves the answer {share} of the way back to {token}", token=quoted(answer), share=share)
