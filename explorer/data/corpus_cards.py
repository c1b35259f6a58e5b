"""The panels of the Data page about the text: the choice, its characters, and the way to train on it."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.config import RunConfig
from core.errors import ExplorerError, TextError
from core.formatting import memory_in_words
from core.presets import PRESETS
from core.runs.ancestry import check_startable
from core.text import split_point
from core.text.corpora import Corpus, catalogue, load_corpus
from core.text.file_formats import (
    ENCODINGS,
    MAX_FILE_BYTES,
    columns_of,
    encodings_of,
    is_plain,
    preview_of,
    text_of_file,
)
from core.text.large_text import is_large_text, save_large_text
from core.text.own_text import MAX_BYTES, check_trainable, delete_text, read_text, save_text
from core.text.tasks import task_of
from core.text.token_display import kind_of, visible
from core.text.tokenizers import CharTokenizer
from core.trash import DAYS
from explorer.charts.bars import character_bars
from explorer.data.tokenizer_cards import LONG, Tokens
from explorer.i18n.language import N_, _, ngettext
from explorer.services import shared
from explorer.services.visitors import check_may_change
from explorer.widgets import address, drafts, session
from explorer.widgets.forms import distinct_labels
from explorer.widgets.invalid_links import draft_of_link
from explorer.widgets.layout import card, chart, current_palette, errors_shown, literal, show_error
from explorer.widgets.trash import draw_trash

if TYPE_CHECKING:
    from core.text.hub_datasets import Dataset

PREVIEW = 1200  # characters shown as text
MAX_BARS = 32
_KNOWN_DATASETS = ("roneneldan/TinyStories", "Salesforce/wikitext")
_MINUTES = 10  # that an answer of the hub stays cached
SHORT = 100_000  # characters: a small GPT memorizes a shorter text within a few thousand steps


class Facts(NamedTuple):
    """The characters and lines of a text."""

    ids: np.ndarray  # (N,) uint16 or wider, for each character of the whole text
    characters: CharTokenizer
    lines: int
    counts: list[tuple[str, int]]  # every character, most frequent first


def facts_of(name: str, data_dir: Path) -> Facts:
    """Count the characters of a corpus, once for a whole class. Raises TextError if it cannot be loaded."""
    return _facts_of(load_corpus(name, data_dir))


@lru_cache(maxsize=2)
def _facts_of(text: str) -> Facts:
    characters = CharTokenizer.from_text(text)
    ids = characters.encode_array(text)
    numbers = np.bincount(ids, minlength=characters.vocab_size)
    counts = Counter(dict(zip(characters.tokens, numbers.tolist(), strict=True)))
    small = np.uint16 if characters.vocab_size < 2**16 else np.uint32
    return Facts(ids.astype(small), characters, text.count("\n") + (not text.endswith("\n")), counts.most_common())


@lru_cache(maxsize=16)
def obstacle(config: RunConfig, data_dir: Path) -> str | None:
    """Return why no model with these settings can learn from their text; None if one can."""
    try:
        check_startable(data_dir, config)
    except TextError as error:
        return str(error)
    return None


def titles_of(corpora: Iterable[Corpus]) -> dict[str, str]:
    """Return the titles of texts by name, with tasks marked as such."""
    return {c.name: _("Task: {title}", title=c.title) if task_of(c.name) else c.title for c in corpora}


def description(corpus: Corpus) -> str:
    """Return the description of a text, in sentences."""
    if corpus.own:
        license = "" if corpus.license == corpus.language else _("License: {license}.", license=corpus.license)
        sample = ""
        if is_large_text(corpus.name, shared.data_dir()):
            values = {"count": f"{corpus.characters:,}", "size": memory_in_words(MAX_BYTES)}
            sample = _("Length in characters: {count}. This page counts and shows the first {size} of it.", **values)
        return " ".join(filter(None, (_(corpus.description), license, sample)))
    values = {"about": _(corpus.description), "language": _(corpus.language), "license": _(corpus.license)}
    return _("{about} Language: {language}. License: {license}.", **values)


def size_notice(characters: int) -> str | None:
    """Return a notice for a text so short that a model memorizes it; None for a longer one."""
    if characters >= SHORT:
        return None
    size = ngettext("This text has {count} character.", "This text has {count} characters.", characters)
    advice = _(
        "A model soon memorizes fewer than about 100,000: its validation loss then rises. Use a longer text or "
        "fewer steps."
    )
    return f"{size} {advice}"


def choose_corpus() -> tuple[Corpus, DeltaGenerator]:
    """Draw the select box of all texts and the form to add one; return the chosen text and a container next to it."""
    corpora = {corpus.name: corpus for corpus in catalogue(shared.data_dir())}
    drafted = draft_of_link(_("Show another text")).data.corpus
    if (downloaded := session.recall("text_downloaded")) in corpora:
        session.remember("text_downloaded", None)
        session.remember("texts_taken", session.recall("texts_taken", 0) + 1)
        st.session_state["corpus"] = downloaded
    if st.session_state.get("corpus") not in corpora:
        st.session_state["corpus"] = drafted if drafted in corpora else next(iter(corpora))
    titles = distinct_labels(titles_of(corpora.values()))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.selectbox(_("Text"), list(corpora), key="corpus", format_func=titles.get)
        # A new key makes a new popover, which is closed: so it closes once a text has been added.
        taken = session.recall("texts_taken", 0)
        with st.popover(_("Use your own text"), icon=":material/add:", key=f"own_text_{taken}"):
            _own_text()
        draw_trash("texts")
        go = st.container(width="content")
        if corpora[name].own:
            with st.popover(_("Delete"), icon=":material/delete:"):
                stays = ngettext(
                    "It is in the trash for {count} day. Runs trained on it remain, but cannot continue without it.",
                    "It is in the trash for {count} days. Runs trained on it remain, but cannot continue without it.",
                    DAYS,
                )
                st.caption(stays)
                st.button(_("Delete this text"), key="delete_text", on_click=_delete, args=(name,))
    if name != drafted:
        # A task's preset (a context of one problem, half of the text for validation) does not fit other texts.
        left_task = task_of(drafted) and not task_of(name)
        settings = PRESETS[address.FIRST_PRESET]() if left_task else drafts.draft()
        drafts.keep_draft(settings.replace({"data.corpus": name}))
    return corpora[name], go


def _own_text() -> None:
    st.text_input(_("Title"), key="own_title", placeholder=_("My text"), max_chars=80)
    pasted, uploaded, by_name = st.tabs([_("Paste"), _("Upload"), _("Hugging Face")])
    with pasted:
        st.text_area(_("Text"), key="own_text", height=180, placeholder=_("At least a few pages; more is better."))
        st.button(_("Use this text"), key="own_text_go", on_click=_keep, args=("own_text",))
    with uploaded:
        # Accepts any extension: the content decides whether it is text.
        label = _("A text, table (CSV, JSONL), PDF, Word document, EPUB or zip")
        forget, most = partial(session.remember, "own_text_problem", None), MAX_FILE_BYTES >> 20
        if file := st.file_uploader(label, key="own_file", max_upload_size=most, on_change=forget):
            _how_to_read(file.name, file.getvalue())
        st.button(_("Use this file"), key="own_file_go", on_click=_keep, args=("own_file",))
    with by_name:
        _hub_dataset()
    if problem := session.recall("own_text_problem"):
        show_error(problem)


@st.cache_data(ttl=60 * _MINUTES, max_entries=64, show_spinner=False)
def _dataset(name: str) -> "Dataset":
    from core.text.hub_datasets import find_dataset  # imports the hub's library: 280 modules

    return find_dataset(name)


@st.cache_data(ttl=60 * _MINUTES, max_entries=64, show_spinner=False)
def _columns(dataset: "Dataset", part: str) -> list[str]:
    from core.text.hub_datasets import columns_of_dataset

    return columns_of_dataset(dataset, part)


def _hub_dataset() -> None:
    """Draw the controls to choose a dataset on Hugging Face's hub, its part, column and size."""
    name = st.text_input(_("Dataset"), key="hub_dataset", placeholder=_("owner/name on huggingface.co"), max_chars=200)
    if not name:
        st.caption(_("Needs a network. For example {examples}.", examples=" · ".join(_KNOWN_DATASETS)))
        return
    with errors_shown():
        left, right = st.columns(2)
        with st.spinner(_("Asking the hub ...")):
            dataset = _dataset(name.strip())
            part = left.selectbox(_("Part"), dataset.parts, key=f"hub_part_{name}")
            columns = _columns(dataset, part)
        column = right.selectbox(_("Column"), columns, key=f"hub_column_{name}_{part}")
        megabytes = st.slider(_("At most, in MB"), 1, MAX_BYTES >> 20, 5, key="hub_size")
        st.caption(literal(_("License: {license}.", license=dataset.license)))
        if st.button(_("Download"), key="hub_go"):
            _keep_downloaded(_fetched(dataset, part, column, megabytes << 20), name, dataset.license)


