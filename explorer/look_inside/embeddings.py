"""Which tokens have similar embeddings? For a bigram model, which token follows which?"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import streamlit as st

from core.errors import TextError
from core.formatting import decimal
from core.interpretability import Progress
from core.interpretability.embeddings import (
    Method,
    Tables,
    align,
    compare_tables,
    fourier_components,
    methods,
    nearest,
    project,
    token_embeddings,
)
from core.model import GPT
from core.runs.weights import steps_with_weights
from core.text.tasks import MODULUS, NUMBERS
from core.text.token_display import kind_of, visible
from explorer.charts.bars import neighbor_bars
from explorer.charts.csv_export import matrix_columns
from explorer.charts.embedding_map import embedding_map, number_circle
from explorer.charts.heatmaps import difference_heatmap, table_heatmap
from explorer.charts.text_format import percent
from explorer.components.time_machine import TimeMachineMap, moving_figure, time_machine_directions
from explorer.i18n.language import N_, _
from explorer.look_inside.embedding_directions import (
    aligned_maps,
    axes_card,
    positions_card,
    stream_card,
    vectors_over_time,
)
from explorer.look_inside.frames import alike_in_words
from explorer.look_inside.inspection import Inspection, names_of, select, within
from explorer.look_inside.run_text import run_text
from explorer.services.shared import result_for
from explorer.streaming.run_events import scale_to_square
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, choose, current_palette, literal, sentence

_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_METHODS = {name: method for method, name in _NAMES.items()}
MAP_HEIGHT = 500  # pixels
MAX_POINTS = 600  # of the map: with more, t-SNE takes seconds and tokens overlap
MAX_LAID_OUT = 12  # snapshots, for methods that lay out each one separately
NEIGHBORS = 8
TOKEN, MAP = "inspect_token", "embedding_map"
_MAPS = N_(
    "**PCA** keeps distances as true as a flat map allows. **t-SNE** (van der Maaten 2008) keeps only neighbors: large "
    "distances mean nothing. **UMAP** (McInnes 2018) keeps some of these."
)
MAX_ROWS = 96  # of a bigram's table
LEARNED, COUNTED, DIFFERENCE = N_("Learned"), N_("Counted"), N_("Difference")
_TABLE_HELP = N_(
    "A row is the current token, a column the next one. **Counted** is how often each token follows in the training "
    "text. Training learns rows of rare tokens last."
)


def draw(inspection: Inspection) -> None:
    """Draw the map of all tokens in 2-D or 3-D, the nearest neighbors of one, and directions of the user's choice."""
    tokens = inspection.tokenizer.tokens[:MAX_POINTS]
    shown, kinds = [visible(token) for token in tokens], [kind_of(token) for token in tokens]
    vectors = token_embeddings(inspection.model)[: len(tokens)]  # (V, C)
    chosen = within(TOKEN, len(tokens), tokens.index("e") if "e" in tokens else 0)
    close = nearest(vectors, chosen, min(NEIGHBORS, len(tokens) - 1))
    left, right = st.columns([8, 4])
    with left:
        _map_card(inspection, vectors, shown, kinds, chosen, [index for index, _cosine in close])
    with right:
        _neighbors_card(inspection, shown, kinds, chosen, close)
    if inspection.opened.record.config.data.corpus == "modular-addition":
        _circle_card(inspection)
    if isinstance(inspection.model, GPT):
        left, right = st.columns(2)
        with left:
            axes_card(inspection, vectors)
        with right:
            stream_card(inspection)
            positions_card(inspection)


