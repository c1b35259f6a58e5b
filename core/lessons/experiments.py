"""The experiments of "Break a GPT": each changes one thing in one of two models that are otherwise the same.

To add an experiment, add a row to `EXPERIMENTS` and its text in `text/<language>/break/<name>.md`.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple


class Experiment(NamedTuple):
    """One thing to break."""

    name: str  # also of its text file
    changes: Mapping[str, Any] = {}  # the settings in which the broken model differs from the control
    shared_changes: Mapping[str, Any] = {}  # settings in which both models differ from `paired_runs.control_config`
    corrupt: Callable[..., str] | None = None  # changes the broken model's training text, not the validation text
    choices: Mapping[str, Any] = {}  # choices for the reader, with defaults; passed to `corrupt`
    measure: Literal["", "phrase", "letter"] = ""  # what only this experiment measures on the trained models
    by_position: bool = False  # whether losses are shown by a token's position in its window
    code: tuple[str, ...] = ()  # full names of the functions that the page shows, besides `corrupt`


def first_characters(text: str, size: int) -> str:
    """Return a text so short that a model can memorize it."""
    return text[:size]


def insert_phrase(text: str, phrase: str, times: int) -> str:
    """Insert a phrase `times` times at random places, each on a line of its own."""
    lines, rng = text.split("\n"), random.Random(0)
    for index in sorted((rng.randrange(len(lines) + 1) for _ in range(times)), reverse=True):
        lines.insert(index, phrase)
    return "\n".join(lines)


def remove_letter(text: str, letter: str) -> str:
    """Remove every occurrence of a letter, small or capital."""
    return text.replace(letter.lower(), "").replace(letter.upper(), "")


_ATTENTION = "core.model.self_attention.CausalSelfAttention._explicit"
_BLOCK = "core.model.gpt.Block.forward"
_SCHEDULE = ("core.training.schedule.fraction_at", "core.training.schedule.learning_rate_at")

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("mask", {"model.causal": False}, by_position=True, code=(_ATTENTION,)),
        Experiment("axis", {"model.softmax_over": "queries"}, by_position=True, code=(_ATTENTION,)),
        Experiment(
            # One wide head with large initial weights, as in the lecture: only then are the scores large.
            "scaling",
            {"model.attention_scale": False},
            {"model.n_head": 1, "model.init_std": 0.3},
            code=(_ATTENTION,),
        ),
        Experiment("residual", {"model.residual": False}, code=(_BLOCK,)),
        Experiment("norm", {"model.norm": "none"}, code=(_BLOCK,)),
        Experiment("positions", {"model.position": "none"}, code=("core.model.self_attention.rotate",)),
        Experiment("start", {"model.init_std": 1.0}, code=("core.model.gpt.GPT._initialize",)),
        Experiment("rate", {"train.learning_rate": 0.18, "train.min_learning_rate": 0.018}, code=_SCHEDULE),  # 30 times
        Experiment("tiny", corrupt=first_characters, choices={"size": 500}),
        Experiment(
            "planted",
            corrupt=insert_phrase,
            choices={"phrase": "The password is marmalade.", "times": 1000},
            measure="phrase",
        ),
        Experiment("letter", corrupt=remove_letter, choices={"letter": "e"}, measure="letter"),
    )
}
