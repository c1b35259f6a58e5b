"""Which tokens does the model treat alike?"""

import numpy as np
import streamlit as st

from core.formatting import decimal
from core.interpretability.embeddings import methods, nearest, project, token_embeddings
from core.model import GPT
from core.text.token_display import kind_of, visible
from explorer.charts.embeddings import embedding_map
from explorer.charts.prediction import neighbour_bars
from explorer.components.time_machine import Clock, time_machine_directions
from explorer.i18n.language import N_, _
from explorer.i18n.units import worded
from explorer.look_inside.captions import alike_in_words
from explorer.look_inside.embedding_directions import axes_card, places_card, stream_card
from explorer.look_inside.token_picker import names_of
from explorer.look_inside.vector_maps import MOST_LAID_OUT, held_over_time, laid_out, turned_alike
from explorer.look_inside.view import Inspection, select, within
from explorer.services.jobs import result_of
from explorer.widgets.layout import card, chart, current_palette, sentence

_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_METHODS = {name: method for method, name in _NAMES.items()}
MAP_HEIGHT = 500  # pixels
MOST_POINTS = 600  # of the map: t-SNE of more takes seconds, and letters cover each other
NEIGHBOURS = 8
TOKEN, MAP = "inspect_token", "embedding_map"
_MAPS = N_(
    "The model describes each letter with as many numbers as it is wide. **PCA** turns that cloud so that you see "
    "its broadest sides; distances stay true as far as a flat map allows. **t-SNE** (van der Maaten 2008) keeps "
    "neighbours together and gives up on the rest, so only closeness means something in it. **UMAP** (McInnes 2018), "
    "where it is installed, does likewise and keeps a little of the whole."
)


def draw(inspection: Inspection) -> None:
    """The map of all tokens, flat or in space, and the nearest neighbours of one."""
    tokens = inspection.tokenizer.tokens[:MOST_POINTS]
    shown, kinds = [visible(token) for token in tokens], [kind_of(token) for token in tokens]
    vectors = token_embeddings(inspection.model)[: len(tokens)]  # (V, C)
    left_out = inspection.tokenizer.vocab_size - len(tokens)
    chosen = within(TOKEN, len(tokens), tokens.index("e") if "e" in tokens else 0)
    close = nearest(vectors, chosen, min(NEIGHBOURS, len(tokens) - 1))
    note = _("Each letter is a list of numbers inside the model; those with similar lists lie close together.")
    cut = _("{count} of the letters are left out.", count=f"{left_out:,}")
    left, right = st.columns([8, 4])
    with (
        left,
        card(
            _("Which letters does it treat alike?"),
            f"{note} {cut}" if left_out else note,
            more=_(_MAPS),
            key="card_map",
        ),
    ):
        with st.container(horizontal=True, gap="medium"):
            method = st.segmented_control(
                _("Method"),
                [_NAMES[method] for method in methods()],
                default="PCA",
                required=True,
                key="map_method",
                label_visibility="collapsed",
            )
            dimensions = st.segmented_control(
                _("Dimensions"), ["2D", "3D"], default="2D", required=True, key="map_dims",
                label_visibility="collapsed",
            )  # fmt: skip
        if "umap" not in methods():
            st.caption(_("UMAP, a third way to draw the map, is offered after `pip install umap-learn`."))
        flat = dimensions == "2D"
        near = [index for index, _unused in close]
        if flat and inspection.clock:
            _moving_map(inspection, inspection.clock, method, shown, kinds, chosen, near)
        else:
            _still_map(vectors, method, flat, shown, kinds, chosen, near)
    with (
        right,
        card(_("Who are its neighbours?"), _("By cosine: 1 is the same direction, 0 is unrelated."), key="card_near"),
    ):
        named = names_of(inspection.tokenizer, range(len(tokens)))
        select(worded(_("Letter")), range(len(tokens)), key=TOKEN, default=chosen, format_func=named.__getitem__)
        st.caption(sentence(neighbours_in_words(shown[chosen], [(shown[index], cosine) for index, cosine in close])))
        chart(
            neighbour_bars(
                [shown[index] for index, _unused in close],
                [kinds[index] for index, _unused in close],
                [cosine for _unused, cosine in close],
                shown[chosen],
                current_palette(),
            ),
            key="neighbours",
            numbers=lambda: {
                "token": [shown[index] for index, _unused in close],
                "cosine": [cosine for _unused, cosine in close],
            },
            name="neighbours",
        )
    if isinstance(inspection.model, GPT):
        left, right = st.columns(2)
        with left:
            axes_card(inspection, vectors)
        with right:
            stream_card(inspection)
            places_card(inspection)


