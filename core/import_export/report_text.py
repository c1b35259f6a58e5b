"""The facts of a report, and its sentences: the run's question, what its numbers answer, and its model card."""

import math
import shlex
from typing import Any, NamedTuple

import numpy as np

from core.config import SETTINGS, RunConfig, used_settings
from core.formatting import describe_loss, duration_in_words, format_setting, listed
from core.presets import PRESETS, preset
from core.settings import differences, value_at
from core.text.corpora import Corpus
from core.text.ngrams import BASELINES
from core.text.tokenizers import TOKENIZERS

_NO_DIFFERENCE = ("preset", "train.device", "train.precision", "train.compile")  # changes nothing that is learned
_NO_QUESTION = (  # length of training and measurements: alone no question for a run
    "steps", "decay_steps", "eval_interval", "eval_windows", "log_interval", "sample_interval", "sample_length",
    "sample_temperature", "checkpoint_interval", "snapshots",
)  # fmt: skip
_OVERFITTED = 0.15  # nats between the splits; a larger gap is worth a sentence


class Ancestor(NamedTuple):
    """The run that this one branched off from."""

    name: str
    config: RunConfig  # at the step where this one branched off
    step: int | None  # of the weights that this one started from; None if it took only the settings
    val_loss: float | None  # at its end, nats a token
    same_text: bool  # whether the two losses are comparable
    rows: list[dict[str, Any]]  # metrics


class RunFacts(NamedTuple):
    """All facts about a run that a report uses."""

    name: str  # any text
    id: str
    created: str  # ISO 8601, UTC
    config: RunConfig  # at the start
    state: str  # finished, running, ...
    progress: str  # how training went, in one sentence; "" before the first measurement
    step: int
    seconds: float  # of training
    reason: str  # why it stopped or failed
    origin: str  # where an imported model comes from; else ""
    corpus: Corpus | None  # None if the text is gone
    corpus_hash: str
    vocabulary: tuple[str, ...]  # the tokens by id; empty before training starts
    parameters: int  # 0 before training starts
    rows: list[dict[str, Any]]  # metrics
    baselines: dict[str, float] | None
    samples: list[dict[str, Any]]
    opening: str  # the prompt of every sample, as it is shown; empty before training starts
    setting_changes: list[tuple[int, str]]  # step and description
    attention: np.ndarray | None  # uint8 (L, H, T, T), 255 is a weight of 1
    attention_step: int
    tokens: list[str]  # the T tokens of the attention pattern
    table: np.ndarray | None  # for a bigram: probabilities (V, V) of the next token
    parent: Ancestor | None
    precision: str
    threads: int
    hardware: str
    versions: dict[str, str]
    titles: dict[str, str]  # of all texts, by their names in the settings

    @property
    def letters(self) -> str:
        """Return the name of the model's tokens."""
        return "letters" if TOKENIZERS[self.config.data.tokenizer].by_character else "tokens"

    @property
    def uniform(self) -> float | None:
        """Return the loss of the uniform guess, nats a token; None if it was not counted."""
        return (self.baselines or {}).get("uniform")

    def last(self, name: str) -> float | None:
        """Return the last measured value of a metric."""
        return next((row[name] for row in reversed(self.rows) if row.get(name) is not None), None)


def base_of(facts: RunFacts) -> tuple[str, RunConfig]:
    """Return the baseline of a run, in words and as settings: its parent, its preset, or the defaults."""
    if facts.parent:
        return f"its parent, {facts.parent.name}", facts.parent.config
    if facts.config.preset in PRESETS:
        return f"the preset {facts.config.preset}", preset(facts.config.preset)
    return "the default settings", RunConfig()


def changes(facts: RunFacts) -> list[tuple[str, str, str]]:
    """Return the settings that differ from the base: label, value there, value here."""
    _, base = base_of(facts)
    return [
        (SETTINGS[path].label, shown(base, path, facts), shown(facts.config, path, facts))
        for path in differences(facts.config, base)
        if path not in _NO_DIFFERENCE and path in used_settings(facts.config)
    ]


def all_settings(facts: RunFacts) -> list[dict[str, Any]]:
    """Return every setting that has an effect, with its label, help and value."""
    changed, config = {label for label, _, _ in changes(facts)}, facts.config
    return [
        {"label": own.label, "help": own.help, "value": _value(path, facts), "changed": own.label in changed}
        for path, own in used_settings(config).items()
    ]


