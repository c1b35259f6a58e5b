"""The table of all runs, and what can be done with those picked in it."""

from collections.abc import Iterable
from zlib import crc32

import pandas as pd
import streamlit as st

from core.errors import RunError
from core.runs.folder import RunFolder
from core.runs.gallery import gallery_runs
from core.runs.records import RunRecord
from core.trash import DAYS
from explorer.charts.comparison import ACCURACY, AXES, MEASURES, comparison_columns, comparison_figure
from explorer.charts.loss import UNITS
from explorer.i18n.formatting import model_in_words, number, state_in_words, when_in_words
from explorer.i18n.language import N_, _, ngettext
from explorer.services import shared, visitors
from explorer.widgets import address, run_rows, session
from explorer.widgets.forms import distinct_labels
from explorer.widgets.import_export import draw_exports
from explorer.widgets.layout import card, chart, choose, current_palette, literal, table_download

_COLOR = " "  # the column with each run's color
_WAYS = {"train": N_("Open"), "look_inside": N_("Look inside"), "generate": N_("Generate")}
_COMPARED = 5  # curves shown as long as none are picked


def draw_run_table(rows: list[run_rows.RunRow]) -> list[run_rows.RunRow]:
    """Draw the table; return the rows picked in it, in its order."""
    table = _table(rows)
    columns = {name: st.column_config.Column(_(name)) for name in table.columns if name != _COLOR}
    colors = run_rows.colors_of([row.id for row in rows], shared.data_dir(), current_palette())
    rows_key, ways = table_key(rows), {name: _(label) for name, label in _WAYS.items()}
    opened = {name: [row.record and (name == "train" or row.folder.has_weights) for row in rows] for name in ways}
    links = {name: [label if has else None for has in opened[name]] for name, label in ways.items()}
    rest = [name for name in table.columns[2:] if name != "Text"]  # which text tells runs apart, so it is in sight
    event = st.dataframe(
        table.assign(**links).style.apply(
            lambda _unused: [f"color: {colors[row.id]}" for row in rows], subset=[_COLOR]
        ),
        key=rows_key,
        column_order=[*table.columns[:2], *ways, *(["Text"] if "Text" in table else []), *rest],
        on_select="rerun",
        selection_mode="multi-row",
        hide_index=True,
        row_height=38,
        height=min(38 * (len(rows) + 1) + 2, 460),
        placeholder="–",
        column_config=columns
        | {
            _COLOR: st.column_config.TextColumn(width=28),
            "Validation loss": st.column_config.NumberColumn(
                _("Validation loss"), format="%.3f", help=_("Validation loss in nats/token.")
            ),
            "Bits/byte": st.column_config.NumberColumn(
                _("Bits/byte"), format="%.3f", help=_("Validation loss in bits/byte, which compares any tokenizers.")
            ),
            "Name": st.column_config.TextColumn(_("Name"), width=_name_width(rows)),
            "Text": st.column_config.TextColumn(_("Text"), width=_width(table["Text"])),
            "Step": st.column_config.TextColumn(_("Step")),
            "Training": st.column_config.TextColumn(_("Training"), width=210),
        }
        | {name: st.column_config.ButtonColumn("", type="tertiary", key=f"{name}_{rows_key}") for name in ways},
    )
    for name in ways:
        if click := st.session_state.get(f"{name}_{rows_key}"):
            address.open_page(name, rows[click.row].id)
    table_download(lambda: {_(name): table[name] for name in columns}, key="runs_table", name="runs")
    return [rows[index] for index in event.selection.rows if index < len(rows)]


def _name_width(rows: list[run_rows.RunRow]) -> int:
    return max(120, _width([row.name for row in rows]))


def _width(texts: Iterable[str]) -> int:
    """Return the pixels in which the longest of some texts is not cut, up to a half of the table."""
    return min(32 + 8 * max(map(len, texts)), 480)


def table_key(rows: list[run_rows.RunRow]) -> str:
    """Return the table's key. A selection counts rows, so another list of runs is another table."""
    return f"runs_table_{crc32(' '.join(row.id for row in rows).encode()):x}"


