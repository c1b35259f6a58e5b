"""Bar charts: next-token probabilities, neighbors, logit contributions, kinds of token, characters of a text."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from core.formatting import decimal
from core.interpretability.token_losses import KindLoss
from core.palette import LIGHT, Palette
from explorer.charts.text_format import percent, plain, quoted_for_plotly
from explorer.charts.theme import MONO, legend_above, row_ticks, style, token_ticks
from explorer.i18n.language import _, ngettext

MAX_PARTS = 28  # bars; if there are more, the weakest are merged into one


def horizontal_bars(
    values: Sequence[float],
    labels: Sequence[str],
    colors: Sequence[str],
    written: Sequence[str],
    palette: Palette = LIGHT,
    *,
    hover: Sequence[str] | None = None,
    span: tuple[float, float] | None = None,
    row: int = 27,
    mono: bool = False,
) -> go.Figure:
    """Draw bars from top to bottom; labels and texts are in plotly's markup; `mono`: the labels are tokens."""
    text = {"text": list(written), "textposition": "outside", "textfont": {"color": palette.text, "size": 13}}
    look = {"marker": {"color": list(colors), "cornerradius": 3}, "cliponaxis": False, "orientation": "h"}
    pointed = {"hovertext": hover, "hoverinfo": "text" if hover else "skip"}
    figure = go.Figure(go.Bar(x=list(values), y=list(range(len(values))), **text, **look, **pointed))
    style(figure, palette, height=34 + row * len(values))
    low, high = span or (1.2 * min([0.0, *values]), 1.2 * max([0.01, *values]))
    figure.update_xaxes(visible=False, range=[low, high])
    font = {"size": 13, "color": palette.text} | ({"family": MONO, "size": 14} if mono else {})
    return figure.update_yaxes(row_ticks(labels, tickfont=font)).update_layout(bargap=0.3)


def prediction_bars(
    probabilities: np.ndarray, tokens: Sequence[str], kinds: Sequence[str], palette: Palette = LIGHT, *, count: int = 12
) -> go.Figure:
    """Draw the top of V next tokens (as displayed), best first, colored by kind; one more bar sums up the rest."""
    best = np.argsort(-probabilities, kind="stable")[:count]
    shares = [float(probabilities[id]) for id in best]
    labels = [plain(tokens[id]) for id in best]
    colors = [palette.kinds[kinds[id]] for id in best]
    hover = [f"{quoted_for_plotly(tokens[id])}: {percent(probabilities[id])}" for id in best]
    others = len(probabilities) - len(best)
    if others > 0:
        rest = max(0.0, 1.0 - sum(shares))
        shares.append(rest)
        labels.append(ngettext("{count} other", "{count} others", others))
        colors.append(palette.grid)
        hover.append(
            ngettext(
                "the {count} other token: {share}",
                "the {count} other tokens together: {share}",
                others,
                share=percent(rest),
            )
        )
    return horizontal_bars(shares, labels, colors, list(map(percent, shares)), palette, hover=hover, mono=True)


def neighbor_bars(
    tokens: Sequence[str], kinds: Sequence[str], cosines: Sequence[float], chosen: str, palette: Palette = LIGHT
) -> go.Figure:
    """Draw the nearest neighbors of the chosen token by the cosine of their vectors."""
    written = [decimal(cosine) for cosine in cosines]
    hover = [
        _(
            "{token} and {other} have a cosine of {cosine}",
            token=quoted_for_plotly(token),
            other=quoted_for_plotly(chosen),
            cosine=cosine,
        )
        for token, cosine in zip(tokens, written, strict=True)
    ]
    colors = [palette.kinds[kind] for kind in kinds]
    return horizontal_bars(cosines, list(map(plain, tokens)), colors, written, palette, hover=hover, mono=True)


def signed_bars(
    rows: Sequence[tuple[str, float]], palette: Palette = LIGHT, *, row: int = 23, mono: bool = False
) -> go.Figure:
    """Draw signed values with their labels (in plotly's markup): orange above zero, blue below."""
    labels, values = [label for label, _value in rows], [value for _label, value in rows]
    colors = [palette.diverging[-2 if value >= 0 else 1] for value in values]
    low, high = min([0.0, *values]), max([0.0, *values])
    margin = 0.2 * (high - low or 1.0)  # for the numbers, even on a phone
    written = [decimal(value, plus=True) for value in values]
    hover = [f"{label}: {value}" for label, value in zip(labels, written, strict=True)]
    span = (low - margin * (low < 0), high + margin)
    return horizontal_bars(values, labels, colors, written, palette, hover=hover, span=span, row=row, mono=mono)


