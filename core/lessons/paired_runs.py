"""A control and a broken model, trained side by side on the same batches, and what is measured on them afterwards."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.config import ModelConfig, RunConfig, TrainConfig
from core.errors import NotFiniteError, TextError
from core.fast.threads import one_thread
from core.interpretability import Progress
from core.interpretability.activations import compute_logits
from core.interpretability.attention import attention_patterns
from core.interpretability.memorization import longest_matches
from core.interpretability.token_losses import window_losses
from core.lessons.experiments import Experiment
from core.lessons.quick_train import Losses
from core.lessons.sampling_steps import sample_text
from core.model import GPT, Bigram
from core.text.batches import fixed_windows, split_ids
from core.text.tokenizers import CharTokenizer
from core.training.checkpoints import snapshot_steps
from core.training.health import Health
from core.training.trainer import Trainer

VAL_FRACTION = 0.1
MIN_TEXT = 3000  # characters, of which a tenth is for validation
_WINDOWS = 600  # of validation text, measured after training
_COURSE_WINDOWS = 64  # of each split, measured during training
_SAMPLE = 240  # characters
_REPORT_EVERY = 5  # steps
_HEALTH_ROWS = 12
_STUCK = 0.4  # share of one character in a sample; a sample with more counts as stuck
_COPIED = 30  # characters in a row that do not match by chance
_WORD = re.compile(r"[^\W\d_]{3,}")


class Share(float):
    """A share from 0 to 1, shown in percent."""


class ModelPair(NamedTuple):
    """Two models with the same initial weights and random seed, before their training."""

    experiment: Experiment
    choices: Mapping[str, Any]
    tokenizer: CharTokenizer
    control: Trainer
    treatment: Trainer
    control_text: str  # training text
    treatment_text: str
    val_ids: Tensor  # (N,), the same for both


@dataclass
class ModelResult(Losses):
    """Losses of one model of a pair, and what was measured on it after training."""

    stopped: str = ""  # why training stopped early; "" if it did not
    by_position: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (T,) validation loss in a window
    last_position_loss: float = nan  # its last entry: the loss where the model cannot see the answer, as in generation
    gradient: float = nan  # norm of the first attention layer's gradient in the first step
    sharpness: tuple[float, float] = (nan, nan)  # `sharpness` before and after training
    shuffled: float = nan  # the last position's loss when the characters before the last one are shuffled
    sample: str = ""  # generated text
    words: float = 0.0  # `share_of_words` of the sample in the control's training text
    copied: int = 0  # `longest_copy` of the sample from the model's own training text
    extra: Mapping[str, float | str] = field(default_factory=dict)  # only for this experiment; empty if not finite
    health: list[Health] = field(default_factory=list)  # at log-spaced steps


@dataclass
class Outcome:
    """The results of both models so far."""

    steps: int  # planned for training
    control: ModelResult = field(default_factory=ModelResult)
    treatment: ModelResult = field(default_factory=ModelResult)
    complete: bool = False


def control_config(steps: int, seed: int = 1337) -> RunConfig:
    """Return the settings of a GPT so small that two of them train in a few seconds on two processor cores."""
    return RunConfig(
        model=ModelConfig(n_layer=2, n_head=4, n_embd=48, block_size=32, position="rope"),
        train=TrainConfig(
            steps=steps,
            batch_size=16,
            learning_rate=6e-3,
            min_learning_rate=6e-4,
            warmup_steps=20,
            eval_interval=max(1, steps // 20),
            eval_windows=_COURSE_WINDOWS,
            seed=seed,
            device="cpu",
            precision="float32",
        ),
    )


def treatment_config(experiment: Experiment, steps: int, seed: int = 1337) -> RunConfig:
    """Return the settings of an experiment's broken model."""
    return control_config(steps, seed).replace({**experiment.shared_changes, **experiment.changes})


