"""The panels of Look inside: attention, predictions and embeddings of one model on one prompt."""

import numpy as np
import streamlit as st

from core.inspection.attention import attention_patterns, to_bytes
from core.inspection.embeddings import nearest, project, token_embeddings
from core.inspection.prediction import next_token_probabilities
from core.inspection.recording import run_with
from core.text.display import kind_of, visible
from explorer import state
from explorer.charts.attention import attention_heatmap, table_heatmap
from explorer.charts.embeddings import embedding_map
from explorer.charts.prediction import neighbour_bars, prediction_bars
from explorer.charts.words import percent
from explorer.components.attention_board import attention_board
from explorer.components.attention_reader import attention_reader
from explorer.components.token_text import token_text
from explorer.prompt import Prompt
from explorer.service import Opened
from explorer.ui import card, current_palette
from explorer.written import WrittenToken

MOST_SEEN = 128  # tokens of a prompt: more cells than that no screen can tell apart
MOST_ROWS = 96  # of the bigram's table
MOST_POINTS = 600  # of the map: t-SNE of more takes seconds, and letters cover each other
NEIGHBOURS = 8
MOST_GUESSES, MOST_GUESSES_BESIDE = 12, 6
LAYER, HEAD, TOKEN, MAP = "inspect_layer", "inspect_head", "inspect_token", "embedding_map"
_PLAIN = {"displayModeBar": False}


def attention_cards(opened: Opened, prompt: Prompt) -> None:
    """All heads of a GPT, and one of them large."""
    patterns = attention_patterns(opened.model, prompt.ids)  # (L, H, T, T)
    bytes_ = to_bytes(patterns)
    layers, heads = patterns.shape[:2]
    layer, head = _within(LAYER, layers), _within(HEAD, heads)
    left, right = st.columns([9, 13])
    with (
        left,
        card(
            "All heads",
            "Each square is one head. Click one to open it.",
            more=heads_in_words(opened.model.config.causal),
            key="card_heads",
        ),
    ):
        picked = attention_board(bytes_, prompt.shown, selected=(layer, head), key="inspect_board")
        if picked and picked != (layer, head):
            st.session_state[LAYER], st.session_state[HEAD] = picked
            st.rerun()
    with left:
        _next_card(opened, prompt, MOST_GUESSES_BESIDE)
    with right, st.container(border=True, key="card_head"):
        title = st.empty()
        with st.container(horizontal=True, vertical_alignment="center"):
            layer = _place("Layer", layers, LAYER)
            head = _place("Head", heads, HEAD)
        pattern = patterns[layer, head]
        causal = opened.model.config.causal
        which = "earlier letters" if causal else "letters"
        title.markdown(f"##### Head {layer + 1}.{head + 1}: which {which} does each letter look at?")
        st.caption(head_in_words(pattern, causal))
        attention_reader(bytes_[layer, head], prompt.shown, row=len(prompt.ids) - 1, key="inspect_reader")
        st.plotly_chart(
            attention_heatmap(pattern, prompt.tokens, current_palette(), causal=causal),
            theme=None,
            config=_PLAIN,
            key="inspect_heatmap",
        )


def heads_in_words(causal: bool) -> str:
    """How to read the squares; a model that is not causal sees what comes after a letter too."""
    hidden = "The upper right half is empty because the future is hidden. " if causal else ""
    return (
        f"In every layer several **heads** look {'back ' if causal else ''}side by side. In a square, a row is a "
        "letter that looks, a column a letter looked at, and a stronger shade means more of its attention. "
        f"{hidden}A diagonal line means *look at the letter just before*, a column means *everyone looks at this one*."
    )


def _place(label: str, count: int, key: str) -> int:
    """A select of layers or heads, which a person counts from 1."""
    words = [f"{label.lower()} {index + 1}" for index in range(count)]
    return st.selectbox(
        label, range(count), key=key, format_func=words.__getitem__, label_visibility="collapsed", width=130
    )


def head_in_words(pattern: np.ndarray, causal: bool = True) -> str:
    """Where a head's looks (T, T) go, averaged over all letters that have a choice (the first has none)."""
    length = len(pattern)
    if length < 2:
        return "A single letter can only look at itself. Type more to see more."
    rows = np.arange(1, length)
    itself, before, first = pattern[rows, rows].mean(), pattern[rows, rows - 1].mean(), pattern[rows, 0].mean()
    distance = float((pattern[1:] * np.abs(rows[:, None] - np.arange(length)[None, :])).sum(axis=1).mean())
    return (
        f"Of its attention {percent(before)} goes to the letter before, {percent(itself)} to the letter itself and "
        f"{percent(first)} to the very first one. On average it looks {distance:.1f} letters "
        f"{'back' if causal else 'away'}."
    )


def prediction_cards(opened: Opened, prompt: Prompt) -> None:
    """What comes next, and how well each letter of the prompt itself was foreseen."""
    left, right = st.columns([4, 5])
    with left:
        _next_card(opened, prompt, MOST_GUESSES)
    with (
        right,
        card(
            "Did it see your prompt coming?",
            "Each letter is shaded by how likely the model held it, having read only what stands before it.",
            key="card_foreseen",
        ),
    ):
        if len(prompt.ids) < 2:
            st.caption("Type at least two letters.")
            return
        token_text(
            prompt=prompt.tokens[0],
            go=f"{opened.record.id} {opened.step} {prompt.text}",
            tokens=foreseen(opened, prompt),
            key="foreseen",
        )


