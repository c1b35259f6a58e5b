"""One attention head, large; and the bigram's table, which stands where its attention would be."""

import numpy as np
from plotly import graph_objects as go

from core.text.token_display import visible
from explorer.charts.palette import LIGHT, Palette, colorscale
from explorer.charts.text_format import percent, plain, quoted
from explorer.charts.theme import MONO, key_below, style
from explorer.i18n.language import _

# Small shares matter here, so lightness follows the share to this power, on the board of all heads too.
LIGHTNESS_POWER = 0.6
SHARES = (0.0, 0.05, 0.25, 0.5, 1.0)


def attention_heatmap(
    pattern: np.ndarray, tokens: list[str], palette: Palette = LIGHT, *, causal: bool = True, flow: bool = False
) -> go.Figure:
    """Rows are the tokens that look, columns those looked at; hovering says it in words.

    Args:
        pattern: (T, T), each row sums to 1.
        tokens: T tokens, as they are.
        causal: the upper right half is the hidden future and stays blank.
        flow: shares are of what has flowed from column to row, not of a look; hovering says so.
    """
    length = len(tokens)
    if pattern.shape != (length, length):
        raise ValueError(f"a pattern of {length} tokens must be ({length}, {length}), not {pattern.shape}")
    hidden = np.triu(np.ones((length, length), dtype=bool), 1) if causal else np.zeros((length, length), dtype=bool)
    words = [
        ["" if hidden[row, column] else _told(pattern, tokens, row, column, flow) for column in range(length)]
        for row in range(length)
    ]
    figure = go.Figure(_heatmap(np.where(hidden, np.nan, pattern), words, palette))
    return token_axes(figure, tokens, palette, height=min(560, max(220, 90 + 22 * length)))


def coarse_heatmap(pattern: np.ndarray, size: int, length: int, palette: Palette = LIGHT) -> go.Figure:
    """One head on a prompt too long to draw every token of it.

    Args:
        pattern: (G, G), as `core.interpretability.attention.coarse_patterns` gives it; nobody looks ahead.
        size: how many tokens a row or column stands for.
        length: of the prompt, in tokens.
    """
    names = coarse_names(size, length)
    hidden = np.triu(np.ones(pattern.shape, dtype=bool), 1)
    words = [
        [
            ""
            if hidden[row, column]
            else _(
                "tokens {row} give {share} to tokens {column}",
                row=names[row],
                share=percent(float(share)),
                column=names[column],
            )
            for column, share in enumerate(line)
        ]
        for row, line in enumerate(pattern)
    ]
    figure = go.Figure(_heatmap(np.where(hidden, np.nan, pattern), words, palette))
    token_axes(figure, names, palette, height=520)
    marked = list(range(0, len(names), max(1, len(names) // 8)))
    ticks = {"tickvals": marked, "ticktext": [f"{place * size + 1:,} " for place in marked]}
    ticks["tickfont"] = {"size": 11, "color": palette.text}
    return figure.update_xaxes(ticks).update_yaxes(ticks)


def coarse_names(size: int, length: int) -> list[str]:
    """Which tokens a row or column stands for, counted from 1."""
    return [f"{start + 1}–{min(start + size, length)}" for start in range(0, length, size)]


def _told(pattern: np.ndarray, tokens: list[str], row: int, column: int, flow: bool) -> str:
    token, other, weight = quoted(visible(tokens[row])), quoted(visible(tokens[column])), float(pattern[row, column])
    if flow:
        if row == column:
            return _("of what {token} holds, {share} is its own", token=token, share=percent(weight))
        return _("of what {token} holds, {share} is that of {other}", token=token, share=percent(weight), other=other)
    share = _("under 1%") if 0 < weight < 0.005 else f"{weight:.0%}"
    if row == column:
        return _("{token} looks {share} at itself", token=token, share=share)
    if column < row:
        return _(
            "{token} looks {share} at {other}, {count} back", token=token, share=share, other=other, count=row - column
        )
    return _(
        "{token} looks {share} at {other}, {count} ahead", token=token, share=share, other=other, count=column - row
    )


def table_heatmap(probabilities: np.ndarray, tokens: list[str], palette: Palette = LIGHT) -> go.Figure:
    """The bigram's whole mind: row i says how likely each token is after token i.

    Args:
        probabilities: (V, V).
        tokens: V tokens, as they are.
    """
    shown = [visible(token) for token in tokens]
    words = [
        [
            _(
                "after {first} comes {second}: {share}",
                first=quoted(first),
                second=quoted(second),
                share=percent(share),
            )
            for second, share in zip(shown, row, strict=True)
        ]
        for first, row in zip(shown, probabilities.tolist(), strict=True)
    ]
    figure = go.Figure(_heatmap(probabilities, words, palette))
    return token_axes(figure, tokens, palette, height=820)


def _heatmap(shares: np.ndarray, words: list[list[str]], palette: Palette) -> go.Heatmap:
    return go.Heatmap(
        z=np.power(shares, LIGHTNESS_POWER).astype(np.float32),
        zmin=0,
        zmax=1,
        text=words,
        hoverinfo="text",
        hoverongaps=False,
        colorscale=colorscale(palette.sequential),
        xgap=0.5,
        ygap=0.5,
        colorbar=key_below(
            palette,
            tickvals=[share**LIGHTNESS_POWER for share in SHARES],
            ticktext=[f"{share * 100:.0f}%" for share in SHARES],
        ),
    )


def token_axes(figure: go.Figure, tokens: list[str], palette: Palette, *, height: int) -> go.Figure:
    """Tokens along both axes, the first row on top."""
    style(figure, palette, height=height)
    size = 13 if len(tokens) <= 36 else 11 if len(tokens) <= 56 else 9
    common = {
        "showgrid": False,
        "showline": False,
        "zeroline": False,
        "ticks": "",
        "tickangle": 0,
        "tickfont": {"family": MONO, "size": size, "color": palette.text},
        "fixedrange": len(tokens) <= 24,
    }
    figure.update_xaxes(
        common, side="top", tickvals=list(range(len(tokens))), ticktext=[plain(visible(token)) for token in tokens],
        range=[-0.5, len(tokens) - 0.5],
    )  # fmt: skip
    figure.update_yaxes(
        common, tickvals=list(range(len(tokens))), ticktext=[plain(visible(token)) + " " for token in tokens],
        range=[len(tokens) - 0.5, -0.5],
    )  # fmt: skip
    figure.update_layout(margin={"l": 4, "r": 4, "t": 4, "b": 4}, dragmode="zoom")
    return figure