def _map_card(
    inspection: Inspection, vectors: np.ndarray, shown: list[str], kinds: list[str], chosen: int, near: list[int]
) -> None:
    note = _("Tokens with similar vectors lie close together.")
    if left_out := inspection.tokenizer.vocab_size - len(shown):
        note = f"{note} {_('Tokens left out: {count}.', count=f'{left_out:,}')}"
    with card(_("Token embeddings"), note, more=_(_MAPS), key="card_map"):
        with st.container(horizontal=True, gap="medium"):
            method = choose(_("Method"), [_NAMES[method] for method in methods()], key="map_method")
            dimensions = choose(_("Dimensions"), ["2D", "3D"], key="map_dims")
        if "umap" not in methods():
            st.caption(_("For UMAP maps: `pip install umap-learn`."))
        if dimensions == "2D":
            _map_over_steps(inspection, method, shown, kinds, chosen, near)
            return
        with st.spinner(_("Projecting the embeddings")):
            points = _project(vectors, method)
        figure = embedding_map(points, shown, kinds, current_palette(), chosen=chosen, neighbors=near)
        columns = {"token": shown, "kind": kinds} | dict(zip("xyz", points.T, strict=True))
        chart(figure, key=f"{MAP}_space", name=f"map-{method.lower()}", numbers=lambda: columns)


def _circle_card(inspection: Inspection) -> None:
    """Draw the Fourier transform of the number embeddings for modular addition, at the current step."""
    tokens = inspection.tokenizer.tokens
    if inspection.large or not isinstance(inspection.model, GPT) or not set(NUMBERS) <= set(tokens):
        return
    numbers = [tokens.index(number) for number in NUMBERS]
    steps, read = vectors_over_time(inspection)
    components = [fourier_components(vectors.tokens[numbers]) for vectors in read]
    note = _("Which frequencies are in the embeddings of the numbers, and do the numbers lie on a circle?")
    more = _(
        "The Fourier transform over the numbers 0 to {most}. A generalizing model adds by rotation: a few "
        "frequencies remain, each with a circle on which numbers are angles (Nanda 2023).",
        most=MODULUS - 1,
    )
    with card(_("Fourier components of the number embeddings"), note, more=more, key="card_circle"):
        figure = number_circle(components, [str(number) for number in range(MODULUS)], current_palette())
        words = [
            [(_("Frequency {number}: {share} of the variance. The five strongest: {five}.", number=each.strongest,
                share=percent(float(each.power.max())), five=percent(float(np.sort(each.power)[-5:].sum()))), False)]
            for each in components
        ]  # fmt: skip
        moving_figure(inspection.time_machine, steps, figure, words, key="number_circle", name="fourier-components")


def _neighbors_card(
    inspection: Inspection, shown: list[str], kinds: list[str], chosen: int, close: list[tuple[int, float]]
) -> None:
    note = _("Which embeddings point in the same direction? Cosine 1: the same, 0: unrelated.")
    with card(_("Nearest neighbors"), note, key="card_near"):
        options = names_of(inspection.tokenizer, range(len(shown)))
        select(_("Token"), range(len(shown)), key=TOKEN, default=chosen, format_func=options.__getitem__)
        near, cosines = zip(*close, strict=True)
        names = [shown[index] for index in near]
        st.caption(sentence(neighbors_in_words(shown[chosen], list(zip(names, cosines, strict=True)))))
        own_kinds = [kinds[index] for index in near]
        figure = neighbor_bars(names, own_kinds, cosines, shown[chosen], current_palette())
        chart(figure, key="neighbours", name="neighbors", numbers=lambda: {"token": names, "cosine": cosines})


def _map_over_steps(
    inspection: Inspection, method: str, shown: list[str], kinds: list[str], chosen: int, near: list[int]
) -> None:
    words = partial(alike_in_words, shown=shown)
    if method == "PCA":
        steps, read = vectors_over_time(inspection)
        maps = aligned_maps(steps, [each.tokens for each in read], words)
    else:
        how = _METHODS[method]
        key = ("map", inspection.folder.id, *steps_with_weights(inspection.folder)[-1:], how)
        doing = _("{method} arranges the tokens, snapshot by snapshot", method=method)
        maps = result_of(key, lambda: laid_out(inspection, how), doing)
        if maps is None:
            return
        # Captions are made here, not by the job, which serves visitors of all languages.
        tables = dict(zip(*vectors_over_time(inspection, MAX_LAID_OUT), strict=True))
        maps = maps._replace(words=[words(tables[s].tokens) if s in tables else "" for s in maps.steps])
    trail = 5 if method == "PCA" else 1  # separately laid out maps move a lot
    look = {"name": f"map-{method.lower()}", "height": MAP_HEIGHT, "trail": trail, "chosen": chosen, "near": near}
    picked = time_machine_directions(inspection.time_machine, maps, shown, kinds, key=MAP, **look)
    if picked is not None and picked != chosen:
        st.session_state[TOKEN] = picked
        st.rerun()


