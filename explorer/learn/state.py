"""What a step works with: the training text, the step's words, and the values of its controls."""

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
import torch
from torch import Tensor

from core.errors import ExplorerError, TextError
from core.lessons.lesson_text import Prose, fill, links, load_prose, word
from core.text.batches import split_ids
from core.text.corpora import Corpus, catalogue, load_corpus
from core.text.tokenizers import CharTokenizer
from explorer.i18n.language import _
from explorer.services import shared
from explorer.widgets import address, session
from explorer.widgets.layout import literal, show_error
from explorer.widgets.links import absent_text

MOST_CHARACTERS = 200_000  # of a text: enough to learn from, and every step stays quick
MOST_TOKENS = 512  # of an alphabet: a lesson's table has its square
VAL_FRACTION = 0.1
_CONTROL = "lesson-"  # in front of the keys of a step's controls
_CHOOSERS = (st.selectbox, st.segmented_control, st.radio, st.select_slider, st.pills)


class LessonData(NamedTuple):
    """A text ready to learn from. Shared by all sessions: never change it."""

    name: str
    text: str
    tokenizer: CharTokenizer
    ids: Tensor  # (N,) int64
    train_ids: Tensor
    val_ids: Tensor


@lru_cache(maxsize=4)
def load_data(name: str, data_dir: Path) -> LessonData:
    """A corpus, cut to what lessons read. Raises TextError where it cannot be loaded, or is not fit for them."""
    text = load_corpus(name, data_dir)[:MOST_CHARACTERS]
    tokenizer = CharTokenizer.from_text(text)
    if tokenizer.vocab_size > MOST_TOKENS:
        raise TextError(
            _(
                "This text has {count} different characters. The tables of the lessons are drawn for alphabets of up "
                "to {most}: choose another text for them. Training works with this one, too.",
                count=f"{tokenizer.vocab_size:,}", most=MOST_TOKENS,
            )
        )  # fmt: skip
    ids = torch.from_numpy(tokenizer.encode_array(text).copy())
    return LessonData(name, text, tokenizer, ids, *split_ids(ids, VAL_FRACTION))


class StepState:
    """One visitor at one step.

    Attributes:
        lesson, step, language: which words are shown.
        key: names the text and the seed: begin the keys of jobs and caches with it.
        numbers: what the step has computed for its own words; strings of a user's text need no care.
        found: what the step has computed while it was drawn, for its question to be checked from.
        mastered: whether the visitor has done what the step asks for; whoever draws it finds out.
        controls: the values of the controls drawn so far, by name; what a teacher's link carries.
        labels: what is written beside those controls.
        refused: what a teacher's link sets that its control cannot show, as "name:value".
    """

    def __init__(self, lesson: str, step: str, corpus: Corpus, data: LessonData, language: str, seed: int = 1337):
        self.lesson, self.step, self.language, self.seed = lesson, step, language, seed
        self.corpus, self.data = corpus, data
        self.text, self.tokenizer = data.text, data.tokenizer
        self.tokens, self.vocab_size = data.tokenizer.tokens, data.tokenizer.vocab_size
        self.ids, self.train_ids, self.val_ids = data.ids, data.train_ids, data.val_ids
        self.key = ("lesson", data.name, len(data.text), hash(data.text), seed)
        self.numbers: dict[str, Any] = {}
        self.results: dict[str, Any] = {}
        self.completed = False
        self.controls: dict[str, Any] = {"text": data.name}
        self.labels: dict[str, str] = {"text": self.word("text")}
        self.rejected: list[str] = []

    @cached_property
    def prose(self) -> Prose:
        return load_prose(self.lesson, self.step, self.language)

    def markdown(self, part: str, **numbers: Any) -> str:
        """A part of the step's words as Markdown, filled and linked; "" where the step has no such part.

        Args:
            numbers: more than `self.numbers`. Strings are shown exactly as they are, whatever they hold.
        """
        return self.fill_markdown(self.prose.parts.get(part, ""), **numbers)

    def write(self, part: str, **numbers: Any) -> None:
        """Show a part of the step's words on the page."""
        st.markdown(self.markdown(part, **numbers))

    def fill_markdown(self, text: str, **numbers: Any) -> str:
        """The same for a text that is no part of the step's words."""
        known = {name: literal(value) if isinstance(value, str) else value for name, value in self._with(numbers)}
        filled = fill(text, **known)
        return links(filled, lambda term: address.lesson_query("glossary", term), self.language)

    def label(self, part: str, **numbers: Any) -> str:
        """The same for a label or a chart: nothing escaped, no links."""
        return fill(self.prose.parts.get(part, part), **dict(self._with(numbers)))

    def word(self, name: str, **numbers: Any) -> str:
        """One of the app's own words on lesson pages."""
        return fill(word(name, self.language), **numbers)

    def value(self, name: str, default: Any, widget: Callable[..., Any], label: str, *args: Any, **options: Any) -> Any:
        """A control that a teacher's link can set and hide; what was chosen is kept while other steps are open.

        >>> lab.value("size", 8, st.slider, lab.plain("control"), 2, 16)

        Args:
            name: in the link, within this step.
            default: what it shows at first; its type is the control's.
            widget: of Streamlit, called as `widget(label, *args, key=..., **options)`.
        """
        key = f"{_CONTROL}{self.lesson}-{self.step}-{name}"
        self.labels[name] = label
        value = st.session_state[key] if key in st.session_state else session.recall(key)
        if value is None or not _possible(value, widget, args, options):
            linked_value = address.lesson_values().get(name)
            value = _fitting(_read(linked_value, default), default, widget, args, options)
            if linked_value is not None and value != _read(linked_value, None, type(default)):
                self.rejected.append(f"{name}:{linked_value}")
        if name in address.hidden_controls():
            self.controls[name] = value
            return value
        st.session_state[key] = value
        value = widget(label, *args, key=key, **options)
        if value is None:  # a segmented control can be let go of
            value = default
        session.remember(key, value)
        self.controls[name] = value
        return value

    def _with(self, numbers: Mapping[str, Any]):
        return {
            "vocab_size": f"{self.vocab_size:,}",
            "length": f"{len(self.text):,}",
            **self.numbers,
            **numbers,
        }.items()


