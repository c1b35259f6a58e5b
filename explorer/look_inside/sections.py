"""Which views Look inside has, in the order in which they are offered."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from core.model import GPT, Bigram
from explorer.i18n.language import N_
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
from explorer.widgets import address

MODEL = "Model"  # the view of the whole model, the first


class Section(NamedTuple):
    """One view: its name in the address, its label on the page, and what draws it."""

    name: str
    label: str
    draw: Callable[[Inspection], None]
    gpt: bool = True  # whether a GPT has it
    bigram: bool = True  # whether a bigram has it
    prompt: Literal["needed", "optional", "unused"] = "needed"
    attention: bool = False  # whether it shows attention weights


SECTIONS = (
    Section(MODEL, N_("Model"), model_picture.draw),
    Section("Attention", N_("Attention"), attention_patterns.draw, bigram=False, attention=True),
    Section("Heads", N_("Heads"), heads.draw, bigram=False, prompt="unused", attention=True),
    Section("Table", N_("Bigram table"), bigram_table.draw, gpt=False, prompt="unused"),
    Section("Predictions", N_("Predictions"), predictions.draw),
    Section("Embeddings", N_("Embeddings"), embeddings.draw, prompt="optional"),
    Section("Surgery", N_("Ablation"), ablation.draw, bigram=False),
    Section("Patching", N_("Patching"), patching.draw, bigram=False),
    Section("Neurons", N_("Neurons"), neurons.draw, bigram=False),
    Section("Losses", N_("Losses"), token_losses.draw, prompt="unused"),
    Section("Text", N_("Memorization"), memorization.draw),
)


def sections_of(model: GPT | Bigram) -> dict[str, Section]:
    """Return the views that a model has, by name."""
    if isinstance(model, Bigram):
        return {s.name: s for s in SECTIONS if s.bigram}
    return {s.name: s for s in SECTIONS if s.gpt and (model.config.feed_forward or s.name != "Neurons")}


def first_view(sections: Mapping[str, Section]) -> str:
    """Return the view that an address without one opens: the model, or attention for a head or a comparison."""
    older = address.parameter(address.HEAD) or address.parameter(address.BESIDE)
    return "Attention" if older and "Attention" in sections else MODEL