def _moving_map(
    inspection: Inspection, clock: Clock, method: str, shown: list[str], kinds: list[str], chosen: int, near: list[int]
) -> None:
    def words(table: np.ndarray) -> str:
        return alike_in_words(table, shown)

    if method == "PCA":
        steps, held = held_over_time(inspection)
        moving = turned_alike(steps, [each.tokens for each in held], words)
    else:
        how = _METHODS[method]
        moving = result_of(
            ("map", inspection.folder.id, *inspection.folder.moments()[-1:], how),
            lambda: laid_out(inspection, how),
            worded(_("{method} arranges the letters, moment by moment", method=method)),
        )
        if moving is None:
            return
        # Said here and not by the job, which serves visitors of all languages.
        tables = dict(zip(*held_over_time(inspection, MOST_LAID_OUT), strict=True))
        moving = moving._replace(words=[words(tables[s].tokens) if s in tables else "" for s in moving.steps])
    picked = time_machine_directions(
        clock,
        moving,
        shown,
        kinds,
        key=MAP,
        name=f"map-{method.lower()}",
        height=MAP_HEIGHT,
        trail=5 if method == "PCA" else 1,  # a map that is laid out anew moves a lot
        chosen=chosen,
        near=near,
    )
    if picked is not None and picked != chosen:
        st.session_state[TOKEN] = picked
        st.rerun()


def _still_map(
    vectors: np.ndarray, method: str, flat: bool, shown: list[str], kinds: list[str], chosen: int, near: list[int]
) -> None:
    with st.spinner(_("Arranging the letters")):
        points = _project(vectors, method, 2 if flat else 3)
    clickable = {"on_select": _choose_clicked, "selection_mode": "points"} if flat else {}
    chart(
        embedding_map(points, shown, kinds, current_palette(), chosen=chosen, neighbours=near),
        key=MAP if flat else f"{MAP}_space",
        numbers=lambda: {"token": shown, "kind": kinds} | dict(zip("xyz", points.T, strict=False)),
        name=f"map-{method.lower()}",
        **clickable,
    )


def neighbours_in_words(token: str, close: list[tuple[str, float]]) -> str:
    """What is nearest to a token right now, and whether it stands out."""
    (first, cosine), *others = close
    told = {"letter": token, "nearest": first, "cosine": decimal(cosine)}
    if cosine < 0.2:
        return _("Nothing is really near '{letter}' yet: '{nearest}' comes closest, with {cosine}.", **told)
    if not others:
        return _("Nearest to '{letter}' is '{nearest}' ({cosine}).", **told)
    told["second"] = others[0][0]
    if cosine - others[0][1] > 0.1:
        return _("Nearest to '{letter}' is '{nearest}' ({cosine}), clearly before '{second}'.", **told)
    return _("Nearest to '{letter}' is '{nearest}' ({cosine}), then '{second}'.", **told)


def _choose_clicked() -> None:
    points = st.session_state[MAP].selection.points
    if points and points[0].get("customdata") is not None:
        place = points[0]["customdata"]
        st.session_state[TOKEN] = int(place[0] if isinstance(place, list) else place)


@st.cache_data(max_entries=16, show_spinner=False)
def _project(vectors: np.ndarray, method: str, dimensions: int) -> np.ndarray:
    return project(vectors, _METHODS[method], dimensions, seed=1337)
