"""Which tokens does the model treat alike?"""

import numpy as np
import streamlit as st

from core.inspection.embeddings import methods, nearest, project, token_embeddings
from core.model import GPT
from core.text.display import kind_of, visible
from explorer.charts.embeddings import embedding_map
from explorer.charts.prediction import neighbour_bars
from explorer.inside.spaces import axes_card, places_card, stream_card
from explorer.inside.view import Inside, within
from explorer.ui import card, chart, current_palette
from explorer.units import worded

_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
MOST_POINTS = 600  # of the map: t-SNE of more takes seconds, and letters cover each other
NEIGHBOURS = 8
TOKEN, MAP = "inspect_token", "embedding_map"
_MAPS = (
    "The model describes each letter with as many numbers as it is wide. **PCA** turns that cloud so that you see "
    "its broadest sides; distances stay true as far as a flat map allows. **t-SNE** (van der Maaten 2008) keeps "
    "neighbours together and gives up on the rest, so only closeness means something in it. **UMAP** (McInnes 2018), "
    "where it is installed, does likewise and keeps a little of the whole."
)


def draw(inside: Inside) -> None:
    """The map of all tokens, flat or in space, and the nearest neighbours of one."""
    tokens = inside.tokenizer.tokens[:MOST_POINTS]
    shown, kinds = [visible(token) for token in tokens], [kind_of(token) for token in tokens]
    vectors = token_embeddings(inside.model)[: len(tokens)]  # (V, C)
    left_out = inside.tokenizer.vocab_size - len(tokens)
    chosen = within(TOKEN, len(tokens), tokens.index("e") if "e" in tokens else 0)
    close = nearest(vectors, chosen, min(NEIGHBOURS, len(tokens) - 1))
    left, right = st.columns([8, 4])
    with (
        left,
        card(
            "Which letters does it treat alike?",
            "Each letter is a list of numbers inside the model; those with similar lists lie close together."
            + (f" {left_out:,} of the letters are left out." if left_out else ""),
            more=_MAPS,
            key="card_map",
        ),
    ):
        with st.container(horizontal=True, gap="medium"):
            method = st.segmented_control(
                "Method",
                [_NAMES[method] for method in methods()],
                default="PCA",
                required=True,
                key="map_method",
                label_visibility="collapsed",
            )
            dimensions = st.segmented_control(
                "Dimensions", ["2D", "3D"], default="2D", required=True, key="map_dims", label_visibility="collapsed"
            )
        points = _project(vectors, method, int(dimensions[0]))
        flat = dimensions == "2D"
        clickable = {"on_select": _choose_clicked, "selection_mode": "points"} if flat else {}
        chart(
            embedding_map(
                points, shown, kinds, current_palette(), chosen=chosen, neighbours=[index for index, _ in close]
            ),
            key=MAP if flat else f"{MAP}_space",
            numbers=lambda: {"token": shown, "kind": kinds} | dict(zip("xyz", points.T, strict=False)),
            name=f"map-{method.lower()}",
            **clickable,
        )
    with right, card("Who are its neighbours?", "By cosine: 1 is the same direction, 0 is unrelated.", key="card_near"):
        st.selectbox(worded("Letter"), range(len(tokens)), key=TOKEN, format_func=lambda index: shown[index])
        chart(
            neighbour_bars(
                [shown[index] for index, _ in close],
                [kinds[index] for index, _ in close],
                [cosine for _, cosine in close],
                shown[chosen],
                current_palette(),
            ),
            key="neighbours",
            numbers=lambda: {"token": [shown[index] for index, _ in close], "cosine": [cosine for _, cosine in close]},
            name="neighbours",
        )
    if isinstance(inside.model, GPT):
        left, right = st.columns(2)
        with left:
            axes_card(inside, vectors)
        with right:
            stream_card(inside)
            places_card(inside)


def _choose_clicked() -> None:
    points = st.session_state[MAP].selection.points
    if points and points[0].get("customdata") is not None:
        place = points[0]["customdata"]
        st.session_state[TOKEN] = int(place[0] if isinstance(place, list) else place)


@st.cache_data(max_entries=16, show_spinner="Arranging the letters")
def _project(vectors: np.ndarray, method: str, dimensions: int) -> np.ndarray:
    return project(vectors, {name: method for method, name in _NAMES.items()}[method], dimensions, seed=1337)
