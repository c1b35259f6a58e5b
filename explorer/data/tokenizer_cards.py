"""The panels of the Data page about tokens: the tokenizer, its tokens, and the batches that a model gets."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from threading import Condition
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
import torch
from cachetools import LRUCache, cached

from core.config import DataConfig, RunConfig, used_settings
from core.interpretability import Progress
from core.settings import value_at
from core.text import split_point
from core.text.batches import random_batch
from core.text.bpe import BYTES, MergeHistory, has_merges, merge_history, merges_of, new_tokenizer
from core.text.corpora import load_corpus
from core.text.token_display import visible
from core.text.tokenizers import BPETokenizer, OnProgress, Tokenizer
from core.training.work import exact_parameters
from explorer.components.text import MergeFilm, merge_film, token_pairs, token_strip
from explorer.i18n.language import N_, _, ngettext
from explorer.services import shared
from explorer.services.jobs import reported
from explorer.widgets import drafts, session
from explorer.widgets.forms import setting_input
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, table_download

LONG = 500_000  # characters: byte-pair encoding of a longer text needs a progress bar
BLOCK, SEQUENCES = 8, 4  # the lecture's batch: four sequences of eight
OPENING = 150  # characters shown as tokens
LONGEST_NAME = 200  # typed characters drawn as tokens
_PASSAGE = 900  # characters of the passage that shows the merges
_SAMPLED = 200_000  # characters at the beginning, from which batches are drawn
_HOW = N_("How does text become numbers?")
_EXPLAINED = {
    "char": N_(
        "How does text become numbers? Each distinct character gets a token id, its position in the vocabulary of "
        "this text."
    ),
    "byte": N_("How does text become numbers? Each byte of the text in UTF-8 is a token; its id is its value."),
    "bpe": N_(
        "How does text become numbers? Each word is split into bytes, which the merges join in their order. The first "
        "256 tokens are the bytes."
    ),
}
_MORE = {
    "char": N_(
        "**Tokens** are the units that a model reads, here single characters. The **vocabulary** lists all of them in "
        "the order of their code points."
    ),
    "byte": N_(
        "**Tokens** are the units that a model reads, here bytes: one for a letter of English, two to four for others. "
        "So every text can be written with 256 tokens."
    ),
    "bpe": N_(
        "**Tokens** are the units that a model reads, here frequent parts of words (byte-pair encoding, Sennrich "
        "2016). As in GPT-2, no token crosses from one word into the next."
    ),
}


class Tokens(NamedTuple):
    """A text as tokens, under the chosen settings."""

    tokenizer: Tokenizer
    counts: np.ndarray  # (V,) int64, how often each token occurs
    sample: np.ndarray  # ids of the text's beginning
    history: MergeHistory | None  # of byte-pair encoding

    @property
    def length(self) -> int:
        """Return the number of tokens in the text."""
        return int(self.counts.sum())


def tokenizer_ready(data: DataConfig, data_dir: Path) -> bool:
    """Return whether the tokenizer is ready; for a long text, draw the progress of its training until then."""
    if not _is_long(data, data_dir) or has_merges(load_corpus(data.corpus, data_dir), data_dir):
        return True

    def train() -> Iterator[Progress]:
        return reported(lambda report: len(merges_of(load_corpus(data.corpus, data_dir), data_dir, report)))

    return result_of(("merges", data.corpus, data_dir), train, _("Training the tokenizer")) is not None


def tokens_of(data: DataConfig, data_dir: Path) -> Tokens | None:
    """Tokenize a corpus; for a long one, draw the progress and return None until it is done.

    Raises TextError if it cannot be loaded, or cannot be tokenized with these settings.
    """
    text = load_corpus(data.corpus, data_dir)
    if _is_long(data, data_dir):

        def encode() -> Iterator[Progress]:
            return reported(lambda report: _history(text, data_dir, report))

        if result_of(("tokens", data.corpus, data_dir), encode, _("Tokenizing the text")) is None:
            return None
    # vocab_size is part of the cache key for bpe only.
    return _tokens_of(text, data.tokenizer, data.vocab_size if data.tokenizer == "bpe" else 0, data_dir)


# Keyed by the text itself, because the members of a class load it from different folders.
@cached(LRUCache(4), key=lambda text, kind, vocab_size, _data_dir: (text, kind, vocab_size), condition=Condition())
def _tokens_of(text: str, kind: str, vocab_size: int, data_dir: Path) -> Tokens:
    data = DataConfig().replace({"tokenizer": kind} | ({"vocab_size": vocab_size} if vocab_size else {}))
    tokenizer = new_tokenizer(data, text, data_dir)
    history = _history(text, data_dir) if vocab_size else None
    counts = (
        history.token_counts(vocab_size - BYTES)
        if history
        else np.bincount(tokenizer.encode_array(text), minlength=tokenizer.vocab_size)
    )
    return Tokens(tokenizer, counts, tokenizer.encode_array(text[:_SAMPLED]), history)


def _is_long(data: DataConfig, data_dir: Path) -> bool:
    return data.tokenizer == "bpe" and len(load_corpus(data.corpus, data_dir)) > LONG


@cached(LRUCache(2), key=lambda text, _data_dir, _report=None: text, condition=Condition())
def _history(text: str, data_dir: Path, report: OnProgress = lambda share: None) -> MergeHistory:
    return merge_history(text, data_dir, report)


def choose_tokenizer(config: RunConfig) -> RunConfig:
    """Draw the choice of tokenizer and vocabulary size; return the draft with the choices."""
    changes = {}
    for path, column in zip(("data.tokenizer", "data.vocab_size"), st.columns([1, 2]), strict=True):
        settings = used_settings(config.replace(changes))
        if path in settings:
            with column:
                value = value_at(config, path)
                changes[path] = setting_input(path, settings[path], value, value)
    chosen = config.replace(changes)
    if chosen != config:
        drafts.keep_draft(chosen)
    return chosen


def token_card(tokens: Tokens) -> None:
    """Draw the opening, and anything a visitor types, as tokens with their ids."""
    tokenizer = tokens.tokenizer
    note, more = _EXPLAINED.get(tokenizer.name, _HOW), _MORE.get(tokenizer.name, "")
    with card(_("Tokenization"), _(note), more=more and _(more), key="card_tokens"):
        name = _("Type anything")
        typed = st.text_input(name, key="encode_text", placeholder=name)[:LONGEST_NAME]
        if typed:
            _draw_typed(typed, tokenizer)
        st.caption(_("The beginning of the text:"))
        opening = tokenizer.decode(tokens.sample[:OPENING])[:OPENING]
        opening = opening[: opening.rfind("\n") + 1] or opening
        _draw_strip(
            tokenizer, tokenizer.encode(opening), _("Point at or tap a token to mark all equal ones."), "opening_tokens"
        )


def _draw_typed(typed: str, tokenizer: Tokenizer) -> None:
    note = _("Point at or tap a token: the same token always has the same id.")
    if tokenizer.by_character:
        ids = {token: id for id, token in enumerate(tokenizer.tokens)}
        if not set(typed) <= set(ids):
            note = _("Hollow: characters that do not occur in this text, so they have no token id.")
        token_strip(list(typed), [ids.get(character) for character in typed], note=note, key="typed_tokens")
        return
    ids = tokenizer.encode(typed)
    size = {"characters": len(typed), "bytes": len(typed.encode()), "tokens": len(ids)}
    counted = _("Characters: {characters}. Bytes: {bytes}. Tokens: {tokens}.", **size)
    _draw_strip(tokenizer, ids, f"{counted} {note}", "typed_tokens")


def _draw_strip(tokenizer: Tokenizer, ids: list[int], note: str, key: str) -> None:
    bytes_of = [] if tokenizer.by_character else [tokenizer.token_bytes[id] for id in ids]
    token_strip([tokenizer.tokens[id] for id in ids], ids, note=note, key=key, bytes_of=bytes_of)


def film_card(tokens: Tokens, config: RunConfig) -> None:
    """Draw the merges one after another, and how many parameters they cost the drafted model."""
    if tokens.history is None:
        return
    note = _("How are the tokens made? Each merge joins the most frequent pair of neighboring tokens into a new one.")
    more = _(
        "Byte-pair encoding (Sennrich 2016) begins with bytes. Each step counts all pairs of neighbors within words "
        "and joins the most frequent one. Arrow keys move by one merge."
    )
    with card(_("Merges"), note, more=more, key="card_merges"):
        sizes = [exact_parameters(config.model, size) for size in (1, 2, 3)]
        parameters = (sizes[0], sizes[1] - sizes[0], sizes[2] - 2 * sizes[1] + sizes[0])
        film = _film(load_corpus(config.data.corpus, shared.data_dir()), shared.data_dir())
        merge_film(film, parameters=parameters, start=config.data.vocab_size - BYTES, key="merges")


@cached(LRUCache(2), key=lambda text, _data_dir: text, condition=Condition())
def _film(text: str, data_dir: Path) -> MergeFilm:
    history = _history(text, data_dir)
    tokenizer = BPETokenizer.from_merges(merges_of(text, data_dir))
    return MergeFilm(
        pairs=b64encode(history.pairs.astype("<u2").tobytes()).decode(),
        counts=b64encode(history.counts.astype("<u4").tobytes()).decode(),
        bytes=[data[0] for data in tokenizer.token_bytes[:BYTES]],
        names=list(map(visible, tokenizer.tokens)),
        passage=tokenizer.encode(text[:_PASSAGE]),
        length=int(history.byte_counts.sum()),
    )


def vocabulary_card(tokens: Tokens) -> None:
    """Draw a table of all tokens and their counts, with a search; characters have a chart instead."""
    tokenizer = tokens.tokenizer
    if tokenizer.by_character:
        return
    note = ngettext("Which tokens are there? {count} in all.", "Which tokens are there? {count} in all.",
                    tokenizer.vocab_size)  # fmt: skip
    with card(_("Vocabulary"), note, key="card_vocabulary"):
        searched = st.text_input(_("Search tokens"), key="search_tokens", placeholder=_("part of a token, or an id"))
        matching = [id for id, token in enumerate(tokenizer.tokens) if searched in token or searched == str(id)]
        table = {
            _("Token"): [visible(tokenizer.tokens[id]) for id in matching],
            _("Id"): matching,
            _("Bytes"): [tokenizer.token_bytes[id].hex(" ").upper() for id in matching],
            _("Length"): [len(tokenizer.token_bytes[id]) for id in matching],
            _("Count"): tokens.counts[matching].tolist(),
        }
        if not matching:
            st.caption(_("No token has this part."))
            return
        st.dataframe(
            pd.DataFrame(table), hide_index=True, key="vocabulary", height=min(35 * (len(matching) + 1) + 3, 320)
        )
        table_download(lambda: table, key="vocabulary_table", name="vocabulary")


def batch_card(tokens: Tokens, val_fraction: float) -> None:
    """Draw one batch as context -> target pairs."""
    note = ngettext(
        "What does a model learn from one batch? {count} token gives {count} training example: each context "
        "with the token that follows it.",
        "What does a model learn from one batch? {count} tokens give {count} training examples: each context "
        "with the token that follows it.",
        BLOCK,
    )
    more = _(
        "This is the first batch of Karpathy's lecture, cut at random. All targets are predicted at once, so the model "
        "learns from contexts of one to eight tokens."
    )
    with card(_("Batch"), note, more=more, key="card_batch"):
        training = torch.from_numpy(tokens.sample[: split_point(tokens.length, val_fraction)])
        if len(training) <= BLOCK:
            st.caption(_("This text is too short for even one sequence."))
            return
        drawn = session.recall("batch", 0)
        x, y = random_batch(training, SEQUENCES, BLOCK, torch.Generator().manual_seed(1337 + drawn))
        token_pairs(x.tolist(), y.tolist(), tokens.tokenizer.tokens, key="batch_pairs")
        session.reseed_button(_("Sample another batch"), "batch", "draw_batch")
