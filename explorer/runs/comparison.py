"""Runs: the curves of several runs in one chart, their differences, and the newest sample of each."""

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from core.palette import Palette
from explorer.charts.comparison import ACCURACY, AXES, MEASURES, averaged, comparison_columns, comparison_figure
from explorer.charts.loss import UNITS
from explorer.i18n.formatting import SETTING_LABELS, number
from explorer.i18n.language import N_, _
from explorer.services import shared
from explorer.widgets import address, run_rows
from explorer.widgets.forms import distinct_labels
from explorer.widgets.layout import card, chart, choose, current_palette, literal

_NO_TIMES = N_("Models of the gallery have no training times, so they are not drawn: {names}.")
_COMPARED = 5  # curves shown while no run is picked


def draw_comparison(rows: list[run_rows.RunRow], picked: list[run_rows.RunRow], gallery: list[run_rows.RunRow]) -> None:
    """Draw the validation losses of the picked runs and gallery models; for tasks also the accuracy.

    If no run is picked, the newest are drawn, also next to a single gallery model.
    """
    measured = [row for row in rows if row.record and row.status.val_loss is not None]
    newest = measured[:_COMPARED] if len(gallery) < 2 else []
    shown = ([row for row in picked if row in measured] or newest) + gallery
    note = _("How did the validation loss fall? Select several runs to compare them.")
    if len(shown) > 1:
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
            # If only one unit is comparable, it comes first.
            units = list(UNITS) if alike else sorted(UNITS)
            key = "compare_unit" if alike else "compare_unit_of_tokens"
            if on_tasks:
                units, key = [*units, ACCURACY], f"{key}_of_tasks"
            unit = choose(_("Unit"), units, key=key, format_func=lambda name: _(MEASURES[name]))
        if not alike and unit not in ("bits", ACCURACY):
            st.info(_("These runs have different tokens, so their losses per token do not compare. Choose bits/byte."))
            return
        shown = _with_unit(shown, unit)
        if over == "seconds":
            shown = _without(shown, [row for row in gallery if row in shown], _NO_TIMES)
        names = distinct_labels({row.id: row.name for row in shown})
        _draw_curves(shown, names, _colors(rows, gallery, current_palette()), over, unit)
        _draw_differences(shown, list(names.values()))
        if len(shown) > 1 and (picked or gallery):
            _draw_samples(shown, names)
            _draw_way_to_attention(shown)
        if len({row.record.config.data.corpus for row in shown}) > 1:
            st.caption(_("These runs train on different texts, so a lower curve may only mean an easier text."))


def _draw_curves(
    shown: list[run_rows.RunRow], names: dict[str, str], colors: dict[str, str], over: str, unit: str
) -> None:
    """Draw the curves of runs in a unit of `MEASURES`, optionally averaging runs that differ only in their seed."""
    palette = current_palette()
    curves = {row.id: run_rows.validation_of(row.folder) for row in shown}
    past = {row.id: earlier for row in shown if (earlier := run_rows.parent_curve(shared.data_dir(), row.record))}
    begins = {id: earlier.seconds if over == "seconds" else earlier.step for id, earlier in past.items()}
    drawn = {row.id: run_rows.validation_in_unit(row.folder, unit) for row in shown} if unit in UNITS else curves
    groups = _groups_over_seeds(shown)
    if groups and st.toggle(_("Mean over seeds, with a band of one standard deviation"), True, key="compare_seeds"):
        drawn, names_drawn, bands = averaged(
            drawn, names, groups, over, "val_accuracy" if unit == ACCURACY else "val_loss"
        )
    else:
        names_drawn, bands = names, {}
    figure = comparison_figure(drawn, names_drawn, colors, palette, over=over, begins=begins, unit=unit, bands=bands)
    chart(figure, key="comparison", name="comparison", numbers=lambda: comparison_columns(curves, names))
    losses = [] if unit == ACCURACY else [row["val_loss"] for rows_of in drawn.values() for row in rows_of]
    if losses and max(losses) > figure.layout.yaxis.range[1]:
        above = _("The losses of the first steps, up to {loss}, lie above the chart. A double-click shows them.",
                  loss=f"{max(losses):.2f}")  # fmt: skip
        st.caption(above)


def _groups_over_seeds(shown: list[run_rows.RunRow]) -> list[list[str]]:
    """Return groups of two or more ids of runs from scratch that differ only in their seed."""
    groups: dict[str, dict[int, str]] = {}
    for row in shown:
        if row.record.parent_step is None and not row.folder.read_only:
            same = row.config.replace({"train.seed": 0}).to_json() + (row.record.corpus_hash or "")
            groups.setdefault(same, {}).setdefault(row.config.train.seed, row.id)
    return [list(ids.values()) for ids in groups.values() if len(ids) > 1]


