"""The Train page with a run: its numbers, its curves, and everything else that changes during training."""

from collections.abc import Callable
from functools import partial
from math import ceil

import numpy as np
import streamlit as st

from core.config import RunConfig, used_settings
from core.errors import ExplorerError
from core.formatting import head_name
from core.runs.ancestry import preset_of
from core.runs.documents import progress_of
from core.runs.folder import RunFolder, open_run
from core.runs.records import RunRecord, Status
from core.runs.supervisor import Supervisor
from core.settings import differences, value_at
from core.text.tasks import task_of
from core.text.token_display import visible
from core.text.tokenizers import TOKENIZERS, load_tokenizer, opening_ids
from core.training.hardware import find_hardware
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import table_heatmap
from explorer.components.dashboard import live_loss, live_status, live_step_detail, live_view
from explorer.i18n.formatting import look_in_words, run_in_words, state_color, value_in_words
from explorer.i18n.language import N_, _, ngettext, units_of
from explorer.services import shared
from explorer.services.cost_trials import place_in_queue
from explorer.services.visitors import acting_on, visitor
from explorer.streaming.jsonl_tail import curve_rows
from explorer.train.forks import draw_fork, draw_parent, draw_trouble, open_fork_at
from explorer.train.live_settings import draw_drawer_switch, draw_live_settings
from explorer.train.time_budget import difference_in_words
from explorer.widgets.address import PART, VIEW, open_page
from explorer.widgets.import_export import draw_exports, draw_sharing
from explorer.widgets.layout import card, chart, current_palette, errors_shown, literal, show_error
from explorer.widgets.run_rows import config_of, corpus_titles, fork_verdict, parent_curve, run_bytes_per_token
from explorer.widgets.session import notifying, take_notice

_BOARD = (1.15, 1)  # shares of the width: the loss, the text and the heads beside it
_DRAWER = 0.75  # of the live settings, while they are open
_MAP_HEIGHT = 420  # pixels
_LOOK_AGAIN = 2.0  # seconds between updates of what the stream does not update
_MAX_ROWS = 120  # of a bigram's table; more would be illegible
_MACHINES = {"cpu": N_("CPU"), "cuda": N_("GPU"), "mps": N_("Apple GPU")}
_CURVES = [
    {"column": "lr", "label": N_("Learning rate"), "format": "rate"},
    {"column": "grad_norm", "label": N_("Gradient norm"), "format": "plain"},
    {"column": "tokens_per_second", "label": N_("Tokens per second"), "format": "short"},
]
_ANSWERS_NOTE = N_(
    "Problems of the validation set, never trained on, answered with the most likely tokens. A wrong answer has the "
    "right one beside it."
)
_BUTTONS = {  # by the method it calls: label, icon, and the states in which it is offered
    Supervisor.pause: (N_("Pause"), "pause", ("running",)),
    Supervisor.resume: (N_("Resume"), "play_arrow", ("paused", "stopped", "failed")),
    Supervisor.step: (N_("Run one step"), "skip_next", ("running", "paused")),
    Supervisor.stop: (N_("Stop"), "stop", ("queued", "starting", "running", "paused")),
}


def draw_board(run_id: str) -> None:
    """Draw the dashboard of a run, or an error if the run cannot be read."""
    try:
        folder = open_run(shared.data_dir(), run_id)
        record = folder.record()
    except ExplorerError as error:
        st.title(_("Train"), anchor=False)
        show_error(error)
        if st.button(_("Train a new run"), type="primary", key="train_new"):
            open_page("train")
        return
    status = folder.status()
    st.fragment(_draw_header, run_every=_LOOK_AGAIN if status.state == "queued" else None)(folder, record)
    with units_of(TOKENIZERS[record.config.data.tokenizer]):
        with st.container(key="board"):
            _draw_first_sight(folder, record, status)
        if not status.ended:
            with st.container(border=True, key="live_step_detail"):
                live_step_detail(run_id)  # below the chart, so that the chart does not move
        _draw_further(folder, record, status)
    draw_settings(folder, record)


def _draw_first_sight(folder: RunFolder, record: RunRecord, status: Status) -> None:
    """Draw the part visible without scrolling, in the heights that assets/app.css reserves from the first paint."""
    note = _(
        "How well does it predict text it does not train on? Dotted lines: all tokens equally likely, or probabilities "
        "counted from tokens, pairs and triples of the text."
    )
    if record.config.model.bigram_start:
        note += " " + _("This model starts from counted pairs, so its first loss is near the bigram baseline.")
    shares = _BOARD if folder.read_only else (*_BOARD, _DRAWER)
    left, right, *drawer = st.columns(shares, gap="small")
    for column in drawer:  # none for a run that can be forked but not trained further
        with column:
            draw_live_settings(folder)
    with left, card(_("Loss"), more=note, key="live_loss", height="stretch", corner=partial(draw_fork, folder)):
        live_loss(folder.id, status.steps, parent_curve(shared.data_dir(), record), run_bytes_per_token(folder))
        if _is_answered(record):
            _draw_accuracy(folder, status)
        if status.ended and (outcome := fork_verdict(shared.data_dir(), folder, record)):
            st.caption(outcome)
        if difference := difference_in_words(record, config_of(folder), status):
            st.caption(difference)
    with right, st.container(key="beside", gap="small"):
        title, note = (
            (_("Answers"), _(_ANSWERS_NOTE)) if _is_answered(record) else (_("Generated text"), _samples_note(folder))
        )
        with card(title, more=note, key="live_samples", height="stretch"):
            live_view("samples", folder.id, height="stretch")
        if record.config.model.kind == "gpt":
            with card(_("Attention patterns"), more=_look_note(record), key="live_attention", height="stretch"):
                if part := clicked_head(live_view("attention", folder.id, height="stretch").head):
                    open_page("look_inside", folder.id, query={VIEW: "Model", PART: part})


