"""The state of a step: the training text, the step's text in the reader's language, and its control values."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
import torch
from torch import Tensor

from core.errors import TextError
from core.interpretability import Progress
from core.lessons.lesson_text import Prose, fill, links, load_prose, word
from core.text.batches import split_ids
from core.text.corpora import catalogue, load_corpus
from core.text.token_display import visible
from core.text.tokenizers import CharTokenizer
from explorer.i18n.formatting import number
from explorer.i18n.language import ngettext
from explorer.services import shared
from explorer.widgets import lesson_links, session
from explorer.widgets.forms import text_labels
from explorer.widgets.invalid_links import absent_text
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import errors_shown, literal

MAX_CHARACTERS = 200_000  # of a text, so that every step stays fast
MAX_TOKENS = 512  # of a vocabulary; a table has its square as size
VAL_FRACTION = 0.1
_CONTROL = "lesson-"  # prefix of the keys of a step's controls


class StillComputing(Exception):
    """The rest of a step needs the result of a running job; its progress bar is drawn."""


class LessonData(NamedTuple):
    """A lesson's text, encoded and split. All sessions share it: never change it."""

    name: str
    text: str
    tokenizer: CharTokenizer
    ids: Tensor  # (N,) int64
    train_ids: Tensor
    val_ids: Tensor


def load_data(name: str, data_dir: Path) -> LessonData:
    """Load the part of a corpus that lessons read. Raises TextError if it cannot be used."""
    return _lesson_data(name, load_corpus(name, data_dir))


@lru_cache(maxsize=4)
def _lesson_data(name: str, whole: str) -> LessonData:
    text = whole[:MAX_CHARACTERS]
    tokenizer = CharTokenizer.from_text(text)
    if tokenizer.vocab_size > MAX_TOKENS:
        raise TextError(
            ngettext(
                "This text has {count} different character. The tables of the lessons are drawn for alphabets of up "
                "to {most}: choose another text for them. Training works with this one, too.",
                "This text has {count} different characters. The tables of the lessons are drawn for alphabets of up "
                "to {most}: choose another text for them. Training works with this one, too.",
                tokenizer.vocab_size, most=MAX_TOKENS,
            )
        )  # fmt: skip
    ids = torch.from_numpy(tokenizer.encode_array(text).copy())
    return LessonData(name, text, tokenizer, ids, *split_ids(ids, VAL_FRACTION))


