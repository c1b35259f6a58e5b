"""Predictions: the teacher asks before a run, the class answers, and all see the answers once they are revealed."""

from collections import Counter

import streamlit as st

from core.classroom import LONGEST_QUESTION, Classroom, ClassSettings
from explorer.i18n.language import _, ngettext
from explorer.services.visitors import visitor
from explorer.widgets.layout import card, errors_shown, literal
from explorer.widgets.session import notifying

_LOOK_AGAIN = 2.0  # seconds
_WHAT = "predict_question"


def draw_poll_form(classroom: Classroom) -> None:
    """Draw the teacher's form that asks the class for a prediction, and the class's answers."""
    note = _("Ask before the runs are done: which loss will be lower, how low will it get?")
    with card(_("Predict"), note, key="predict"):
        st.text_input(_("Question"), key=_WHAT, max_chars=LONGEST_QUESTION)
        st.text_input(_("Answers, separated by semicolons"), key="predict_choices", placeholder=_("run A; run B"))
        about = _("Its models have losses that may answer the question.")
        st.checkbox(_("Close the gallery until the answers are shown"), True, key="predict_closes", help=about)
        st.button(_("Ask the class"), key="predict_ask", type="primary", on_click=_ask, args=(classroom,))
        st.fragment(_draw_answers, run_every=_LOOK_AGAIN)(classroom)


def draw_poll(classroom: Classroom, now: ClassSettings) -> None:
    """Draw the question for a student, or the class's answers once the teacher reveals them."""
    member = visitor().member
    answered = classroom.predictions().get(member)
    if not now.question:
        return
    if now.revealed:
        with st.container(border=True, key="predicted"):
            _draw_shares(classroom, now)
            if answered:
                st.caption(literal(_("You predicted: {choice}.", choice=answered)))
        return
    with st.container(border=True, key="predict_now"), errors_shown():
        st.markdown(f"**{literal(now.question)}**")
        if answered:
            st.caption(
                literal(_("You predict: {choice}. You may change it until the answers are shown.", choice=answered))
            )
        with st.container(horizontal=True, gap="small"):
            for place, choice in enumerate(now.choices):
                options = {"key": f"predict_{place}", "type": "primary" if choice == answered else "secondary"}
                predict = notifying()(classroom.predict)
                st.button(literal(choice), on_click=predict, args=(member, choice), **options)


@notifying()
def _ask(classroom: Classroom) -> None:
    state = st.session_state
    classroom.ask(state[_WHAT], state["predict_choices"].split(";"), closes_gallery=state["predict_closes"])


def _draw_answers(classroom: Classroom) -> None:
    now = classroom.settings
    if not now.question:
        return
    if now.revealed:
        _draw_shares(classroom, now)
        _draw_buttons(classroom, now)
        return
    st.markdown(f"**{literal(now.question)}**")
    count, members = len(classroom.predictions()), len(classroom.members())
    st.caption(
        ngettext("{count} of {members} has answered.", "{count} of {members} have answered.", count, members=members)
    )
    _draw_buttons(classroom, now)


def _draw_buttons(classroom: Classroom, now: ClassSettings) -> None:
    change = notifying()(classroom.change)
    with st.container(horizontal=True, gap="small"):
        if not now.revealed:
            st.button(_("Show the answers to all"), key="predict_show", on_click=change, kwargs={"revealed": True})
        st.button(_("Remove the question"), key="predict_end", on_click=change, kwargs={"question": ""})


def _draw_shares(classroom: Classroom, now: ClassSettings) -> None:
    st.markdown(f"**{literal(now.question)}**")
    counts = Counter(classroom.predictions().values())
    most = max(1, sum(counts.values()))
    for choice in now.choices:
        st.progress(counts[choice] / most, text=literal(f"{choice}: {counts[choice]}"))