def laid_out(inspection: Inspection, method: Method) -> Iterator[Progress[TimeMachineMap]]:
    """Lay out the tokens at some snapshots, each aligned to the one after it; without captions."""
    steps, read = vectors_over_time(inspection, MAX_LAID_OUT)
    made: list[np.ndarray] = []
    for done, each in enumerate(reversed(read), start=1):
        points = project(each.tokens, method, seed=1337)
        made.append(align(points, made[-1]) if made else points)
        xy = np.stack([scale_to_square(points, made[0]) for points in reversed(made)])
        yield Progress(done, len(read), TimeMachineMap(steps[-done:], xy, []))


def neighbors_in_words(token: str, close: Sequence[tuple[str, float]]) -> str:
    """Return the nearest token, and whether it stands out."""
    (first, cosine), *others = close
    values = {"token": token, "nearest": first, "cosine": decimal(cosine)}
    if cosine < 0.2:
        return _("No token is close to '{token}'. Nearest: '{nearest}' ({cosine}).", **values)
    if not others:
        return _("Nearest to '{token}': '{nearest}' ({cosine}).", **values)
    second, next_cosine = others[0]
    return _(
        "Nearest to '{token}': '{nearest}' ({cosine}), then '{second}' ({next}).",
        second=second, next=decimal(next_cosine), **values,
    )  # fmt: skip


@st.cache_data(max_entries=16, show_spinner=False)
def _project(vectors: np.ndarray, method: str) -> np.ndarray:
    return project(vectors, _METHODS[method], 3, seed=1337)


def draw_bigram_table(inspection: Inspection) -> None:
    """Draw the learned table, the counted one, or their difference."""
    model, all_tokens = inspection.model, inspection.tokenizer.tokens
    tokens = list(all_tokens[:MAX_ROWS])
    size = len(tokens)
    with card(_("Bigram table"), more=_(_TABLE_HELP), key="card_table"):
        values = {LEARNED: model.table()[:size, :size].numpy()}
        caption = []
        try:
            with st.spinner(_("Counting ...")):
                tables = result_for(model, "pairs", lambda: compare_tables(model, run_text(inspection).training))
            values |= {COUNTED: tables.counted[:size, :size], DIFFERENCE: tables.difference[:size, :size]}
            caption.append(tables_in_words(tables, [visible(token) for token in all_tokens]))
        except TextError as error:
            st.info(literal(str(error)))
        which = choose(_("Table"), list(values), key="table_which")
        if left_out := len(all_tokens) - size:
            caption.append(_("Tokens left out: {count}.", count=f"{left_out:,}"))
        if caption:
            st.caption(literal(" ".join(caption)))
        if which == DIFFERENCE:
            figure = difference_heatmap(values[LEARNED], values[COUNTED], tokens, current_palette())
        else:
            figure = table_heatmap(values[which], tokens, current_palette())
        shown, name = [visible(token) for token in tokens], which.lower()
        columns = partial(matrix_columns, values[which], shown, shown, ("token", "next token", name))
        chart(figure, key="inspect_table", name=f"table-{name}", numbers=columns)


def tables_in_words(tables: Tables, shown: list[str]) -> str:
    """Return the mean difference of learned and counted tables, weighted by token frequency, and the largest one."""
    share = tables.row_counts / max(1, tables.row_counts.sum())
    moved = np.abs(tables.difference).sum(axis=1) / 2  # share of each row's probability that differs
    frequent = np.where(tables.row_counts >= 100, np.abs(tables.difference).max(axis=1), 0)
    row = int(frequent.argmax())
    column = int(np.abs(tables.difference[row]).argmax())
    return _(
        "Mean difference from the counted table: {share} of the probability. Largest among frequent tokens: '{token}' "
        "after '{before}', {learned} learned, {counted} counted.",
        share=percent(float(share @ moved)), token=shown[column], before=shown[row],
        learned=percent(float(tables.learned[row, column])), counted=percent(float(tables.counted[row, column])),
    )  # fmt: skip
