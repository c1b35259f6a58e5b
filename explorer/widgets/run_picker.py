"""The run that a page shows: the one in the address or the newest, and a select to change it."""

from functools import partial

import streamlit as st

from core.errors import ExplorerError, RunError
from core.runs.folder import RunFolder, open_run
from core.runs.gallery import gallery_runs, runs_with_weights
from core.sweeps.folder import single_runs
from explorer.i18n.formatting import model_in_words, run_in_words, state_in_words
from explorer.i18n.language import _, ngettext
from explorer.services import shared
from explorer.services.shared import Opened
from explorer.widgets import address
from explorer.widgets.forms import distinct_labels
from explorer.widgets.invalid_links import end_absent
from explorer.widgets.layout import errors_shown, show_error
from explorer.widgets.session import recall, remember

_OF_SWEEPS = "runs_of_sweeps_listed"


def runs_to_pick(*on_view: str | None) -> dict[str, RunFolder]:
    """Return the runs with weights by id; those of sweeps only if they are shown or the visitor lists them."""
    runs = {folder.id: folder for folder in runs_with_weights(shared.data_dir())}
    if recall(_OF_SWEEPS):
        return runs
    single = {folder.id for folder in single_runs(shared.data_dir(), runs.values())}
    return {id: folder for id, folder in runs.items() if id in single or id in on_view} or runs


def choose_run(title: str) -> RunFolder:
    """Draw the page's title and the select of runs and gallery models; return the selected one."""
    wanted = address.parameter(address.RUN)
    runs = runs_to_pick(wanted)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.title(title, anchor=False, width="content")
        place = st.container(width=440)
    if not runs:  # the gallery is closed
        show_error(run_problem(wanted or gallery_runs()[0].id))
        st.stop()
    if wanted and wanted not in runs:
        end_absent(run_problem(wanted), _("Show the newest run"), partial(address.view_run, newest_run()))
    labels = distinct_labels({id: _label(folder) for id, folder in runs.items()})
    if folded := sum(1 for _run in runs_with_weights(shared.data_dir())) - len(runs):
        labels[_OF_SWEEPS] = ngettext("Show {count} run of a sweep", "Show {count} runs of sweeps", folded)
    # The address takes precedence: the widget's value would outlive a change of the address by another page.
    st.session_state["inspect_run"] = wanted if wanted in runs else newest_run() or next(iter(runs))
    view = {"key": "inspect_run", "on_change": _view_chosen}
    chosen = place.selectbox(_("Run"), list(labels), format_func=labels.get, label_visibility="collapsed", **view)
    if wanted is None:
        address.rewrite({address.RUN: chosen})
    return runs[chosen]


def _view_chosen() -> None:
    if (chosen := st.session_state["inspect_run"]) == _OF_SWEEPS:
        remember(_OF_SWEEPS, True)
    else:
        address.view_run(chosen)


def newest_run() -> str | None:
    """Return the id of the run that `choose_run` selects by default, so that a link can name it."""
    try:
        data_dir = shared.data_dir()
        return next((folder.id for folder in single_runs(data_dir, runs_with_weights(data_dir))), None)
    except ExplorerError:  # the page itself reports a data folder that cannot be used
        return None


def open_chosen(title: str) -> tuple[RunFolder, Opened]:
    """Return the run of `choose_run` and its opened model, and show its step; end the page if it cannot be opened."""
    folder = choose_run(title)
    with errors_shown(end=True):
        opened = shared.open_model(folder.id)
    step_line(folder, opened.step)
    return folder, opened


def step_line(folder: RunFolder, step: int) -> None:
    """Show the step of the weights; if the run still trains, offer its newest ones."""
    status = folder.status()
    values = {"step": f"{step:,}", "steps": f"{status.steps:,}", "state": state_in_words(status)}
    if folder.in_gallery:
        st.caption(_("Weights of step {step} of {steps}. This model comes with the app.", **values))
        return
    if status.ended:
        st.caption(_("Weights of step {step} of {steps}. The run is {state}.", **values))
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        values["now"] = f"{status.step:,}"
        words = _("Weights of step {step} of {steps}. The run is {state}, now at step {now}.", **values)
        st.caption(words, width="content")
        load = {"on_click": address.write, "args": ({address.STEP: None},), "key": "take_newest"}
        st.button(_("Load newest weights"), icon=":material/refresh:", type="tertiary", **load)


def run_problem(run_id: str) -> str:
    """Return why a run without weights cannot be shown."""
    try:
        folder = open_run(shared.data_dir(), run_id)
    except RunError as error:
        return str(error)
    none_yet = _("The run {name} has no weights yet; the first are saved when training starts.", name=folder.name)
    return str(folder.problem or none_yet)


def _label(folder: RunFolder) -> str:
    try:
        state = run_in_words(folder, folder.status())
        return f"{folder.name} · {model_in_words(folder.record().config.model)} · {state}"
    except RunError:
        return folder.id
