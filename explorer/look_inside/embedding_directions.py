"""Directions in the model's vectors over training steps: axes of the user's choice, the residual stream, positions."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st

from core.errors import ExplorerError
from core.fast.threads import one_thread
from core.formatting import decimal
from core.interpretability.activations import PartError
from core.interpretability.embeddings import cosines, own_axes, position_embeddings, project_along, token_embeddings
from core.interpretability.residual_stream import residual_stream
from core.model import GPT
from core.runs.folder import RunFolder
from core.runs.weights import find_weights, load_model, steps_with_weights
from core.text.token_display import kind_of, visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import cosine_heatmap
from explorer.charts.text_format import short, stage_words
from explorer.components.time_machine import TimeMachineMap, time_machine_directions
from explorer.i18n.language import N_, _, ngettext, unit
from explorer.look_inside.inspection import Inspection, evenly, within
from explorer.streaming.run_events import scale_to_square
from explorer.widgets.layout import card, chart, choose, current_palette, errors_shown, sentence

MAX_TOKENS = 600
MAX_POSITIONS = 128
_AXES = (("aeiou", "bcdfghjklmnprstvwz"), ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_STAGE = "stream_stage"


class Vectors(NamedTuple):
    """The vectors of one snapshot."""

    tokens: np.ndarray  # (V, C), of the first V tokens
    positions: np.ndarray | None  # (block_size, C)
    stream: np.ndarray | None  # (L + 1, T, C) over the prompt


def vectors_over_time(inspection: Inspection, most: int = 10**9) -> tuple[list[int], list[Vectors]]:
    """Return the vectors of all snapshots, or of at most `most` with the last; for a large model only this step's."""
    steps = [] if inspection.large else steps_with_weights(inspection.folder)
    steps = evenly(steps or [inspection.opened.step], most)
    read = {step: vectors for step in steps if (vectors := _vectors_at(inspection, step))}
    return list(read), list(read.values())


def _vectors_at(inspection: Inspection, step: int) -> Vectors | None:
    ids = tuple(inspection.prompt.ids)
    if inspection.large:
        return _vectors_of(inspection.model, ids)
    path = find_weights(inspection.folder, step)
    try:
        return _read(inspection.folder.path, path, path.stat().st_mtime_ns, ids) if path else None
    except (OSError, ExplorerError):  # deleted meanwhile by the training run, which thins its snapshots
        return None


@lru_cache(maxsize=96)
def _read(run: Path, weights: Path, _changed: int, ids: tuple[int, ...]) -> Vectors:
    with one_thread():
        return _vectors_of(load_model(RunFolder(run), weights).model, ids)


def _vectors_of(model: GPT, ids: tuple[int, ...]) -> Vectors:
    try:
        positions = position_embeddings(model)
    except PartError:
        positions = None
    stream = residual_stream(model, list(ids)) if ids else None
    return Vectors(token_embeddings(model)[:MAX_TOKENS], positions, stream)


def aligned_maps(steps: list[int], tables: list[np.ndarray], words: Callable[[np.ndarray], str]) -> TimeMachineMap:
    """Project the tables (S of (N, C)) onto the PCA directions of the last one, all at its scale."""
    points = project_along(tables)
    xy = np.stack([scale_to_square(each, points[-1]) for each in points])
    return TimeMachineMap(steps, xy, list(map(words, tables)))


def along_axes(
    steps: list[int], points: list[np.ndarray], names: list[tuple[str, str]], words: Callable[[np.ndarray], str]
) -> TimeMachineMap:
    """Return points (N, 2) along two chosen axes at S steps, in one frame that fits nearly all of them."""
    every = np.concatenate([*points, [[0, 0], [1, 1]]])
    low, high = np.quantile(every, 0.01, axis=0), np.quantile(every, 0.99, axis=0)
    low, high = np.minimum(low, -0.2), np.maximum(high, 1.2)

    def framed(values: np.ndarray) -> np.ndarray:
        return np.clip(2 * (values - low) / (high - low) - 1, -1.05, 1.05)

    (left, bottom), (right, top) = framed(np.array([[0, 0], [1, 1]])).tolist()
    (first, second), (third, fourth) = names
    axes = {"across": [(left, first), (right, second)], "up": [(bottom, third), (top, fourth)]}
    return TimeMachineMap(steps, np.stack([framed(each) for each in points]), list(map(words, points)), axes)


def axes_card(inspection: Inspection, vectors: np.ndarray) -> None:
    """Draw tokens with vectors (V, C) between groups of the user's choice."""
    tokens = inspection.tokenizer.tokens[: len(vectors)]
    ids = {visible(token): index for index, token in enumerate(tokens)} | {t: i for i, t in enumerate(tokens)}
    more = _(
        "0 is the mean of an axis's first group, 1 of its second. If lower-case letters and capitals differ in one "
        "direction only, all capitals lie near 1."
    )
    with card(_("Directions of your choice"), _("Where do tokens lie between two groups?"), more=more, key="card_axes"):
        groups, unknown = _choose_groups(ids)
        ends = [(groups[0], groups[1]), (groups[2], groups[3])]
        try:
            own_axes(vectors, ends)
        except ValueError:
            st.info(_("Each axis needs tokens that the model knows at both ends, and different ones."))
            return
        shown = [visible(token) for token in tokens]
        names = [tuple(short("".join(shown[index] for index in group)) for group in pair) for pair in ends]
        if unknown:
            st.caption(sentence(_("Left out, because the model has no such tokens here: {tokens}.", tokens=unknown)))
        steps, read = vectors_over_time(inspection)
        points = [own_axes(each.tokens, ends) for each in read]
        maps = along_axes(steps, points, names, lambda points: axis_in_words(points[:, 0], ends[0], shown))
        time_machine_directions(
            inspection.time_machine, maps, shown, [kind_of(token) for token in tokens], key="axes_map", name="own-axes"
        )


