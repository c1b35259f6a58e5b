"""A run as one self-contained HTML page: it loads nothing, runs no scripts, and escapes all text.

The charts are laid out here as plain numbers; the template draws them as SVG.
"""

import base64
import io
import math
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from PIL import Image

from core.formatting import head_name
from core.import_export import report_text
from core.import_export.report_text import RunFacts
from core.interpretability.attention import describe
from core.palette import DARK, LIGHT, Palette
from core.text.ngrams import BASELINES
from core.text.token_display import quoted, visible

_TEMPLATES = Path(__file__).parent / "templates"
_SAMPLE = 600  # characters
_MAX_POINTS = 300  # of a line; more would not be visible
_LABEL_HEIGHT = 15  # pixels
_NEAR = 0.4  # of the curves' height: baselines farther away are left out, so that the curves stay readable
_WIDE = 560  # pixels; charts of at least this width have full labels
_MAX_HEADS = 160
_MAX_TOKENS = 100  # of a bigram's table
_LONGEST = 10  # characters of a token next to the map
_CELL = 15  # pixels of a map

Points = list[tuple[float, float]]


def report_html(facts: RunFacts) -> str:
    """Return the whole page; the same facts give the same bytes."""
    wide, narrow = loss_chart(facts, 760, 360), loss_chart(facts, 350, 300)
    samples = facts.samples  # the first, an early one and the last are shown
    chosen = [samples[at] for at in sorted({0, len(samples) // 5, len(samples) - 1})] if samples else []
    return _template().render(
        facts=facts,
        style=_style(),
        question=report_text.question(facts),
        answer=report_text.answer(facts),
        charts=[wide, narrow] if wide else [],
        samples=[sample | {"text": str(sample.get("text", ""))[:_SAMPLE]} for sample in chosen],
        bigram_table=bigram_map(facts) if facts.config.model.kind == "bigram" else None,
        attention=attention_maps(facts),
        base=report_text.base_of(facts)[0],
        changes=report_text.changes(facts),
        settings=report_text.all_settings(facts),
        card=report_text.model_card(facts),
        command=report_text.command(facts),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["px"] = lambda value: f"{value:.1f}".removesuffix(".0")
    return environment.get_template("report.html")


def _printable(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "�" for c in value)


@cache
def _style() -> Markup:
    names = ("text", "muted", "grid", "surface", "training", "validation", "accent", "lines")
    colors = [
        {name: getattr(palette, name) for name in names} | {"ink": palette.sequential[-2]} for palette in (LIGHT, DARK)
    ]
    light, dark = (
        ":root { " + " ".join(f"--{name}: {color};" for name, color in each.items()) + " }" for each in colors
    )
    sheet = (_TEMPLATES / "report.css").read_text("utf-8")
    return Markup(f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n{sheet}")


def loss_chart(facts: RunFacts, width: int, height: int) -> dict[str, Any] | None:
    """Lay out all losses, the parent's included, and all setting changes in pixels; None if nothing was measured."""
    validation = _validation(facts.rows)
    if not validation:
        return None
    training = _thinned([(row["step"], row["loss"]) for row in facts.rows if row.get("loss") is not None])
    last, wide = max(1, facts.rows[-1]["step"]), width >= _WIDE
    curves = {"parent": _of_parent(facts, last), "training": training, "validation": validation}
    losses = [loss for points in curves.values() for _, loss in points]
    low, high = min(losses), max(losses)
    near = max(0.1, (high - low) * _NEAR)
    baselines = {name: loss for name, loss in (facts.baselines or {}).items() if low - near < loss < high + near}
    low, high = min([low, *baselines.values()]), max([high, *baselines.values()])
    margin = max(0.02, high - low) * 0.06
    low, high = low - margin, high + margin

    left, right, top, bottom = 40, width - (200 if wide else 116), 14, height - 40
    x, y = _scale(0, last, left, right), _scale(low, high, bottom, top)
    y_ticks = _ticks(low, high, 6)
    decimals = 2 if len(y_ticks) > 1 and y_ticks[1] - y_ticks[0] < 0.1 else 1
    labels = [(y(loss), f"{BASELINES[name] if wide else name} {loss:.2f}", "muted") for name, loss in baselines.items()]
    drawn = {kind: points for kind, points in curves.items() if len(points) > 1}
    labels += [(y(points[-1][1]), f"{kind} {points[-1][1]:.2f}", kind) for kind, points in drawn.items()]
    return {
        "width": width, "height": height, "left": left, "right": right, "top": top, "bottom": bottom,
        "title": f"Validation loss from {validation[0][1]:.2f} to {validation[-1][1]:.2f} over {last:,} steps",
        "x_ticks": [(x(tick), f"{tick:,.0f}") for tick in _ticks(0, last, 6 if wide else 3) if tick == round(tick)],
        "y_ticks": [(y(tick), f"{tick:.{decimals}f}") for tick in y_ticks],
        "baselines": [y(loss) for loss in baselines.values()],
        "changes": [(x(step), f"after step {step:,}: {text}") for step, text in facts.setting_changes if step <= last],
        "curves": [(kind, [(x(step), y(loss)) for step, loss in points]) for kind, points in drawn.items()],
        "dots": [(x(step), y(loss)) for step, loss in (validation if len(validation) <= 60 else validation[-1:])],
        "labels": _spread(labels, top, bottom),
    }  # fmt: skip


def _validation(rows: Sequence[dict[str, Any]]) -> Points:
    return _thinned([(row["step"], row["val_loss"]) for row in rows if row.get("val_loss") is not None])


def _of_parent(facts: RunFacts, last: int) -> Points:
    """Return the parent's validation losses over the same steps; for a fork, counted from the branch point."""
    if not facts.parent or not facts.parent.same_text:
        return []
    begin = facts.parent.step or 0
    points = [(step - begin, loss) for step, loss in _validation(facts.parent.rows) if 0 <= step - begin <= last]
    return points if len(points) > 1 else []


def _thinned(points: Points) -> Points:
    if len(points) <= _MAX_POINTS:
        return points
    size = math.ceil((len(points) - 2) / (_MAX_POINTS - 2))
    inner = [points[at : at + size] for at in range(1, len(points) - 1, size)]
    means = [(piece[len(piece) // 2][0], sum(loss for _, loss in piece) / len(piece)) for piece in inner]
    return [points[0], *means, points[-1]]


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    return lambda value: begin + (value - low) / (high - low) * (end - begin)


def _ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _spread(labels: list[tuple[float, str, str]], top: float, bottom: float) -> list[tuple[float, str, str]]:
    ordered = sorted(labels)
    places = [min(max(y, top), bottom) for y, _, _ in ordered]
    for _ in range(2 * len(places)):  # pushed down from above, then up from below
        for at in range(1, len(places)):
            places[at] = max(places[at], places[at - 1] + _LABEL_HEIGHT)
        if places and places[-1] > bottom:
            places[-1] = bottom
        for at in range(len(places) - 2, -1, -1):
            places[at] = min(places[at], places[at + 1] - _LABEL_HEIGHT)
    return [(place, text, kind) for place, (_, text, kind) in zip(places, ordered, strict=True)]


def attention_maps(facts: RunFacts) -> dict[str, Any] | None:
    """Lay out the sharpest head cell by cell, and all heads as small images; None without a stored pattern."""
    if facts.attention is None or not facts.attention.size:
        return None
    layer, head = sharpest(facts.attention)
    weights, size = facts.attention / 255, len(facts.tokens)
    titles = [
        [describe(weights, facts.tokens, layer, head, row, column) for column in range(size)] for row in range(size)
    ]
    layers, heads = facts.attention.shape[:2]
    images = [
        {
            "name": head_name(at, h),
            "title": f"layer {at + 1}, head {h + 1}",
            "light": _png(facts.attention[at, h], LIGHT),
            "dark": _png(facts.attention[at, h], DARK),
        }
        for at in range(layers)
        for h in range(heads)
        if 1 < layers * heads <= _MAX_HEADS
    ]
    shown = [visible(token) for token in facts.tokens]
    map = token_map(weights[layer, head], shown, titles)
    return {"layer": layer, "head": head, "map": map, "heads": images, "columns": min(heads, 12)}


def bigram_map(facts: RunFacts) -> dict[str, Any] | None:
    """Lay out a bigram's table of probabilities; None without one, or for a large vocabulary."""
    if facts.table is None or not 0 < len(facts.table) <= _MAX_TOKENS:
        return None
    shown = [visible(token) for token in facts.vocabulary]
    titles = [
        [f"after {quoted(row)}: {quoted(column)} {share:.0%}" for column, share in zip(shown, shares, strict=True)]
        for row, shares in zip(shown, facts.table, strict=True)
    ]
    return token_map(np.sqrt(facts.table), shown, titles, least=0.1)  # the root makes small probabilities visible


def sharpest(attention: np.ndarray) -> tuple[int, int]:
    """Return the layer and head (from 0) of (L, H, T, T) with the largest mean attention to one other token."""
    others = attention.astype(np.float32)
    size = others.shape[-1]
    others[:, :, range(size), range(size)] = 0
    largest = others[:, :, min(2, size - 1) :].max(axis=-1).mean(axis=-1)
    layer, head = np.unravel_index(largest.argmax(), largest.shape)
    return int(layer), int(head)


def token_map(weights: np.ndarray, tokens: list[str], titles: list[list[str]], least: float = 0.02) -> dict[str, Any]:
    """Lay out weights (T, T) in pixels with the tokens along both axes; weights below `least` are left out."""
    size, shown = len(tokens), [token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…" for token in tokens]
    longest = max(map(len, shown))
    edge = 26 if longest < 3 else 12 + 7 * longest
    cells = [  # x, y, opacity, title
        (edge + column * _CELL, edge + row * _CELL, float(weights[row, column]), titles[row][column])
        for row in range(size)
        for column in range(size)
        if weights[row, column] >= least
    ]
    centers = [edge + at * _CELL + _CELL / 2 for at in range(size)]
    return {
        "width": edge + size * _CELL + 2,
        "edge": edge,
        "size": size * _CELL,
        "cell": _CELL - 1,
        "rotated": longest >= 3,  # the tokens above the columns
        "tokens": list(zip(centers, shown, strict=True)),
        "cells": cells,
    }


def _png(weights: np.ndarray, palette: Palette) -> str:
    stops = np.array([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in palette.sequential])
    amounts, places = np.linspace(0, 1, 256), np.linspace(0, 1, len(stops))
    colors = np.stack([np.interp(amounts, places, stops[:, at]) for at in range(3)], axis=1).round().astype(np.uint8)
    image = Image.fromarray(weights)  # gray levels become palette indices
    image.putpalette(colors.tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
