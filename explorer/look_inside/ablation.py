"""What becomes of the model when parts of it fall silent?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import streamlit as st
import torch

from core.formatting import decimal
from core.interpretability import Progress, finish
from core.interpretability.ablation import Means, Part, ablating, loss_without, mean_activations, rank_heads
from core.interpretability.activations import read
from core.model import parameter_count
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import kind_of, visible
from explorer.charts.heads import costs_figure
from explorer.charts.prediction import prediction_bars
from explorer.i18n.language import N_, _
from explorer.i18n.part_names import named
from explorer.look_inside.run_text import evaluation_windows, windows
from explorer.look_inside.view import Inspection
from explorer.services.jobs import known, result_of
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette

HEADS, HALVES, HOW = "surgery_heads", "surgery_parts", "surgery_how"
WRITTEN, WRITTEN_LARGE = 160, 12  # tokens of text, before and after
PIECES, PIECES_LARGE = 16, 2  # windows that the loss is measured on where the run's own would take too long
_WORK = 2e10  # parameters times tokens: a second or so
GUESSES = 8
_SILENT = {"zero": N_("says nothing (zero)"), "mean": N_("says the usual (mean)")}


def draw(inspection: Inspection) -> None:
    """The switches, then text, next token and loss with and without, and what every head is worth."""
    parts, silent = _switches(inspection)
    pieces = _pieces(inspection)
    means = _means(inspection, pieces) if silent == "mean" else None
    left, right = st.columns(2)
    with left:
        whole = _operate(inspection, (), None, pieces)
        if whole:
            _outcome(inspection, whole, None, pieces, _("As it is"), "whole")
    with right:
        cut = _operate(inspection, tuple(parts), means, pieces) if parts and whole else None
        if cut:
            missing = ", ".join(named(str(part)) for part in parts[:4]) + (" …" if len(parts) > 4 else "")
            _outcome(inspection, cut, whole, pieces, _("Without {parts}", parts=missing), "cut")
        elif not parts:
            with card(_("Without …"), height="stretch", key="card_cut"):
                st.caption(_("Nothing is silent yet. Click a head above, and here stands what is left of the model."))
    _ranking_card(inspection, pieces, means, silent)


def _pieces(inspection: Inspection) -> torch.Tensor:
    """The run's evaluation windows, so that the loss is the one on the curve; fewer where those would take too long."""
    if _on_evaluation_windows(inspection):
        return evaluation_windows(inspection)
    return windows(inspection, count=PIECES_LARGE if inspection.large else PIECES)


def _on_evaluation_windows(inspection: Inspection) -> bool:
    tokens = inspection.opened.record.config.train.eval_windows * inspection.model.block_size
    return parameter_count(inspection.model) * tokens <= _WORK


