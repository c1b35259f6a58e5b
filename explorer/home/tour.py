"""Your first ten minutes: a tour of the pages, with a bar on each page that says what to do there.

The step is in the address (`tour=2`), which links between pages keep. To add a step, add a row to STEPS.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import streamlit as st

from core.errors import ExplorerError
from explorer.i18n.language import N_, _
from explorer.widgets import address, session
from explorer.widgets.invalid_links import report_misread_number
from explorer.widgets.run_picker import runs_to_pick

_LAST = "tour"  # in the session: the step drawn last


class TourStep(NamedTuple):
    """A step: its title, what to do, its page, and the parameters of the page's address."""

    title: str
    sentence: str
    page: str
    query: Mapping[str, str] = {}
    of_run: bool = False  # whether it shows a run


STEPS = (
    TourStep(
        N_("A model that writes"),
        N_("Move the slider to step 0, then forward: watch it learn to write."),
        "home",
    ),
    TourStep(
        N_("Train a small GPT"),
        N_("Press Train. The card beside the settings estimates how long it takes."),
        "train",
        {address.PRESET: "gpt-quick"},
    ),
    TourStep(
        N_("Watch it learn"),
        N_("The loss falls, and the samples turn from noise into words."),
        "train",
        of_run=True,
    ),
    TourStep(
        N_("Follow one token"),
        N_("Play one token through the whole model, then click a part to open it."),
        "look_inside",
        {address.VIEW: "Model"},
        of_run=True,
    ),
    TourStep(
        N_("Head by head"),
        N_("Click square after square. Ablate a head to see what the model loses."),
        "look_inside",
        {address.VIEW: "Attention"},
        of_run=True,
    ),
    TourStep(
        N_("Let it write"),
        N_("Type a beginning, change the temperature and generate."),
        "generate",
        of_run=True,
    ),
    TourStep(
        N_("How it works"),
        N_("Begin the first lesson: it computes every number that you have just seen."),
        "learn",
    ),
)


def draw_tour(page: str) -> None:
    """Draw the tour's bar on a page, given by name, if the address names a step."""
    number = address.number_parameter(address.TOUR) or 0
    if not 0 < number <= len(STEPS):
        report_misread_number(address.TOUR, range(1, len(STEPS) + 1), _("The tour is not shown."))
        return
    number = _step_on_view(number, page)
    session.remember(_LAST, number)
    step = STEPS[number - 1]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", border=True, key="tour_bar"):
        numbers = {"number": number, "count": len(STEPS), "title": _(step.title)}
        st.markdown(f"**{_('{number} of {count}: {title}.', **numbers)}** {_(step.sentence)}", width="stretch")
        if number > 1:
            _draw_way(_("Back"), number - 1, page)
        if number < len(STEPS):
            _draw_way(_("Next"), number + 1, page)
        st.button(_("Leave"), key="tour_leave", type="tertiary", on_click=address.write, args=({address.TOUR: None},))


def _step_on_view(number: int, page: str) -> int:
    """Return the first step from `number` on that the page shows, such as a run just started; else `number`."""
    shown = st.query_params.to_dict()
    for place, step in enumerate(STEPS[number - 1 :], start=number):
        fitting = all(shown.get(name) == value for name, value in step.query.items())
        if step.page == page and fitting and (address.RUN in shown or not step.of_run):
            return place
    return number


def _draw_way(label: str, number: int, page: str, **look: str) -> None:
    """Draw the button from a page to a step. A link to the same page would not change the browser's address."""
    to = STEPS[number - 1].page
    stay = {"on_click": lambda: address.write(dict.fromkeys(st.query_params) | _query(number))} if to == page else {}
    if st.button(label, type="tertiary", **{"key": f"tour_to_{number}"} | look | stay) and to != page:
        address.open_page(to, query=_query(number))


def _query(number: int) -> dict[str, str]:
    """Return the address parameters of a step; its run is the GPT shown, the newest own one, or the gallery's first."""
    step = STEPS[number - 1]
    query = dict(step.query) | {address.TOUR: str(number)}
    with suppress(ExplorerError, StopIteration):  # the home folder is unusable, which the page reports
        if step.of_run:
            on_view = address.parameter(address.RUN)
            runs = sorted(runs_to_pick(on_view).values(), key=lambda run: run.id != on_view)
            gpts = (run.id for run in runs if not run.problem and run.record().config.model.kind == "gpt")
            query[address.RUN] = next(gpts)
    return query


def draw_tour_start() -> None:
    """Draw Home's link to the tour, which continues where the visitor left it."""
    last = session.recall(_LAST, 1)
    begun = 1 < last < len(STEPS)
    label = _("Go on with your first ten minutes") if begun else _("Your first ten minutes")
    _draw_way(label, last if begun else 1, "home", key="home_tour", icon=":material/tour:")