def strongest(shares: Sequence[tuple[str, float]], count: int = MAX_PARTS) -> list[tuple[str, float]]:
    """Return the strongest shares in their original order, then the sum of all others."""
    if len(shares) <= count:
        return list(shares)
    drawn = sorted(range(len(shares)), key=lambda index: -abs(shares[index][1]))[: count - 1]
    rest = sum(share for index, (_part, share) in enumerate(shares) if index not in drawn)
    others = ngettext("{count} other", "{count} others", len(shares) - len(drawn))
    return [*(shares[index] for index in sorted(drawn)), (others, rest)]


def attribution_bars(shares: Sequence[tuple[str, float]], palette: Palette = LIGHT) -> go.Figure:
    """Draw each component's share of a logit from the bottom of the model up, and their sum as the last bar."""
    figure = signed_bars([*shares, (_("total"), sum(share for _part, share in shares))], palette, row=21)
    (bars,) = figure.data
    bars.marker.color = [*bars.marker.color[:-1], palette.text]
    return figure


def neuron_bars(
    raised: Sequence[tuple[str, float]], lowered: Sequence[tuple[str, float]], palette: Palette = LIGHT
) -> go.Figure:
    """Draw the tokens whose logits a neuron raises, strongest first, and below them those that it lowers."""
    rows = [(plain(token), value) for token, value in (*raised, *reversed(lowered))]
    return signed_bars(rows, palette, mono=True)


def character_bars(
    tokens: Sequence[str], kinds: Sequence[str], counts: Sequence[int], total: int, palette: Palette = LIGHT
) -> go.Figure:
    """Draw how often each token occurs, most frequent first, colored by its kind; `total` is the whole text's count."""
    figure = go.Figure()
    for kind in dict.fromkeys(kinds):
        places = [index for index, own in enumerate(kinds) if own == kind]
        shares = [counts[index] / total for index in places]
        words = [
            ngettext(
                "{token} is {share} of the text, {count} time", "{token} is {share} of the text, {count} times",
                counts[index], token=quoted_for_plotly(tokens[index]), share=percent(share),
            )
            for index, share in zip(places, shares, strict=True)
        ]  # fmt: skip
        marker = {"color": palette.kinds[kind], "cornerradius": 3}
        figure.add_bar(x=places, y=shares, name=_(kind), width=0.78, marker=marker, hovertext=words, hoverinfo="text")
    style(figure, palette, height=300)
    legend_above(figure, itemsizing="constant", entrywidth=0).update_layout(barmode="overlay")
    upright = any(len(token) > 2 for token in tokens)  # longer names would overlap
    ticks = token_ticks(tokens, palette, 13) | ({"tickangle": -90} if upright else {})
    figure.update_xaxes(ticks, range=[-0.7, len(tokens) - 0.3])
    return figure.update_yaxes(tickformat=".2~%", nticks=5)


def kind_bars(kinds: Sequence[KindLoss], palette: Palette = LIGHT) -> go.Figure:
    """Draw the mean loss of each kind of token, hardest on top, with its share of the total loss beside it."""
    rows = sorted(kinds, key=lambda kind: -kind.loss)
    hover = [
        ngettext(
            "{kind}: {loss} nats each, {count} token, {share} of the total loss",
            "{kind}: {loss} nats each, {count} tokens, {share} of the total loss",
            row.count, kind=_(row.kind), loss=f"{row.loss:.2f}", share=percent(row.share),
        )
        for row in rows
    ]  # fmt: skip
    figure = horizontal_bars(
        [row.loss for row in rows],
        [_(row.kind) for row in rows],
        [palette.kinds[row.kind] for row in rows],
        [_("{loss} · {share}", loss=f"{row.loss:.2f}", share=percent(row.share)) for row in rows],
        palette,
        hover=hover,
        span=(0, 1.75 * max(row.loss for row in rows)),
        row=38,
    )
    title = _("mean loss in nats · share of the total")
    return figure.update_xaxes(visible=True, showticklabels=False, title_text=title)
