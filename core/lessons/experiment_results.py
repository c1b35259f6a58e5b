"""What came out of an experiment: the verdict, every number as it is written in a sentence, and the words that fit."""

from collections.abc import Callable, Mapping
from math import exp, isfinite, log
from typing import Any

import torch

from core.formatting import percent
from core.lessons.experiment_measures import Share
from core.lessons.experiments import ModelPair
from core.lessons.lesson_text import ENGLISH, fill, load_prose, placeholders, without_links
from core.lessons.paired_runs import Outcome
from core.text.ngrams import Baselines
from core.text.token_display import plain
from core.training.evaluation import run_baselines

SAME = 0.05  # nats: closer than that, two curves end at the same height


def verdict(outcome: Outcome) -> str:
    """How the broken twin ended beside the healthy one, on text kept aside.

    "higher" and "same" are what they say; "lower" is a better model; "cheat" is one whose loss is lower, but not where
    it writes, with nothing behind it to be read off.
    """
    control, treatment = outcome.control, outcome.treatment
    apart = treatment.val[-1] - control.val[-1]
    if not isfinite(apart) or apart > SAME:
        return "higher"
    if apart > -SAME:
        return "same"
    return "cheat" if treatment.writes_at > control.writes_at - SAME else "lower"


def explanation(name: str, outcome: Outcome, numbers: Mapping[str, Any], language: str = ENGLISH) -> list[str]:
    """The parts of an experiment's words that explain what came out, not filled yet.

    Args:
        name: of the experiment.
        numbers: `numbers_of` the outcome, and what was chosen.
    """
    own, shared = (load_prose("break", step, language).parts for step in (name, "lesson"))
    told = verdict(outcome)
    own = {name: part for name, part in own.items() if _could_be_measured(part, numbers)}
    fitting = next((own[part] for part in (told, "always") if part in own), shared[f"{told}_otherwise"])
    found = [shared["broke_off"], fitting] if outcome.treatment.stopped else [fitting]
    further = _further(outcome, numbers)
    return [*found, own[further]] if further in own else found


def explained(pair: ModelPair, outcome: Outcome, language: str = ENGLISH) -> str:
    """The same as Markdown, filled, for a reader without the pages."""
    ids = torch.from_numpy(pair.tokenizer.encode_array(pair.control_text))
    counted = run_baselines(pair.control.config, ids, pair.val_ids, pair.tokenizer.vocab_size)
    numbers = numbers_of(outcome, counted, pair.tokenizer.vocab_size) | dict(pair.choices)
    shown = {name: plain(str(value)) for name, value in numbers.items()}
    parts = explanation(pair.experiment.name, outcome, numbers, language)
    return "\n\n".join(fill(without_links(part), **shown) for part in parts)


def numbers_of(
    outcome: Outcome, counted: Baselines, vocab_size: int, percent: Callable[[float], str] = percent
) -> dict[str, Any]:
    """Everything measured, as it is written in a sentence.

    Args:
        percent: says a share, in the reader's language.
    """
    found: dict[str, Any] = {
        "steps": f"{outcome.steps:,}",
        "guess": f"{log(vocab_size):.2f}",
        "counting_letters": f"{counted.unigram:.2f}",
        "counting_pairs": f"{counted.bigram:.2f}",
        "last_step": f"{outcome.treatment.steps[-1]:,}",
    }
    for name, course in (("control", outcome.control), ("treatment", outcome.treatment)):
        best = min(range(len(course.val)), key=lambda index: course.val[index])
        found |= {
            f"{name}_first": f"{course.val[0]:.2f}",
            f"{name}_val": f"{course.val[-1]:.2f}",
            f"{name}_train": f"{course.train[-1]:.2f}",
            f"{name}_choices": f"{exp(min(course.val[-1], 50)):,.1f}",
            f"{name}_writes": f"{course.writes_at:.2f}",
            f"{name}_writes_choices": f"{exp(min(course.writes_at, 50)):,.1f}",
            f"{name}_words": percent(course.words),
            f"{name}_copied": f"{course.copied:,}",
            f"{name}_gradient": f"{course.gradient:.2g}",
            f"{name}_sharp": percent(course.sharpness[0]),
            f"{name}_sharp_end": percent(course.sharpness[1]),
            f"{name}_shuffled": f"{course.shuffled:.2f}",
            f"{name}_shuffling": f"{course.shuffled - course.writes_at:.2f}",
            f"{name}_best": f"{course.val[best]:.2f}",
            f"{name}_best_step": f"{course.steps[best]:,}",
        }
        for extra, value in course.extra.items():
            found[f"{name}_{extra}"] = percent(value) if isinstance(value, Share) else _shown(value)
    return found


def _could_be_measured(part: str, numbers: Mapping[str, Any]) -> bool:
    """Whether all is there that a part tells of the twins; of one whose numbers are none, some things are not."""
    return all(name in numbers for name in placeholders(part) if name.startswith(("control_", "treatment_")))


def _shown(value: str | float) -> str:
    return value.replace("\n", "⏎").strip() if isinstance(value, str) else f"{value:.2f}"


def _further(outcome: Outcome, numbers: Mapping[str, Any]) -> str:
    """The part that holds only for what came out in the end, beside the curves; "" where there is none."""
    if "goes_on" in outcome.treatment.extra:
        return "recited" if numbers["phrase"].endswith(outcome.treatment.extra["goes_on"]) else "not recited"
    return "" if outcome.treatment.stopped else "went on"
