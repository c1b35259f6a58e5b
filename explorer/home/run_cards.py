"""The home page's cards: the first run and the recent runs."""

from itertools import islice

import streamlit as st

from core.errors import RunError
from core.formatting import duration_in_words
from core.presets import gpt_fast, preset
from core.runs.ancestry import new_run, short_config
from core.runs.folder import list_runs
from core.runs.gallery import gallery_runs
from core.sweeps.folder import SweepFolder, list_sweeps, single_runs
from core.sweeps.results import best_point, sweep_results
from core.text.corpora import load_corpus
from core.text.tokenizers import TOKENIZERS
from explorer.home.tour import draw_tour_start
from explorer.i18n.formatting import loss_in_words, model_in_words, when_in_words
from explorer.i18n.language import _, ngettext, units_of
from explorer.services import shared
from explorer.services.cost_trials import submit_run
from explorer.services.visitors import limits
from explorer.sweeps.sweep_cards import draw_badge, draw_progress
from explorer.train.time_budget import choose_minutes, settings_for
from explorer.widgets import address, drafts, session
from explorer.widgets.layout import errors_shown, literal
from explorer.widgets.run_rows import (
    RunRow,
    corpus_titles,
    draw_state,
    rows_of,
    trouble_in_words,
    waiting_in_words,
)

_RECENT = 6
_START = "start_quick"  # the button that starts gpt-quick
_START_TIMED, _MINUTES = "start_timed", "start_timed_minutes"  # the button that starts a run of a given time
_STARTED_HERE = ("gpt-quick", "gpt-fast")  # presets
_LOOK_AGAIN = 3.0  # seconds, while something trains


def start_first_run(number: str) -> None:
    """Start gpt-quick (in a class with fewer steps), once per ticket; the page then opens it."""

    def start() -> str:
        data_dir = shared.data_dir()
        config = short_config(data_dir, preset("gpt-quick"))
        return submit_run(new_run(data_dir, config, base=config))

    session.do_once(number, start)


def start_timed_run(number: str, minutes: int) -> None:
    """Start a run that takes this many minutes, once per ticket; the page then opens it."""

    def start() -> str:
        data_dir = shared.data_dir()
        corpus = limits().text or gpt_fast().data.corpus
        length = len(load_corpus(corpus, data_dir))
        config = settings_for(minutes, corpus, length)
        return submit_run(new_run(data_dir, config, base=config))

    session.do_once(number, start)


def open_first_run() -> None:
    """Open the run that a click on a start button started, even if the page has been rerun since the click."""
    for start in (_START, _START_TIMED):
        with errors_shown():
            if run_id := session.click_result(start):
                drafts.note_started_run(run_id)
                session.forget_click(start)
    if run_id := drafts.run_to_open():
        address.open_page("train", run_id)


def draw_start(rows: list[RunRow]) -> None:
    """Draw the button that trains a GPT and the choice of a time, or the button to the GPT in training."""
    going_on = next((row for row in rows if row.going_on and row.record.config.preset in _STARTED_HERE), None)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="home_ways"):
        start = {"key": _START, "on_click": start_first_run, "args": (session.ticket(_START),)}
        if going_on:
            label = _("Watch your GPT learn")
            if st.button(label, type="primary", icon=":material/visibility:", key="watch_quick"):
                address.open_page("train", going_on.id)
            st.button(_("Train another GPT"), type="secondary", **start)
        else:
            st.button(_("Train your own"), type="primary", icon=":material/play_arrow:", **start)
            _draw_time()
        if st.button(_("Learn how it works"), icon=":material/school:", type="tertiary", key="home_learn"):
            address.open_page("learn")
        if st.button(_("Look inside this model"), icon=":material/search:", type="tertiary", key="home_look"):
            address.open_page("look_inside", gallery_runs()[0].id)
        draw_tour_start()


def _draw_time() -> None:
    """Draw the popover in which a newcomer chooses how long to train, and starts."""
    about = _("Choose the minutes; all other settings follow.")
    with st.popover(_("Train for a given time"), icon=":material/timer:", type="tertiary", help=about, key="home_time"):
        minutes = choose_minutes(_MINUTES)
        words = ngettext("Train for {count} minute", "Train for {count} minutes", minutes)
        if st.button(words, key=_START_TIMED, icon=":material/play_arrow:"):
            with st.spinner(_("Choosing the settings for this machine")):  # takes seconds
                start_timed_run(session.ticket(_START_TIMED), minutes)
            open_first_run()


