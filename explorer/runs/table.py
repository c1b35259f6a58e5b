"""The table of all runs and the actions on the selected ones; and the table of the hosts of a cluster."""

from zlib import crc32

import pandas as pd
import streamlit as st

from core.class_records import GalleryClosed
from core.classroom import check_gallery_open
from core.errors import RunError
from core.formatting import memory_in_words
from core.runs.engines.engine import Host
from core.runs.folder import RunFolder, list_runs
from core.runs.gallery import gallery_runs
from core.runs.records import RunRecord
from core.sweeps.folder import single_runs
from core.trash import DAYS
from explorer.i18n.formatting import SETTING_LABELS, model_in_words, number, state_in_words, when_in_words
from explorer.i18n.language import N_, _, ngettext
from explorer.runs.comparison import name_width, value_in_table, width_of
from explorer.services import shared, visitors
from explorer.widgets import address, run_rows, session
from explorer.widgets.import_export import draw_exports
from explorer.widgets.layout import card, current_palette, errors_shown, literal, table_download

_COLOR = " "  # the column with each run's color
_TABLE_WIDTH = 930  # pixels for columns in a window of 1280
_WIDTHS = {_COLOR: 28, "Validation loss": 118, "Bits/byte": 90}
_LOSSES = {
    "Validation loss": N_("Validation loss in nats/token."),
    "Bits/byte": N_("Validation loss in bits/byte, which compares any tokenizers."),
}
_WAYS = {"train": N_("Open"), "look_inside": N_("Look inside"), "generate": N_("Generate")}


def without_sweeps(rows: list[run_rows.RunRow]) -> list[run_rows.RunRow]:
    """Draw a switch that shows the runs of sweeps; return the rows, without those runs unless it is on."""
    single = {folder.id for folder in single_runs(shared.data_dir(), (row.folder for row in rows))}
    if not single or len(single) == len(rows):
        return rows
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="runs_sweeps"):
        label = ngettext("Show {count} run of a sweep", "Show {count} runs of sweeps", len(rows) - len(single))
        shown = st.toggle(label, key="runs_of_sweeps")
        st.page_link(address.page_file("sweeps"), label=_("Sweeps"), icon=":material/apps:")
    return rows if shown else [row for row in rows if row.id in single]


def draw_run_table(rows: list[run_rows.RunRow]) -> list[run_rows.RunRow]:
    """Draw the table; return the picked rows in table order."""
    table = _table(rows)
    colors = run_rows.colors_of([row.id for row in rows], shared.data_dir(), current_palette())
    rows_key, ways = table_key(rows), {name: _(label) for name, label in _WAYS.items()}
    opened = {name: [row.record and (name == "train" or row.folder.has_weights) for row in rows] for name in ways}
    links = {name: [label if has else None for has in opened[name]] for name, label in ways.items()}
    widths = {name: width_of([_(name), *map(str, table[name])]) for name in table.columns} | _WIDTHS
    widths |= {"Name": name_width(rows)} | {name: 30 + 6 * len(label) for name, label in ways.items()}
    look = {name: {"label": _(name), "width": widths[name]} for name in table.columns}
    shown = _fitting([_COLOR, "Name", *ways, *table.columns[2:]], widths)
    event = st.dataframe(
        table.assign(**links).style.apply(
            lambda _unused: [f"color: {colors[row.id]}" for row in rows], subset=[_COLOR]
        ),
        key=rows_key,
        column_order=shown,
        on_select="rerun",
        selection_mode="multi-row",
        hide_index=True,
        row_height=38,
        height=min(38 * (len(rows) + 1) + 2, 460),
        placeholder="–",
        column_config={name: st.column_config.Column(**look[name]) for name in table.columns}
        | {
            name: st.column_config.NumberColumn(format="%.3f", help=_(help), **look[name])
            for name, help in _LOSSES.items()
            if name in table
        }
        | {
            name: st.column_config.ButtonColumn("", type="tertiary", key=f"{name}_{rows_key}", width=widths[name])
            for name in ways
        },
    )
    for name in ways:
        if click := st.session_state.get(f"{name}_{rows_key}"):
            address.open_page(name, rows[click.row].id)
    if hidden := len(table.columns) + len(ways) - len(shown):
        words = ngettext(
            "The eye above the table shows {count} more column.",
            "The eye above the table shows {count} more columns.",
            hidden,
        )
        st.caption(words)
    table_download(lambda: {_(name): table[name] for name in table.columns[1:]}, key="runs_table", name="runs")
    return [rows[index] for index in event.selection.rows if index < len(rows)]


