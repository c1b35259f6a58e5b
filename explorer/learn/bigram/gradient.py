"""One gradient step on one batch, under the microscope."""

import streamlit as st
import torch

from core.lessons.bigram import BLOCK, gradient_step, gradient_steps, most_frequent
from core.text.token_display import visible
from explorer.charts.bigram_lesson import before_and_after, change_heatmap
from explorer.charts.csv_export import matrix_columns
from explorer.charts.text_format import percent
from explorer.components.tokens import token_pairs, token_strip
from explorer.learn.bigram.reading import batch_of, draw_another
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets import session
from explorer.widgets.layout import card, chart, current_palette

_TAKEN = "lesson-gradient-taken"
_MOST = 20  # steps on one batch
_COLUMNS = 24
_RATES = (1, 2, 5, 10, 20, 50, 100, 200)


def _turn(by: int) -> None:
    session.remember(_TAKEN, min(_MOST, max(0, session.recall(_TAKEN, 0) + by)))


def _draw(lab: Lab) -> None:
    with card(lab.plain("panel"), key="lesson_result"):
        left, right = st.columns(2)
        with left:
            pieces = lab.value("pieces", 2, st.slider, lab.plain("control pieces"), 1, 4)
        with right:
            rate = lab.value("rate", 20, st.select_slider, lab.plain("control rate"), _RATES)
        x, y = batch_of(lab, pieces, BLOCK)
        token_pairs(x.tolist(), y.tolist(), lab.tokens, key="lesson_pairs")
        taken = session.recall(_TAKEN, 0)
        with st.container(horizontal=True, gap="small"):
            st.button(lab.word("take_step"), icon=":material/south_east:", key="lesson_down", on_click=_turn, args=(1,),
                      disabled=taken >= _MOST)  # fmt: skip
            st.button(lab.word("undo"), icon=":material/undo:", key="lesson_undo", on_click=_turn, args=(-1,),
                      disabled=not taken)  # fmt: skip
            draw_another(lab)
        seen = gradient_steps(lab.vocab_size, x, y, float(rate), taken, lab.seed)
        lab.found["batch"] = x, y, float(rate)
        if not taken:
            st.markdown(lab.say("untouched", before=f"{seen.losses[0]:.3f}"))
            return
        st.markdown(
            lab.say(
                "result", taken=taken, before=f"{seen.losses[0]:.3f}", after=f"{seen.losses[-1]:.3f}",
                moved=int(seen.changed.sum()), still=lab.vocab_size - int(seen.changed.sum()),
            )
        )  # fmt: skip
        _draw_change(lab, seen, y)
    with card(lab.plain("panel row"), key="lesson_one_row"):
        _draw_row(lab, seen, x, y)


def _draw_change(lab: Lab, seen, y: torch.Tensor) -> None:
    rows = seen.changed.nonzero().flatten().tolist()
    frequent = [lab.tokens.index(letter) for letter, _unused in most_frequent(lab.text)[:_COLUMNS]]
    columns = sorted({*frequent, *y.flatten().tolist()})
    change = (seen.after - seen.before)[rows][:, columns].numpy()
    names = [lab.tokens[id] for id in rows], [lab.tokens[id] for id in columns]
    signs = [[visible(token) for token in side] for side in names]
    chart(
        change_heatmap(change, *names, lab.plain("cell"), current_palette()), key="lesson_change", name="change",
        numbers=lambda: matrix_columns(change, *signs, ("letter", "next letter", "change")),
    )  # fmt: skip


def _draw_row(lab: Lab, seen, x: torch.Tensor, y: torch.Tensor) -> None:
    rows = {visible(lab.tokens[id]): id for id in seen.changed.nonzero().flatten().tolist()}
    row = rows[lab.value("row", next(iter(rows)), st.selectbox, lab.plain("control row"), list(rows), width=220)]
    targets = y[x == row].tolist()
    signs = [visible(token) for token in lab.tokens]
    before, after = seen.before[row].numpy(), seen.after[row].numpy()
    target = targets[0]
    st.markdown(
        lab.say(
            "row", letter=signs[row], targets=", ".join(dict.fromkeys(signs[id] for id in targets)),
            target=signs[target], before=percent(float(before[target])), after=percent(float(after[target])),
        )
    )  # fmt: skip
    chart(
        before_and_after(before, after, signs, (lab.plain("before"), lab.plain("after")), current_palette()),
        key="lesson_before_after", name="row-before-and-after",
        numbers=lambda: {"next letter": signs, "before": before, "after": after},
    )  # fmt: skip


def rows_moved(lab: Lab) -> int:
    """How many rows of the table one step on this batch changes."""
    x, y, rate = lab.found["batch"]
    return int(gradient_steps(lab.vocab_size, x, y, rate, 1, lab.seed).changed.sum())


def _show_rows(lab: Lab, given: float) -> None:
    x = lab.found["batch"][0]
    read = [lab.tokens[id] for id in sorted(set(x.flatten().tolist()))]
    id_of = {token: id for id, token in enumerate(lab.tokens)}
    st.caption(lab.plain("rows read"))
    token_strip([token if token != "\n" else "⏎" for token in read], id_of | {"⏎": id_of.get("\n")},
                note="", key="lesson_rows")  # fmt: skip


STEP = Step(
    "gradient",
    _draw,
    code=(gradient_step, gradient_steps),
    question=Question(
        answer=rows_moved,
        show=_show_rows,
        more=lambda lab: {"read": lab.found["batch"][0].numel()},
    ),
)