def clicked_head(place: object) -> str:
    """Return the name in Look inside, "head-1.2", of the head clicked as [layer, head]; "" if none was clicked."""
    match place:
        case [int(layer), int(head)]:
            return f"head-{head_name(layer, head)}"
    return ""


def _draw_accuracy(folder: RunFolder, status: Status) -> None:
    """Draw the accuracy on training and validation problems, in the colors of their losses."""
    curve = {"column": "val_accuracy", "second": "train_accuracy", "format": "share", "most": 1}
    labels = {"label": _("Validation accuracy, with training accuracy"), "secondLabel": _("Training accuracy")}
    with st.container(key="live_accuracy"):
        live_view("accuracy", folder.id, steps=status.steps, curves=[curve | labels])


def _draw_further(folder: RunFolder, record: RunRecord, status: Status) -> None:
    gpt = record.config.model.kind == "gpt"
    left, right = st.columns(_BOARD, gap="small")
    if not gpt:
        with left, card(_("Bigram table"), _look_note(record), key="live_attention", height="stretch"):
            st.fragment(_draw_table, run_every=None if status.ended else _LOOK_AGAIN)(folder)
    alike = _("Letters close together have similar next-letter probabilities.")
    if gpt:
        alike = _("Letters close together have similar embeddings.")
    with left if gpt else right, card(_("Token embeddings"), alike, key="live_embedding", height="stretch"):
        live_view("embedding", folder.id, least_height=_MAP_HEIGHT)
    with right, card(_("Learning rate, gradient norm, speed"), key="live_curves", height="stretch"):
        curves = [curve | {"label": _(curve["label"])} for curve in _CURVES]
        live_view("curves", folder.id, height="stretch", steps=status.steps, curves=curves)
    note = _(
        "What the run's seconds go to, and what would give more tokens per second. A larger batch makes steps less "
        "noisy, but fewer per minute."
    )
    with card(_("Speed"), more=note, key="live_gauge"):
        live_view("gauge", folder.id)


def _is_answered(record: RunRecord) -> bool:
    task = task_of(record.config.data.corpus)
    return bool(task and task.separator)


def _samples_note(folder: RunFolder) -> str:
    try:
        tokenizer = load_tokenizer(folder.tokenizer_path)
    except ExplorerError:  # not made yet
        return _("Same prompt, same random seed each time. Click an earlier text to open it.")
    prompt = "".join(visible(tokenizer.tokens[id]) for id in opening_ids(tokenizer))
    return literal(
        _(
            "Each text continues the prompt “{prompt}”, with the same random seed. Click an earlier text to open it.",
            prompt=prompt,
        )
    )


def _draw_header(folder: RunFolder, record: RunRecord) -> None:
    status = folder.status()
    with st.container(horizontal=True, vertical_alignment="center", key="train_header"):
        st.title(_("Train"), anchor=False, width="content")
        state = run_in_words(folder, status)
        words = literal(f"{state} · {record.name}")
        # Not st.badge: it escapes brackets again, so the name would show backslashes.
        progress = progress_of(folder, curve_rows(folder)) if status.state == "finished" else None
        color = "orange" if progress and progress.trouble else state_color(status.state)
        st.markdown(f":{color}-badge[● {words}]", width="content")
        st.space("stretch")
        _draw_buttons(folder, record, status)
        draw_sharing(folder)
        if not folder.read_only:
            draw_drawer_switch(status)
    draw_trouble(folder, status)
    if record.former_name and not visitor().is_teacher:
        names = {"by": record.changed_by, "name": record.former_name}
        st.info(literal(_("This run was renamed by {by}; it was {name}.", **names)), icon=":material/edit:")
    if notice := take_notice():
        st.warning(notice)
    machine, clip = status.host or device_label(record.config), record.config.train.grad_clip
    waits = place_in_queue(folder) if status.state == "queued" else ""
    state, step = live_status(folder.id, name=folder.name, status=status, grad_clip=clip, machine=machine, waits=waits)
    if step is not None:
        open_fork_at(folder, step)
    if state:
        st.rerun()  # the whole page: the sidebar shows the run, too


