"""Sampling settings, and greedy decoding."""

import streamlit as st
import torch

from core.formatting import decimal
from core.interpretability.residual_stream import next_token_logits
from core.lessons.sampling_steps import (
    keep_top_k,
    keep_top_p,
    mean_of,
    sample_text,
    sampling_probabilities,
    share_of_repeats,
    softmax_with_temperature,
)
from explorer.charts.text_format import percent
from explorer.learn.gpt.trained import the_gpt, typed_ids
from explorer.learn.state import StepState
from explorer.learn.steps import Step, draw_curves, draw_shares, draw_table, redraw_button
from explorer.widgets.layout import card, current_palette
from explorer.widgets.prompt import newline_hint

QUESTION_TOP_P = 0.8  # in the question
_SHOWN_BARS, _SHOWN_ROWS = 14, 8


def _draw_sampling(state: StepState) -> None:
    palette = current_palette()
    with card(state.label("panel"), key="lesson_result"):
        model = the_gpt(state)
        typed = state.value(
            "typed", "To be or not to b", st.text_input, "control", max_chars=30, width=340,
            help=newline_hint(),
        )  # fmt: skip
        left, middle, right = st.columns(3)
        temperature = state.value("temperature", 0.7, left.slider, "temperature", 0.1, 2.0, step=0.1)
        k = state.value("k", 0, middle.slider, "top-k", 0, 20)
        p = state.value("p", 0.9, right.slider, "top-p", 0.05, 1.0, step=0.05)
        logits = torch.as_tensor(next_token_logits(model, typed_ids(state, typed, 30, "the king")))  # (V,)
        model_probabilities = softmax_with_temperature(logits, 1.0)
        drawn = sampling_probabilities(logits, temperature, k, p)
        order = model_probabilities.argsort(descending=True).tolist()
        shown_tokens = [state.shown_tokens[id] for id in order]
        names = state.label("own"), state.label("drawn")
        shares = {names[0]: model_probabilities[order].tolist(), names[1]: drawn[order].tolist()}
        draw_shares(
            shown_tokens, shares, (palette.lines, palette.accent), ("next character", *shares),
            key="lesson_choosing", name="choosing", most=_SHOWN_BARS,
        )  # fmt: skip
        state.write(
            "result",
            left=int((drawn > 0).sum()),
            first=shown_tokens[0],
            before=percent(float(model_probabilities.max())),
            after=percent(float(drawn[order[0]])),
        )
    with card(state.label("panel stages"), key="lesson_by_hand"):
        after_temperature = softmax_with_temperature(logits, temperature)
        stages = {
            "probability": model_probabilities[order],
            "after temperature": after_temperature[order],
            "after top-k": keep_top_k(after_temperature, k)[order],
            "after top-p": drawn[order],
        }
        _draw_stages(state, shown_tokens, logits[order], stages)
        state.write("stages")
    state.results["probabilities"], state.results["shown_tokens"] = model_probabilities, shown_tokens


def _draw_stages(
    state: StepState, shown_tokens: list[str], logits: torch.Tensor, stages: dict[str, torch.Tensor]
) -> None:
    def column(shares: torch.Tensor) -> list[str]:
        return [percent(share) for share in shares[:_SHOWN_ROWS].tolist()]

    rows = {"letter": shown_tokens[:_SHOWN_ROWS], "score": list(map(decimal, logits[:_SHOWN_ROWS].tolist()))}
    rows |= {name: column(stage) for name, stage in stages.items()}
    draw_table(state, "lesson_stages", rows | {"cumulative": column(stages["after top-k"].cumsum(dim=0))})


def _tokens_left(state: StepState) -> int:
    return int((keep_top_p(state.results["probabilities"], QUESTION_TOP_P) > 0).sum())


def _show_cumulative(state: StepState, response: float) -> None:
    ordered = state.results["probabilities"].sort(descending=True).values
    rows = min(len(ordered), _tokens_left(state) + 2)
    columns = {
        "letter": state.results["shown_tokens"][:rows],
        "own": [percent(share) for share in ordered[:rows].tolist()],
        "cumulative": [f"{share:.1%}" for share in ordered.cumsum(dim=0)[:rows].tolist()],
    }
    draw_table(state, "lesson_sums", columns, 420)


SAMPLING = Step(
    "choosing",
    _draw_sampling,
    code=(softmax_with_temperature, keep_top_k, keep_top_p, sampling_probabilities),
    answer=_tokens_left,
    show=_show_cumulative,
    more=lambda state: {"p": QUESTION_TOP_P},
)


_SAMPLE_LENGTH = 300
_DRAW_COUNT = "lesson-likeliest-drawn"
_AVERAGED_TOKENS = 20  # letters


def _draw_likeliest(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        model = the_gpt(state)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            typed = state.value(
                "start", "To be", st.text_input, "control", max_chars=30, width=220, help=newline_hint()
            )
            temperature = state.value("temperature", 0.8, st.slider, "temperature", 0.1, 2.0, step=0.1, width=240)
            draw_count = redraw_button(state, _DRAW_COUNT)
        prompt = state.tokenizer.decode(typed_ids(state, typed, 30, "the king"))
        samples = {
            name: sample_text(model, state.tokenizer, prompt, _SAMPLE_LENGTH, how, seed=1 + draw_count)
            for name, how in (("likeliest", 0.0), ("sampled", temperature))
        }
        for column, (name, (text, probabilities)) in zip(st.columns(2), samples.items(), strict=True):
            with column:
                st.markdown(f"**{state.label(name)}**")
                st.code(prompt + text, language=None, wrap_lines=True, height=240)
                state.write("statistics", mean=percent(mean_of(probabilities)), repeats=percent(share_of_repeats(text)))
    with card(state.label("panel probability"), key="lesson_held"):
        palette = current_palette()
        lines = {state.label(name): _smooth(probabilities) for name, (_unused, probabilities) in samples.items()}
        titles = state.label("axis letter"), state.label("axis probability")
        draw_curves(
            range(_AVERAGED_TOKENS, _SAMPLE_LENGTH + 1), lines, (palette.bad, palette.accent), titles,
            ("letter", *lines), key="lesson_held_curve", name="held", hover=".0%", height=230,
            yaxis={"tickformat": ".0%", "range": [0, 1.02]},
        )  # fmt: skip
        state.write("result")
    state.results["means"] = {name: mean_of(probabilities) for name, (_unused, probabilities) in samples.items()}


def _smooth(probabilities: list[float]) -> list[float]:
    return [
        mean_of(probabilities[end - _AVERAGED_TOKENS : end]) for end in range(_AVERAGED_TOKENS, len(probabilities) + 1)
    ]


def _show_means(state: StepState, response: str) -> None:
    means = {state.label(name): mean for name, mean in state.results["means"].items()}
    draw_shares(
        list(means), {state.label("axis probability"): list(means.values())}, [current_palette().accent],
        ("text", "belief"), key="lesson_held_means", name="belief", height=220,
    )  # fmt: skip
    state.write("see")


LIKELIEST = Step(
    "likeliest",
    _draw_likeliest,
    code=(sample_text, mean_of, share_of_repeats),
    answer=lambda state: max(state.results["means"], key=state.results["means"].get),
    named=lambda state: ["likeliest", "sampled"],
    show=_show_means,
    more=lambda state: {f"of_{name}": percent(mean) for name, mean in state.results["means"].items()},
)
