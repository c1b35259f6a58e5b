"""The Train page before a run: the text, the model, how it learns, and the estimated cost."""

import inspect
from contextlib import suppress
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.config import GROUPS, SETTINGS, RunConfig, used_settings
from core.errors import ConfigError, ExplorerError
from core.presets import PRESETS, preset
from core.runs.ancestry import check_allowed, check_startable, fork, hidden_settings, new_run
from core.runs.folder import RunFolder
from core.runs.machine import gains_by_processes
from core.settings import value_at
from core.text.corpora import catalogue, load_corpus
from core.text.tasks import task_of
from core.text.tokenizers import TOKENIZERS
from core.training.cost import TYPICAL_VOCABULARY
from core.training.hardware import find_hardware
from core.training.schedule import schedule_notice
from explorer.classroom.sizes import draw_own_size
from explorer.components.page import preload_plotly
from explorer.data.corpus_cards import size_notice, titles_of
from explorer.data.tokenizer_cards import tokenizer_ready
from explorer.i18n.language import N_, _, in_units, units_of
from explorer.services import shared
from explorer.services.cost_trials import submit_run
from explorer.services.visitors import check_may_change, limits
from explorer.train.estimated_cost import check_memory, class_limit, cost_of, draw_cost
from explorer.train.forks import Parent, draw_parent_checkpoint, parent_from_address
from explorer.train.model_diagram import model_diagram
from explorer.train.rate_finder import draw_rate_finder
from explorer.train.sweep_form import draw_sweep_form, open_started_sweep, range_input, varied_settings
from explorer.train.time_budget import draw_time_budget
from explorer.widgets.address import FORK, STEP, draft_address, parameter, view_run
from explorer.widgets.class_link import link_popover
from explorer.widgets.drafts import draft, keep_draft, note_started_run, write_draft
from explorer.widgets.forms import distinct_labels, divisors, forget_inputs, setting_input, widget_key
from explorer.widgets.invalid_links import draft_of_link, report_misread_number
from explorer.widgets.layout import card, literal, page_header, show_error
from explorer.widgets.session import (
    click_result,
    do_once,
    forget_click,
    notifying,
    recall,
    remember,
    take_notice,
    ticket,
)

START = "train_start"  # the button that starts a run
_HIDDEN_NOTICE = "hidden_settings_told"  # in the session: the sentence on settings of a link that the class hides
_ACROSS = 3  # settings side by side
_PARENT = N_("parent")  # what a fork's settings are compared with