def _draw_way_to_attention(shown: list[run_rows.RunRow]) -> None:
    """Draw the link to Look inside with two runs side by side, if both have weights."""
    if len(shown) != 2 or not all(row.folder.has_weights for row in shown):
        return
    query = address.query_for(shown[0].id, "look_inside") | {address.OTHER_RUN: shown[1].id}
    label, icon = _("Attention patterns side by side"), ":material/compare:"
    st.page_link(address.page_file("look_inside"), label=label, query_params=query, icon=icon)


def _with_unit(shown: list[run_rows.RunRow], unit: str) -> list[run_rows.RunRow]:
    """Return the runs measured in a unit of `MEASURES`, and list the others by name."""
    missing = [row for row in shown if unit == "bits" and run_rows.run_bytes_per_token(row.folder) is None]
    why = N_("Not drawn, because they were trained before bits/byte were recorded: {names}.")
    if unit == ACCURACY:
        missing = [row for row in shown if row.status.val_accuracy is None]
        why = N_("Not drawn, because their text is not a task with right answers: {names}.")
    return _without(shown, missing, why)


def _without(shown: list[run_rows.RunRow], missing: list[run_rows.RunRow], why: str) -> list[run_rows.RunRow]:
    """Return the runs shown without the missing ones, and list the latter by name."""
    if missing:
        st.caption(_(why, names=literal(", ".join(row.name for row in missing))))
    return [row for row in shown if row not in missing]


def _colors(rows: list[run_rows.RunRow], gallery: list[run_rows.RunRow], palette: Palette) -> dict[str, str]:
    """Return a color for each run, and for each gallery model the color that the fewest runs have."""
    colors = run_rows.colors_of([row.id for row in rows], shared.data_dir(), palette)
    places = {id: palette.runs.index(color) for id, color in colors.items()}
    return {
        id: palette.runs[at] for id, at in run_rows.run_places([*colors, *(row.id for row in gallery)], places).items()
    }


def _draw_samples(shown: list[run_rows.RunRow], names: dict[str, str]) -> None:
    """Draw the newest sample of each compared run, side by side."""
    samples = {row.id: [text for sample in row.folder.rows("samples") if (text := sample.get("text"))] for row in shown}
    st.markdown(f"**{_('Newest sample')}**")
    for column, row in zip(st.columns(min(len(shown), 3) or 1) * len(shown), shown, strict=False):
        with column:
            st.caption(literal(names[row.id]))
            st.code(samples[row.id][-1] if samples[row.id] else "–", language=None, wrap_lines=True, height=170)


def _draw_differences(shown: list[run_rows.RunRow], heads: list[str]) -> None:
    if len(shown) < 2:
        return
    settings = run_rows.differing_settings([row.config for row in shown], listed_anyway=())
    settings |= _differing_origins(shown)
    if not settings:
        st.caption(_("These runs have the same settings, text, code and machine."))
        return
    titles = run_rows.corpus_titles(shared.data_dir())
    lines = {head: [] for head in heads}
    for path, values in settings.items():
        for head, value in zip(heads, values, strict=True):
            lines[head].append(titles.get(value, value) if isinstance(value, str) else value_in_table(value, path))
    st.markdown(f"**{_('What differs')}**")
    names = {_("Setting"): [_(SETTING_LABELS.get(path, path)) for path in settings]}
    st.dataframe(
        pd.DataFrame(names | lines), hide_index=True, key="compare_settings", height="content",
        column_config={head: st.column_config.TextColumn(head, width=name_width(shown)) for head in heads},
    )  # fmt: skip


def _differing_origins(shown: list[run_rows.RunRow]) -> dict[str, list[object]]:
    """Return the differences in text, code, libraries and machines of runs, by label; None if not recorded."""
    records = [row.record for row in shown]
    columns: dict[str, list[object]] = {
        N_("Hash of the text"): [(record.corpus_hash or "")[:8] or None for record in records],
        N_("Code version"): [record.versions.get("code") for record in records],
        N_("PyTorch"): [record.versions.get("torch") for record in records],
        N_("Python"): [record.versions.get("python") for record in records],
        N_("Machine"): [record.machine for record in records],
        N_("Threads"): [record.threads for record in records],
        N_("Computed in"): [record.precision for record in records],
    }
    return {label: values for label, values in columns.items() if len({*values}) > 1}


def value_in_table(value: object, path: str = "") -> str:
    """Return a setting's value as shown in a table; "" for None."""
    return "" if value is None else number(value, path)


def name_width(rows: list[run_rows.RunRow]) -> int:
    return max(104, width_of([row.name for row in rows]))


def width_of(texts: Iterable[str]) -> int:
    """Return the width in pixels that shows the longest text uncut, up to half of the table."""
    return min(26 + 8 * max(map(len, texts)), 480)