def draw_actions(picked: list[run_rows.RunRow]) -> None:
    """Open, rename, download and delete what is picked."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run_actions"):
        if not picked:
            st.caption(_("Select one run to open it, look inside or generate; select several to compare them."))
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
            # With another name it is another popover, and a new one is closed.
            key = f"rename_{one.id}_{crc32(one.name.encode()):x}"
            popover = st.popover(_("Rename"), key=key, icon=":material/edit:")
            with popover, st.form(f"rename_form_{one.id}", border=False):
                st.text_input(_("New name"), one.name, max_chars=80, key=f"rename_to_{one.id}")
                # A callback, because it is given the name that this page was drawn with.
                st.form_submit_button(_("Save"), type="primary", on_click=_save_name, args=(one.folder, one.name))
        if one:
            st.link_button(_("Download"), f"api/runs/{one.id}/download", icon=":material/download:")
        if one and one.record:
            draw_exports(one.folder)
        delete = ngettext("Delete", "Delete {count} runs", len(picked))
        if st.button(delete, key="run_delete", icon=":material/delete:"):
            st.dialog(_("Delete?"))(_confirm_delete)(picked)


def draw_comparison(rows: list[run_rows.RunRow], picked: list[run_rows.RunRow]) -> None:
    """Draw the validation losses of the runs picked, or of the newest; of tasks also the share of right answers."""
    measured = [row for row in rows if row.record and row.status.val_loss is not None]
    shown = [row for row in picked if row in measured] or measured[:_COMPARED]
    note = _("Which run learned best? A lower loss is better.")
    more = _(
        "2.0 nats/token is a perplexity of *e*² ≈ 7.4: as uncertain as a uniform choice among 7.4 letters. Compare "
        "losses only between runs on the same text."
    )
    on_tasks = any(row.status.val_accuracy is not None for row in shown)
    title = _("Validation loss and accuracy") if on_tasks else _("Validation loss")
    with card(title, note, more=more, key="card_comparison"):
        if not shown:
            st.caption(_("The curves appear after the first evaluation of a run."))
            return
        alike = run_rows.losses_compare(shown)
        with st.container(horizontal=True):
            over = choose(_("Horizontal axis"), list(AXES), key="compare_over", format_func=lambda name: _(AXES[name]))
            # Where only one unit compares, it is the first.
            units = list(UNITS) if alike else sorted(UNITS)
            key = "compare_unit" if alike else "compare_unit_of_tokens"
            if on_tasks:
                units, key = [*units, ACCURACY], f"{key}_of_tasks"
            unit = choose(_("Unit"), units, key=key, format_func=lambda name: _(MEASURES[name]))
        if not alike and unit not in ("bits", ACCURACY):
            st.info(_("These runs have different tokens, so their losses per token do not compare. Choose bits/byte."))
            return
        shown = _with_unit(shown, unit)
        palette = current_palette()
        colors = run_rows.colors_of([row.id for row in rows], shared.data_dir(), palette)
        curves = {row.id: run_rows.validation_of(row.folder) for row in shown}
        names = distinct_labels({row.id: row.name for row in shown})
        past = {row.id: earlier for row in shown if (earlier := run_rows.parent_curve(shared.data_dir(), row.record))}
        begins = {id: earlier.seconds if over == "seconds" else earlier.step for id, earlier in past.items()}
        drawn = {row.id: run_rows.validation_in_unit(row.folder, unit) for row in shown} if unit in UNITS else curves
        figure = comparison_figure(drawn, names, colors, palette, over=over, begins=begins, unit=unit)
        chart(figure, key="comparison", name="comparison", numbers=lambda: comparison_columns(curves, names))
        _draw_differences(shown, list(names.values()))
        if len(picked) > 1:
            _draw_samples(shown, names)
        if len({row.record.config.data.corpus for row in shown}) > 1:
            st.caption(_("These runs train on different texts, so a lower curve may only mean an easier text."))


def _with_unit(shown: list[run_rows.RunRow], unit: str) -> list[run_rows.RunRow]:
    """Return the runs that are known in a unit of `MEASURES`, and name the others."""
    missing = [row for row in shown if unit == "bits" and run_rows.run_bytes_per_token(row.folder) is None]
    why = N_("Trained before bits/byte were recorded, so not drawn: {names}.")
    if unit == ACCURACY:
        missing = [row for row in shown if row.status.val_accuracy is None]
        why = N_("Trained on no task, so without right answers and not drawn: {names}.")
    if missing:
        st.caption(_(why, names=literal(", ".join(row.name for row in missing))))
    return [row for row in shown if row not in missing]


def _draw_samples(shown: list[run_rows.RunRow], names: dict[str, str]) -> None:
    """Draw what each of the runs compared wrote last, side by side."""
    samples = {row.id: [text for sample in row.folder.rows("samples") if (text := sample.get("text"))] for row in shown}
    st.markdown(f"**{_('Newest sample')}**")
    for column, row in zip(st.columns(min(len(shown), 3) or 1) * len(shown), shown, strict=False):
        with column:
            st.caption(literal(names[row.id]))
            st.code(samples[row.id][-1] if samples[row.id] else "–", language=None, wrap_lines=True, height=170)


def draw_gallery() -> None:
    """Draw the models that come with the app, with the ways to them."""
    st.markdown(f"## {_('Gallery')}")
    st.caption(_("Trained models that come with the app. They open like your runs, and can be forked."))
    with st.container(horizontal=True, gap="small", key="gallery"):
        for folder in gallery_runs():
            with st.container(border=True, gap="xsmall", width=312, height="stretch", key=f"run_card_{folder.id}"):
                st.text(folder.name)
                model, loss = model_in_words(folder.record().config.model), folder.status().val_loss
                st.caption(_("{model}, loss {loss}", model=model, loss=f"{loss:.2f}"))
                with st.container(horizontal=True, gap="small"):
                    for page, label in _WAYS.items():
                        st.page_link(address.page_file(page), label=_(label), query_params=address.query_for(folder.id))


def _draw_differences(shown: list[run_rows.RunRow], heads: list[str]) -> None:
    if len(shown) < 2:
        return
    settings = run_rows.differing_settings([row.config for row in shown], listed_anyway=())
    if not settings:
        st.caption(_("These runs have the same settings."))
        return
    titles = run_rows.corpus_titles(shared.data_dir())
    lines = {head: [] for head in heads}
    for values in settings.values():
        for head, value in zip(heads, values, strict=True):
            lines[head].append(titles.get(value, value) if isinstance(value, str) else _value(value))
    st.markdown(f"**{_('Settings that differ')}**")
    names = {_("Setting"): [_(label) for label in settings]}
    st.dataframe(
        pd.DataFrame(names | lines), hide_index=True, key="compare_settings",
        column_config={head: st.column_config.TextColumn(head, width=_name_width(shown)) for head in heads},
    )  # fmt: skip


def _table(rows: list[run_rows.RunRow]) -> pd.DataFrame:
    """Return a line for each run, with little of a damaged one; what is empty for all, and may be, has no column."""
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
    measures = ["Training", "Validation loss", "Bits/byte", "Right answers"]
    columns = [_COLOR, "Name", "Student", "State", *measures, "Step", "Model", "Text", "Started"]
    table = pd.DataFrame({name: [line.get(name, "") for line in lines] for name in [*columns, "Branched from"]})
    seldom = ("Student", "Training", "Bits/byte", "Right answers", "Branched from")
    table = table.drop(columns=[name for name in seldom if not table[name].any()])
    readable = [row for row in rows if row.record]
    for label, values in run_rows.differing_settings([row.config for row in readable]).items():
        known = {row.id: _value(value) for row, value in zip(readable, values, strict=True)}
        table[label] = [known.get(row.id, "") for row in rows]
    return table


def _origin(record: RunRecord, names: dict[str, str]) -> str:
    if record.parent_step is None:
        return ""
    parent = names.get(record.parent or "") or _("a deleted run")
    return _("step {step} of {name}", step=f"{record.parent_step:,}", name=parent)


def _value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return number(value)
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


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
        "It lies in the bin for {days} days, from which it can be restored.",
        "They lie in the bin for {days} days, from which they can be restored.", len(picked), days=DAYS,
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
        if row.folder.path.exists():  # a second click, or somebody else was quicker
            by = visitors.acting_on(row.folder)
            shared.supervisor_for_visitor().delete(row.folder, shown=row.status, by=by)
        if address.parameter(address.RUN) == row.id:
            address.view_run(None)
    session.notify(ngettext("Deleted.", "{count} runs deleted.", len(picked)))