def draw_setup() -> None:
    """Draw everything that is chosen before a run, and the button that starts it."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(width="content"):
            page_header(_("Train"), _("Pick a text, move the sliders, press Train. Then watch a model learn it."))
        link = st.container(width="content")
    if notice := take_notice():
        st.error(notice)
    open_started_sweep()
    try:
        parent, problem = parent_from_address(), None
    except ExplorerError as error:
        parent, problem = None, error
    opening = "preset" not in st.session_state
    if opening:
        remember(_HIDDEN_NOTICE, None)
    config = draft_of_link(_("Train with another text"))
    if problem:
        show_error(problem)
    if parent:
        report_misread_number(STEP, range(10**9), _("The newest weights are used instead."))
    draw_own_size()
    choices, outcome = st.columns([2.6, 1], gap="small")
    with choices:
        if parent:
            base, named = parent.config, _PARENT
            with card(_("Starting weights"), key="start_from"):
                draw_parent_checkpoint(parent)
                corpus = _pick_corpus(config)
        else:
            named = N_("preset")
            with card(_("Text and preset"), key="start_from"):
                corpus = _pick_corpus(config)
                base = _pick_preset(config)
        base = base.replace({"data.corpus": corpus})
        config, problem, diagram = _pick_settings(config.replace({"data.corpus": corpus}), base, named)
    with outcome, card(_("Training run"), key="estimate"):
        ready = _draw_outcome(config, parent, problem)
    if diagram and ready and not parent:
        with diagram, suppress(ExplorerError):  # the estimate reports why the text cannot be read
            st.html(model_diagram(config.model, _vocab_size(config, None)))
    if not parent:
        keep_draft(config)
        with link:
            say = partial(st.caption, _("This link opens Train with these settings."))
            link_popover(_("Link for a class"), "train_link", partial(draft_address, config), say)
    write_draft(config, opening=opening)
    with units_of(TOKENIZERS[config.data.tokenizer]):
        _draw_preview(config)
    preload_plotly()


def _pick_preset(config: RunConfig) -> RunConfig:
    st.session_state.setdefault("preset", config.preset if config.preset in PRESETS else next(iter(PRESETS)))
    about = [_((inspect.getdoc(make) or "").splitlines()[0]) for make in PRESETS.values()]
    take = {"key": "preset", "on_change": _take_preset, "help": _("A preset sets all settings at once.")}
    return preset(st.radio(_("Preset"), PRESETS, captions=about, horizontal=True, width="stretch", **take))


def _take_preset() -> None:
    """Set every setting to the preset's value; keep the chosen text, unless the preset is for a task.

    Do nothing if the draft has this preset already: a request sent just before Start was pressed may arrive after
    it, when Streamlit has forgotten the widgets of the old page and takes this one for newly chosen. Applying it would
    lead away from the run that has just started.
    """
    chosen = st.session_state["preset"]
    try:
        if draft().preset == chosen:
            return
    except ConfigError:  # the settings in the address are invalid
        pass
    forget_inputs()
    config = preset(chosen)
    corpus = _text_for(config, st.session_state.get("corpus"))
    st.session_state["corpus"] = corpus
    keep_draft(config.replace({"data.corpus": corpus}))


def _text_for(config: RunConfig, corpus: str | None) -> str:
    """Return the chosen text, or the preset's own if that is a task or if the chosen one is a task's from a preset."""
    own = config.data.corpus
    left = corpus in (make().data.corpus for make in PRESETS.values() if task_of(make().data.corpus))
    return own if corpus is None or left or task_of(own) else corpus


def _pick_settings(
    config: RunConfig, base: RunConfig, named: str
) -> tuple[RunConfig, ConfigError | None, DeltaGenerator | None]:
    """Draw the settings that have an effect, by group; return the settings, and the place for the model's diagram."""
    hidden = hidden_settings(shared.data_dir())
    config = _with_hidden(config, base, hidden)
    if config.train.processes == 1 and not gains_by_processes(find_hardware(config.train.device)):
        hidden = [*hidden, "train.processes"]
    now, diagram = _with_moved_sliders(config), None
    settings = {path: setting for path, setting in used_settings(now).items() if path not in ("data.corpus", *hidden)}
    changes = {path: value_at(config, path) for path in SETTINGS if path not in settings}
    if named == _PARENT:  # a fork keeps the architecture and the tokenizer
        fixed = {path for path in SETTINGS if path.startswith("model.")} - {"model.dropout"}
        fixed |= {"data.tokenizer", "data.vocab_size"}
        settings, changes = ({path: each[path] for path in each if path not in fixed} for each in (settings, changes))
    main, more = (
        {
            group: [path for path, s in settings.items() if (s.group, s.advanced) == (group, advanced)]
            for group in GROUPS
        }
        for advanced in (False, True)
    )
    for group, paths in main.items():
        if paths:
            with card(_(group), key=f"settings_{group.lower()}"):
                changes |= _grid(now, base, paths, named)
                diagram = diagram or st.container(key="model_diagram")
    with st.expander(_("More settings")):
        named_tabs = [group for group in GROUPS if more[group]]
        for group, tab in zip(named_tabs, st.tabs([_(group) for group in named_tabs]), strict=True):
            with tab:
                changes |= _grid(now, base, more[group], named)
    try:
        return base.replace(changes), None, diagram
    except ConfigError as error:
        return config, error, diagram


def _with_hidden(config: RunConfig, base: RunConfig, hidden: list[str]) -> RunConfig:
    """Return the settings with the values of `base` for those that the class hides; show which ones a link has set."""
    changed = {path: value_at(base, path) for path in hidden if value_at(config, path) != value_at(base, path)}
    for path in hidden:
        st.session_state.pop(widget_key(path), None)
    if changed:
        labels = ", ".join(_(setting.label) for path, setting in SETTINGS.items() if path in changed)
        remember(
            _HIDDEN_NOTICE, _("Your teacher has hidden {settings} in this lesson: the preset decides.", settings=labels)
        )
    if notice := recall(_HIDDEN_NOTICE):
        st.info(literal(notice), icon=":material/visibility_off:")
    try:
        return config.replace(changed)
    except ConfigError:  # the other settings do not fit the hidden ones
        return base


