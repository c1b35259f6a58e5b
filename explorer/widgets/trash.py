"""The trash of a page: what was deleted, and how to restore it."""

from typing import Literal

import streamlit as st

from core.atomic_io import parse_json
from core.errors import ExplorerError
from core.trash import Deleted, deleted, empty_trash, place_of, restore
from explorer.i18n.formatting import when_in_words
from explorer.i18n.language import _
from explorer.services import shared
from explorer.services.visitors import check_may_change
from explorer.widgets.session import notify, notifying

_MOST = 12  # shown
_CARDS = {"runs": ("run.json", "name"), "texts": (".json", "title")}  # file and field with the name that the user gave


def draw_trash(kind: Literal["runs", "texts"]) -> None:
    """Draw the trash of the last days; nothing if it has none of this kind."""
    try:
        home = shared.data_dir()
        entries = [entry for entry in deleted(home) if (place_of(home, entry.id) / kind).is_dir()]
    except ExplorerError:  # the page itself reports it
        return
    if not entries:
        return
    with st.popover(_("Trash"), icon=":material/restore_from_trash:", key=f"trash_{kind}_{len(entries)}"):
        st.caption(_("What was deleted stays here for a week, unless the disk or your quota is full."))
        for entry in entries[:_MOST]:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.text(f"{_name(entry, kind)} · {when_in_words(entry.when)}", width="stretch")
                st.button(_("Restore"), key=f"restore_{entry.id}", on_click=_restore, args=(entry, kind))
        st.button(_("Empty the trash"), key=f"empty_{kind}", on_click=_empty, type="tertiary")


def _name(entry: Deleted, kind: str) -> str:
    file, field = _CARDS[kind]
    place = place_of(shared.data_dir(), entry.id) / kind
    path = place / entry.name / file if kind == "runs" else place / f"{entry.name}{file}"
    try:
        return str(parse_json(path.read_bytes())[field])
    except (OSError, ValueError, KeyError, TypeError):
        return entry.name


@notifying()
def _restore(entry: Deleted, kind: str) -> None:
    check_may_change()
    name = _name(entry, kind)
    restore(shared.data_dir(), entry.id)
    notify(_("{name} is restored.", name=name))


@notifying()
def _empty() -> None:
    check_may_change()
    empty_trash(shared.data_dir(), 0.0)
    notify(_("The trash is empty."))
