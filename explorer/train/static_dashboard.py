"""The board where the server has no live streams (`streamlit run`): the same questions, answered when asked again."""

from functools import partial

import streamlit as st

from core.formatting import duration_in_words
from core.runs.documents import progress_of
from core.text.token_display import visible
from core.training.progress_summary import SENTENCES
from explorer.charts.loss import loss_columns, loss_figure
from explorer.charts.setting_changes import Mark
from explorer.components.attention import attention_board
from explorer.components.dashboard import live_step_detail
from explorer.i18n.formatting import loss_in_words, turn_in_words
from explorer.i18n.language import _
from explorer.services import shared
from explorer.streaming.curves import curve_rows
from explorer.streaming.step_detail import read_step_detail
from explorer.train.dashboard import draw_table, draw_title, look_title, open_on_view
from explorer.train.details import draw_settings
from explorer.train.forks import draw_fork
from explorer.train.live_settings import draw_knobs
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.lineage import before


def draw_still_board(run_id: str) -> None:
    """What the run folder says now, and a button to look again."""
    opened = open_on_view(run_id)
    if opened is None:
        return
    folder, record = opened
    status = folder.status()
    draw_title(folder, record, status)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(
            _("This server has no live streams, so the board stands still. `make run` starts the one that has them.")
        )
        st.button(_("Look again"), key="train_refresh", icon=":material/refresh:")
    numbers = st.columns(3, gap="small")
    loss = "–" if status.val_loss is None else f"{status.val_loss:.2f}"
    uniform = (folder.read_baselines() or {}).get("uniform")
    meaning = None if status.val_loss is None else loss_in_words(status.val_loss, uniform=uniform)
    numbers[0].metric(_("Validation loss"), loss, meaning, delta_color="off", delta_arrow="off", border=True)
    speed = "–" if status.tokens_per_second is None else f"{status.tokens_per_second:,.0f}"
    numbers[1].metric(_("Speed"), speed, _("letters a second"), delta_color="off", delta_arrow="off", border=True)
    left = "" if status.seconds_left is None else _("{time} left", time=duration_in_words(status.seconds_left))
    step = _("{step} of {steps}", step=f"{status.step:,}", steps=f"{status.steps:,}")
    numbers[2].metric(_("Step"), step, left, delta_color="off", delta_arrow="off", border=True)
    if told := progress_of(folder, curve_rows(folder)):
        (st.warning if told.trouble else st.caption)(_(SENTENCES[told.kind], **told.numbers))
    step_detail = read_step_detail(folder) if status.state == "paused" else None
    side, main = st.columns([1, 2.9], gap="small")
    with side:
        draw_knobs(folder)
    with main:
        corner = partial(draw_fork, folder)
        with card(_("How surprised is it by text it has not seen?"), key="live_loss", corner=corner):
            marks = [
                Mark(row["step"], turn_in_words(row["knob"], row.get("before"), row["value"]))
                for row in folder.read_events()
                if row.get("kind") == "turn"
            ]
            figure = loss_figure(
                curve_rows(folder),
                folder.read_baselines(),
                status.steps,
                current_palette(),
                marks=marks,
                before=before(shared.data_dir(), record),
            )
            chart(figure, key="loss", numbers=lambda: loss_columns(curve_rows(folder)), name="loss")
        if step_detail and step_detail["step"] == status.step:
            with st.container(border=True, key="live_closeup"):
                live_step_detail(None, step_detail)
        with card(_("What does it write?"), key="live_samples"):
            for row in reversed(folder.read_samples()[-5:]):
                st.caption(_("step {step}", step=f"{row['step']:,}"))
                st.code(row["text"].strip(), language=None, wrap_lines=True)
    with card(look_title(record), key="live_attention"):
        probe = folder.read_probe()
        if record.config.model.kind == "bigram":
            draw_table(folder)
        elif probe is None:
            st.caption(_("The first picture arrives with the first steps."))
        else:
            attention_board(probe.attention, [visible(token) for token in probe.tokens], key="still_attention")
    draw_settings(folder, record)