def make_pair(
    experiment: Experiment, text: str, *, steps: int = 400, seed: int = 1337, choices: Mapping[str, Any] | None = None
) -> ModelPair:
    """Make both models with the same tokenizer, seed and validation text, which is the last tenth of `text`.

    `choices` replace the experiment's. Raises TextError if the text is too short, or `corrupt` leaves it unchanged.
    """
    if len(text) < MIN_TEXT:
        raise TextError(f"This text has {len(text):,} characters; an experiment needs at least {MIN_TEXT:,}.")
    chosen = {**experiment.choices, **(choices or {})}
    train_text = text[: len(text) - len(split_ids(torch.empty(len(text)), VAL_FRACTION)[1])]
    corrupted = experiment.corrupt(train_text, **chosen) if experiment.corrupt else train_text
    if experiment.corrupt and corrupted == train_text:
        raise TextError("This changes nothing in the text, so both models would be the same. Choose something else.")
    tokenizer = CharTokenizer.from_text(text + corrupted)
    val_ids = _ids(tokenizer, text[len(train_text) :])
    config = control_config(steps, seed).replace(experiment.shared_changes)
    return ModelPair(
        experiment,
        chosen,
        tokenizer,
        Trainer(config, _ids(tokenizer, train_text), val_ids, tokenizer.vocab_size),
        Trainer(treatment_config(experiment, steps, seed), _ids(tokenizer, corrupted), val_ids, tokenizer.vocab_size),
        train_text,
        corrupted,
        val_ids,
    )


def _ids(tokenizer: CharTokenizer, text: str) -> Tensor:
    return torch.from_numpy(tokenizer.encode_array(text).copy())


def train_pair(pair: ModelPair) -> Iterator[Progress[Outcome]]:
    """Train both models in alternating steps, then measure both. A model stops early if its loss is not finite."""
    steps = pair.control.config.train.steps
    every = pair.control.config.train.eval_interval
    outcome, total = Outcome(steps), steps + 2
    pairs = ((pair.control, outcome.control), (pair.treatment, outcome.treatment))
    with one_thread():
        for trainer, course in pairs:
            course.evaluate(trainer)
            course.sharpness = (sharpness(trainer.model, pair.val_ids),) * 2
            _measure_health(trainer, course)
    health_steps = set(snapshot_steps(steps, _HEALTH_ROWS))
    for step in range(1, steps + 1):
        with one_thread():
            for trainer, course in pairs:
                _take_step(trainer, course, step % every == 0 or step == steps, step in health_steps)
        if step % _REPORT_EVERY == 0 or step == steps:
            yield Progress(step, total, outcome)
    for number, (trainer, course) in enumerate(pairs, start=1):
        text = pair.control_text if course is outcome.control else pair.treatment_text
        with one_thread():
            if _measure(trainer, course, pair, text) and pair.experiment.measure:
                course.extra = _EXTRA[pair.experiment.measure](trainer.model, pair)
        outcome.complete = number == 2
        yield Progress(steps + number, total, outcome)


def _take_step(trainer: Trainer, course: ModelResult, evaluate: bool, measure_health: bool) -> None:
    if course.stopped:
        return
    try:
        trainer.train_step(detailed=trainer.step == 0, measure_update=measure_health)
    except NotFiniteError as error:
        course.stopped = str(error)
        return
    if trainer.step == 1:
        course.gradient = trainer.step_detail["gradient_norms"].get("h.0.attn", float("nan"))
    if evaluate:
        course.evaluate(trainer)
    if measure_health:
        _measure_health(trainer, course)


def _measure_health(trainer: Trainer, course: ModelResult) -> None:
    if health := trainer.health():
        course.health.append(health)


def _measure(trainer: Trainer, course: ModelResult, pair: ModelPair, text: str) -> bool:
    """Measure a trained model; return False if its numbers are not finite."""
    model, windows = trainer.model, fixed_windows(pair.val_ids, trainer.model.block_size, _WINDOWS)
    try:
        course.by_position = window_losses(model, windows).numpy().mean(axis=0)  # (T,)
    except NotFiniteError:
        course.by_position = np.full(model.block_size, np.nan)
        return False
    course.last_position_loss = float(course.by_position[-1])
    course.shuffled = float(window_losses(model, shuffled(windows))[:, -1].mean())
    course.sharpness = (course.sharpness[0], sharpness(model, pair.val_ids))
    course.sample, _ = sample_text(model, pair.tokenizer, pair.control_text[-1:], _SAMPLE, temperature=0.8)
    course.words = share_of_words(course.sample, pair.control_text)
    course.copied = longest_copy(course.sample, text)
    return True


