"""Two twins trained side by side, and what can be measured on them afterwards."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.errors import NotFiniteError
from core.fast.threads import one_thread
from core.interpretability import Progress
from core.interpretability.attention import attention_patterns
from core.interpretability.memorization import longest_matches
from core.interpretability.token_losses import window_losses
from core.lessons.experiment_measures import WINDOWS
from core.lessons.experiments import ModelPair
from core.model import GPT
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.batches import fixed_windows
from core.text.tokenizers import CharTokenizer
from core.training.trainer import Trainer

SAMPLE = 240  # characters written by each
_PIECE = 5  # steps between two looks at the clock
_STUCK = 0.4  # share of one character from which a text says nothing any more
_COPIED = 30  # characters in a row that nobody writes twice by chance
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass
class Course:
    """How one twin has fared so far, and at the end what was measured on it.

    Attributes:
        steps, train, val: every measurement: nats a character on text learned from, and on text kept aside.
        stopped: why it could not go on; "" for one that could.
        by_place: (T,) nats on text kept aside, at each place of a window. At the last place nothing follows.
        writes_at: nats where nothing follows, as when it writes: the mean over the last place of many windows.
        gradient: length of the gradient that reached the first attention layer in the first step.
        sharpness: share of attention that the favourite of each character gets, before and after training.
        shuffled: nats where nothing follows, when the characters before the last one stand in a wrong order.
        sample: what it writes.
        words: share of the sample's words (of three letters or more) that stand in the healthy text.
        copied: the longest stretch of the sample, in characters, that stands in the text it learned from.
        extra: what only this experiment measures, by name; empty for one whose numbers are none.
    """

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    stopped: str = ""
    by_place: np.ndarray = field(default_factory=lambda: np.zeros(0))
    writes_at: float = float("nan")
    gradient: float = float("nan")
    sharpness: tuple[float, float] = (float("nan"), float("nan"))
    shuffled: float = float("nan")
    sample: str = ""
    words: float = 0.0
    copied: int = 0
    extra: Mapping[str, float | str] = field(default_factory=dict)


@dataclass
class Outcome:
    """Both courses."""

    steps: int  # that both shall take
    control: Course = field(default_factory=Course)
    treatment: Course = field(default_factory=Course)
    complete: bool = False


def train_pair(pair: ModelPair) -> Iterator[Progress[Outcome]]:
    """Take both through the same number of steps, in turns, then measure both; tells about every few steps.

    A twin whose loss is no longer a number stops; the other goes on.
    """
    steps = pair.control.config.train.steps
    every = pair.control.config.train.eval_interval
    outcome, total = Outcome(steps), steps + 2
    pairs = ((pair.control, outcome.control), (pair.treatment, outcome.treatment))
    with one_thread():
        for trainer, course in pairs:
            _measure_on_the_way(trainer, course)
            course.sharpness = (sharpness(trainer.model, pair.val_ids),) * 2
    for step in range(1, steps + 1):
        with one_thread():
            for trainer, course in pairs:
                _take_step(trainer, course, measured=step % every == 0 or step == steps)
        if step % _PIECE == 0 or step == steps:
            yield Progress(step, total, outcome)
    for number, (trainer, course) in enumerate(pairs, start=1):
        text = pair.control_text if course is outcome.control else pair.treatment_text
        with one_thread():
            if _measure_at_the_end(trainer, course, pair, text):
                course.extra = pair.experiment.measure(trainer.model, pair)
        outcome.complete = number == 2
        yield Progress(steps + number, total, outcome)


def _take_step(trainer: Trainer, course: Course, measured: bool) -> None:
    if course.stopped:
        return
    try:
        trainer.train_step(detailed=trainer.step == 0)
    except NotFiniteError as error:
        course.stopped = str(error)
        return
    if trainer.step == 1:
        course.gradient = trainer.step_detail.gradient_norms.get("h.0.attn", float("nan"))
    if measured:
        _measure_on_the_way(trainer, course)


def _measure_on_the_way(trainer: Trainer, course: Course) -> None:
    found = trainer.evaluate()
    course.steps.append(found.step)
    course.train.append(found.train_loss)
    course.val.append(found.val_loss)


def _measure_at_the_end(trainer: Trainer, course: Course, pair: ModelPair, text: str) -> bool:
    """Whether there was anything to measure: a model whose numbers are none can neither be measured nor write."""
    model, windows = trainer.model, fixed_windows(pair.val_ids, trainer.model.block_size, WINDOWS)
    try:
        course.by_place = window_losses(model, windows).numpy().mean(axis=0)  # (T,)
    except NotFiniteError:
        course.by_place = np.full(model.block_size, np.nan)
        return False
    course.writes_at = float(course.by_place[-1])
    course.shuffled = float(window_losses(model, shuffled(windows))[:, -1].mean())
    course.sharpness = (course.sharpness[0], sharpness(model, pair.val_ids))
    course.sample = write(model, pair.tokenizer, pair.control_text[-1:])
    course.words = share_of_words(course.sample, pair.control_text)
    course.copied = longest_copy(course.sample, text)
    return True


def write(model: GPT, tokenizer: CharTokenizer, prompt: str, length: int = SAMPLE) -> str:
    """What the model writes after the prompt, with the same dice every time."""
    how = GenerationConfig(max_new_tokens=length, temperature=0.8, seed=1)
    return tokenizer.decode(token.id for token in generate(model, tokenizer.encode(prompt), how, alternatives=0))


def sharpness(model: GPT, ids: Tensor) -> float:
    """The share of its attention that a character gives to its favourite, on average over heads and places."""
    patterns = attention_patterns(model, ids[: model.block_size])  # (L, H, T, T)
    half = patterns.shape[-1] // 2  # the first characters have few to choose from
    return float(patterns[..., half:, :].max(axis=-1).mean())


def shuffled(windows: Tensor) -> Tensor:
    """The same windows (N, T + 1), all but their last two characters in an order drawn by lot."""
    order = torch.randperm(windows.size(1) - 2, generator=torch.Generator().manual_seed(0))
    return torch.cat((windows[:, order], windows[:, -2:]), dim=1)


def share_of_words(sample: str, text: str) -> float:
    """How many of the sample's words of three letters or more are words of the text: 0 to 1."""
    known = {word.lower() for word in _WORD.findall(text)}
    words = [word.lower() for word in _WORD.findall(sample)]
    return sum(word in known for word in words) / len(words) if words else 0.0


def longest_copy(sample: str, text: str) -> int:
    """The longest stretch of the sample that stands in the text, in characters."""
    sample_points, text_points = ([ord(letter) for letter in part] for part in (sample, text))
    return int(longest_matches(sample_points, text_points).lengths.max(initial=0))


def kind_of_sample(course: Course, control: Course) -> str:
    """What a text looks like: "copied", "stuck", "words" (as good as the healthy one's), or "rubbish"."""
    most = Counter(course.sample).most_common(1)
    if not most or most[0][1] > _STUCK * len(course.sample):
        return "stuck"
    if course.copied >= max(_COPIED, 2 * control.copied):
        return "copied"
    return "words" if course.words >= 0.75 * control.words else "rubbish"
