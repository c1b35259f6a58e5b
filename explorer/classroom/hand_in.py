"""Students' answers and handed-in runs: a table with a row per student, and a zip of reports."""

import io
import json
import zipfile
from functools import partial
from typing import BinaryIO

import streamlit as st

from core.classroom import Classroom
from core.errors import ExplorerError
from core.paths import member_home
from core.runs.archive import add_run_files
from core.runs.documents import DOCUMENTS
from core.runs.folder import list_runs, open_run
from core.runs.records import plain_name
from explorer.charts.csv_export import csv_of
from explorer.i18n.language import _, ngettext
from explorer.widgets.layout import card, table_download

_LOOK_AGAIN = 5.0  # seconds
STUCK = 3  # wrong answers to one question


def draw_handed_in(classroom: Classroom) -> None:
    """Draw the answers and handed-in runs of all students, with downloads for the teacher."""
    note = _("Answers to the lessons' questions, checked against each student's own model, and the runs handed in.")
    with card(_("Answers and reports"), note, key="handed_in"):
        st.fragment(_draw, run_every=_LOOK_AGAIN)(classroom)


def _draw(classroom: Classroom) -> None:
    columns = answer_table(classroom)
    if len(columns) < 3 and not classroom.handed_in():
        st.caption(_("Nobody has answered a question or handed in a run yet."))
        return
    st.dataframe(columns, hide_index=True, width="stretch", key="answers_table", placeholder="–")
    table_download(partial(answer_table, classroom), key="answers", name="answers")
    with st.container(horizontal=True, gap="small"):
        answers = json.dumps([answer._asdict() for answer in classroom.answers()], ensure_ascii=False, indent=1)
        st.download_button(_("Answers as JSON"), answers, "answers.json", "application/json", on_click="ignore")
        if count := len(classroom.handed_in()):
            label = ngettext("{count} report as a zip", "{count} reports as a zip", count)
            st.download_button(label, partial(reports, classroom), "reports.zip", "application/zip", on_click="ignore")


def answer_table(classroom: Classroom) -> dict[str, list[str]]:
    """Return the table's columns, with a row per student: runs handed in, and answers with correctness and tries."""
    members, answers = classroom.members(), classroom.answers()
    runs: dict[str, list[str]] = {}
    for member, run in classroom.handed_in():
        runs.setdefault(member, []).append(run)
    columns = {_("Student"): [member.nickname for member in members]}
    columns[_("Runs handed in")] = [str(len(runs.get(member.id, []))) for member in members]
    for question in dict.fromkeys(answer.question for answer in answers):
        noted = {answer.member: answer for answer in answers if answer.question == question}
        columns[question] = [
            f"{'✓' if (answer := noted[member.id]).is_right else '✗'} {answer.response} ({answer.tries})"
            if member.id in noted
            else ""
            for member in members
        ]
    return columns


def stuck(classroom: Classroom) -> dict[str, str]:
    """Return the question at which each student is stuck, by member: the last one answered wrong several times."""
    return {a.member: a.question for a in classroom.answers() if not a.is_right and a.tries >= STUCK}


def reports(classroom: Classroom) -> bytes:
    """Return a zip of the reports of all handed-in runs, without runs deleted since."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        _add_reports(classroom, file, "")
    return archive.getvalue()


def _add_reports(classroom: Classroom, archive: zipfile.ZipFile, folder: str) -> None:
    nicknames = {member.id: member.nickname for member in classroom.members()}
    for member, id in classroom.handed_in():
        try:
            run = open_run(classroom.root, id)
            report = DOCUMENTS["report"](run, run.data_dir)
        except ExplorerError:
            continue
        name = f"{plain_name(nicknames.get(member, 'student'))}-{plain_name(run.name)}-{id}.html"
        archive.writestr(f"{folder}{name}", report)


def zip_class(classroom: Classroom, file: BinaryIO, *, weights: bool = False) -> None:
    """Write all data of the class as a zip: its members, answers, predictions, reports, runs and texts.

    The zip contains no credentials: no class code, no key, no cookie secret.
    """
    members, now = classroom.members(), classroom.settings
    names = {member.id: member.nickname for member in members}
    about = {
        "title": classroom.title,
        "members": [{"nickname": member.nickname, "joined": member.joined} for member in members],
        "question": now.question,
        "predictions": {names[member]: choice for member, choice in classroom.predictions().items() if member in names},
        "games": {names[member]: json.loads(state) for member, state in classroom.games().items() if member in names},
        "answers": [each._asdict() | {"member": names.get(each.member, "")} for each in classroom.answers()],
        "handed_in": [{"member": names.get(member, ""), "run": run} for member, run in classroom.handed_in()],
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("class.json", json.dumps(about, ensure_ascii=False, indent=1))
        archive.writestr("answers.csv", csv_of(answer_table(classroom)))
        _add_reports(classroom, archive, "reports/")
        for place, member in enumerate(members, start=1):
            home, folder = member_home(classroom.root, member.id), f"members/{place:03d}-{plain_name(member.nickname)}"
            for run in list_runs(home):
                add_run_files(archive, run, f"{folder}/runs/{run.id}", weights=weights)
            for text in (home / "texts").glob("text-*.txt"):
                archive.write(text, f"{folder}/texts/{text.name}")