def _next_card(opened: Opened, prompt: Prompt, count: int) -> None:
    tokens = opened.tokenizer.tokens
    with card("What comes next?", "The model's belief about the letter after your prompt.", key="card_next"):
        figure = prediction_bars(
            next_token_probabilities(opened.model, prompt.ids),
            [visible(token) for token in tokens],
            [kind_of(token) for token in tokens],
            current_palette(),
            count=count,
        )
        st.plotly_chart(figure, theme=None, config=_PLAIN, key="next_token")


def foreseen(opened: Opened, prompt: Prompt, alternatives: int = 5) -> list[WrittenToken]:
    """Every token of the prompt but the first, with the probability it had and what else was likely there."""
    logits = run_with(opened.model, prompt.ids)[:-1].astype(np.float64)  # (T - 1, V)
    beliefs = np.exp(logits - logits.max(axis=1, keepdims=True))
    beliefs /= beliefs.sum(axis=1, keepdims=True)
    best = np.argsort(-beliefs, axis=1, kind="stable")[:, :alternatives]
    shown = [visible(token) for token in opened.tokenizer.tokens]
    return [
        {
            "text": token,
            "visible": shown[id],
            "p": float(belief[id]),
            "alternatives": [(shown[other], float(belief[other])) for other in others],
        }
        for token, id, belief, others in zip(prompt.tokens[1:], prompt.ids[1:], beliefs, best, strict=True)
    ]


def embedding_cards(opened: Opened) -> None:
    """The map of all tokens, flat or in space, and the nearest neighbours of one."""
    tokens = opened.tokenizer.tokens[:MOST_POINTS]
    shown, kinds = [visible(token) for token in tokens], [kind_of(token) for token in tokens]
    vectors = token_embeddings(opened.model)[: len(tokens)]  # (V, C)
    left_out = opened.tokenizer.vocab_size - len(tokens)
    chosen = _within(TOKEN, len(tokens), tokens.index("e") if "e" in tokens else 0)
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
                "Method", ["PCA", "t-SNE"], default="PCA", required=True, key="map_method", label_visibility="collapsed"
            )
            dimensions = st.segmented_control(
                "Dimensions", ["2D", "3D"], default="2D", required=True, key="map_dims", label_visibility="collapsed"
            )
        points = _project(vectors, method, int(dimensions[0]))
        flat = dimensions == "2D"
        clickable = {"on_select": _choose_clicked, "selection_mode": "points"} if flat else {}
        st.plotly_chart(
            embedding_map(
                points, shown, kinds, current_palette(), chosen=chosen, neighbours=[index for index, _ in close]
            ),
            theme=None,
            config={"displayModeBar": False, "scrollZoom": flat},
            key=MAP if flat else f"{MAP}_space",
            **clickable,
        )
    with right, card("Who are its neighbours?", "By cosine: 1 is the same direction, 0 is unrelated.", key="card_near"):
        st.selectbox("Letter", range(len(tokens)), key=TOKEN, format_func=lambda index: shown[index])
        st.plotly_chart(
            neighbour_bars(
                [shown[index] for index, _ in close],
                [kinds[index] for index, _ in close],
                [cosine for _, cosine in close],
                shown[chosen],
                current_palette(),
            ),
            theme=None,
            config=_PLAIN,
            key="neighbours",
        )


def _choose_clicked() -> None:
    points = st.session_state[MAP].selection.points
    if points and points[0].get("customdata") is not None:
        place = points[0]["customdata"]
        st.session_state[TOKEN] = int(place[0] if isinstance(place, list) else place)


@st.cache_data(max_entries=16, show_spinner="Arranging the letters")
def _project(vectors: np.ndarray, method: str, dimensions: int) -> np.ndarray:
    return project(vectors, {"PCA": "pca", "t-SNE": "tsne"}[method], dimensions, seed=1337)


def table_card(opened: Opened) -> None:
    """What a bigram has in the place of attention."""
    tokens = opened.tokenizer.tokens[:MOST_ROWS]
    probabilities = opened.model.table()[: len(tokens), : len(tokens)].numpy()
    left_out = opened.tokenizer.vocab_size - len(tokens)
    with card(
        "What follows each letter?",
        "A bigram has no attention: this table is the whole model. A row is the letter that stands there, a column "
        "the one that may follow." + (f" The last {left_out:,} of its alphabet are left out." if left_out else ""),
        key="card_table",
    ):
        st.plotly_chart(
            table_heatmap(probabilities, tokens, current_palette()),
            theme=None,
            config=_PLAIN,
            key="inspect_table",
        )


def _within(key: str, count: int, default: int = 0) -> int:
    """A widget's value, brought into range: another run may have fewer layers, heads or letters."""
    value = st.session_state.get(key, state.recall(key))  # Streamlit forgets what was not drawn for a moment
    st.session_state[key] = default if value is None or value >= count else value
    state.remember(key, st.session_state[key])
    return st.session_state[key]


_MAPS = (
    "The model describes each letter with as many numbers as it is wide. **PCA** turns that cloud so that you see "
    "its broadest sides; distances stay true as far as a flat map allows. **t-SNE** (van der Maaten 2008) keeps "
    "neighbours together and gives up on the rest, so only closeness means something in it."
)