def _read(linked_value: str | None, default: Any, kind: type | None = None) -> Any:
    """Return what a link asks for as a value of the type of its control; the default where it is none."""
    kind = kind or type(default)
    if linked_value is None:
        return default
    if kind is bool:
        return linked_value.lower() in ("true", "1", "on")
    try:
        return kind(linked_value)
    except ValueError:
        return default


def _fitting(value: Any, default: Any, widget: Callable, args: tuple, options: dict) -> Any:
    """The value where the control can show it, brought within its bounds if it is a number; else the default."""
    if widget in (st.slider, st.number_input) and isinstance(value, int | float):
        low, high = (args[0] if args else options.get("min_value")), (args[1] if args else options.get("max_value"))
        value = value if low is None else max(low, value)
        value = value if high is None else min(high, value)
        return value if value == value else default
    if isinstance(value, str) and options.get("max_chars"):
        return value[: options["max_chars"]]
    return value if _possible(value, widget, args, options) else default


def _possible(value: Any, widget: Callable, args: tuple, options: dict) -> bool:
    """Whether the control can show this value: what could be chosen a moment ago may be gone with another text."""
    if widget in _CHOOSERS:
        return value in list(args[0] if args else options["options"])
    if widget in (st.slider, st.number_input):
        low, high = (args[0] if args else options.get("min_value")), (args[1] if args else options.get("max_value"))
        return (low is None or value >= low) and (high is None or value <= high)
    return True


_KEY = "lesson-text"
_CHOSEN = "lesson-text-chosen"  # whether the visitor has chosen a text
_ALWAYS_AVAILABLE = "python"  # on every machine, as Python's own library is


def choose_text(language: str) -> Corpus:
    """The select of all texts; a teacher's link may set it, and hide it."""
    corpora = {corpus.name: corpus for corpus in catalogue(shared.data_dir())}
    chosen = st.session_state.get(_KEY, session.recall(_KEY, address.lesson_values().get("text")))
    chosen = chosen if chosen in corpora else next(iter(corpora))
    if "text" not in address.hidden_controls():
        st.session_state[_KEY] = chosen
        chosen = st.selectbox(
            word("text", language), list(corpora), key=_KEY, format_func=lambda name: corpora[name].title,
            label_visibility="collapsed", width=230, on_change=lambda: session.remember(_CHOSEN, True),
        )  # fmt: skip
    session.remember(_KEY, chosen)
    return corpora[chosen]


def absent_in_link() -> str | None:
    """What to say where a teacher's link asks for a text that is not here, until the visitor has chosen one."""
    linked = address.lesson_values().get("text")
    if not linked or session.recall(_CHOSEN) or linked in {corpus.name for corpus in catalogue(shared.data_dir())}:
        return None
    return absent_text(linked)


def read_text(corpus: Corpus) -> tuple[Corpus, LessonData]:
    """What lessons read of a text; where it cannot be had that is said, and they go on with one that always can."""
    try:
        return corpus, load_data(corpus.name, shared.data_dir())
    except ExplorerError as error:
        show_error(error)
    known = {corpus.name: corpus for corpus in catalogue(shared.data_dir())}
    return known[_ALWAYS_AVAILABLE], load_data(_ALWAYS_AVAILABLE, shared.data_dir())
