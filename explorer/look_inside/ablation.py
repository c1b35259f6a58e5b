"""What becomes of the model when parts of it fall silent?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import streamlit as st
import torch

from core.formatting import decimal
from core.interpretability.ablation import Means, Part, ablating, loss_without, mean_activations, rank_heads
from core.interpretability.activations import read
from core.interpretability.progress import Progress, finish
from core.model import parameter_count
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import kind_of, visible
from explorer.charts.heads import costs_figure
from explorer.charts.prediction import prediction_bars
from explorer.i18n.language import later, say
from explorer.i18n.part_names import named
from explorer.look_inside.run_text import evaluation_windows, windows
from explorer.look_inside.view import Inside
from explorer.services.jobs import known, result_of
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette

HEADS, HALVES, HOW = "surgery_heads", "surgery_parts", "surgery_how"
WRITTEN, WRITTEN_LARGE = 160, 12  # tokens of text, before and after
PIECES, PIECES_LARGE = 16, 2  # windows that the loss is measured on where the run's own would take too long
_WORK = 2e10  # parameters times tokens: a second or so
GUESSES = 8
_SILENT = {"zero": later("says nothing (zero)"), "mean": later("says the usual (mean)")}


def draw(inside: Inside) -> None:
    """The switches, then text, next token and loss with and without, and what every head is worth."""
    parts, silent = _switches(inside)
    pieces = _pieces(inside)
    means = _means(inside, pieces) if silent == "mean" else None
    left, right = st.columns(2)
    with left:
        whole = _operate(inside, (), None, pieces)
        if whole:
            _outcome(inside, whole, None, pieces, say("As it is"), "whole")
    with right:
        cut = _operate(inside, tuple(parts), means, pieces) if parts and whole else None
        if cut:
            missing = ", ".join(named(str(part)) for part in parts[:4]) + (" …" if len(parts) > 4 else "")
            _outcome(inside, cut, whole, pieces, say("Without {parts}", parts=missing), "cut")
        elif not parts:
            with card(say("Without …"), height="stretch", key="card_cut"):
                st.caption(say("Nothing is silent yet. Click a head above, and here stands what is left of the model."))
    _ranking_card(inside, pieces, means, silent)


def _pieces(inside: Inside) -> torch.Tensor:
    """The run's evaluation windows, so that the loss is the one on the curve; fewer where those would take too long."""
    if _on_evaluation_windows(inside):
        return evaluation_windows(inside)
    return windows(inside, count=PIECES_LARGE if inside.large else PIECES)


def _on_evaluation_windows(inside: Inside) -> bool:
    tokens = inside.opened.record.config.train.eval_windows * inside.model.block_size
    return parameter_count(inside.model) * tokens <= _WORK


def _switches(inside: Inside) -> tuple[list[Part], str]:
    config = inside.config
    with card(
        say("Which parts fall silent?"),
        say("Click a head, an MLP or a whole block off and see what the model loses. Click it again to bring it back."),
        more=say(_HOW),
        key="card_switches",
    ):
        heads = [Part("head", layer, head) for layer in range(config.n_layer) for head in range(config.n_head)]
        kinds = ("mlp", "block") if config.feed_forward else ("block",)
        halves = [Part(kind, layer) for kind in kinds for layer in range(config.n_layer)]
        off = [*_pills(say("Heads"), heads, HEADS), *_pills(say("MLPs and blocks"), halves, HALVES)]
        with st.container(horizontal=True, vertical_alignment="center"):
            silent = st.segmented_control(
                say("How"), list(_SILENT), default="zero", required=True, key=HOW, label_visibility="collapsed",
                format_func=lambda how: say(_SILENT[how]),
            )  # fmt: skip
            st.button(
                say("Bring all back"), key="surgery_undo", disabled=not off, on_click=_bring_back, type="tertiary"
            )
    return off, silent


def _pills(label: str, parts: list[Part], key: str) -> list[Part]:
    known = {str(part): part for part in parts}
    if any(name not in known for name in st.session_state.get(key) or []):
        st.session_state[key] = []  # of another run
    chosen = st.pills(label, list(known), selection_mode="multi", key=key, format_func=named)
    return [known[name] for name in chosen]


def _bring_back() -> None:
    st.session_state[HEADS], st.session_state[HALVES] = [], []


