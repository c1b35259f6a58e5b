"""The small models of the lesson, trained beside the page; whoever asks for the same ones gets the same."""

from typing import Any

from core.config import RunConfig
from core.lessons.quick_train import QuickRun, small_gpt, train_briefly
from core.model import GPT
from explorer.learn.state import StepState
from explorer.services.jobs import job
from explorer.widgets.job_progress import result_of
from explorer.widgets.prompt import read_line


def quick_runs(state: StepState, named: dict[str, dict[str, Any]]) -> dict[str, QuickRun] | None:
    """Small GPTs with these changed settings, by name; None, with a bar in the place, while one is being trained."""
    found: dict[str, QuickRun] = {}
    for name, changes in named.items():
        config = small_gpt(state.seed, **changes)
        trained = result_of(
            _key(state, config), lambda config=config: _train(state, config), state.word("training_models")
        )
        if trained is None:
            return None
        found[name] = trained["it"]
    return found


def the_gpt(state: StepState) -> GPT | None:
    """The lesson's own GPT, of which most steps speak; None, with a bar in its place, while it is being trained."""
    found = quick_runs(state, {"it": {}})
    return found["it"].model if found else None


def begin_training(state: StepState) -> None:
    """Have the lesson's own GPT trained while the first step is read."""
    config = small_gpt(state.seed)
    job(_key(state, config), lambda: _train(state, config))


def _train(state: StepState, config: RunConfig):
    return train_briefly({"it": config}, state.train_ids, state.val_ids, state.vocab_size)


def _key(state: StepState, config: RunConfig) -> tuple:
    return (*state.key, "gpt", config.to_json())


def typed_ids(state: StepState, text: str, most: int, instead: str) -> list[int]:
    """What was typed as ids, as far as the alphabet of the text has it, at most so many; else `instead`, else id 0."""
    id_of = {token: id for id, token in enumerate(state.tokens)}
    for candidate in (text, instead):
        ids = [id_of[letter] for letter in read_line(candidate, state.tokens) if letter in id_of]
        if len(ids) > 1:
            return ids[:most]
    return state.ids[:most].tolist()