def device_label(config: RunConfig) -> str:
    """Return `CPU`, `GPU` or `Apple GPU`, the device that a run with these settings trains on."""
    wanted = config.train.device  # may be absent here if the run was imported
    return _(_MACHINES[find_hardware().device if wanted == "auto" else wanted])


def _draw_buttons(folder: RunFolder, record: RunRecord, status: Status) -> None:
    # At most one button is primary: what most people do next.
    state = status.state
    for call, (label, icon, states) in _BUTTONS.items():
        if state in states:
            kind = "primary" if call is Supervisor.resume and not status.problem else "secondary"
            options = {"key": f"train_{call.__name__}", "on_click": _tell, "args": (call, folder, status)}
            st.button(_(label), icon=f":material/{icon}:", type=kind, **options)
    if state == "finished" or (state in ("stopped", "failed") and folder.has_weights):
        if st.button(_("Generate"), key="train_generate", icon=":material/edit_note:"):
            open_page("generate", folder.id)
        kind = "primary" if state == "finished" else "secondary"
        if st.button(_("Look inside"), key="train_look", type=kind, icon=":material/search:"):
            open_page("look_inside", folder.id)
    if status.ended:
        again = _("Start a new run from these settings, which you can change first.")
        if st.button(_("Train again"), key="train_again", icon=":material/tune:", help=again):
            open_page("train", config=record.config)


@notifying()
def _tell(call: Callable[..., None], folder: RunFolder, shown: Status) -> None:
    supervisor = shared.supervisor_for_visitor()
    if call is Supervisor.stop:
        supervisor.stop(folder, shown=shown, by=acting_on(folder))
    else:
        call(supervisor, folder, shown=shown)


@errors_shown()
def _draw_table(folder: RunFolder) -> None:
    probe = folder.read_probe()
    if probe is None:
        st.caption(_("The first picture arrives with the first steps."))
        return
    tokens = load_tokenizer(folder.tokenizer_path).tokens[:_MAX_ROWS]
    logits = probe.embedding.astype(np.float32)  # (V, V): a bigram's embedding of a token is its row of logits
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares = shares[: len(tokens), : len(tokens)]
    shown = [visible(token) for token in tokens]
    names = ("token", "next token", "probability")
    figure = table_heatmap(shares, shown, current_palette())
    chart(figure, key="table", name="table", numbers=lambda: matrix_columns(shares, shown, shown, names))


def _look_note(record: RunRecord) -> str:
    model = record.config.model
    if model.kind == "gpt":
        note = _(
            "Each map is one head on a validation sentence; each row is a query. Click a head to open it at the newest "
            "saved step."
        )
        return f"{look_in_words(model.causal)} {note}"
    return _("What does it predict after each letter? Each row is the last letter, each column the next one.")


_ACROSS = 3  # settings side by side


def draw_settings(folder: RunFolder, record: RunRecord) -> None:
    """Draw the run's settings, with the differences from its preset marked, and its exports."""
    first = record.config
    config = config_of(folder)
    base = preset_of(config)
    changed = differences(first, base) | differences(config, base)
    name = config.preset or _("none")
    note = _("Preset: {name} · differences are marked", name=name) if changed else _("Preset: {name}", name=name)
    with card(_("Settings"), note, key="settings"):
        draw_parent(record)
        every = None if folder.status().ended else _LOOK_AGAIN  # the live settings are a separate fragment
        st.fragment(_draw_settings_table, run_every=every)(folder, first, base)
        if machine := machine_in_words(record):
            st.caption(literal(machine))
        draw_exports(folder)


def _draw_settings_table(folder: RunFolder, first: RunConfig, base: RunConfig) -> None:
    config = config_of(folder)
    changed = differences(first, base) | differences(config, base)
    title = corpus_titles(shared.data_dir()).get(config.data.corpus, config.data.corpus)
    rows = [f"| {_('Text')} | **{literal(title)}** |"]
    for path, setting in used_settings(config).items():
        if path != "data.corpus" and (not setting.advanced or path in changed):
            value = f"**{literal(value_in_words(path, value_at(config, path)))}**"
            others = {_("initially"): value_at(first, path), _("preset"): value_at(base, path)}
            other = next((name for name, old in others.items() if old != value_at(config, path)), None)
            usual = f" :violet-badge[{other}: {literal(value_in_words(path, others[other]))}]" if other else ""
            rows.append(f"| {_(setting.label)}{usual} | {value} |")
    share = ceil(len(rows) / _ACROSS)
    for place, column in enumerate(st.columns(_ACROSS, gap="large")):
        column.markdown("\n".join(["| | |", "|:--|--:|", *rows[place * share : (place + 1) * share]]))


def machine_in_words(record: RunRecord) -> str:
    """Return the hardware, precision and threads that a run trains with; "" before a worker has started."""
    if not record.hardware:
        return ""
    if not (record.precision and record.threads):
        return record.hardware
    computes = ngettext(
        "It computes in {precision} with {count} thread.", "It computes in {precision} with {count} threads.",
        record.threads, precision=record.precision,
    )  # fmt: skip
    return f"{record.hardware} {computes}"
