"""The result of an experiment: the verdict, all numbers formatted for sentences, and the matching text."""

from collections.abc import Callable, Mapping
from math import exp, isfinite, log
from typing import Any

import torch

from core.formatting import format_percent
from core.lessons.lesson_text import ENGLISH, fill, load_prose, placeholders, without_links
from core.lessons.paired_runs import ModelPair, Outcome, Share
from core.text.ngrams import Baselines
from core.text.token_display import escape_markdown
from core.training.evaluation import run_baselines

SAME = 0.05  # nats: losses closer than that count as equal


def verdict(outcome: Outcome) -> str:
    """Return how the broken model's validation loss compares with the control's: "higher", "same" or "lower".

    "cheat" if it is lower, but not at the last position, where the model cannot see the answer.
    """
    control, treatment = outcome.control, outcome.treatment
    apart = treatment.val[-1] - control.val[-1]
    if not isfinite(apart) or apart > SAME:
        return "higher"
    if apart > -SAME:
        return "same"
    return "cheat" if treatment.last_position_loss > control.last_position_loss - SAME else "lower"


def explanation(name: str, outcome: Outcome, numbers: Mapping[str, Any], language: str = ENGLISH) -> list[str]:
    """Return the parts of an experiment's text that explain its result, unfilled; `numbers` as in `result_numbers`."""
    own, shared = (load_prose("break", step, language).parts for step in (name, "lesson"))
    result = verdict(outcome)
    own = {name: part for name, part in own.items() if _is_measured(part, numbers)}
    main = next((own[part] for part in (result, "always") if part in own), shared[f"{result}_otherwise"])
    parts = [shared["broke_off"], main] if outcome.treatment.stopped else [main]
    further = "" if outcome.treatment.stopped else "went on"
    if "goes_on" in outcome.treatment.extra:
        recited = numbers["phrase"].endswith(outcome.treatment.extra["goes_on"])
        further = "recited" if recited else "not recited"
    return [*parts, own[further]] if further in own else parts


def explanation_markdown(pair: ModelPair, outcome: Outcome) -> str:
    """Return the filled explanation as Markdown, for a reader without the pages."""
    ids = torch.from_numpy(pair.tokenizer.encode_array(pair.control_text))
    counted = run_baselines(pair.control.config, ids, pair.val_ids, pair.tokenizer.vocab_size)
    numbers = result_numbers(outcome, counted, pair.tokenizer.vocab_size) | dict(pair.choices)
    shown = {name: escape_markdown(str(value)) for name, value in numbers.items()}
    parts = explanation(pair.experiment.name, outcome, numbers)
    return "\n\n".join(fill(without_links(part), **shown) for part in parts)


def result_numbers(
    outcome: Outcome, counted: Baselines, vocab_size: int, percent: Callable[[float], str] = format_percent
) -> dict[str, Any]:
    """Return all measurements formatted for sentences; `percent` formats a share in the reader's language."""
    numbers: dict[str, Any] = {
        "steps": f"{outcome.steps:,}",
        "guess": f"{log(vocab_size):.2f}",
        "counting_letters": f"{counted.unigram:.2f}",
        "counting_pairs": f"{counted.bigram:.2f}",
        "last_step": f"{outcome.treatment.steps[-1]:,}",
    }
    for name, course in (("control", outcome.control), ("treatment", outcome.treatment)):
        best = min(range(len(course.val)), key=lambda index: course.val[index])
        numbers |= {
            f"{name}_first": f"{course.val[0]:.2f}",
            f"{name}_val": f"{course.val[-1]:.2f}",
            f"{name}_train": f"{course.train[-1]:.2f}",
            f"{name}_choices": f"{exp(min(course.val[-1], 50)):,.1f}",
            f"{name}_writes": f"{course.last_position_loss:.2f}",
            f"{name}_writes_choices": f"{exp(min(course.last_position_loss, 50)):,.1f}",
            f"{name}_words": percent(course.words),
            f"{name}_copied": f"{course.copied:,}",
            f"{name}_gradient": f"{course.gradient:.2g}",
            f"{name}_sharp": percent(course.sharpness[0]),
            f"{name}_sharp_end": percent(course.sharpness[1]),
            f"{name}_shuffled": f"{course.shuffled:.2f}",
            f"{name}_shuffling": f"{course.shuffled - course.last_position_loss:.2f}",
            f"{name}_best": f"{course.val[best]:.2f}",
            f"{name}_best_step": f"{course.steps[best]:,}",
        }
        for extra, value in course.extra.items():
            numbers[f"{name}_{extra}"] = percent(value) if isinstance(value, Share) else _shown(value)
    return numbers


def _is_measured(part: str, numbers: Mapping[str, Any]) -> bool:
    """Return whether all measurements that a part names exist; a model with non-finite numbers lacks some."""
    return all(name in numbers for name in placeholders(part) if name.startswith(("control_", "treatment_")))


def _shown(value: str | float) -> str:
    return value.replace("\n", "⏎").strip() if isinstance(value, str) else f"{value:.2f}"
