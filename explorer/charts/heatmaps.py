"""Heatmaps of tokens by tokens: attention, the bigram's table, similarities of positions, and activation patching."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from plotly import graph_objects as go

from core.formatting import decimal
from core.palette import LIGHT, Palette
from core.text.token_display import visible
from explorer.charts.text_format import cut, percent, plain, quoted_for_plotly
from explorer.charts.theme import key_below, row_ticks, style, token_ticks
from explorer.i18n.language import _, ngettext

# Small shares matter, so lightness is the share to this power, in the picture of all heads too.
LIGHTNESS_POWER = 0.6
SHARES = (0.0, 0.05, 0.25, 0.5, 1.0)


def attention_heatmap(
    pattern: np.ndarray, tokens: list[str], palette: Palette = LIGHT, *, causal: bool = True, flow: bool = False
) -> go.Figure:
    """Draw a pattern (T, T) among raw tokens: rows are queries, columns keys; `flow`: it is attention rollout."""
    length = len(tokens)
    if pattern.shape != (length, length):
        raise ValueError(f"a pattern of {length} tokens must be ({length}, {length}), not {pattern.shape}")
    hidden = np.triu(np.ones((length, length), dtype=bool), 1) & causal
    shown = [quoted_for_plotly(visible(token)) for token in tokens]
    figure = _share_heatmap(np.where(hidden, np.nan, pattern), partial(_weight_in_words, shown, flow), palette)
    return token_axes(figure, tokens, palette, height=min(560, max(220, 90 + 22 * length)))


def _weight_in_words(shown: list[str], flow: bool, row: int, column: int, share: float) -> str:
    values, far = {"query": shown[row], "key": shown[column], "share": percent(share)}, abs(row - column)
    if flow and row == column:
        return _("{share} at {query} comes from itself", **values)
    if flow:
        return _("{share} at {query} comes from {key}", **values)
    if row == column:
        return _("{query} attends {share} to itself", **values)
    if column < row:
        return ngettext(
            "{query} attends {share} to {key}, {count} token back",
            "{query} attends {share} to {key}, {count} tokens back",
            far, **values,
        )  # fmt: skip
    return ngettext(
        "{query} attends {share} to {key}, {count} token ahead",
        "{query} attends {share} to {key}, {count} tokens ahead",
        far, **values,
    )  # fmt: skip


def coarse_heatmap(pattern: np.ndarray, size: int, length: int, palette: Palette = LIGHT) -> go.Figure:
    """Draw a head's coarsened pattern (G, G) on a prompt of `length` tokens; a cell is `size` tokens wide and high."""
    names = coarse_names(size, length)
    figure = _share_heatmap(
        np.where(np.triu(np.ones(pattern.shape, dtype=bool), 1), np.nan, pattern),
        lambda row, column, share: _(
            "tokens {row} attend {share} to tokens {column}", row=names[row], share=percent(share), column=names[column]
        ),
        palette,
    )
    token_axes(figure, names, palette, height=520)
    marked = list(range(0, len(names), max(1, len(names) // 8)))
    ticks = {"tickvals": marked, "ticktext": [f"{place * size + 1:,} " for place in marked]}
    ticks["tickfont"] = {"size": 11, "color": palette.text}
    return figure.update_xaxes(ticks).update_yaxes(ticks)


def coarse_names(size: int, length: int) -> list[str]:
    """Return which tokens each row or column stands for, counted from 1."""
    return [f"{start + 1}–{min(start + size, length)}" for start in range(0, length, size)]


def table_heatmap(probabilities: np.ndarray, tokens: list[str], palette: Palette = LIGHT) -> go.Figure:
    """Draw a bigram's table (V, V): row i has the probability of each (raw) token after token i."""
    shown = [quoted_for_plotly(visible(token)) for token in tokens]
    figure = _share_heatmap(
        probabilities,
        lambda row, column, share: _(
            "{second} after {first}: {share}", first=shown[row], second=shown[column], share=percent(share)
        ),
        palette,
    )
    return token_axes(figure, tokens, palette, height=820)


def difference_heatmap(
    learned: np.ndarray, counted: np.ndarray, tokens: list[str], palette: Palette = LIGHT
) -> go.Figure:
    """Draw how a learned table (V, V) differs from the counted one: orange where it is higher, blue where lower."""
    difference = learned - counted
    shown = [quoted_for_plotly(visible(token)) for token in tokens]

    def words(row: int, column: int, _difference: float) -> str:
        return _(
            "{second} after {first}: learned {learned}, counted {counted}", first=shown[row], second=shown[column],
            learned=percent(float(learned[row, column])), counted=percent(float(counted[row, column])),
        )  # fmt: skip

    most = max(0.01, float(np.quantile(np.abs(difference), 0.998)))
    figure = signed_heatmap(difference, most, words, palette, gap=0.5)
    return token_axes(figure, tokens, palette, height=820)


def cosine_heatmap(cosines: np.ndarray, positions: Sequence[int], palette: Palette = LIGHT) -> go.Figure:
    """Draw the cosines (N, N) between positions of the context, numbered from 1."""

    def words(row: int, column: int, value: float) -> str:
        places = {"one": positions[row], "other": positions[column]}
        return _("positions {one} and {other}: cosine {cosine}", cosine=decimal(value), **places)

    figure = signed_heatmap(cosines, 1, words, palette, gap=0)
    places = list(positions)
    key = {"thickness": 8, "outlinewidth": 0, "tickfont": {"color": palette.muted, "size": 11}, "nticks": 5}
    figure.update_traces(x=places, y=places, colorbar=key, overwrite=True)
    style(figure, palette, height=420)
    figure.update_xaxes(side="top", constrain="domain")
    return figure.update_yaxes(showgrid=False, autorange="reversed", scaleanchor="x", constrain="domain")


def patch_heatmap(
    moved: np.ndarray,
    rows: Sequence[str],
    clean: Sequence[str],
    corrupted: Sequence[str],
    answers: tuple[str, str],
    palette: Palette = LIGHT,
) -> go.Figure:
    """Draw how far patches move the prediction (R, T), 1 for all the way back, blank for nan: parts by positions.

    Both prompts have T tokens (as displayed); `answers` are the next tokens of the clean and the corrupted prompt.
    """
    if moved.shape != (len(rows), len(clean)) or len(corrupted) != len(clean):
        raise ValueError(f"moved of {moved.shape} does not fit {len(rows)} rows and {len(clean)} tokens")

    def words(row: int, column: int, value: float) -> str:
        values = {"part": rows[row], "token": quoted_for_plotly(clean[column]), "number": column + 1}
        where = _("{part}, at {token} (position {number}):", **values)
        return f"{where}<br>{move_words(value, *answers)}"

    figure, drawn = signed_heatmap(moved, 1, words, palette, gap=1), 25 * len(rows)
    # Below two lines of tokens; `ypad` would be left blank below the bar, too.
    figure.data[0].colorbar.update(y=-36 / drawn, tickformat=None, tickvals=[-1, 0, 1],
                                   ticktext=[_("further away"), _("no change"), _("fully restored")])  # fmt: skip
    style(figure, palette, height=100 + drawn)
    ticks = token_ticks(clean, palette, 14 if len(clean) <= 40 else 11 if len(clean) <= 64 else 8)
    ticks["ticktext"] = [
        plain(cut(one)) if one == other else f"<b>{plain(cut(one))}</b><br>{plain(cut(other))}"
        for one, other in zip(clean, corrupted, strict=True)
    ]
    figure.update_xaxes(ticks, range=[-0.5, len(clean) - 0.5])
    return figure.update_yaxes(row_ticks(rows, range=[-0.5, len(rows) - 0.5]))


def move_words(moved: float, answer: str, rival: str) -> str:
    """Return how far the prediction moved: "moves the prediction 83% of the way back to 'e'"."""
    if abs(moved) < 0.005:
        return _("does not move the prediction")
    share = percent(abs(moved))
    if moved < 0:
        return _("moves the prediction further toward {token}, by {share}", token=quoted_for_plotly(rival), share=share)
    return _("moves the prediction {share} of the way back to {token}", token=quoted_for_plotly(answer), share=share)


Words = Callable[[int, int, float], str]  # the hover text for a row, a column and a value


def signed_heatmap(values: np.ndarray, most: float, words: Words, palette: Palette, *, gap: float) -> go.Figure:
    """Draw values (R, C) from -`most` to `most`: orange above zero, blue below."""
    key = key_below(palette, tickformat="+.2~%", nticks=5)
    return _heatmap(values, _texts(values, words), (-most, most), palette.diverging, gap, key)


def _share_heatmap(shares: np.ndarray, words: Words, palette: Palette) -> go.Figure:
    key = key_below(
        palette, tickvals=[share**LIGHTNESS_POWER for share in SHARES], ticktext=[f"{share:.0%}" for share in SHARES]
    )
    shades = np.power(shares, LIGHTNESS_POWER).astype(np.float32)
    return _heatmap(shades, _texts(shares, words), (0, 1), palette.sequential, 0.5, key)


def _heatmap(
    z: np.ndarray, texts: list[list[str]], span: tuple[float, float], colors: tuple[str, ...], gap: float, key: dict
) -> go.Figure:
    look = {"zmin": span[0], "zmax": span[1], "colorscale": colors, "xgap": gap, "ygap": gap, "colorbar": key}
    return go.Figure(go.Heatmap(z=z, text=texts, hoverinfo="text", hoverongaps=False, **look))


def _texts(values: np.ndarray, words: Words) -> list[list[str]]:
    return [
        ["" if np.isnan(value) else words(row, column, float(value)) for column, value in enumerate(line)]
        for row, line in enumerate(values)
    ]


def token_axes(figure: go.Figure, tokens: Sequence[str], palette: Palette, *, height: int) -> go.Figure:
    """Put tokens along both axes, the first row on top; returns the same figure."""
    style(figure, palette, height=height)
    shown = [visible(token) for token in tokens]
    size = 13 if len(tokens) <= 36 else 11 if len(tokens) <= 56 else 9
    common = {"showline": False, "fixedrange": len(tokens) <= 24}
    figure.update_xaxes(token_ticks(shown, palette, size) | common, side="top", range=[-0.5, len(tokens) - 0.5])
    figure.update_yaxes(token_ticks(shown, palette, size, after=" ") | common, range=[len(tokens) - 0.5, -0.5])
    return figure.update_layout(margin={"l": 4, "r": 4, "t": 4, "b": 4}, dragmode="zoom")
