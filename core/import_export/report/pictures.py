"""Pictures of a model's inside: one large map with its words, and small ones of every head, readable in both themes."""

import base64
import struct
import zlib

import numpy as np

from core.import_export.report.facts import Facts
from core.import_export.report.markup import Markup, joined, tag
from core.interpretability.attention import describe
from core.palette import DARK, LIGHT, Palette
from core.text.token_display import quoted, visible

_MOST_HEADS = 160
_MOST_LETTERS = 100  # of a table that is drawn
_LONGEST = 10  # characters of a token beside the map
_CELL = 15  # pixels of the large map


def attention_picture(facts: Facts) -> Markup | None:
    """The sharpest head, cell by cell, then all heads in small; None for a model without attention, or none kept."""
    if facts.attention is None or not facts.attention.size:
        return None
    layer, head = sharpest(facts.attention)
    weights = facts.attention / 255
    rows = [
        [describe(weights, facts.tokens, layer, head, row, column) for column in range(len(facts.tokens))]
        for row in range(len(facts.tokens))
    ]
    shown = [visible(token) for token in facts.tokens]
    parts = [
        tag("h3", f"Layer {layer + 1}, head {head + 1}: the sharpest"),
        token_map(weights[layer, head], shown, rows),
    ]
    layers, heads = facts.attention.shape[:2]
    if 1 < layers * heads <= _MOST_HEADS:
        small = [
            tag(
                "figure",
                _pixels(facts.attention[at, h], f"layer {at + 1}, head {h + 1}"),
                tag("figcaption", f"{at + 1}.{h + 1}"),
            )
            for at in range(layers)
            for h in range(heads)
        ]
        parts += [
            tag("h3", "All of them, layer.head"),
            tag("div", small, class_="heads", style=f"--heads: {min(heads, 12)}"),
        ]
    return joined(parts)


def table_picture(facts: Facts) -> Markup | None:
    """A bigram's table: which letter it expects after which."""
    if facts.table is None or not 0 < len(facts.table) <= _MOST_LETTERS:
        return None
    shown = [visible(token) for token in facts.vocabulary]
    rows = [
        [
            f"after {quoted(row)} comes {quoted(column)} in {share:.0%} of cases"
            for column, share in zip(shown, shares, strict=True)
        ]
        for row, shares in zip(shown, facts.table, strict=True)
    ]
    return token_map(np.sqrt(facts.table), shown, rows, least=0.1)  # of shares as small as these the eye sees little


def sharpest(attention: np.ndarray) -> tuple[int, int]:
    """The layer and head (from 0) whose letters look most surely at one other letter; attention is (L, H, T, T)."""
    others = attention.astype(np.float32)
    size = others.shape[-1]
    others[:, :, range(size), range(size)] = 0  # a look at itself tells nothing
    sure = others[:, :, min(2, size - 1) :].max(axis=-1).mean(axis=-1)
    layer, head = np.unravel_index(sure.argmax(), sure.shape)
    return int(layer), int(head)


def token_map(weights: np.ndarray, tokens: list[str], words: list[list[str]], least: float = 0.02) -> Markup:
    """A square for every cell worth seeing, which says in words what it is; tokens along both axes."""
    size, shown = len(tokens), [token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…" for token in tokens]
    longest = max(map(len, shown))
    edge = 26 if longest < 3 else 12 + 7 * longest  # pieces of words stand upright above their columns
    width = edge + size * _CELL + 2
    cells = [
        tag(
            "rect",
            tag("title", words[row][column]),
            x=edge + column * _CELL,
            y=edge + row * _CELL,
            width=_CELL - 1,
            height=_CELL - 1,
            fill_opacity=f"{weights[row, column]:.2f}",
        )
        for row in range(size)
        for column in range(size)
        if weights[row, column] >= least
    ]
    places = [edge + at * _CELL + _CELL / 2 for at in range(size)]
    down = [tag("text", t, x=edge - 8, y=at + 4, text_anchor="end") for t, at in zip(shown, places, strict=True)]
    if longest < 3:
        across = [tag("text", t, x=at, y=edge - 8, text_anchor="middle") for t, at in zip(shown, places, strict=True)]
    else:
        across = [
            tag("text", t, transform=f"translate({at + 4} {edge - 8}) rotate(-90)")
            for t, at in zip(shown, places, strict=True)
        ]
    frame = tag("rect", x=edge, y=edge, width=size * _CELL, height=size * _CELL, class_="frame")
    drawn = [frame, *across, *down, tag("g", cells, class_="ink")]
    drawing = tag("svg", *drawn, viewBox=f"0 0 {width} {width}", width=width, height=width, class_="map", role="img")
    return tag("div", drawing, class_="scroll")


def _pixels(weights: np.ndarray, words: str) -> Markup:
    """A small picture, one pixel a cell, in the colours of either theme."""
    dark = tag("source", media="screen and (prefers-color-scheme: dark)", srcset=_png(weights, DARK))
    return tag("picture", dark, tag("img", src=_png(weights, LIGHT), alt=words, title=words, width=72, height=72))


def _png(weights: np.ndarray, palette: Palette) -> str:
    """uint8 (T, T) as a PNG with a palette of 256 colours (RFC 2083), as an address that holds its own content."""
    height, width = weights.shape
    stops = np.array([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in palette.sequential])
    places = np.linspace(0, 1, 256)
    colors = np.stack([np.interp(places, np.linspace(0, 1, len(stops)), stops[:, at]) for at in range(3)], axis=1)
    lines = b"".join(b"\0" + line.tobytes() for line in weights)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colors.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()
