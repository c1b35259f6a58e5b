"""Messages for links to things that do not exist here. The address stays as it is until a button is pressed."""

from collections.abc import Callable, Container
from typing import NoReturn

import streamlit as st

from core.config import RunConfig
from core.errors import ConfigError, ExplorerError
from core.formatting import whole_number
from core.text.corpora import catalogue
from explorer.i18n.language import _
from explorer.services import shared
from explorer.widgets import address, drafts
from explorer.widgets.layout import show_error

_MAX_SHOWN = 60  # characters of what a link asks for


def end_absent(problem: ExplorerError | str, label: str, on_click: Callable[[], object]) -> NoReturn:
    """Show that the target of a link does not exist, offer an alternative as a button, and end the page."""
    show_error(problem)
    st.button(label, type="primary", key="take_another", on_click=on_click)
    st.stop()


def quoted_part(text: str) -> str:
    """Return a part of an address as it is quoted in a sentence."""
    return repr(text[:_MAX_SHOWN])


def absent_text(name: str) -> str:
    """Return the sentence that this machine does not have the text in a link."""
    return _(
        "The link asks for the text {name}, which is not on this machine. Choose another text, or add it on the "
        "page Data.",
        name=quoted_part(name),
    )


def draft_of_link(another_text: str) -> RunConfig:
    """Return the settings of the next run; end the page if the link's settings are not possible."""
    texts = {corpus.name for corpus in catalogue(shared.data_dir())}
    text = drafts.text_of_link()
    if text and text not in texts:
        end_absent(absent_text(text), another_text, drafts.leave_text_of_link)
    try:
        draft = drafts.draft()
    except ConfigError as error:
        name = address.FIRST_PRESET
        end_absent(error, _("Use the preset {name} instead", name=name), drafts.leave_draft)
    if draft.data.corpus not in texts:  # chosen in this session
        st.warning(_("The text chosen before was deleted, so another one is chosen now."), icon=":material/warning:")
    return draft


def report_misread_number(name: str, allowed: Container[int], instead: str) -> None:
    """Report that a number in the address is not allowed, and what the page shows instead."""
    value = st.query_params.get(name)
    number = None if value is None else whole_number(value)
    if value is not None and (number is None or number not in allowed):  # a range would be searched through for None
        show_error(_("The link asks for {name}={value}, which is not possible. {instead}",
                     name=name, value=quoted_part(value), instead=instead))  # fmt: skip
