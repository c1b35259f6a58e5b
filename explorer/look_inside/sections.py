"""Which sections Look inside has, in the order in which they are offered."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from core.model import GPT, Bigram
from explorer.i18n.language import N_
from explorer.look_inside import (
    ablation,
    attention,
    bigram_table,
    embeddings,
    heads,
    memorization,
    neurons,
    patching,
    predictions,
    token_losses,
)
from explorer.look_inside.view import Inspection


class Section(NamedTuple):
    """One section: its name in the address and, said, on the page, and what draws it."""

    name: str
    draw: Callable[[Inspection], None]
    gpt: bool = True  # whether a GPT has it
    bigram: bool = True  # whether a bigram has it
    prompt: Literal["needed", "optional", "unused"] = "needed"
    shares: bool = False  # whether it speaks of shares of a letter's attention


SECTIONS = (
    Section(N_("Attention"), attention.draw, bigram=False, shares=True),
    Section(N_("Heads"), heads.draw, bigram=False, prompt="unused", shares=True),
    Section(N_("Table"), bigram_table.draw, gpt=False, prompt="unused"),
    Section(N_("Predictions"), predictions.draw),
    Section(N_("Embeddings"), embeddings.draw, prompt="optional"),
    Section(N_("Surgery"), ablation.draw, bigram=False),
    Section(N_("Patching"), patching.draw, bigram=False),
    Section(N_("Neurons"), neurons.draw, bigram=False),
    Section(N_("Losses"), token_losses.draw, prompt="unused"),
    Section(N_("Text"), memorization.draw),
)


def sections_of(model: GPT | Bigram) -> dict[str, Section]:
    """The sections that a model has, by name."""
    if isinstance(model, Bigram):
        return {s.name: s for s in SECTIONS if s.bigram}
    return {s.name: s for s in SECTIONS if s.gpt and (model.config.feed_forward or s.name != "Neurons")}