def _with_moved_sliders(config: RunConfig) -> RunConfig:
    """Return the settings in the widgets, or `config` if they are invalid, which the page reports."""
    try:
        return _moved(config)
    except ConfigError:
        return config


def _moved(config: RunConfig) -> RunConfig:
    """Return the settings in the widgets; a value that must divide another one is moved to the nearest that does."""
    keys = {path: widget_key(path) for path in SETTINGS}
    moved = {path: st.session_state[key] for path, key in keys.items() if key in st.session_state}
    for path, setting in SETTINGS.items():
        whole = setting.divides and moved.get(setting.divides, value_at(config, setting.divides))
        if whole and moved.get(path) and whole % moved[path]:
            fitting = min(divisors(setting, whole), key=lambda value: abs(value - moved[path]))
            st.session_state[keys[path]] = moved[path] = fitting
    return config.replace(moved)


def _at_click(drawn: RunConfig, parent: Parent | None) -> RunConfig:
    """Return the settings at a click, which may come before the page has rerun with the last change.

    A number field sends its value when it loses focus, perhaps because of the click. Raises ConfigError.
    """
    if not parent and st.session_state.get("preset", drawn.preset) != drawn.preset:
        _take_preset()
        return draft()
    return _moved(drawn.replace({"data.corpus": st.session_state.get("corpus", drawn.data.corpus)}))


def _grid(config: RunConfig, base: RunConfig, paths: list[str], named: str) -> dict[str, Any]:
    changes = {}
    varied = varied_settings(used_settings(config)) if named != _PARENT else []
    for start in range(0, len(paths), _ACROSS):
        for column, path in zip(st.columns(_ACROSS, gap="medium"), paths[start : start + _ACROSS], strict=False):
            with column:
                before, value, divided = value_at(base, path), value_at(config, path), SETTINGS[path].divides
                whole = st.session_state.get(widget_key(divided), value_at(config, divided)) if divided else 0
                most, why = class_limit(path, SETTINGS[path], config, _vocabulary)
                if path in varied:
                    range_input(path, SETTINGS[path], value, whole=whole, most=most)
                    changes[path] = value
                else:
                    changes[path] = setting_input(
                        path, SETTINGS[path], value, before, named=named, whole=whole, most=most
                    )
                if most and changes[path] >= most:
                    st.caption(why)
    return changes


def _vocabulary(config: RunConfig) -> int:
    """Return a new model's vocabulary size; a typical size if the text cannot be read or is long."""
    if config.data.tokenizer == "bpe":
        return config.data.vocab_size
    with suppress(ExplorerError):
        return _vocab_size(config, None)
    return TYPICAL_VOCABULARY


def _pick_corpus(config: RunConfig) -> str:
    texts = {corpus.name: corpus for corpus in catalogue(shared.data_dir())}
    if (of_class := limits().text) in texts:
        texts = {of_class: texts[of_class]}
    wanted = st.session_state.get("corpus", config.data.corpus)
    st.session_state["corpus"] = wanted if wanted in texts else next(iter(texts))
    titles = titles_of(texts.values())
    titles |= {
        c.name: _("{title} ({size} MB download)", title=c.title, size=round(c.characters / 1e6))
        for c in texts.values()
        if c.download
    }
    labels = distinct_labels(titles)
    about = _("The text to train on. View it, or add your own, on the page Data.")
    if of_class in texts:
        about = _("Your teacher has chosen the text of this lesson.")
    chosen = st.selectbox(_("Text"), texts, key="corpus", format_func=labels.get, help=about)
    if texts[chosen].own and (notice := size_notice(texts[chosen].characters)):
        st.caption(notice)
    if task_of(chosen):
        st.caption(_(texts[chosen].description))
    return chosen