def recent_runs() -> list[RunRow]:
    """Return the newest runs except those of sweeps, newest first."""
    data_dir = shared.data_dir()
    return rows_of(islice(single_runs(data_dir, list_runs(data_dir)), _RECENT))


def draw_recent() -> None:
    """Draw the newest runs and sweeps as cards, redrawn regularly while one of them is running."""
    if shown := _recent():
        st.markdown(f"## {_('Recent runs')}")
        st.fragment(_cards, run_every=_LOOK_AGAIN if any(map(_goes_on, shown)) else None)()


def _recent() -> list[RunRow | SweepFolder]:
    shown = [*recent_runs(), *list_sweeps(shared.data_dir())[:_RECENT]]
    return sorted(shown, key=lambda each: each.id, reverse=True)[:_RECENT]  # an id starts with its time


def _goes_on(shown: RunRow | SweepFolder) -> bool:
    if isinstance(shown, RunRow):
        return shown.going_on
    try:
        return shown.record().state == "running"
    except RunError:
        return False


def _cards() -> None:
    titles = corpus_titles(shared.data_dir())
    with st.container(horizontal=True, gap="small", key="run_cards"):
        for shown in _recent():
            with st.container(border=True, gap="xsmall", width=308, height="stretch", key=f"run_card_{shown.id}"):
                if isinstance(shown, RunRow):
                    _card(shown, titles)
                else:
                    _sweep_card(shown)
    with st.container(key="all_runs"):
        st.page_link(address.page_file("runs"), label=_("Compare all runs"), icon=":material/arrow_forward:")


def _card(row: RunRow, titles: dict[str, str]) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.text(row.name, width="content")
        draw_state(row)
    if row.record is None:
        st.caption(literal(row.problem))
        return
    config, status = row.record.config, row.status
    title = literal(titles.get(config.data.corpus, config.data.corpus))
    st.caption(f"{model_in_words(config.model)} · {title} · {when_in_words(row.record.created)}")
    if waits := waiting_in_words(row):
        st.caption(waits)
    elif row.going_on:
        done = _("step {step} of {steps}", step=f"{status.step:,}", steps=f"{status.steps:,}")
        if status.seconds_left is not None:
            done = _("{done}, {time} left", done=done, time=duration_in_words(status.seconds_left))
        st.progress(min(1.0, status.step / max(1, status.steps)), done)
    elif status.val_loss is not None:
        uniform = (row.folder.read_baselines() or {}).get("uniform")
        with units_of(TOKENIZERS[config.data.tokenizer]):
            meaning = loss_in_words(status.val_loss, uniform)
        st.caption(_("Loss **{loss}**, {meaning}", loss=f"{status.val_loss:.2f}", meaning=meaning))
        if trouble := trouble_in_words(row):
            st.markdown(f":small[:orange[{trouble}]]")
    elif status.reason:
        st.caption(literal(status.reason))
    with st.container(horizontal=True, gap="small"):
        query = address.query_for(row.id)
        watch = _("Watch") if row.going_on else _("Open")
        st.page_link(address.page_file("train"), label=watch, query_params=query)
        if not row.going_on and row.folder.has_weights:
            st.page_link(address.page_file("look_inside"), label=_("Look inside"), query_params=query)
            st.page_link(address.page_file("generate"), label=_("Generate"), query_params=query)


def _sweep_card(sweep: SweepFolder) -> None:
    try:
        record = sweep.record()
    except RunError as error:
        st.caption(literal(str(error)))
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.text(record.name, width="content")
        draw_badge(record)
    kind = _("Scaling study") if record.budget else _("Sweep")
    st.caption(f"{kind} · {when_in_words(record.created)}")
    if record.state == "running":
        draw_progress(record)
    elif best := best_point(sweep_results(sweep, record)):
        runs = ngettext("{count} run", "{count} runs", len(record.runs))
        st.caption(_("{runs}, lowest loss **{loss}**", runs=runs, loss=f"{best.loss:.2f}"))
    st.page_link(address.page_file("sweeps"), label=_("Open"), query_params={address.SWEEP: sweep.id})