def _outcome(
    inside: Inside, told: dict[str, Any], whole: dict[str, Any] | None, pieces: torch.Tensor, title: str, key: str
) -> None:
    """Loss, next token and text under surgery, and beside what the whole model says where it is not the whole one."""
    with card(title, height="stretch", key=f"card_{key}"):
        label = say("Validation loss (nats/token)")
        about = say("On the run's evaluation windows: the same text as for the loss curve.")
        if not _on_evaluation_windows(inside):
            label = say("Validation loss on {count} windows (nats/token)", count=len(pieces))
            about = say("On fewer windows than the loss curve, because the model is large: the two numbers differ.")
        more = told["loss"] - whole["loss"] if whole else 0.0
        st.metric(
            label,
            f"{told['loss']:.3f}",
            decimal(more, 3, plus=True) if whole else None,
            delta_color="red" if more > 0 else "green",
            delta_arrow="up" if more > 0 else "down",
            help=about,
        )
        tokens = inside.tokenizer.tokens
        figure = prediction_bars(
            told["next"],
            [visible(token) for token in tokens],
            [kind_of(token) for token in tokens],
            current_palette(),
            count=GUESSES,
        )
        chart(
            figure,
            key=f"surgery_next_{key}",
            numbers=lambda: {"token": tokens, "probability": told["next"]},
            name=f"next-{key}",
        )
        st.code(told["text"], language=None, wrap_lines=True)


def _operate(
    inside: Inside, parts: tuple[Part, ...], means: Means | None, pieces: torch.Tensor
) -> dict[str, Any] | None:
    """Loss on the pieces, next-token probabilities (V,) and a text, with some parts silent; remembered.

    A large model takes seconds, so it works beside the page, with a bar in this place: None meanwhile.
    """
    key = ("surgery", inside.prompt.text, parts, means is not None)
    if inside.large:
        what = say("Writing without them") if parts else say("Writing with all parts")
        return result_of((*key, *inside.key), lambda: _operating(inside, parts, means, pieces), what)
    return kept(inside.model, key, lambda: finish(_operating(inside, parts, means, pieces)))


def _operating(
    inside: Inside, parts: tuple[Part, ...], means: Means | None, pieces: torch.Tensor
) -> Iterator[Progress[dict[str, Any] | None]]:
    tap = ablating(inside.model, parts, means) if parts else None
    how = GenerationConfig(max_new_tokens=WRITTEN_LARGE if inside.large else WRITTEN)
    written, total = [], how.max_new_tokens + 2
    for token in generate(inside.model, inside.prompt.ids, how, tap=tap, alternatives=0):
        written.append(token.id)
        yield Progress(len(written), total, None)
    found = {
        "next": read(inside.model, torch.tensor([inside.prompt.ids]), tap)[0, -1].softmax(-1).numpy(),
        "text": inside.prompt.text + inside.tokenizer.decode(written),
    }
    yield Progress(total - 1, total, None)
    yield Progress(total, total, found | {"loss": loss_without(inside.model, pieces, parts, means)})


def _means(inside: Inside, pieces: torch.Tensor) -> Means:
    return kept(inside.model, "means", lambda: mean_activations(inside.model, pieces))


def _ranking_card(inside: Inside, pieces: torch.Tensor, means: Means | None, silent: str) -> None:
    with card(
        say("What is each head worth?"),
        say("Every head is silenced alone, and the validation loss measured on the same pieces of text."),
        key="card_costs",
    ):
        key = ("ranking", *inside.key, silent)
        if inside.large and known(key) is None and not st.button(say("Try every head (takes minutes)"), key="rank_go"):
            return
        found = result_of(key, lambda: rank_heads(inside.model, pieces, means), say("Silencing one head after another"))
        if found is None:
            return
        costs = np.full((inside.config.n_layer, inside.config.n_head), np.nan)
        for cost in found:
            costs[cost.layer, cost.head] = cost.increase
        st.caption(costs_in_words(costs))
        chart(
            costs_figure(costs, current_palette()),
            key="costs",
            numbers=lambda: {
                "layer": [cost.layer + 1 for cost in found],
                "head": [cost.head + 1 for cost in found],
                "loss without it is higher by": [cost.increase for cost in found],
            },
            name="head-costs",
        )


def costs_in_words(costs: np.ndarray) -> str:
    """The head that is missed most, and those that nobody misses."""
    layer, head = np.unravel_index(np.nanargmax(costs), costs.shape)
    spare = int((costs < 0.01).sum())
    return say(
        "Head {place} is missed most: without it the loss rises by {cost}. {spare} of {count} could go and cost less "
        "than 0.01 each.",
        place=f"{layer + 1}.{head + 1}", cost=decimal(float(costs[layer, head]), 3), spare=spare, count=costs.size,
    )  # fmt: skip


_HOW = later(
    "**Zero**: the part says nothing at all. **Mean**: it says what it says on average, whatever it reads, which "
    "leaves the rest of the model in a state it knows. Text is written from your prompt with the same dice on both "
    "sides, so every difference comes from the surgery."
)