def _fitting(names: list[str], widths: dict[str, int]) -> list[str]:
    """Return the columns that fit beside each other in a window of 1280 pixels; the first ones matter most."""
    fitting, left = [], _TABLE_WIDTH
    for name in names:
        if widths[name] <= left:
            fitting.append(name)
            left -= widths[name]
    return fitting


def table_key(rows: list[run_rows.RunRow]) -> str:
    """Return the table's key. A selection holds row indices, so a different list of runs needs a new table."""
    return f"runs_table_{crc32(' '.join(row.id for row in rows).encode()):x}"


def draw_actions(picked: list[run_rows.RunRow]) -> None:
    """Draw the buttons to open, rename, download and delete the picked runs."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run_actions"):
        if not picked:
            st.caption(_("Select one run to rename, export or delete it; select several to compare them."))
            return
        one = picked[0] if len(picked) == 1 else None
        if one and one.record:
            if st.button(_("Open"), type="primary", key="run_open", icon=":material/open_in_full:"):
                address.open_page("train", one.id)
            if one.folder.has_weights:
                if st.button(_("Look inside"), key="run_look", icon=":material/search:"):
                    address.open_page("look_inside", one.id)
                if st.button(_("Generate"), key="run_generate", icon=":material/edit_note:"):
                    address.open_page("generate", one.id)
            # A new name makes a new popover, which is closed.
            key = f"rename_{one.id}_{crc32(one.name.encode()):x}"
            popover = st.popover(_("Rename"), key=key, icon=":material/edit:")
            with popover, st.form(f"rename_form_{one.id}", border=False):
                st.text_input(_("New name"), one.name, max_chars=80, key=f"rename_to_{one.id}")
                # A callback, because it gets the name with which this page was drawn.
                st.form_submit_button(_("Save"), type="primary", on_click=_save_name, args=(one.folder, one.name))
        if one:
            st.link_button(_("Download"), f"api/runs/{one.id}/download", icon=":material/download:")
        if one and one.record:
            draw_exports(one.folder)
        delete = ngettext("Delete", "Delete {count} runs", len(picked))
        if st.button(delete, key="run_delete", icon=":material/delete:"):
            st.dialog(_("Delete?"))(_confirm_delete)(picked)


def picked_in_gallery() -> list[run_rows.RunRow]:
    """Return the models of the gallery that were picked for the comparison, before the gallery is drawn."""
    try:
        check_gallery_open(shared.data_dir())
    except GalleryClosed:
        return []
    return run_rows.rows_of(folder for folder in gallery_runs() if st.session_state.get(f"compare_{folder.id}"))


def draw_gallery() -> None:
    """Draw the models that come with the app, with the ways to them."""
    st.markdown(f"## {_('Gallery')}")
    st.caption(_("Trained models that come with the app. They open like your runs, and can be forked and compared."))
    with errors_shown(), st.container(horizontal=True, gap="small", key="gallery"):
        check_gallery_open(shared.data_dir())
        for folder in gallery_runs():
            with st.container(border=True, gap="xsmall", width=312, height="stretch", key=f"run_card_{folder.id}"):
                st.text(folder.name)
                model, loss = model_in_words(folder.record().config.model), folder.status().val_loss
                st.caption(_("{model}, loss {loss}", model=model, loss=f"{loss:.2f}"))
                with st.container(horizontal=True, gap="small"):
                    for page, label in _WAYS.items():
                        st.page_link(address.page_file(page), label=_(label), query_params=address.query_for(folder.id))
                st.checkbox(_("Compare"), key=f"compare_{folder.id}")


def _table(rows: list[run_rows.RunRow]) -> pd.DataFrame:
    """Return a line for each run, with few values for a damaged one; optional columns without values are dropped."""
    titles, names = run_rows.corpus_titles(shared.data_dir()), {row.id: row.name for row in rows}
    nicknames = visitors.nicknames()
    lines = []
    for row in rows:
        state = _("damaged") if row.problem else run_rows.waiting_in_words(row) or state_in_words(row.status)
        lines.append(
            {_COLOR: "●", N_("Name"): row.name, N_("State"): state, N_("Validation loss"): None, N_("Bits/byte"): None}
        )
        if nicknames:
            lines[-1][N_("Student")] = nicknames.get(row.folder.member, "")
        if record := row.record:
            config = record.config
            lines[-1] |= {
                N_("Training"): run_rows.trouble_in_words(row, short=True),
                N_("Validation loss"): row.status.val_loss,
                N_("Bits/byte"): row.status.val_bits_per_byte,
                N_("Right answers"): "" if row.status.val_accuracy is None else f"{row.status.val_accuracy:.1%}",
                N_("Step"): f"{row.status.step:,} / {row.status.steps:,}",
                N_("Model"): config.preset or config.model.kind,
                N_("Text"): titles.get(config.data.corpus, config.data.corpus),
                N_("Started"): when_in_words(record.created),
                N_("Branched from"): _origin(record, names),
            }
    columns = [_COLOR, "Name", "Student", "Validation loss", "Right answers", "State", "Step", "Training", "Text"]
    columns += ["Bits/byte", "Model", "Started", "Branched from"]
    table = pd.DataFrame({name: [line.get(name, "") for line in lines] for name in columns})
    seldom = ("Student", "Training", "Bits/byte", "Right answers", "Branched from")
    table = table.drop(columns=[name for name in seldom if not table[name].any()])
    readable = [row for row in rows if row.record]
    for path, values in run_rows.differing_settings([row.config for row in readable]).items():
        by_id = {row.id: value_in_table(value, path) for row, value in zip(readable, values, strict=True)}
        table[SETTING_LABELS[path]] = [by_id.get(row.id, "") for row in rows]
    return table


def _origin(record: RunRecord, names: dict[str, str]) -> str:
    if record.parent_step is None:
        return ""
    parent = names.get(record.parent or "") or _("a deleted run")
    return _("step {step} of {name}", step=f"{record.parent_step:,}", name=parent)


@session.notifying()
def _save_name(folder: RunFolder, name_on_page: str) -> None:
    visitors.check_may_change()
    if folder.name != name_on_page:
        name = repr(folder.name)
        raise RunError(_("This run was renamed to {name} meanwhile, so your name was not saved.", name=name))
    folder.rename(st.session_state[f"rename_to_{folder.id}"], visitors.acting_on(folder))
    session.notify(_("Renamed."))


def _confirm_delete(picked: list[run_rows.RunRow]) -> None:
    for row in picked:
        values = {"name": row.name, "state": state_in_words(row.status), "step": f"{row.status.step:,}"}
        st.text(_("{name}, {state} at step {step}", **values))
    warning = ngettext(
        "It stays in the trash for {days} days, from which it can be restored.",
        "They stay in the trash for {days} days, from which they can be restored.", len(picked), days=DAYS,
    )  # fmt: skip
    st.caption(warning)
    if any(row.going_on for row in picked):
        st.caption(_("What still trains is stopped first."))
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        if st.button(_("Cancel"), key="delete_no"):
            st.rerun()
        if st.button(_("Delete"), type="primary", key="delete_yes", on_click=_delete, args=(picked,)):
            st.rerun()


@session.notifying()
def _delete(picked: list[run_rows.RunRow]) -> None:
    for row in picked:
        if row.folder.path.exists():  # not after a second click, or if somebody else was quicker
            by = visitors.acting_on(row.folder)
            shared.supervisor_for_visitor().delete(row.folder, shown=row.status, by=by)
        if address.parameter(address.RUN) == row.id:
            address.view_run(None)
    session.notify(ngettext("Deleted.", "{count} runs deleted.", len(picked)))


def draw_hosts() -> None:
    """Draw the free resources of each host and the visitor's runs that train there; nothing without a cluster."""
    engine = shared.supervisor().engine
    hosts = engine.hosts()
    for sentence in filter(None, (engine.problem, engine.silence)):
        st.warning(literal(sentence), icon=":material/lan:")
    if not hosts:
        return
    training: dict[str, list[str]] = {}
    for run in list_runs(shared.data_dir()):
        if host := run.status().host:
            training.setdefault(host, []).append(run.name)
    rows = [_host_row(host, training.get(host.name, [])) for host in hosts]
    with card(_("Hosts"), _("What each host of the Ray cluster has, and which runs train there."), key="hosts"):
        st.dataframe(rows, hide_index=True, width="stretch", key="hosts_table")


def _host_row(host: Host, runs: list[str]) -> dict[str, str]:
    row = {
        _("Host"): host.name,
        _("Free cores"): _of(number(host.free_cpus), number(host.cpus)),
        _("Free memory"): _of(memory_in_words(int(host.free_memory)), memory_in_words(int(host.memory))),
        _("Free GPUs"): _of(number(host.free_gpus), number(host.gpus)),
    }
    return row | {_("Training"): ", ".join(runs), _("Not used because"): host.problem}


def _of(free: str, all: str) -> str:
    return _("{free} of {all}", free=free, all=all)