def _fetched(dataset: "Dataset", part: str, column: str, most_bytes: int) -> str:
    """Return the text and draw a progress bar meanwhile. Stop, like any other click, ends the download."""
    from core.text.hub_datasets import fetch_dataset

    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text=_("Downloading the text (only once)"))
        st.button(_("Stop"), key="hub_stop")
    text = ""
    for fetched in fetch_dataset(dataset, part, column, most_bytes):
        bar.progress(min(1.0, fetched.bytes / most_bytes), text=_("{size} MB", size=f"{fetched.bytes / 2**20:.1f}"))
        text = fetched.text
    if not text:
        raise TextError(f"The column {column!r} of {dataset.name!r} is empty.")
    return text


def _check(text: str) -> None:
    config = drafts.draft()
    if len(text) > LONG:  # the page tokenizes it, with a progress bar
        check_trainable(text, config.model.block_size, config.data.val_fraction)
    else:
        check_startable(shared.data_dir(), config, text=text)


def _keep_downloaded(text: str, name: str, license: str) -> None:
    check_may_change()
    session.remember("own_text_problem", None)  # from an earlier attempt
    text = read_text(text)
    _check(text)
    corpus = save_text(text, st.session_state.get("own_title") or name, shared.data_dir(), license)
    session.remember("text_downloaded", corpus.name)  # the select box of texts is drawn already
    st.rerun()