class StepState:
    """One visitor's state at one step; `lesson`, `step` and `language` identify its text."""

    def __init__(self, lesson: str, step: str, data: LessonData, language: str, seed: int = 1337):
        self.lesson, self.step, self.language, self.seed = lesson, step, language, seed
        self.data, self.text, self.tokenizer = data, data.text, data.tokenizer
        self.tokens, self.vocab_size = data.tokenizer.tokens, data.tokenizer.vocab_size
        self.ids, self.train_ids, self.val_ids = data.ids, data.train_ids, data.val_ids
        self.key = ("lesson", data.name, len(data.text), hash(data.text), seed)  # keys of jobs and caches start with it
        self.numbers: dict[str, Any] = {}  # fill the placeholders of the step's text; strings are escaped
        self.results: dict[str, Any] = {}  # computed while the step was drawn; its question is checked against them
        self.completed = False  # the question is answered, or the experiment has run
        self.controls: dict[str, Any] = {"text": data.name}  # values of the controls drawn so far, for a teacher's link
        self.labels: dict[str, str] = {"text": self.word("text")}  # of the controls
        self.rejected: list[str] = []  # values of a teacher's link that a control cannot have, as "name:value"

    @cached_property
    def prose(self) -> Prose:
        return load_prose(self.lesson, self.step, self.language)

    @cached_property
    def shown_tokens(self) -> list[str]:
        """Return the vocabulary's tokens as shown."""
        return [visible(token) for token in self.tokens]

    @cached_property
    def bytes_per_token(self) -> float:
        """Return the mean UTF-8 bytes per token of the validation text."""
        validation = self.text[len(self.train_ids) :]
        return len(validation.encode()) / len(validation)

    @cached_property
    def id_of(self) -> dict[str, int]:
        """Return the id of every token of the vocabulary."""
        return {token: id for id, token in enumerate(self.tokens)}

    def markdown(self, part: str, **numbers: Any) -> str:
        """Return a part of the step's text as Markdown, filled and linked, strings escaped; "" if there is none."""
        return self.fill_markdown(self.prose.parts.get(part, ""), **numbers)

    def write(self, part: str, **numbers: Any) -> None:
        """Show a part of the step's text on the page."""
        st.markdown(self.markdown(part, **numbers))

    def fill_markdown(self, text: str, **numbers: Any) -> str:
        """Return any text as Markdown, filled and linked."""
        escaped = {name: literal(value) if isinstance(value, str) else value for name, value in self._with(numbers)}
        return self.linked(fill(text, **escaped))

    def linked(self, text: str) -> str:
        """Return a text with its terms as links to the glossary."""
        return links(text, lambda term: lesson_links.lesson_query("glossary", term), self.language)

    def label(self, part: str, **numbers: Any) -> str:
        """Return a part for a label or a chart: not escaped, without links."""
        return fill(self.prose.parts.get(part, part), **dict(self._with(numbers)))

    def word(self, name: str, **numbers: Any) -> str:
        """Return one of the words that all lesson pages share."""
        return fill(word(name, self.language), **numbers)

    def value(self, name: str, default: Any, widget: Callable[..., Any], label: str, *args: Any, **options: Any) -> Any:
        """Draw a control and return its value, of the default's type. A teacher's link can set it by `name` or hide it.

        `label` is the name of a part of the step's text, or the label itself.

        >>> state.value("size", 8, st.slider, "control", 2, 16)
        """
        key = f"{_CONTROL}{self.lesson}-{self.step}-{name}"
        label = self.labels[name] = self.label(label)
        value = st.session_state[key] if key in st.session_state else session.recall(key)
        fitted = partial(fitted_value, default=default, widget=widget.__name__, args=args, options=options)
        if value is None or value != fitted(value):  # the options may depend on the text
            linked = lesson_links.lesson_values().get(name)
            wanted = _read(linked, type(default))
            value = fitted(default if wanted is None else wanted)
            if linked is not None and value != wanted:
                self.rejected.append(f"{name}:{linked}")
        if name not in lesson_links.hidden_controls():
            st.session_state[key] = value
            if widget.__name__ == "select_slider":
                options = {"format_func": number} | options
            elif widget.__name__ == "slider" and isinstance(default, int):
                options = {"format": "%,d"} | options
            shown = widget(label, *args, key=key, **options)
            value = default if shown is None else shown  # a segmented control can be deselected
            session.remember(key, value)
        self.controls[name] = value
        return value

    def compute(self, key: tuple, make: Callable[[], Iterator[Progress]], *options: Any) -> Any:
        """Return a job's result like `result_of`, for this text and seed. Raises StillComputing while there is none."""
        result = result_of((*self.key, *key), make, *options)
        if result is None:
            raise StillComputing
        return result

    def _with(self, numbers: Mapping[str, Any]):
        own = {"vocab_size": f"{self.vocab_size:,}", "length": f"{len(self.text):,}"}
        return (own | self.numbers | numbers).items()


def _read(linked: str | None, kind: type) -> Any:
    try:
        return None if linked is None else kind(linked)
    except ValueError:
        return None


def fitted_value(value: Any, default: Any, widget: str, args: tuple, options: dict) -> Any:
    """Return a control's value, limited to its bounds or options."""
    if widget == "slider":
        return min(max(args[0], value), args[1]) if value == value else default
    if widget == "text_input":
        return value[: options["max_chars"]]
    return value if value in args[0] else default


_KEY = "lesson-text"
_CHOSEN = "lesson-text-chosen"  # whether the visitor has chosen a text
FIRST_TEXT = "shakespeare"
_ALWAYS_AVAILABLE = "python"  # Python's own library is on every machine


def chosen_text() -> str:
    """Return the name of the text that this visitor's lessons read."""
    return session.recall(_KEY) or FIRST_TEXT


def choose_text(language: str) -> str:
    """Draw the select box of all texts and return the chosen text's name. A teacher's link can set and hide it."""
    titles = text_labels()
    chosen = st.session_state.get(_KEY, session.recall(_KEY, lesson_links.lesson_values().get("text")))
    chosen = chosen if chosen in titles else next(iter(titles))
    if "text" not in lesson_links.hidden_controls():
        st.session_state[_KEY] = chosen
        chosen = st.selectbox(
            word("text", language), list(titles), key=_KEY, format_func=titles.__getitem__,
            label_visibility="collapsed", width=230, on_change=lambda: session.remember(_CHOSEN, True),
        )  # fmt: skip
    session.remember(_KEY, chosen)
    return chosen


def absent_in_link() -> str | None:
    """Return an error if a teacher's link names a missing text and the visitor has not chosen another."""
    linked = lesson_links.lesson_values().get("text")
    if not linked or session.recall(_CHOSEN) or linked in {corpus.name for corpus in catalogue(shared.data_dir())}:
        return None
    return absent_text(linked)


def load_lesson_text(name: str) -> LessonData:
    """Load a text; if it cannot be loaded, show why and load one that is on every machine."""
    with errors_shown():
        return load_data(name, shared.data_dir())
    return load_data(_ALWAYS_AVAILABLE, shared.data_dir())
