"""Temperature, top-k and top-p by hand, on one distribution."""

import streamlit as st
import torch

from core.formatting import decimal
from core.interpretability.residual_stream import next_token_logits
from core.lessons.sampling_steps import keep_top_k, keep_top_p, sampling_probabilities, softmax_with_temperature
from core.text.token_display import visible
from explorer.charts.gpt_lesson import share_pairs
from explorer.charts.text_format import percent
from explorer.learn.gpt.trained import the_gpt, typed_ids
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.prompt import newline_hint

ASKED = 0.8  # the share that the question keeps
_BARS, _ROWS = 14, 8


def _draw(lab: Lab) -> bool:
    palette = current_palette()
    with card(lab.plain("panel"), key="lesson_result"):
        model = the_gpt(lab)
        if model is None:
            return False
        typed = lab.value(
            "typed", "To be or not to b", st.text_input, lab.plain("control"), max_chars=30, width=340,
            help=newline_hint(),
        )  # fmt: skip
        left, middle, right = st.columns(3)
        with left:
            temperature = lab.value("temperature", 0.7, st.slider, lab.plain("temperature"), 0.1, 2.0, step=0.1)
        with middle:
            k = lab.value("k", 0, st.slider, lab.plain("top-k"), 0, 20)
        with right:
            p = lab.value("p", 0.9, st.slider, lab.plain("top-p"), 0.05, 1.0, step=0.05)
        logits = torch.as_tensor(next_token_logits(model, typed_ids(lab, typed, 30, "the king")))  # (V,)
        own, drawn = softmax_with_temperature(logits, 1.0), sampling_probabilities(logits, temperature, k, p)
        order = own.argsort(descending=True).tolist()
        signs = [visible(lab.tokens[id]) for id in order]
        names = lab.plain("own"), lab.plain("drawn")
        shares = {names[0]: own[order].tolist(), names[1]: drawn[order].tolist()}
        chart(
            share_pairs(
                signs[:_BARS], {name: values[:_BARS] for name, values in shares.items()},
                {names[0]: palette.lines, names[1]: palette.accent}, palette,
            ),
            key="lesson_choosing", name="choosing", numbers=lambda: {"next letter": signs, **shares},
        )  # fmt: skip
        st.markdown(
            lab.say(
                "result", left=int((drawn > 0).sum()), first=signs[0], before=percent(float(own.max())),
                after=percent(float(drawn[order[0]])),
            )
        )  # fmt: skip
    with card(lab.plain("panel stages"), key="lesson_by_hand"):
        warmed = softmax_with_temperature(logits, temperature)
        kept = keep_top_k(warmed, k)
        stages = (own, warmed, kept, drawn)
        columns = ("probability", "after temperature", "after top-k", "after top-p")
        st.dataframe(
            {
                lab.plain("letter"): signs[:_ROWS],
                lab.plain("score"): [decimal(score) for score in logits[order][:_ROWS].tolist()],
                **{
                    lab.plain(name): [percent(share) for share in stage[order][:_ROWS].tolist()]
                    for name, stage in zip(columns, stages, strict=True)
                },
                lab.plain("cumulative"): [percent(share) for share in kept[order].cumsum(dim=0)[:_ROWS].tolist()],
            },
            hide_index=True, width="stretch", key="lesson_stages",
        )  # fmt: skip
        st.markdown(lab.say("stages"))
    lab.found["own"], lab.found["signs"] = own, signs
    return True


def letters_left(lab: Lab) -> int:
    """How many letters the asked top-p leaves, at temperature 1 and without top-k."""
    return int((keep_top_p(lab.found["own"], ASKED) > 0).sum())


def _show_sums(lab: Lab, given: float) -> None:
    ordered = lab.found["own"].sort(descending=True).values
    rows = min(len(ordered), letters_left(lab) + 2)
    st.dataframe(
        {
            lab.plain("letter"): lab.found["signs"][:rows],
            lab.plain("own"): [percent(share) for share in ordered[:rows].tolist()],
            lab.plain("cumulative"): [f"{share:.1%}" for share in ordered.cumsum(dim=0)[:rows].tolist()],
        },
        hide_index=True, width=420, key="lesson_sums",
    )  # fmt: skip


STEP = Step(
    "choosing",
    _draw,
    code=(softmax_with_temperature, keep_top_k, keep_top_p, sampling_probabilities),
    question=Question(answer=letters_left, show=_show_sums, more=lambda lab: {"p": ASKED}),
)