def _how_to_read(name: str, data: bytes) -> None:
    """Draw the choices needed to read a file: its encoding, and the column of a table."""
    if is_plain(name) and len(data) > MAX_BYTES:  # such a file must be UTF-8
        return
    encoding = ""
    try:
        if encodings := encodings_of(name, data):
            note = _("This file is not UTF-8. Choose the encoding in which its beginning reads right.")
            encoding = st.selectbox(_("Encoding"), encodings, key="own_encoding", format_func=ENCODINGS.get, help=note)
            st.code(preview_of(data, encoding), language=None, wrap_lines=True, height=120)
        if columns := columns_of(name, data, encoding):
            st.selectbox(_("Column with the text"), columns, key="own_column")
    except TextError as error:
        session.remember("own_text_problem", str(error))


def _keep(source: str) -> None:
    pasted = st.session_state.get(source) or ""
    title = st.session_state.get("own_title") or ""
    try:
        check_may_change()
        if source == "own_file" and pasted:
            title = title or Path(pasted.name).stem
            if pasted.size > MAX_BYTES and is_plain(pasted.name):
                _show_ready(save_large_text(pasted, title, shared.data_dir()))
                return
            chosen = {name: st.session_state.get(f"own_{name}") or "" for name in ("column", "encoding")}
            pasted = text_of_file(pasted.name, pasted.getvalue(), **chosen)
        text = read_text(pasted)
        _check(text)
        _show_ready(save_text(text, title, shared.data_dir()))
    except ExplorerError as error:
        session.remember("own_text_problem", str(error))


