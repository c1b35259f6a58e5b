"""What a step works with: the text as numbers, the words of the step, and the learner's own values."""

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
import torch
from torch import Tensor

from core.errors import TextError
from core.lessons.lesson_text import Prose, fill, links, load_prose, word
from core.text.batches import split_ids
from core.text.corpora import Corpus, load_corpus
from core.text.tokenizers import CharTokenizer
from explorer.i18n.language import _
from explorer.widgets import address, session
from explorer.widgets.layout import literal

MOST_CHARACTERS = 200_000  # of a text: enough to learn from, and every step stays quick
MOST_TOKENS = 512  # of an alphabet: a lesson's table has its square
VAL_FRACTION = 0.1
_CONTROL = "lesson-"  # in front of the keys of a step's controls
_CHOOSERS = (st.selectbox, st.segmented_control, st.radio, st.select_slider, st.pills)


class Material(NamedTuple):
    """A text ready to learn from. Shared by all sessions: never change it."""

    name: str
    text: str
    tokenizer: CharTokenizer
    ids: Tensor  # (N,) int64
    train_ids: Tensor
    val_ids: Tensor


@lru_cache(maxsize=4)
def material(name: str, data_dir: Path) -> Material:
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
    return Material(name, text, tokenizer, ids, *split_ids(ids, VAL_FRACTION))


class Lab:
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

    def __init__(self, lesson: str, step: str, corpus: Corpus, material: Material, language: str, seed: int = 1337):
        self.lesson, self.step, self.language, self.seed = lesson, step, language, seed
        self.corpus, self.material = corpus, material
        self.text, self.tokenizer = material.text, material.tokenizer
        self.tokens, self.vocab_size = material.tokenizer.tokens, material.tokenizer.vocab_size
        self.ids, self.train_ids, self.val_ids = material.ids, material.train_ids, material.val_ids
        self.key = ("lesson", material.name, len(material.text), hash(material.text), seed)
        self.numbers: dict[str, Any] = {}
        self.found: dict[str, Any] = {}
        self.mastered = False
        self.controls: dict[str, Any] = {"text": material.name}
        self.labels: dict[str, str] = {"text": self.word("text")}
        self.refused: list[str] = []

    @cached_property
    def prose(self) -> Prose:
        return load_prose(self.lesson, self.step, self.language)

    def say(self, part: str, **numbers: Any) -> str:
        """A part of the step's words as Markdown, filled and linked; "" where the step has no such part.

        Args:
            numbers: more than `self.numbers`. Strings are shown exactly as they are, whatever they hold.
        """
        return self.tell(self.prose.parts.get(part, ""), **numbers)

    def tell(self, text: str, **numbers: Any) -> str:
        """The same for a text that is no part of the step's words."""
        known = {name: literal(value) if isinstance(value, str) else value for name, value in self._with(numbers)}
        filled = fill(text, **known)
        return links(filled, lambda term: address.lesson_query("glossary", term), self.language)

    def plain(self, part: str, **numbers: Any) -> str:
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
            asked = address.lesson_values().get(name)
            value = _fitting(_read(asked, default), default, widget, args, options)
            if asked is not None and value != _read(asked, None, type(default)):
                self.refused.append(f"{name}:{asked}")
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


def _read(asked: str | None, default: Any, kind: type | None = None) -> Any:
    """Return what a link asks for as a value of the type of its control; the default where it is none."""
    kind = kind or type(default)
    if asked is None:
        return default
    if kind is bool:
        return asked.lower() in ("true", "1", "on")
    try:
        return kind(asked)
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