def _choose_groups(ids: dict[str, int]) -> tuple[list[list[int]], str]:
    groups, unknown = [], ""
    by_subword = unit() == "tokens"  # subwords, typed with spaces between them
    for name, pair in zip((N_("Across"), N_("Up")), _AXES, strict=True):
        for column, end, default in zip(st.columns(2), (N_("from"), N_("to")), pair, strict=True):
            with column:
                begin = " ".join(default) if by_subword else default
                label, key = f"{_(name)}, {_(end)}", f"axis_{name}_{end}".lower()
                typed = st.text_input(label, begin, key=key, max_chars=80)
            tokens = list(dict.fromkeys(typed.split() if by_subword else typed))
            groups.append([ids[token] for token in tokens if token in ids])
            unknown += "".join(token for token in tokens if token not in ids)
    return groups, unknown


def axis_in_words(places: np.ndarray, ends: tuple[list[int], list[int]], shown: list[str]) -> str:
    """Return whether the first axis separates its two groups, and which other token lies furthest along it."""
    words = _("The first axis does not fully separate its two groups.")
    if places[ends[0]].max() < places[ends[1]].min():
        words = _("The first axis separates its two groups.")
    others = [index for index in range(len(places)) if index not in {*ends[0], *ends[1]}]
    if not others:
        return words
    furthest = max(others, key=lambda index: places[index])
    place = decimal(float(places[furthest]))
    far = _("Furthest along it: '{token}' ({place}).", token=shown[furthest], place=place)
    return f"{words} {far}"


def stream_card(inspection: Inspection) -> None:
    """Draw the prompt's tokens as the residual stream represents them after each block."""
    prompt = inspection.prompt
    if len(prompt.ids) < 3:
        return
    note = _("How do the vectors of your prompt's tokens change from layer to layer?")
    more = _(
        "PCA, computed at each stage, with the last step's axes. The same token at two positions starts at nearly one "
        "point and moves apart as context is added."
    )
    with card(_("Residual stream"), note, more=more, key="card_stream"):
        names = stage_words(inspection.config.n_layer + 1)
        within(_STAGE, len(names))
        stage = st.select_slider(_("Stage"), range(len(names)), key=_STAGE, format_func=names.__getitem__)
        steps, read = vectors_over_time(inspection)
        tables, state = [each.stream[stage] for each in read], inspection.time_machine
        maps = aligned_maps(steps, tables, lambda vectors: stream_in_words(vectors, prompt.ids))
        time_machine_directions(state, maps, prompt.shown, prompt.kinds, key="stream_map", name=f"stream-{stage}")


def stream_in_words(vectors: np.ndarray, ids: list[int]) -> str:
    """Compare the vectors (T, C) of one token at different positions with those of different tokens, by cosine."""
    alike = cosines(vectors - vectors.mean(axis=0))
    same = np.equal.outer(ids, ids) & ~np.eye(len(ids), dtype=bool)
    other = ~np.equal.outer(ids, ids)
    if not same.any() or not other.any():
        return _("No token occurs twice in your prompt. Type one that repeats, to see equal tokens move apart.")
    return _(
        "Mean cosine here: {same} for the same token at two positions, {other} for different tokens.",
        same=decimal(float(alike[same].mean())), other=decimal(float(alike[other].mean())),
    )  # fmt: skip


def positions_card(inspection: Inspection) -> None:
    """Draw how similar the position embeddings are, as cosines or as a map."""
    more = _(
        "Each position has a vector; a cell is the cosine of two. A bright diagonal band means "
        "that neighbors are similar: the model can tell *near* from *far*."
    )
    note = _("Which positions of the context are similar?")
    with card(_("Position embeddings"), note, more=more, key="card_places"), errors_shown():
        vectors = position_embeddings(inspection.model)
        titles = {"Likeness": _("Cosines"), "Map": _("Map")}
        how = choose(_("Drawn as"), list(titles), key="places_how", format_func=titles.__getitem__)
        stride = -(-len(vectors) // MAX_POSITIONS)
        positions = list(range(1, len(vectors) + 1, stride))
        names = [str(position) for position in positions]
        if how == "Map":
            steps, read = vectors_over_time(inspection)
            tables = [each.positions[::stride] for each in read]
            maps = aligned_maps(steps, tables, lambda table: positions_in_words(cosines(table), stride))
            time_machine_directions(
                inspection.time_machine, maps, names, ["digit"] * len(names), key="places_points", name="positions-map"
            )
            return
        words = positions_in_words(cosines(vectors))
        thinned = ngettext("Drawn: 1 of {count} position.", "Drawn: 1 of {count} positions.", stride)
        st.caption(sentence(f"{words} {thinned}" if stride > 1 else words))
        alike = cosines(vectors[::stride])
        columns = partial(matrix_columns, alike, names, names, ("position", "other position", "cosine"))
        figure = cosine_heatmap(alike, positions, current_palette())
        chart(figure, key="places_map", name="positions", numbers=columns)


def positions_in_words(alike: np.ndarray, stride: int = 1) -> str:
    """Return how fast similarity falls with distance, from cosines (N, N) of every `stride`-th position."""
    far = len(alike) // 2
    return _(
        "Mean cosine: {near} at distance {stride}, {far} at distance {distance}.",
        near=decimal(float(np.diagonal(alike, 1).mean())), stride=stride,
        far=decimal(float(np.diagonal(alike, far).mean())), distance=f"{far * stride:,}",
    )  # fmt: skip
