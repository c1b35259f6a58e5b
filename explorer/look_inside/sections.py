"""Which views Look inside has, in the order in which they are offered."""

import json
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from core.model import GPT, Bigram
from explorer.i18n.language import N_, _
from explorer.look_inside import (
    ablation,
    attention_patterns,
    bigram_table,
    embeddings,
    heads,
    memorization,
    model_picture,
    neurons,
    patching,
    predictions,
    token_losses,
)
from explorer.look_inside.inspection import Inspection
from explorer.look_inside.training import health_cards
from explorer.widgets import address

MODEL = "Model"  # the view of the whole model, the first


PROMPT, LEARNED, EXPERIMENTS = N_("Follow one prompt"), N_("What it has learned"), N_("Experiments")


class Section(NamedTuple):
    """One view: its name in the address, its label on the page, its group, and what draws it."""

    name: str
    label: str
    group: str
    draw: Callable[[Inspection], None]
    gpt: bool = True  # whether a GPT has it
    bigram: bool = True  # whether a bigram has it
    prompt: Literal["needed", "optional", "unused"] = "needed"
    attention: bool = False  # whether it shows attention weights


SECTIONS = (
    Section(MODEL, N_("Model"), PROMPT, model_picture.draw),
    Section("Attention", N_("Attention"), PROMPT, attention_patterns.draw, bigram=False, attention=True),
    Section("Predictions", N_("Predictions"), PROMPT, predictions.draw),
    Section("Neurons", N_("Neurons"), PROMPT, neurons.draw, bigram=False),
    Section("Heads", N_("Heads"), LEARNED, heads.draw, bigram=False, prompt="unused", attention=True),
    Section("Table", N_("Bigram table"), LEARNED, bigram_table.draw, gpt=False, prompt="unused"),
    Section("Embeddings", N_("Embeddings"), LEARNED, embeddings.draw, prompt="optional"),
    Section("Losses", N_("Losses"), LEARNED, token_losses.draw, prompt="unused"),
    Section("Health", N_("Health"), LEARNED, health_cards.draw, bigram=False, prompt="unused"),
    Section("Text", N_("Memorization"), LEARNED, memorization.draw),
    Section("Surgery", N_("Ablation"), EXPERIMENTS, ablation.draw, bigram=False),
    Section("Patching", N_("Patching"), EXPERIMENTS, patching.draw, bigram=False),
)


def sections_of(model: GPT | Bigram) -> dict[str, Section]:
    """Return the views that a model has, by name."""
    if isinstance(model, Bigram):
        return {s.name: s for s in SECTIONS if s.bigram}
    return {s.name: s for s in SECTIONS if s.gpt and (model.config.feed_forward or s.name != "Neurons")}


def first_view(sections: Mapping[str, Section]) -> str:
    """Return the view that an address without one opens: the model, or attention for a head or a comparison."""
    older = address.parameter(address.HEAD) or address.parameter(address.OTHER_RUN)
    return "Attention" if older and "Attention" in sections else MODEL


def group_style(sections: Mapping[str, Section]) -> str:
    """Return CSS that writes the name of each group above its first view, in the row of views."""
    groups = [section.group for section in sections.values()]
    return "".join(
        f".st-key-{address.VIEW_KEY} button:nth-of-type({groups.index(group) + 1})"
        f"::before {{ content: {json.dumps(_(group), ensure_ascii=False)}; }}"
        for group in dict.fromkeys(groups)
    )
