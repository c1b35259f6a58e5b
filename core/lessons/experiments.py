"""What can be broken on purpose: each experiment changes one thing, in one of two models that are twins otherwise."""

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.config import ModelConfig, RunConfig, TrainConfig
from core.errors import TextError
from core.lessons.experiment_measures import loss_on_letter, recitation
from core.model import GPT
from core.text.batches import split_ids
from core.text.tokenizers import CharTokenizer
from core.training.trainer import Trainer

VAL_FRACTION = 0.1
LEAST_TEXT = 3000  # characters, of which a tenth is kept to measure on
MOST_STEPS = 2000
PHRASE = "The password is marmalade."


class Experiment(NamedTuple):
    """One thing to break.

    Attributes:
        name: of its words in `assets/lessons/<language>/break`.
        changes: the settings in which the broken twin differs.
        both: settings in which this experiment's twins both differ from `healthy_config`.
        spoil: what happens to the text that the broken twin learns from; the text to measure on stays as it is.
        choices: what the experimenter may choose, with what it is at first; passed on to `spoil`.
        measure: what only this experiment measures on a trained twin, by name.
        by_place: whether it matters at which place of the window a character stands, so that losses are shown by place.
    """

    name: str
    changes: Mapping[str, Any] = {}
    both: Mapping[str, Any] = {}
    corrupt: Callable[..., str] | None = None
    choices: Mapping[str, Any] = {}
    measure: Callable[[GPT, "ModelPair"], Mapping[str, float | str]] = lambda model, pair: {}
    by_place: bool = False


class ModelPair(NamedTuple):
    """Two models that begin with the same weights and roll the same dice, and what differs between them."""

    experiment: Experiment
    choices: Mapping[str, Any]
    tokenizer: CharTokenizer
    control: Trainer
    treatment: Trainer
    control_text: str  # that each one learns from
    treatment_text: str
    val_ids: Tensor  # (N,), that both are measured on


def control_config(steps: int, seed: int = 1337) -> RunConfig:
    """A GPT so small that two of them learn in a few seconds on two processor cores."""
    return RunConfig(
        model=ModelConfig(n_layer=2, n_head=4, n_embd=48, block_size=32, position="rope"),
        train=TrainConfig(
            steps=steps,
            batch_size=16,
            learning_rate=6e-3,
            min_learning_rate=6e-4,
            warmup_steps=20,
            eval_interval=max(1, steps // 20),
            eval_windows=64,
            seed=seed,
            device="cpu",
            precision="float32",
        ),
    )


def only_the_beginning(text: str, size: int) -> str:
    """A text so short that it can be learned by heart."""
    return text[:size]


def with_planted(text: str, phrase: str, times: int, seed: int = 0) -> str:
    """The text with a phrase put in so many times, each on a line of its own, at places drawn by lot."""
    lines, rng = text.split("\n"), random.Random(seed)
    for place in sorted((rng.randrange(len(lines) + 1) for _ in range(times)), reverse=True):
        lines.insert(place, phrase)
    return "\n".join(lines)


def without_letter(text: str, letter: str) -> str:
    """The text with every one of a letter taken out, small or capital; the words close up over the gap."""
    return text.replace(letter.lower(), "").replace(letter.upper(), "")


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("mask", {"model.causal": False}, by_place=True),
        Experiment("axis", {"model.softmax_over": "queries"}, by_place=True),
        Experiment(
            # One wide head whose weights begin wide, as in the lecture: only then is there something to divide.
            "scaling",
            {"model.attention_scale": False},
            {"model.n_head": 1, "model.init_std": 0.3},
        ),
        Experiment("residual", {"model.residual": False}),
        Experiment("norm", {"model.norm": "none"}),
        Experiment("positions", {"model.position": "none"}),
        Experiment("start", {"model.init_std": 1.0}),
        Experiment("rate", {"train.learning_rate": 0.18, "train.min_learning_rate": 0.018}),  # 30 times the healthy
        Experiment("tiny", corrupt=only_the_beginning, choices={"size": 500}),
        Experiment(
            "planted",
            corrupt=with_planted,
            choices={"phrase": PHRASE, "times": 1000},
            measure=lambda model, pair: recitation(model, pair.tokenizer, pair.choices["phrase"]),
        ),
        Experiment(
            "letter",
            corrupt=without_letter,
            choices={"letter": "e"},
            measure=lambda model, pair: loss_on_letter(model, pair.tokenizer, pair.val_ids, pair.choices["letter"]),
        ),
    )
}


def make_pair(
    experiment: Experiment, text: str, *, steps: int = 400, seed: int = 1337, choices: Mapping[str, Any] | None = None
) -> ModelPair:
    """Both models, not trained yet. They share the alphabet, the seed of all dice, and the text to measure on.

    Args:
        text: the last tenth is kept to measure on.
        choices: other ones than the experiment's own.

    Raises:
        TextError: the text is too short, or does not have what shall be taken out of it.
    """
    if len(text) < LEAST_TEXT:
        raise TextError(f"This text has {len(text):,} characters; to break something takes {LEAST_TEXT:,} at least.")
    chosen = {**experiment.choices, **(choices or {})}
    learned = text[: len(text) - len(split_ids(torch.empty(len(text)), VAL_FRACTION)[1])]
    spoiled = experiment.corrupt(learned, **chosen) if experiment.corrupt else learned
    if experiment.corrupt and spoiled == learned:
        raise TextError("This changes nothing in the text, so the twins would be the same. Choose something else.")
    tokenizer = CharTokenizer.from_text(text + spoiled)
    val_ids = _ids(tokenizer, text[len(learned) :])
    config = control_config(steps, seed).replace(experiment.both)
    return ModelPair(
        experiment,
        chosen,
        tokenizer,
        Trainer(config, _ids(tokenizer, learned), val_ids, tokenizer.vocab_size),
        Trainer(config.replace(experiment.changes), _ids(tokenizer, spoiled), val_ids, tokenizer.vocab_size),
        learned,
        spoiled,
        val_ids,
    )


def _ids(tokenizer: CharTokenizer, text: str) -> Tensor:
    return torch.from_numpy(tokenizer.encode_array(text).copy())