def _value(path: str, facts: RunFacts) -> str:
    if path == "data.vocab_size" and facts.vocabulary:  # an imported tokenizer has another size
        return format_setting(len(facts.vocabulary))
    return shown(facts.config, path, facts)


def shown(config: RunConfig, path: str, facts: RunFacts) -> str:
    """Return a setting's value as shown next to its slider; for a text, its title."""
    value = value_at(config, path)
    return facts.titles.get(value, value) if path == "data.corpus" else format_setting(value, path)


def question(facts: RunFacts) -> str:
    """Return the question that this run answers, as far as its settings show it."""
    text, model = _text_title(facts), facts.config.model
    no_question = {SETTINGS[f"train.{name}"].label for name in _NO_QUESTION}
    different = [change for change in changes(facts) if change[0] not in no_question]
    parts = [f"{name.lower()} {before} → {after}" for name, before, after in different]
    changed = listed(parts if len(parts) <= 4 else [*parts[:3], f"{len(parts) - 3} other changes"])
    if facts.origin:
        return f"How well does a model that was trained elsewhere predict {text}?"
    if facts.parent and facts.parent.step is not None:
        branch = f"{facts.parent.name}, trained on from its step {facts.parent.step:,}"
        return f"How does {branch}, change with {changed}?" if changed else f"Does {branch}, improve further?"
    if changed and (facts.parent or facts.config.preset):
        return f"What changes against {base_of(facts)[0]}, with {changed}?"
    if model.kind == "bigram":
        return f"What loss does a bigram reach on {text}, from which of the {facts.letters} follow which?"
    layers = f"{model.n_layer} layer{'s' * (model.n_layer != 1)}"
    return f"How well does a GPT of {layers} learn {text} in {facts.step or facts.config.train.steps:,} steps?"


def answer(facts: RunFacts) -> list[str]:
    """Return the results in a few sentences, each with its number."""
    if facts.origin:
        return ["It was not trained here, so there is no history of its training."]
    loss, train_loss = facts.last("val_loss"), facts.last("train_loss")
    if loss is None or facts.step == 0:
        return ["It has not trained yet, so there is no result."]
    took = f" ({duration_in_words(facts.seconds)})" if facts.seconds >= 1 else ""
    steps = f"{facts.step:,} step{'s' * (facts.step != 1)}"
    sentences = [
        f"After {steps}{took} its validation loss is {loss:.3f} nats: "
        f"{describe_loss(loss, facts.letters, facts.uniform)} at every position."
    ]
    if facts.progress:
        sentences.append(facts.progress)
    if facts.baselines:
        sentences.append(_against_baselines(facts.baselines, loss))
    gap = loss - (train_loss if train_loss is not None else loss)
    if gap > _OVERFITTED:
        sentences.append(f"Its training loss is {gap:.2f} nats lower, so it has memorized part of its training text.")
    if facts.parent and facts.parent.val_loss is not None and facts.parent.same_text:
        sentences.append(_against_parent(facts.parent.name, facts.parent.val_loss, loss))
    if facts.state in ("stopped", "failed"):
        planned = f"It was planned to train for {facts.config.train.steps:,} steps"
        sentences.append(f"{planned}. {facts.reason}" if facts.reason else f"{planned}, but {facts.state}.")
    return sentences


def _against_baselines(baselines: dict[str, float], loss: float) -> str:
    counted = [name for name in baselines if name != "floor"]
    beaten = [name for name in counted if loss < baselines[name]]
    missed = [name for name in counted if name not in beaten]
    parts = []
    if beaten:
        best = min(beaten, key=baselines.__getitem__)
        parts.append(f"That is better than the {BASELINES[best]} of its text ({baselines[best]:.3f})")
    if missed:
        next_one = max(missed, key=baselines.__getitem__)
        than = f"{BASELINES[next_one]} ({baselines[next_one]:.3f})"
        parts.append(f"not yet as good as {than}" if beaten else f"That is worse than the {than}")
    return ", but ".join(parts) + "."


def _against_parent(parent: str, parent_loss: float, loss: float) -> str:
    if abs(parent_loss - loss) < 0.005:
        return f"Its parent, {parent}, ended at {parent_loss:.3f}: about the same."
    which = f"{'lower' if loss < parent_loss else 'higher'} by {abs(parent_loss - loss):.3f}"
    return f"Its parent, {parent}, ended at {parent_loss:.3f}: this one is {which}."