def _show_ready(corpus: Corpus) -> None:
    session.remember("own_text_problem", None)
    session.remember("texts_taken", session.recall("texts_taken", 0) + 1)
    session.notify(
        ngettext("Your text is ready: {count} character.", "Your text is ready: {count} characters.", corpus.characters)
    )
    st.session_state["corpus"] = corpus.name
    st.session_state["own_text"] = ""


@session.notifying()
def _delete(name: str) -> None:
    check_may_change()
    delete_text(name, shared.data_dir())
    if drafts.text_of_link() == name:
        drafts.leave_text_of_link()
    session.notify(_("The text was deleted."))


def figures(facts: Facts, tokens: Tokens, val_fraction: float) -> None:
    """Draw the size, distinct characters, lines and the split, each with its meaning."""
    length, count = len(facts.ids), tokens.length
    training = split_point(count, val_fraction)
    each = round(length / max(1, facts.lines))
    rest = f"{count - training:,}"
    distinct = _("the size of the vocabulary")
    if not tokens.tokenizer.by_character:
        distinct = ngettext(
            "a vocabulary of {count} token", "a vocabulary of {count} tokens", tokens.tokenizer.vocab_size
        )
        rest = _("of {all}, as tokens; {count} in the validation set", all=f"{count:,}", count=rest)
    else:
        rest = _("{count} in the validation set", count=rest)
    pages = ngettext("about {count} book page", "about {count} book pages", max(1, length // 1800))
    rows = (
        ("size", _("Characters"), length, pages),
        ("distinct", _("Distinct characters"), facts.characters.vocab_size, distinct),
        (
            "lines",
            _("Lines"),
            facts.lines,
            ngettext("{count} character on average", "{count} characters on average", each, count=each),
        ),
        ("split", _("Training set"), training, rest),
    )
    for place, (key, name, value, meaning) in zip(st.columns(4), rows, strict=True):
        with place, st.container(border=True, gap=None, key=f"figure_{key}", height="stretch"):
            st.metric(name, f"{value:,}")
            st.caption(meaning)


def frequency_card(corpus: Corpus, facts: Facts, tokens: Tokens) -> None:
    """Draw the most frequent characters, or tokens if those are not characters."""
    characters = tokens.tokenizer.by_character
    if characters:
        names, counts = map(list, zip(*facts.counts, strict=True))
        title, note = _("Character frequencies"), N_("Which characters are most frequent? All {count} are shown.")
        note = note if len(names) <= MAX_BARS else N_("Which characters are most frequent? {shown} of {count}.")
    else:
        order = np.argsort(-tokens.counts, kind="stable")
        names, counts = [tokens.tokenizer.tokens[id] for id in order], tokens.counts[order].tolist()
        title, note = _("Token frequencies"), N_("Which tokens are most frequent? {shown} of {count}.")
    shown, note = list(map(visible, names)), _(note, shown=MAX_BARS, count=f"{len(names):,}")
    if is_large_text(corpus.name, shared.data_dir()):
        note = f"{note} {_('Counted in the first {size} of the text.', size=memory_in_words(MAX_BYTES))}"
    with card(title, note, key="card_characters"):
        kinds, palette = list(map(kind_of, names[:MAX_BARS])), current_palette()
        figure = character_bars(shown[:MAX_BARS], kinds, counts[:MAX_BARS], sum(counts), palette)
        columns = {"character" if characters else "token": shown, "count": counts}
        chart(figure, key="characters", name="characters" if characters else "tokens", numbers=lambda: columns)


def preview_card(facts: Facts) -> None:
    """Draw the beginning of the text."""
    with card(_("Preview"), _("How does the text begin? Its first lines, unchanged."), key="card_preview"):
        st.code(facts.characters.decode(facts.ids[:PREVIEW]), language=None, height=300, wrap_lines=True)
