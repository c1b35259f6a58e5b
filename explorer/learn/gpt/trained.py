"""The small models of the lesson, trained in the background and shared between steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from core.interpretability import Progress
from core.lessons.quick_train import QuickRun, small_gpt, train_briefly
from core.model import GPT
from explorer.learn.state import StepState
from explorer.learn.steps import choose_unit, draw_curves
from explorer.services.jobs import job
from explorer.widgets.prompt import read_line


def quick_runs(state: StepState, named: dict[str, dict[str, Any]]) -> dict[str, QuickRun]:
    """Return small GPTs with these changed settings, by name."""
    jobs = {name: _job(state, **changes) for name, changes in named.items()}
    return {name: state.compute(*job, state.word("training_models"))["model"] for name, job in jobs.items()}


def the_gpt(state: StepState) -> GPT:
    """Return the GPT that most steps use."""
    return quick_runs(state, {"model": {}})["model"].model


def draw_losses(state: StepState, runs: Mapping[str, QuickRun], colors: Sequence[str], *, key: str, name: str) -> None:
    """Draw the validation losses of several models, by their labels."""
    unit, steps = choose_unit(state), next(iter(runs.values())).steps[1:]
    losses = {label: list(map(unit.of, run.val[1:])) for label, run in runs.items()}
    titles, columns = (state.label("axis step"), unit.title(state.label("axis loss"))), ("step", *losses)
    draw_curves(steps, losses, colors, titles, columns, key=key, name=name, yaxis={"rangemode": "normal"})


def begin_training(state: StepState) -> None:
    """Start training the lesson's GPT while the visitor reads the first step."""
    key, make = _job(state)
    job((*state.key, *key), make)


def _job(state: StepState, **changes: Any) -> tuple[tuple, Callable[[], Iterator[Progress]]]:
    config = small_gpt(state.seed, **changes)
    make = partial(train_briefly, {"model": config}, state.train_ids, state.val_ids, state.vocab_size)
    return ("gpt", config.to_json()), make


def typed_ids(state: StepState, text: str, most: int, instead: str) -> list[int]:
    """Return up to `most` ids of the typed characters in the vocabulary; if too few, of `instead` or of the text."""
    for candidate in (text, instead):
        ids = [state.id_of[letter] for letter in read_line(candidate, state.tokens) if letter in state.id_of]
        if len(ids) > 1:
            return ids[:most]
    return state.ids[:most].tolist()