def _draw_outcome(config: RunConfig, parent: Parent | None, problem: ExplorerError | None) -> bool:
    """Draw the button and the cost; return whether the tokens are known, which takes a while for a long text."""
    ready, cost, vocab_size, length = True, None, 0, 0
    try:
        with st.spinner(_("Reading the text ...")):
            length = len(load_corpus(config.data.corpus, shared.data_dir()))
        check_may_change()
        ready = parent is not None or tokenizer_ready(config.data, shared.data_dir())
        if ready:
            vocab_size = _vocab_size(config, parent.folder if parent else None)
            check_allowed(shared.data_dir(), config, vocab_size, parent.config if parent else None)
            cost = cost_of(config, vocab_size, length)
            check_memory(config, cost)
    except ExplorerError as error:
        problem = problem or error
    # The button comes first, so that lines that come and go do not move it just before a click.
    start = {"key": START, "on_click": _start, "args": (config, parent, ticket(START))}
    look = {"type": "primary", "icon": ":material/play_arrow:", "width": "stretch"}
    st.button(_("Train"), disabled=not ready or problem is not None, **look, **start)
    if problem:
        show_error(problem)
    if cost and not parent:
        with st.container(gap=None, key="search_settings"):
            draw_time_budget(config, length)
            draw_rate_finder(config)
            draw_sweep_form(config, used_settings(config), vocab_size)
    if cost:
        st.markdown(f"## {_('Estimated cost')}")
        draw_cost(config, cost, is_fork=parent is not None)
    if notice := schedule_notice(config.train):
        sentence, numbers = notice
        st.warning(_(sentence, **numbers))
        st.button(_("Fit the schedule"), key="fit_schedule", on_click=_fit, args=(config, parent))
    return ready


def _fit(drawn: RunConfig, parent: Parent | None) -> None:
    with notifying():
        config = _at_click(drawn, parent)
        if notice := schedule_notice(config.train):
            numbers = notice[1]
            fitting = {"train.warmup_steps": numbers["fitting"]} if "fitting" in numbers else {"train.decay_steps": 0}
            config = config.replace(fitting)
        forget_inputs()
        (write_draft if parameter(FORK) else keep_draft)(config)  # the next new run does not get a fork's settings


def _start(drawn: RunConfig, parent: Parent | None, number: str) -> None:

    def start() -> str:
        data_dir, config = shared.data_dir(), _at_click(drawn, parent)
        return submit_run(fork(data_dir, parent.folder, parent.step, config) if parent else new_run(data_dir, config))

    do_once(number, start)
    open_started_run()  # at once, so that the sidebar, which scrolls a new page to its top, has the run


def open_started_run() -> None:
    """Replace the draft in the address by the run that a click on the button has started."""
    with notifying():
        if run_id := click_result(START):
            note_started_run(run_id)
            view_run(run_id)
            forget_click(START)


_HASHES = {
    RunFolder: lambda folder: folder.id,
    RunConfig: lambda config: (config.data.to_json(), config.model.block_size),  # a name is always the same text
}


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=_HASHES)
def _vocab_size(config: RunConfig, parent: RunFolder | None) -> int:
    return check_startable(shared.data_dir(), config, parent)


_LOSS = ("show_chart", N_("The loss falls"), N_("Compared with unigram, bigram and trigram baselines."))
_TEXT = ("edit_note", N_("Text appears"), N_("With the same prompt and random seed every time."))
_PREVIEW = (
    _LOSS,
    ("edit_note", N_("Words appear"), N_("Same prompt and random seed, from noise to words.")),
    ("grid_on", N_("Heads form"), N_("Which letters every attention head attends to, as it trains.")),
    ("bubble_chart", N_("Letters move"), N_("Vowels move close together on the map of the embeddings.")),
)
_PREVIEW_OF_A_TASK = (
    ("show_chart", N_("Accuracy rises"), N_("The share of training and validation problems answered right.")),
    ("edit_note", N_("Answers become right"), N_("Validation problems, answered anew as it trains, each marked.")),
    ("grid_on", N_("Heads form"), N_("Which tokens every attention head attends to, as it trains.")),
    ("bubble_chart", N_("Tokens move"), N_("Similar tokens move close together on the map of the embeddings.")),
)
_PREVIEW_OF_A_BIGRAM = ("grid_on", N_("A table fills"), N_("For every letter, the probability of each next letter."))


def _draw_preview(config: RunConfig) -> None:
    note = _("The dashboard opens immediately; the first point of the curve appears within seconds.")
    task = task_of(config.data.corpus)
    preview = _PREVIEW_OF_A_TASK if task else _PREVIEW
    if task and not task.separator:
        preview = (_LOSS, _TEXT, *preview[2:])
    with card(_("What you will see"), note):
        for column, entry in zip(st.columns(4, gap="medium"), preview, strict=True):
            is_table = config.model.kind == "bigram" and entry[0] == "grid_on"
            icon, title, text = _PREVIEW_OF_A_BIGRAM if is_table else entry
            column.markdown(f":material/{icon}: **{in_units(_(title))}**  \n{in_units(_(text))}")
