"""The small models of the lesson, trained beside the page; whoever asks for the same ones gets the same."""

from typing import Any

from core.config import RunConfig
from core.lessons.quick_train import QuickRun, small_gpt, train_briefly
from core.model import GPT
from explorer.learn.lab import Lab
from explorer.services.jobs import job
from explorer.widgets.job_progress import result_of
from explorer.widgets.prompt import read_line


def courses(lab: Lab, named: dict[str, dict[str, Any]]) -> dict[str, QuickRun] | None:
    """Small GPTs with these changed settings, by name; None, with a bar in the place, while one is being trained."""
    found: dict[str, QuickRun] = {}
    for name, changes in named.items():
        config = small_gpt(lab.seed, **changes)
        trained = result_of(_key(lab, config), lambda config=config: _train(lab, config), lab.word("training_models"))
        if trained is None:
            return None
        found[name] = trained["it"]
    return found


def the_gpt(lab: Lab) -> GPT | None:
    """The lesson's own GPT, of which most steps speak; None, with a bar in its place, while it is being trained."""
    found = courses(lab, {"it": {}})
    return found["it"].model if found else None


def begin_training(lab: Lab) -> None:
    """Have the lesson's own GPT trained while the first step is read."""
    config = small_gpt(lab.seed)
    job(_key(lab, config), lambda: _train(lab, config))


def _train(lab: Lab, config: RunConfig):
    return train_briefly({"it": config}, lab.train_ids, lab.val_ids, lab.vocab_size)


def _key(lab: Lab, config: RunConfig) -> tuple:
    return (*lab.key, "gpt", config.to_json())


def typed_ids(lab: Lab, text: str, most: int, instead: str) -> list[int]:
    """What was typed as ids, as far as the alphabet of the text has it, at most so many; else `instead`, else id 0."""
    number_of = {token: id for id, token in enumerate(lab.tokens)}
    for candidate in (text, instead):
        ids = [number_of[letter] for letter in read_line(candidate, lab.tokens) if letter in number_of]
        if len(ids) > 1:
            return ids[:most]
    return lab.ids[:most].tolist()
