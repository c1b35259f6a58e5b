"""The teacher's cards: the invitation, the students, the settings for all, and the end of the class."""

import time
from collections import Counter
from functools import partial

import streamlit as st

from core.classroom import Classroom, ClassSettings, Member
from core.config import GROUPS, SETTINGS
from core.paths import member_home
from core.runs.folder import list_runs
from core.text.corpora import share_text
from explorer.classroom.hand_in import stuck
from explorer.classroom.screen import draw_mirror_switch
from explorer.i18n.formatting import state_in_words
from explorer.i18n.language import _, ngettext
from explorer.services import shared, visitors
from explorer.services.visitors import join_link
from explorer.widgets import address
from explorer.widgets.class_link import qr_code
from explorer.widgets.forms import text_labels
from explorer.widgets.layout import card, literal
from explorer.widgets.session import notify, notifying, recall, remember, take_notice

_LOOK_AGAIN = 2.0  # seconds between two updates of the students
_ROSTER = "class_roster"  # in the session: how often the selection was cleared
_HERE = 20.0  # seconds since a browser's last request, after which its student counts as gone
_CARD = 196  # px, of the picture of a QR code


def draw_roster(classroom: Classroom) -> None:
    """Draw the students with their current activity, and the teacher's actions for the selected ones."""
    with card(_("Students"), key="roster"):
        st.fragment(_draw_students, run_every=_LOOK_AGAIN)(classroom)


def _draw_students(classroom: Classroom) -> None:
    members = classroom.members()
    if not members:
        st.caption(_("Nobody has joined yet. Show the code, or the QR code, to your class."))
        return
    if notice := take_notice():  # from a button of this table
        st.toast(notice)
    places = {id: place for place, id in enumerate(shared.supervisor().queue.waiting(), start=1)}
    at = stuck(classroom)
    rows = [_row(classroom, member, places) | {"stuck": at.get(member.id, "")} for member in members]
    here = Counter(row["here"] for row in rows)[True]
    words = ngettext("{here} of {count} student is here.", "{here} of {count} students are here.", len(rows), here=here)
    st.caption(words)
    columns = {
        "here": st.column_config.CheckboxColumn(_("Here"), width="small"),
        "student": st.column_config.TextColumn(_("Student")),
        "page": st.column_config.TextColumn(_("Page"), width="small"),
        "run": st.column_config.TextColumn(_("Newest run")),
        "loss": st.column_config.NumberColumn(_("Loss"), format="%.3f", width="small"),
        "runs": st.column_config.NumberColumn(_("Runs"), width="small"),
        "stuck": st.column_config.TextColumn(_("Stuck at")),
    }
    options = {
        "on_select": "rerun",
        "selection_mode": "multi-row",
        "hide_index": True,
        "placeholder": "–",
        "key": f"roster_table_{recall(_ROSTER, 0)}",
    }
    chosen = st.dataframe(rows, column_config=columns, width="stretch", **options)
    picked = [members[place] for place in chosen.selection.rows if place < len(members)]
    with st.container(horizontal=True, gap="small"):
        look = {"disabled": not picked}
        st.button(_("Stop their runs"), icon=":material/stop:", on_click=_stop, args=(classroom, picked), **look)
        with st.popover(_("Let in again"), icon=":material/login:", key=f"again_{recall(_ROSTER, 0)}", **look):
            about = _(
                "Their browsers are signed out. The next browser that joins under the same nickname keeps these "
                "runs and texts."
            )
            st.caption(about)
            names = literal(", ".join(member.nickname for member in picked))
            label = _("Let {names} in again", names=names)
            st.button(label, type="primary", key="let_in_again", on_click=_let_in_again, args=(classroom, picked))
        if len(picked) == 1 and (runs := list_runs(member_home(classroom.root, picked[0].id))):
            query = {address.RUN: runs[0].id}
            st.page_link(address.page_file("train"), label=_("Open the newest run"), query_params=query)


def _row(classroom: Classroom, member: Member, places: dict[str, int]) -> dict[str, object]:
    runs = list_runs(member_home(classroom.root, member.id))
    visit = visitors.last_visit_of(member.id)
    row: dict[str, object] = {
        "here": visit is not None and time.time() - visit.time < _HERE,
        "student": member.nickname,
        "page": visit.page if visit else "",
        "run": "",
        "loss": None,
        "runs": len(runs),
    }
    if runs:
        status = runs[0].status()
        state = state_in_words(status)
        if runs[0].id in places:
            state = _("waits, place {place}", place=places[runs[0].id])
        step = _("step {step} of {steps}", step=f"{status.step:,}", steps=f"{status.steps:,}")
        row |= {"run": f"{runs[0].name}: {state}, {step}", "loss": status.val_loss}
    return row


@notifying()
def _let_in_again(classroom: Classroom, picked: list[Member]) -> None:
    for member in picked:
        classroom.let_in_again(member.id)
    remember(_ROSTER, recall(_ROSTER, 0) + 1)  # a new key makes a new table without a selection
    names = ", ".join(member.nickname for member in picked)
    notify(_("{names} can join again under the same nickname.", names=names))