def sharpness(model: GPT | Bigram, ids: Tensor) -> float:
    """Return the largest attention weight of a query, averaged over heads and queries."""
    patterns = attention_patterns(model, ids[: model.block_size])  # (L, H, T, T)
    half = patterns.shape[-1] // 2  # the first queries have few keys
    return float(patterns[..., half:, :].max(axis=-1).mean())


def shuffled(windows: Tensor) -> Tensor:
    """Return windows (N, T + 1) with all but their last two characters in random order."""
    order = torch.randperm(windows.size(1) - 2, generator=torch.Generator().manual_seed(0))
    return torch.cat((windows[:, order], windows[:, -2:]), dim=1)


def share_of_words(sample: str, text: str) -> float:
    """Return the share of the sample's words of three letters or more that occur in the text: 0 to 1."""
    vocabulary = {word.lower() for word in _WORD.findall(text)}
    words = [word.lower() for word in _WORD.findall(sample)]
    return sum(word in vocabulary for word in words) / len(words) if words else 0.0


def longest_copy(sample: str, text: str) -> int:
    """Return the length of the longest part of the sample that occurs in the text, in characters."""
    sample_points, text_points = ([ord(letter) for letter in part] for part in (sample, text))
    return int(longest_matches(sample_points, text_points).lengths.max(initial=0))


def kind_of_sample(course: ModelResult, control: ModelResult) -> str:
    """Return what a sample looks like: "copied", "stuck", "words" (as good as the control's), or "rubbish"."""
    most = Counter(course.sample).most_common(1)
    if not most or most[0][1] > _STUCK * len(course.sample):
        return "stuck"
    if course.copied >= max(_COPIED, 2 * control.copied):
        return "copied"
    return "words" if course.words >= 0.75 * control.words else "rubbish"


def phrase_memorization(model: GPT | Bigram, tokenizer: CharTokenizer, phrase: str) -> dict[str, float | str]:
    """Measure whether the model has memorized a phrase, given its first third.

    Returns `phrase`, the loss on the rest in nats a character; `likely`, the probability of the whole rest; and
    `goes_on`, the greedy continuation of the same length.
    """
    ids = tokenizer.encode("\n" + phrase)[-model.block_size - 1 :]
    prompt_length = max(1, len(ids) // 3)
    losses = window_losses(model, torch.tensor([ids]))[0, prompt_length - 1 :]  # (R,)
    prompt = tokenizer.decode(ids[:prompt_length])
    continuation, _ = sample_text(model, tokenizer, prompt, len(ids) - prompt_length, temperature=0.0)
    return {"phrase": float(losses.mean()), "likely": Share(torch.exp(-losses.sum())), "goes_on": continuation}


def loss_on_letter(model: GPT | Bigram, tokenizer: CharTokenizer, val_ids: Tensor, letter: str) -> dict[str, float]:
    """Return the losses in nats on one letter (either case) and on all others, and its mean probability `expected`.

    A loss is left out if the measured text has no such position.
    """
    windows = fixed_windows(val_ids, model.block_size, _WINDOWS)
    forms = [tokenizer.tokens.index(form) for form in (letter.lower(), letter.upper()) if form in tokenizer.tokens]
    is_letter = torch.isin(windows[:, 1:], torch.tensor(sorted(set(forms))))  # (N, T)
    losses = window_losses(model, windows)  # (N, T)
    probability = compute_logits(model, windows[:, :-1]).softmax(dim=-1)[..., sorted(set(forms))].sum(dim=-1)  # (N, T)
    parts = {"on_letter": losses[is_letter], "on_others": losses[~is_letter]}
    return {name: float(part.mean()) for name, part in parts.items() if len(part)} | {
        "expected": Share(probability.mean())
    }


_EXTRA: dict[str, Callable[[GPT | Bigram, ModelPair], Mapping[str, float | str]]] = {
    "phrase": lambda model, pair: phrase_memorization(model, pair.tokenizer, pair.choices["phrase"]),
    "letter": lambda model, pair: loss_on_letter(model, pair.tokenizer, pair.val_ids, pair.choices["letter"]),
}
