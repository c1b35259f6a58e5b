"""What every section of Look inside is given: one model at one step, and the prompt to look at it with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.config import ModelConfig
from core.model import GPT, Bigram, parameter_count
from core.runs.folder import RunFolder
from core.text.tokenizers import Tokenizer
from explorer.components.time_machine import Clock
from explorer.i18n.language import _
from explorer.services.shared import Opened
from explorer.widgets import address
from explorer.widgets.layout import show_error
from explorer.widgets.links import quoted_part
from explorer.widgets.prompt import Prompt

LAYER, HEAD = "inspect_layer", "inspect_head"
_FOLLOWED = "head_followed"  # the head of the address that was shown last
_LARGE = 20_000_000  # parameters


@dataclass(frozen=True)
class Inspection:
    """One model at one step, opened. The model is shared by all sessions: never change it."""

    folder: RunFolder
    opened: Opened
    prompt: Prompt
    clock: Clock | None = None  # moves the views that can move; None: everything is drawn by the page

    @property
    def model(self) -> GPT | Bigram:
        return self.opened.model

    @property
    def config(self) -> ModelConfig:
        return self.opened.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self.opened.tokenizer

    @property
    def large(self) -> bool:
        """Whether one pass through the model takes so long that pages do less at once and ask before they do much."""
        return parameter_count(self.model) > _LARGE

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells these weights from all others, for caches."""
        return self.opened.record.id, self.opened.step, self.opened.saved


def warn_of_columns(model: GPT | Bigram) -> None:
    """Where the softmax ran over the wrong axis, what is said of a letter's attention is not a share of a whole."""
    if model.config.softmax_over == "queries":
        st.warning(
            _(
                "This model takes its softmax over the queries, so its attention adds up to 100% down each column, "
                "not along each row. The percentages below are its weights as they are, not shares of one letter's "
                "attention."
            ),
            icon=":material/warning:",
        )


def choose_head(inspection: Inspection) -> tuple[int, int]:
    """Two selects, layer and head, which a person counts from 1; all sections share the choice. Counted from 0."""
    layers, heads = range(1, inspection.config.n_layer + 1), range(1, inspection.config.n_head + 1)
    layer = _place(_("Layer"), [_("layer {layer}", layer=number) for number in layers], LAYER)
    return layer, _place(_("Head"), [_("head {head}", head=number) for number in heads], HEAD)


def follow_head(model: GPT | Bigram) -> None:
    """Show the head that the address asks for (`head=1.2`), and say so where this model has no such head.

    A head chosen on the page is written there by `write_head`, so the address has the last word only when it changes.
    """
    asked = address.head_asked()
    if not isinstance(model, GPT) or asked is None:
        return
    place = asked.split(".")
    layer, head = [(address.whole_number(part) or 0) - 1 for part in place] if len(place) == 2 else (-1, -1)
    if not (0 <= layer < model.config.n_layer and 0 <= head < model.config.n_head):
        shown = ".".join(str(number + 1) for number in head_of(model))
        show_error(_("This model has no head {head}: here is head {shown}.", head=quoted_part(asked), shown=shown))
    elif address.recall(_FOLLOWED) != asked:
        address.remember(_FOLLOWED, asked)
        st.session_state[LAYER], st.session_state[HEAD] = layer, head


def write_head(layer: int, head: int) -> None:
    """Choose a head, and put it into the address."""
    st.session_state[LAYER], st.session_state[HEAD] = layer, head
    address.remember(_FOLLOWED, f"{layer + 1}.{head + 1}")
    address.write_address(address.HEAD, f"{layer + 1}.{head + 1}")


def head_on_view(inspection: Inspection) -> tuple[int, int]:
    """The layer and head chosen last, in any section, for a section that draws before its selects."""
    return head_of(inspection.model)


def head_of(model: GPT | Bigram) -> tuple[int, int]:
    """The same before there is an `Inside`; a bigram has none."""
    if not isinstance(model, GPT):
        return 0, 0
    return within(LAYER, model.config.n_layer), within(HEAD, model.config.n_head)


def open_head(layer: int, head: int) -> None:
    """Choose another head, and draw the page anew."""
    write_head(layer, head)
    st.rerun()


def within(key: str, count: int, default: int = 0) -> int:
    """A widget's value, brought into range: another run may have fewer layers, heads or letters."""
    return address.fit_choice(key, range(count), default)


def select(
    label: str, options: Sequence[Any], *, key: str, default: Any, format_func: Callable[[Any], str], **more: Any
) -> Any:
    """Draw a select box whose options or labels depend on another input, and return the chosen option.

    The value is sent with every drawing. A browser holds a label, and where the same option has got another label it
    would go on to show the old one and send that back.
    """
    st.session_state[key] = address.fit_choice(key, options, default)
    return st.selectbox(label, options, key=key, format_func=format_func, **more)


def _place(label: str, words: list[str], key: str) -> int:
    return select(
        label, range(len(words)), key=key, default=0, format_func=words.__getitem__, label_visibility="collapsed",
        width=130, on_change=lambda: write_head(st.session_state[LAYER], st.session_state[HEAD]),
    )  # fmt: skip