def _switches(inspection: Inspection) -> tuple[list[Part], str]:
    config = inspection.config
    with card(
        _("Which parts fall silent?"),
        _("Click a head, an MLP or a whole block off and see what the model loses. Click it again to bring it back."),
        more=_(_HOW),
        key="card_switches",
    ):
        heads = [Part("head", layer, head) for layer in range(config.n_layer) for head in range(config.n_head)]
        kinds = ("mlp", "block") if config.feed_forward else ("block",)
        halves = [Part(kind, layer) for kind in kinds for layer in range(config.n_layer)]
        off = [*_pills(_("Heads"), heads, HEADS), *_pills(_("MLPs and blocks"), halves, HALVES)]
        with st.container(horizontal=True, vertical_alignment="center"):
            silent = st.segmented_control(
                _("How"), list(_SILENT), default="zero", required=True, key=HOW, label_visibility="collapsed",
                format_func=lambda how: _(_SILENT[how]),
            )  # fmt: skip
            st.button(_("Bring all back"), key="surgery_undo", disabled=not off, on_click=_bring_back, type="tertiary")
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
    inspection: Inspection,
    told: dict[str, Any],
    whole: dict[str, Any] | None,
    pieces: torch.Tensor,
    title: str,
    key: str,
) -> None:
    """Loss, next token and text under surgery, and beside what the whole model says where it is not the whole one."""
    with card(title, height="stretch", key=f"card_{key}"):
        label = _("Validation loss (nats/token)")
        about = _("On the run's evaluation windows: the same text as for the loss curve.")
        if not _on_evaluation_windows(inspection):
            label = _("Validation loss on {count} windows (nats/token)", count=len(pieces))
            about = _("On fewer windows than the loss curve, because the model is large: the two numbers differ.")
        more = told["loss"] - whole["loss"] if whole else 0.0
        st.metric(
            label,
            f"{told['loss']:.3f}",
            decimal(more, 3, plus=True) if whole else None,
            delta_color="red" if more > 0 else "green",
            delta_arrow="up" if more > 0 else "down",
            help=about,
        )
        tokens = inspection.tokenizer.tokens
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
    inspection: Inspection, parts: tuple[Part, ...], means: Means | None, pieces: torch.Tensor
) -> dict[str, Any] | None:
    """Loss on the pieces, next-token probabilities (V,) and a text, with some parts silent; remembered.

    A large model takes seconds, so it works beside the page, with a bar in this place: None meanwhile.
    """
    key = ("surgery", inspection.prompt.text, parts, means is not None)
    if inspection.large:
        what = _("Writing without them") if parts else _("Writing with all parts")
        return result_of((*key, *inspection.key), lambda: _operating(inspection, parts, means, pieces), what)
    return kept(inspection.model, key, lambda: finish(_operating(inspection, parts, means, pieces)))


def _operating(
    inspection: Inspection, parts: tuple[Part, ...], means: Means | None, pieces: torch.Tensor
) -> Iterator[Progress[dict[str, Any] | None]]:
    hook = ablating(inspection.model, parts, means) if parts else None
    how = GenerationConfig(max_new_tokens=WRITTEN_LARGE if inspection.large else WRITTEN)
    written, total = [], how.max_new_tokens + 2
    for token in generate(inspection.model, inspection.prompt.ids, how, hook=hook, alternatives=0):
        written.append(token.id)
        yield Progress(len(written), total, None)
    found = {
        "next": read(inspection.model, torch.tensor([inspection.prompt.ids]), hook)[0, -1].softmax(-1).numpy(),
        "text": inspection.prompt.text + inspection.tokenizer.decode(written),
    }
    yield Progress(total - 1, total, None)
    yield Progress(total, total, found | {"loss": loss_without(inspection.model, pieces, parts, means)})


def _means(inspection: Inspection, pieces: torch.Tensor) -> Means:
    return kept(inspection.model, "means", lambda: mean_activations(inspection.model, pieces))


def _ranking_card(inspection: Inspection, pieces: torch.Tensor, means: Means | None, silent: str) -> None:
    with card(
        _("What is each head worth?"),
        _("Every head is silenced alone, and the validation loss measured on the same pieces of text."),
        key="card_costs",
    ):
        key = ("ranking", *inspection.key, silent)
        if (
            inspection.large
            and known(key) is None
            and not st.button(_("Try every head (takes minutes)"), key="rank_go")
        ):
            return
        found = result_of(
            key, lambda: rank_heads(inspection.model, pieces, means), _("Silencing one head after another")
        )
        if found is None:
            return
        costs = np.full((inspection.config.n_layer, inspection.config.n_head), np.nan)
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
    return _(
        "Head {place} is missed most: without it the loss rises by {cost}. {spare} of {count} could go and cost less "
        "than 0.01 each.",
        place=f"{layer + 1}.{head + 1}", cost=decimal(float(costs[layer, head]), 3), spare=spare, count=costs.size,
    )  # fmt: skip


_HOW = N_(
    "**Zero**: the part says nothing at all. **Mean**: it says what it says on average, whatever it reads, which "
    "leaves the rest of the model in a state it knows. Text is written from your prompt with the same dice on both "
    "sides, so every difference comes from the surgery."
)