def model_card(facts: RunFacts) -> list[tuple[str, str]]:
    """Return the rows of the model card (Mitchell 2019, Model Cards for Model Reporting): name and text."""
    return [
        ("Model", _model(facts)),
        ("Training text", _text(facts)),
        ("Training", _training(facts)),
        ("Quality", _quality(facts)),
        ("Origin", _origin(facts)),
        (
            "Intended use",
            "Learning how a language model is trained and works. It continues text in the style of its training text.",
        ),
        (
            "Limitations",
            "It has learned which text is likely, not what is true. It repeats what its text contains, prejudices "
            f"and errors included, and cannot read or write {facts.letters} that its text lacks.",
        ),
    ]


def command(facts: RunFacts) -> str:
    """Return the shell command that trains such a run; "" if it started from the weights of another model."""
    if facts.origin or (facts.parent and facts.parent.step is not None):
        return ""
    parts = ["python", "-m", "core", "train"]
    if facts.config.preset in PRESETS:
        parts += ["--preset", facts.config.preset]
    base = preset(facts.config.preset if facts.config.preset in PRESETS else "gpt-quick")  # the command line's default
    for path, value in differences(facts.config, base).items():
        if path == "data.corpus":
            own = facts.corpus is None or facts.corpus.own
            parts += ["--text", "FILE"] if own else ["--corpus", value]
        elif path != "preset":
            parts += ["--set", f"{path}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(parts)


def _model(facts: RunFacts) -> str:
    model = facts.config.model
    size = f"{facts.parameters:,} parameters, " if facts.parameters else ""
    tokens = f"{len(facts.vocabulary):,} different {facts.letters}" if facts.vocabulary else "its text's letters"
    if model.kind == "bigram":
        return f"A bigram table: {size}one row of logits for each of {tokens}."
    return (
        f"A decoder-only transformer (GPT): {model.n_layer} layer{'s' * (model.n_layer != 1)} of {model.n_head} heads, "
        f"width {model.n_embd}, a context of {model.block_size} {facts.letters}; {size}a vocabulary of {tokens}."
    )


def _text_title(facts: RunFacts) -> str:
    return facts.corpus.title if facts.corpus else f"the text {facts.config.data.corpus}"


def _text(facts: RunFacts) -> str:
    split = f"the last {facts.config.data.val_fraction:.0%} are validation text"
    digest = f" SHA-256 of the text: {facts.corpus_hash[:16]}…" if facts.corpus_hash else ""
    if facts.corpus is None:
        return f"A text that is no longer on this machine; {split}.{digest}"
    about = f"{facts.corpus.characters:,} characters, {facts.corpus.language}, {facts.corpus.license}"
    return f"{_text_title(facts)}: {about}; {split}.{digest}"


def _training(facts: RunFacts) -> str:
    if facts.origin:
        return "Elsewhere."
    train = facts.config.train
    read = facts.step * train.batch_size * facts.config.model.block_size
    took = f" in {duration_in_words(facts.seconds)}" if facts.seconds >= 1 else ""
    versions = ", ".join(f"{name} {facts.versions[name]}" for name in ("python", "torch") if name in facts.versions)
    how = f"{facts.precision}, {facts.threads} thread{'s' * (facts.threads != 1)}, " if facts.precision else ""
    batches = "" if any("atch" in words for _, words in facts.setting_changes) else f" ({read:,} {facts.letters} read)"
    return (
        f"{facts.step:,} of {train.steps:,} steps{took} with {train.optimizer}, batch size {train.batch_size}{batches};"
        f" {how}seed {train.seed}, {versions}. {facts.hardware}"
    )


def _quality(facts: RunFacts) -> str:
    loss = facts.last("val_loss")
    if loss is None:
        return "Not measured."
    baselines = [f"{BASELINES[name]} {value:.3f}" for name, value in (facts.baselines or {}).items()]
    meaning, bits = describe_loss(loss, facts.letters, facts.uniform), facts.last("val_bits_per_byte")
    a_byte = "" if bits is None else f", {bits:.3f} a byte"
    return (
        f"Validation loss {loss:.4f} nats ({loss / math.log(2):.3f} bits{a_byte}), {meaning}. "
        + (f"For comparison: {', '.join(baselines)}. " if baselines else "")
        + "One run with one seed: other seeds give slightly different losses."
    )


def _origin(facts: RunFacts) -> str:
    if facts.origin:
        return facts.origin[0].upper() + facts.origin[1:] + "."
    if not facts.parent:
        return "Trained from random weights."
    if facts.parent.step is None:
        return f"Random weights; its settings began as those of {facts.parent.name}."
    return f"It started from the weights of {facts.parent.name} at step {facts.parent.step:,}."
