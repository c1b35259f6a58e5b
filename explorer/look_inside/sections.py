"""The views of Look inside, in the order in which they are offered."""

import json
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from core.model import GPT, Bigram
from explorer.i18n.language import N_, _
from explorer.look_inside import (
    ablation,
    attention_patterns,
    embeddings,
    heads,
    health_cards,
    memorization,
    model_picture,
    neurons,
    patching,
    predictions,
    token_losses,
)
from explorer.look_inside.inspection import Inspection
from explorer.widgets import address

MODEL = "Model"  # the view of the whole model, the first


# The CSS selectors that show the name of each group if the views need several rows.
_ROWS = (".stButtonGroup::before", '[role="radiogroup"]::before', '[role="radiogroup"]::after')
PROMPT, LEARNED, EXPERIMENTS = N_("Follow one prompt"), N_("What it has learned"), N_("Experiments")


class Section(NamedTuple):
    """One view: its name in the address, its label on the page, its group, its question, and its drawing function."""

    name: str
    label: str
    group: str
    question: str  # that it answers, its opening sentence
    draw: Callable[[Inspection], None]
    gpt: bool = True  # whether a GPT has it
    bigram: bool = True  # whether a bigram has it
    prompt: Literal["needed", "optional", "unused"] = "needed"
    attention: bool = False  # whether it shows attention weights


SECTIONS = (
    Section(
        MODEL, N_("Model"), PROMPT,
        N_("How does a text become the next token?"), model_picture.draw,
    ),
    Section(
        "Attention", N_("Attention"), PROMPT,
        N_("Which tokens does each token attend to?"), attention_patterns.draw, bigram=False, attention=True,
    ),
    Section(
        "Predictions", N_("Predictions"), PROMPT,
        N_("What comes next, and how well was each token of the prompt predicted?"), predictions.draw,
    ),
    Section(
        "Neurons", N_("Neurons"), PROMPT,
        N_("On which tokens does a neuron activate, and how does it change the logits?"), neurons.draw, bigram=False,
    ),
    Section(
        "Heads", N_("Heads"), LEARNED,
        N_("What does each head do, and since which step?"), heads.draw, bigram=False, prompt="unused", attention=True,
    ),
    Section(
        "Table", N_("Bigram table"), LEARNED,
        N_("Which token follows which?"), embeddings.draw_bigram_table, gpt=False, prompt="unused",
    ),
    Section(
        "Embeddings", N_("Embeddings"), LEARNED,
        N_("Which tokens have similar embeddings?"), embeddings.draw, prompt="optional",
    ),
    Section(
        "Losses", N_("Losses"), LEARNED,
        N_("Where is the loss high?"), token_losses.draw, prompt="unused",
    ),
    Section(
        "Health", N_("Health"), LEARNED,
        N_("Do activations, gradients and updates have a good size?"), health_cards.draw, bigram=False, prompt="unused",
    ),
    Section(
        "Text", N_("Memorization"), LEARNED,
        N_("Does the model generate new text, or repeat its training text?"), memorization.draw,
    ),
    Section(
        ablation.VIEW, N_("Ablation"), EXPERIMENTS,
        N_("What does the model lose without some of its parts?"), ablation.draw, bigram=False,
    ),
    Section(
        "Patching", N_("Patching"), EXPERIMENTS,
        N_("Where in the model does the difference between two prompts come from?"), patching.draw, bigram=False,
    ),
)  # fmt: skip


def sections_of(model: GPT | Bigram) -> dict[str, Section]:
    """Return the views that a model has, by name."""
    if isinstance(model, Bigram):
        return {s.name: s for s in SECTIONS if s.bigram}
    return {s.name: s for s in SECTIONS if s.gpt and (model.config.feed_forward or s.name != "Neurons")}


def first_view(sections: Mapping[str, Section]) -> str:
    """Return the view for an address without one: the model, or attention for a head or a comparison."""
    older = address.parameter(address.HEAD) or address.parameter(address.OTHER_RUN)
    return "Attention" if older and "Attention" in sections else MODEL


def group_style(sections: Mapping[str, Section]) -> str:
    """Return CSS that writes each group's name above its first view, or on a row if the views need several rows."""
    groups = [section.group for section in sections.values()]
    row, rows = "", ""
    for at, (group, before) in enumerate(zip(dict.fromkeys(groups), _ROWS, strict=False)):
        name = f"content: {json.dumps(_(group), ensure_ascii=False)};"
        first = f".st-key-{address.VIEW_KEY} button:nth-of-type"
        row += f"{first}({groups.index(group) + 1})::before {{ {name} }}"
        rows += f".st-key-{address.VIEW_KEY} {before} {{ {name} order: {2 * at}; }}"
        rows += f"{first}(n + {groups.index(group) + 1}) {{ order: {2 * at + 1}; }}"
    height = 60 * len({*groups}) + 34  # on a phone, in pixels: the page below does not move when the views arrive
    phone = f"@media (max-width: 640px) {{ .st-key-{address.VIEW_KEY} {{ min-height: {height}px; }} }}"
    return f"{row} @media (max-width: 1100px) {{ {rows} }} {phone}"