@notifying()
def _stop(classroom: Classroom, picked: list[Member] | None = None) -> None:
    """Stop the running and waiting runs of the picked members, or of the whole class."""
    homes = [classroom.root] if picked is None else [member_home(classroom.root, member.id) for member in picked]
    stopped = 0
    for folder in (folder for home in homes for folder in list_runs(home)):
        if not folder.status().ended:
            shared.supervisor().stop(folder, by=visitors.acting_on(folder))
            stopped += 1
    notify(ngettext("{count} run is being stopped.", "{count} runs are being stopped.", stopped))


def draw_invitation(classroom: Classroom) -> None:
    """Draw the invitation: the address, the code, and a QR code with both."""
    link = visitors.address_for_others()
    with st.container(border=True, key="invitation", horizontal_alignment="center", gap="small"):
        st.caption(_("Students open this address, or scan the QR code, and type the class code."))
        st.subheader(literal(link.partition("://")[2]), anchor=False, width="content")
        st.header(literal(classroom.code), anchor=False, width="content")
        qr_code(join_link(link, classroom.code), _CARD)


def draw_class_settings(classroom: Classroom) -> None:
    """Draw the teacher's settings for all students; every change applies at once."""
    now = classroom.settings
    with card(_("For all students"), key="class_settings"):
        frozen = {"key": "class_frozen", "on_change": partial(_change, classroom, "frozen", "class_frozen")}
        st.toggle(_("Freeze: students can only look"), now.frozen, **frozen)
        draw_mirror_switch(classroom, "class_mirror")
        message = {"key": "class_message", "on_change": partial(_change, classroom, "message", "class_message")}
        st.text_input(_("Message on every page"), now.message, max_chars=200, **message)
        _draw_text(classroom, now)
        st.button(_("Stop all runs"), icon=":material/stop_circle:", on_click=_stop, args=(classroom,), key="stop_all")
        with st.expander(_("Hidden settings")):
            _draw_hidden(classroom, now)
        with st.expander(_("Limits")):
            _draw_limits(classroom, now)


def _draw_text(classroom: Classroom, now: ClassSettings) -> None:
    texts = {"": _("Each student chooses one")}
    texts |= text_labels()
    about = _("Students train on this text alone. A text of your own is shared with the class.")
    key, names = "class_text", list(texts)
    chosen = names.index(now.text) if now.text in texts else 0
    take = {"key": key, "on_change": _choose_text, "args": (classroom, key), "help": about}
    st.selectbox(_("Text to train on"), names, chosen, format_func=texts.get, **take)


@notifying()
def _choose_text(classroom: Classroom, key: str) -> None:
    if text := st.session_state[key]:
        share_text(text, classroom.root)
    classroom.change(text=text)


def _draw_hidden(classroom: Classroom, now: ClassSettings) -> None:
    about = _("Students do not see them on Train, and train with what the preset says, by a link as well.")
    labels = {group: _("All of {group}", group=_(group)) for group in GROUPS}
    labels |= {path: _(setting.label) for path, setting in SETTINGS.items() if path != "data.corpus"}
    key = "class_hidden"
    hide = {"key": key, "on_change": partial(_change, classroom, "hidden", key), "help": about}
    names = [name for name in now.hidden if name in labels]
    st.multiselect(_("Settings of a run, or groups of them"), list(labels), names, format_func=labels.get, **hide)


def _draw_limits(classroom: Classroom, now: ClassSettings) -> None:
    labels = {
        "most_parameters": (_("Most parameters of a model"), 1_000, 200_000_000, 100_000),
        "most_steps": (_("Most steps of a run"), 1, 1_000_000, 1_000),
        "most_minutes": (_("Longest run, in minutes"), 1.0, 600.0, 1.0),
        "most_running": (_("Runs at a time of one student"), 1, 20, 1),
        "most_waiting": (_("Runs that wait, of one student"), 0, 20, 1),
        "most_megabytes": (_("Megabytes of one student"), 10, 100_000, 50),
    }
    for name, (label, low, high, step) in labels.items():
        key = f"class_{name}"
        options = {"key": key, "on_change": partial(_change, classroom, name, key), "step": step}
        st.number_input(label, low, high, getattr(now, name), **options)


@notifying()
def _change(classroom: Classroom, name: str, key: str) -> None:
    classroom.change(**{name: st.session_state[key]})


def draw_end(classroom: Classroom) -> None:
    """Draw the end of the class: the download of its data, and the button that erases it."""
    with card(_("End of the class"), key="class_end"):
        about = _("All students, answers, predictions, reports, texts and runs: settings, losses and samples.")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            query = "?weights=1" if st.toggle(_("Include the weights of runs (large)"), key="keep_weights") else ""
            label = _("Download the class (zip)")
            st.link_button(label, f"api/class.zip{query}", icon=":material/download:", help=about)
        _draw_eraser(classroom)


def _draw_eraser(classroom: Classroom) -> None:
    with st.popover(_("Erase the class"), icon=":material/delete_forever:"):
        st.caption(_("This removes all students with their runs and texts. It cannot be undone."))
        typed = st.text_input(_("Type the class code to confirm"), key="erase_code")
        erase = {"on_click": _erase, "args": (classroom,), "key": "erase_go", "type": "primary"}
        st.button(_("Erase"), disabled=typed.strip() != classroom.code, **erase)


@notifying()
def _erase(classroom: Classroom) -> None:
    for member in classroom.members():
        for folder in list_runs(member_home(classroom.root, member.id)):
            shared.supervisor().delete(folder)
    classroom.erase()
    notify(_("The class was erased: no student, run or text of it is left."))
