"""What does the model lose without some of its parts?"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import streamlit as st
import torch

from core.formatting import decimal, head_name
from core.interpretability import Progress, finish
from core.interpretability.ablation import Means, Part, ablated_loss, ablation_hook, mean_activations, rank_heads
from core.interpretability.activations import compute_logits
from core.model import parameter_count
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import kind_of, visible
from explorer.charts.bars import prediction_bars
from explorer.charts.heads import costs_figure
from explorer.i18n.formatting import named
from explorer.i18n.language import N_, _, ngettext
from explorer.look_inside.inspection import Inspection, chosen_head
from explorer.look_inside.run_text import WORK, answers_in, windows
from explorer.services.jobs import known
from explorer.services.shared import result_for
from explorer.widgets import address, session
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, choose, current_palette, errors_shown

VIEW = "Surgery"  # in the address
HEADS, HALVES, METHOD = "ablated_heads", "ablated_parts", "ablation_method"
_ONE_HEAD = "ablated_head"  # in the session: the run and the head that is ablated beside its attention pattern
_HEAD_FOLLOWED = "ablation_head"  # in the session: the head that was last selected in another view
GENERATED, GENERATED_BY_LARGE = 160, 12  # tokens of text, with and without the parts
WINDOWS, WINDOWS_OF_LARGE = 16, 2  # for the loss, if the run's own windows would take too long
GUESSES = 8
_TEXT_HEIGHT = 190  # pixels: loss and text are visible beside the choice at 1280 x 720
_MANY_HEADS, _PILLS_HEIGHT = 24, 320  # above how many heads the list scrolls, and its height in pixels
_METHODS = {"zero": N_("Zero"), "mean": N_("Mean")}
_HELP = N_(
    "**Zero ablation** replaces a part's output by zeros, **mean ablation** by its mean over validation text. Both "
    "texts use the same seed, so every difference comes from the ablation."
)


Effect = tuple[float, np.ndarray, str]  # loss in nats/token, probabilities (V,) of the next token, text


def draw(inspection: Inspection) -> None:
    """Draw the parts to ablate, then loss, next token and text with and without them, and the cost of each head."""
    choice, left, right = st.columns([7, 9, 9])
    with choice:
        parts, method = _choose_parts(inspection)
    (measured_on, *about), model = _measured(inspection), inspection.model
    means = result_for(model, "means", lambda: mean_activations(model, measured_on)) if method == "mean" else None
    with left:
        unablated = _effect(inspection, (), None, measured_on)
        if unablated:
            _effect_card(inspection, unablated, None, about, _("All parts"), "whole")
    with right:
        names = ", ".join(named(str(part)) for part in parts[:4]) + (" …" if len(parts) > 4 else "")
        if not parts:
            with card(_("Without …"), height="stretch", key="card_cut"):
                st.caption(_("Select parts to see the model without them."))
        elif unablated and (ablated := _effect(inspection, tuple(parts), means, measured_on)):
            _effect_card(inspection, ablated, unablated, about, _("Without {parts}", parts=names), "cut")
    _costs_card(inspection, measured_on, means, method)


def draw_head_buttons(inspection: Inspection, head: Part) -> None:
    """Draw the button that ablates the current head; once ablated, the buttons to restore it and to open this view."""
    own, ablated = (inspection.folder.id, head), session.recall(_ONE_HEAD)
    with st.container(horizontal=True, vertical_alignment="center", width="content"):
        if ablated == own:
            restore = {"on_click": session.remember, "args": (_ONE_HEAD, None), "icon": ":material/undo:"}
            st.button(_("Restore"), key="head_restore", **restore)
            st.button(_("Open in Ablation"), key="open_ablation", type="tertiary", on_click=_open_view, args=(head,))
        else:
            ablate = {"on_click": session.remember, "args": (_ONE_HEAD, own), "icon": ":material/content_cut:"}
            st.button(_("Ablate this head"), key="head_ablate", **ablate)


def draw_head_effect(inspection: Inspection, head: Part) -> None:
    """If the current head is ablated, draw the loss and the greedy continuation with and without it."""
    if session.recall(_ONE_HEAD) != (inspection.folder.id, head):
        return
    with errors_shown(), st.container(key="head_effect"):  # the run's text may be gone
        measured_on, *about = _measured(inspection)
        unablated = _effect(inspection, (), None, measured_on, greedy=True)
        ablated = unablated and _effect(inspection, (head,), None, measured_on, greedy=True)
        if not unablated or not ablated:
            return
        losses, texts, name = st.columns(2), st.columns(2), named(str(head))
        for place, (title, effect) in enumerate(((_("With {part}", part=name), unablated),
                                                 (_("Without {part}", part=name), ablated))):  # fmt: skip
            with losses[place]:
                st.markdown(f"**{title}**")
                _loss_metric(effect[0], unablated[0] if place else None, about)
            texts[place].code(effect[2], language=None, wrap_lines=True, height=130)
        words = ngettext(
            "Both losses are of the same {count} token of validation text; both texts take the most likely token each "
            "time. Ablated, the head's output is 0.",
            "Both losses are of the same {count} tokens of validation text; both texts take the most likely token each "
            "time. Ablated, the head's output is 0.",
            measured_on[:, 1:].numel(),
        )  # fmt: skip
        st.caption(words)


def _open_view(head: Part) -> None:
    st.session_state[HEADS], st.session_state[HALVES] = [str(head)], []
    address.write({address.VIEW: VIEW})


def _measured(inspection: Inspection) -> tuple[torch.Tensor, str, str]:
    """Return the windows that the loss is measured on, the label of this loss, and an explanation."""
    count, length = inspection.opened.record.config.train.eval_windows, inspection.model.block_size
    if parameter_count(inspection.model) * count * length <= WORK:
        about = _("On the run's evaluation windows: the same text as for the loss curve.")
        return windows(inspection, length, count), _("Validation loss (nats/token)"), about
    few = windows(inspection, count=WINDOWS_OF_LARGE if inspection.large else WINDOWS)
    label = ngettext(
        "Validation loss on {count} window (nats/token)", "Validation loss on {count} windows (nats/token)", len(few)
    )
    about = _("On fewer windows than the loss curve, because the model is large: the two numbers differ.")
    return few, label, about


def _choose_parts(inspection: Inspection) -> tuple[list[Part], str]:
    config = inspection.config
    _follow_head(inspection)
    note = _("Select heads, MLPs or whole blocks.")
    with card(_("Ablated parts"), note, more=_(_HELP), key="card_switches"):
        heads = [Part("head", layer, head) for layer in range(config.n_layer) for head in range(config.n_head)]
        kinds = ("mlp", "block") if config.feed_forward else ("block",)
        halves = [Part(kind, layer) for kind in kinds for layer in range(config.n_layer)]
        with st.container(height=_PILLS_HEIGHT if len(heads) > _MANY_HEADS else "content", border=False):
            ablated = _pills(_("Heads"), heads, HEADS)
        ablated += _pills(_("MLPs and blocks"), halves, HALVES)
        with st.container(horizontal=True, vertical_alignment="center"):
            method = choose(_("Method"), list(_METHODS), key=METHOD, format_func=lambda method: _(_METHODS[method]))
            restore = partial(st.session_state.update, {HEADS: [], HALVES: []})
            st.button(_("Restore all"), key="restore_all", disabled=not ablated, on_click=restore, type="tertiary")
    return ablated, method


def _follow_head(inspection: Inspection) -> None:
    """Select the head that was chosen in another view, once: later selections here stay."""
    chosen = chosen_head(inspection.model)
    if chosen and session.recall(_HEAD_FOLLOWED) != chosen:
        st.session_state[HEADS], st.session_state[HALVES] = [str(Part("head", *chosen))], []
    session.remember(_HEAD_FOLLOWED, chosen)


def _pills(label: str, parts: list[Part], key: str) -> list[Part]:
    by_name = {str(part): part for part in parts}
    if any(name not in by_name for name in st.session_state.get(key) or []):
        st.session_state[key] = []  # belongs to another run
    chosen = st.pills(label, list(by_name), selection_mode="multi", key=key, format_func=named)
    return [by_name[name] for name in chosen]


def _effect_card(
    inspection: Inspection, effect: Effect, unablated: Effect | None, about: Sequence[str], title: str, key: str
) -> None:
    loss, probabilities, text = effect
    with card(title, height="stretch", key=f"card_{key}"):
        _loss_metric(loss, unablated[0] if unablated else None, about)
        st.code(text, language=None, wrap_lines=True, height=_TEXT_HEIGHT)
        tokens = inspection.tokenizer.tokens
        shown, kinds = list(map(visible, tokens)), list(map(kind_of, tokens))
        figure = prediction_bars(probabilities, shown, kinds, current_palette(), count=GUESSES)
        numbers = {"token": tokens, "probability": probabilities}
        chart(figure, key=f"ablation_next_{key}", name=f"next-{key}", numbers=lambda: numbers)


def _loss_metric(loss: float, unablated: float | None, about: Sequence[str]) -> None:
    more = loss - unablated if unablated is not None else 0.0
    st.metric(
        about[0],
        f"{loss:.3f}",
        decimal(more, 3, plus=True) if unablated is not None else None,
        delta_color="red" if more > 0 else "green",
        delta_arrow="up" if more > 0 else "down",
        help=about[1],
    )


def _effect(
    inspection: Inspection,
    parts: tuple[Part, ...],
    means: Means | None,
    measured_on: torch.Tensor,
    *,
    greedy: bool = False,
) -> Effect | None:
    """Return the cached or computed effect; for a large model a job computes it, with a bar and None meanwhile."""
    key = ("ablation", inspection.prompt.text, parts, means is not None, greedy)
    compute = partial(_compute, inspection, parts, means, measured_on, greedy)
    if inspection.large:
        what = _("Generating without these parts") if parts else _("Generating with all parts")
        return result_of((*key, *inspection.key), compute, what)
    return result_for(inspection.model, key, lambda: finish(compute()))


def _compute(
    inspection: Inspection, parts: tuple[Part, ...], means: Means | None, measured_on: torch.Tensor, greedy: bool
) -> Iterator[Progress[Effect | None]]:
    model, ids = inspection.model, inspection.prompt.ids
    hook = ablation_hook(model, parts, means) if parts else None
    settings = GenerationConfig(max_new_tokens=GENERATED_BY_LARGE if inspection.large else GENERATED)
    settings = settings.replace({"temperature": 0.0}) if greedy else settings
    generated, total = [], settings.max_new_tokens + 2
    for token in generate(model, ids, settings, hook=hook, alternatives=0):
        generated.append(token.id)
        yield Progress(len(generated), total, None)
    probabilities = compute_logits(model, torch.tensor([ids]), hook)[0, -1].softmax(-1).numpy()
    yield Progress(total - 1, total, None)
    text = inspection.prompt.text + inspection.tokenizer.decode(generated)
    loss = ablated_loss(model, measured_on, parts, means, answers_in(inspection))
    yield Progress(total, total, (loss, probabilities, text))


def _costs_card(inspection: Inspection, measured_on: torch.Tensor, means: Means | None, method: str) -> None:
    note = _("How much does the validation loss rise without each head, one at a time?")
    with card(_("Cost of ablating each head"), note, key="card_costs"):
        key = ("ranking", *inspection.key, method)
        shown_at_once = not inspection.large or known(key) is not None
        if not shown_at_once and not st.button(_("Ablate every head (takes minutes)"), key="rank_go"):
            return
        rank = partial(rank_heads, inspection.model, measured_on, means, answers_in(inspection))
        ranked = result_of(key, rank, _("Ablating one head after another"))
        if ranked is None:
            return
        costs = np.zeros((inspection.config.n_layer, inspection.config.n_head))
        for cost in ranked:
            costs[cost.layer, cost.head] = cost.increase
        st.caption(costs_in_words(costs))
        lines = [(cost.layer + 1, cost.head + 1, cost.increase) for cost in ranked]
        columns = dict(zip(("layer", "head", "loss increase"), zip(*lines, strict=True), strict=True))
        chart(costs_figure(costs, current_palette()), key="costs", name="head-costs", numbers=lambda: columns)


def costs_in_words(costs: np.ndarray) -> str:
    """Return the head whose ablation costs most, and how many heads cost nearly nothing."""
    layer, head = np.unravel_index(costs.argmax(), costs.shape)
    return _(
        "Ablating head {place} costs most: {cost}. Heads that cost less than 0.01: {cheap} of {count}.",
        place=head_name(layer, head), cost=decimal(float(costs[layer, head]), 3, plus=True),
        cheap=int((costs < 0.01).sum()), count=costs.size,
    )  # fmt: skip
