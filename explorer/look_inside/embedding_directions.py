"""What else lies in the model's vectors: directions of one's own, the prompt on its way up, and places."""

import numpy as np
import streamlit as st

from core.formatting import decimal
from core.interpretability.activations import PartError
from core.interpretability.embeddings import cosines, own_axes, position_embeddings, project
from core.interpretability.residual_stream import residual_stream
from core.text.token_display import kind_of, visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.embedding_directions import axes_map, cosine_heatmap, short
from explorer.charts.embeddings import embedding_map
from explorer.charts.logit_lens import stage_words
from explorer.components.time_machine import time_machine_directions
from explorer.i18n.language import N_, _
from explorer.i18n.units import unit
from explorer.look_inside.vector_maps import along_axes, held_over_time, turned_alike
from explorer.look_inside.view import Inspection, within
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, literal, sentence

MOST_PLACES = 128
MAP_HEIGHT = 400  # pixels
_AXES = (("aeiou", "bcdfghjklmnprstvwz"), ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_STAGE = "stream_stage"


def axes_card(inspection: Inspection, vectors: np.ndarray) -> None:
    """Letters between groups of one's own choice.

    Args:
        vectors: (V, C), of the first V tokens.
    """
    tokens = inspection.tokenizer.tokens[: len(vectors)]
    numbers = {visible(token): index for index, token in enumerate(tokens)} | {t: i for i, t in enumerate(tokens)}
    with card(
        _("Where do letters lie between two groups of your choice?"),
        more=_(
            "A direction can have a meaning. Type the letters at either end of an axis: 0 is the mean of the first "
            "group, 1 the mean of the second, and all other letters fall where they fall. If small letters and their "
            "capitals differ in one direction only, all capitals lie near 1."
        ),
        key="card_axes",
    ):
        groups, strange = [], ""
        for name, pair in zip((N_("Across"), N_("Up")), _AXES, strict=True):
            for column, end, default in zip(st.columns(2), (N_("from"), N_("to")), pair, strict=True):
                with column:
                    begin = " ".join(default) if unit() == "tokens" else default
                    label, key = f"{_(name)}, {_(end)}", f"axis_{name}_{end}".lower()
                    typed = st.text_input(label, begin, key=key, max_chars=80)
                letters = list(dict.fromkeys(typed.split() if unit() == "tokens" else typed))
                groups.append([numbers[letter] for letter in letters if letter in numbers])
                strange += "".join(letter for letter in letters if letter not in numbers)
        ends = [(groups[0], groups[1]), (groups[2], groups[3])]
        try:
            points = own_axes(vectors, ends)
        except ValueError:
            st.info(_("Each axis needs letters that the model knows at both ends, and other ones at either end."))
            return
        shown = [visible(token) for token in tokens]
        names = [tuple("".join(shown[index] for index in group) for group in pair) for pair in ends]
        kinds = [kind_of(token) for token in tokens]
        if strange:
            st.caption(sentence(_("Left out, as the model has no such letters here: {letters}.", letters=strange)))
        if inspection.clock:
            steps, held = held_over_time(inspection)
            moving = along_axes(
                steps,
                [own_axes(each.tokens, ends) for each in held],
                [tuple(map(short, pair)) for pair in names],
                lambda points: axis_in_words(points[:, 0], ends[0], shown),
            )
            time_machine_directions(
                inspection.clock, moving, shown, kinds, key="axes_map", name="own-axes", height=MAP_HEIGHT
            )
            return
        st.caption(sentence(axis_in_words(points[:, 0], ends[0], shown)))
        chart(
            axes_map(points, shown, kinds, names, current_palette()),
            key="axes_map",
            numbers=lambda: {"token": shown, "across": points[:, 0], "up": points[:, 1]},
            name="own-axes",
        )


def axis_in_words(places: np.ndarray, ends: tuple[list[int], list[int]], shown: list[str]) -> str:
    """Whether the first axis keeps its two groups apart, and who of the others lies furthest along it."""
    start, end = places[ends[0]], places[ends[1]]
    apart = start.max() < end.min()
    others = [index for index in range(len(places)) if index not in {*ends[0], *ends[1]}]
    if not others and apart:
        return _("The first axis keeps its two groups apart.")
    if not others:
        return _("The first axis does not keep its two groups quite apart.")
    furthest = max(others, key=lambda index: places[index])
    told = {"letter": shown[furthest], "place": decimal(float(places[furthest]))}
    if apart:
        return _(
            "The first axis keeps its two groups apart; of all other letters '{letter}' lies furthest along it "
            "({place}).",
            **told,
        )
    return _(
        "The first axis does not keep its two groups quite apart; of all other letters '{letter}' lies furthest along "
        "it ({place}).",
        **told,
    )


def stream_card(inspection: Inspection) -> None:
    """The prompt's letters as the model holds them after each block."""
    ids = inspection.prompt.ids
    if len(ids) < 3:
        return
    with card(
        _("What becomes of your prompt's letters on their way up?"),
        more=_(
            "After each block every letter of the prompt is another list of numbers (the **residual stream**): first "
            "only what it is and where it stands, later what the model makes of it. The same letter at two places "
            "begins at nearly one point, and moves apart as it takes in what stands before it. Drawn by PCA, at each "
            "stage anew; along the training, in the directions of the last step."
        ),
        key="card_stream",
    ):
        stream = kept(
            inspection.model, ("stream", *ids), lambda: residual_stream(inspection.model, ids)
        )  # (L + 1, T, C)
        words = stage_words(len(stream))
        within(_STAGE, len(stream))
        stage = st.select_slider(_("Stage"), range(len(stream)), key=_STAGE, format_func=words.__getitem__)
        shown = inspection.prompt.shown
        if inspection.clock:
            steps, held = held_over_time(inspection)
            moving = turned_alike(
                steps,
                [each.stream[stage] for each in held],
                lambda vectors: stream_in_words(vectors[None], 0, ids),
            )
            kinds, name = inspection.prompt.kinds, f"stream-{stage}"
            time_machine_directions(
                inspection.clock, moving, shown, kinds, key="stream_map", name=name, height=MAP_HEIGHT
            )
            return
        st.caption(sentence(stream_in_words(stream, stage, ids)))
        points = project(stream[stage], "pca", 2)
        chart(
            embedding_map(points, shown, inspection.prompt.kinds, current_palette()),
            key="stream_map",
            numbers=lambda: {"token": shown, "x": points[:, 0], "y": points[:, 1]},
            name=f"stream-{stage}",
        )


def stream_in_words(stream: np.ndarray, stage: int, ids: list[int]) -> str:
    """How alike the same letter at different places still is, against letters in general."""
    alike = cosines(stream[stage] - stream[stage].mean(axis=0))
    same = np.equal.outer(ids, ids) & ~np.eye(len(ids), dtype=bool)
    other = ~np.equal.outer(ids, ids)
    if not same.any() or not other.any():
        return _("No letter stands in your prompt twice; type one that repeats, to see equal letters move apart.")
    return _(
        "Here the same letter at two places has a cosine of {same} on average, different letters {other}.",
        same=decimal(float(alike[same].mean())), other=decimal(float(alike[other].mean())),
    )  # fmt: skip


def places_card(inspection: Inspection) -> None:
    """How alike the places of the context are to the model."""
    with card(
        _("Which places of the context are alike?"),
        more=_(
            "A model with a table of places adds one list of numbers for *where* a letter stands. This is the cosine "
            "of any two: a bright band along the diagonal says that neighbouring places are alike, so the model can "
            "tell *near* from *far*. It is learned, place by place, from nothing."
        ),
        key="card_places",
    ):
        try:
            vectors = position_embeddings(inspection.model)
        except PartError as error:
            st.info(literal(str(error)))
            return
        how = st.segmented_control(
            _("Drawn as"), [N_("Likeness"), N_("Map")], default="Likeness", required=True, key="places_how",
            format_func=_, label_visibility="collapsed",
        )  # fmt: skip
        stride = -(-len(vectors) // MOST_PLACES)
        places = list(range(1, len(vectors) + 1, stride))
        alike = cosines(vectors[::stride])
        thinned = _("Every {stride}th place is drawn.", stride=stride)
        names = [str(place) for place in places]
        if how == "Map":
            _places_map(inspection, vectors[::stride], stride, names)
            return
        told = places_in_words(cosines(vectors))
        st.caption(sentence(f"{told} {thinned}" if stride > 1 else told))
        chart(
            cosine_heatmap(alike, places, current_palette()),
            key="places_map",
            numbers=lambda: matrix_columns(alike, names, names, ("place", "other place", "cosine")),
            name="places",
        )


def _places_map(inspection: Inspection, vectors: np.ndarray, stride: int, names: list[str]) -> None:
    kinds = ["digit"] * len(names)
    if inspection.clock:
        steps, held = held_over_time(inspection)
        tables = [each.places[::stride] for each in held]
        moving = turned_alike(steps, tables, lambda table: places_in_words(cosines(table), stride))
        time_machine_directions(
            inspection.clock, moving, names, kinds, key="places_points", name="places-map", height=MAP_HEIGHT
        )
        return
    points = project(vectors, "pca", 2)
    st.caption(sentence(places_in_words(cosines(vectors), stride)))
    chart(
        embedding_map(points, names, kinds, current_palette()),
        key="places_points",
        numbers=lambda: {"place": names, "x": points[:, 0], "y": points[:, 1]},
        name="places-map",
    )


def places_in_words(alike: np.ndarray, stride: int = 1) -> str:
    """How fast likeness falls with distance, from cosines (N, N)."""
    near, far = float(np.diagonal(alike, 1).mean()), len(alike) // 2
    told = {
        "near": decimal(near),
        "distance": f"{far * stride:,}",
        "far": decimal(float(np.diagonal(alike, far).mean())),
    }
    if stride == 1:
        return _("Neighbouring places have a cosine of {near} on average, places {distance} apart {far}.", **told)
    return _(
        "Places {stride} apart have a cosine of {near} on average, places {distance} apart {far}.",
        stride=stride, **told,
    )  # fmt: skip
