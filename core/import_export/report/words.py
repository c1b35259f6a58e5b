"""The sentences of a report: what the run asks, and what its numbers answer."""

import math

from core.config import RunConfig, optimizer_of
from core.errors import ConfigError
from core.formatting import duration_in_words, loss_in_words, number
from core.import_export.report.facts import Facts
from core.presets import preset
from core.settings import differences, fields_of, value_at

COUNTED = {
    "uniform": "guessing at random",
    "unigram": "counting single {}",
    "bigram": "counting pairs",
    "trigram": "counting triples",
}
_NO_DIFFERENCE = ("preset", "train.device", "train.precision", "train.compile")  # to what is learned
_NO_QUESTION = (  # how long it learns, and how closely that is watched: of no interest alone
    "steps", "decay_steps", "eval_interval", "eval_windows", "log_interval", "sample_interval", "sample_length",
    "sample_temperature", "checkpoint_interval", "snapshots",
)  # fmt: skip
_SETTINGS = dict(fields_of(RunConfig))
_OVERFITTED = 0.15  # nats between the splits that are worth a sentence


def base_of(facts: Facts) -> tuple[str, RunConfig]:
    """What the run is to be compared with, in words and as settings: its parent, its preset, else the usual ones."""
    if facts.parent:
        return f"its parent, {facts.parent.name}", facts.parent.config
    try:
        return f"the preset {facts.config.preset}", preset(facts.config.preset)
    except ConfigError:
        return "the usual settings", RunConfig()


def changes(facts: Facts) -> list[tuple[str, str, str]]:
    """What is not as in the base: label, its value there, its value here."""
    _, base = base_of(facts)
    return [
        (label(path), shown(base, path, facts), shown(facts.config, path, facts))
        for path in differences(facts.config, base)
        if path not in _NO_DIFFERENCE and matters(path, facts.config)
    ]


def matters(path: str, config: RunConfig) -> bool:
    """Whether a setting makes a difference: a bigram has no layers, and without Muon its rate is idle."""
    if owner := optimizer_of(path):
        return config.train.optimizer == owner
    return config.model.kind != "bigram" or not path.startswith("model.") or path in ("model.kind", "model.block_size")


def label(path: str) -> str:
    return _SETTINGS[path].label


def help_of(path: str) -> str:
    return _SETTINGS[path].help


def shown(config: RunConfig, path: str, facts: Facts) -> str:
    """A setting's value as it is written beside its slider; of a text, its title."""
    value = value_at(config, path)
    return facts.titles.get(value, value) if path == "data.corpus" else number(value)


def model_in_words(facts: Facts) -> str:
    model = facts.config.model
    if model.kind == "bigram":
        return "a bigram table"
    return f"a GPT of {model.n_layer} layer{'s' * (model.n_layer != 1)}"


def text_in_words(facts: Facts) -> str:
    return facts.corpus.title if facts.corpus else f"the text {facts.config.data.corpus}"


def question(facts: Facts) -> str:
    """What this run was made to find out, as far as its settings tell."""
    text = text_in_words(facts)
    different = [
        change for change in changes(facts) if change[0] not in {label(f"train.{name}") for name in _NO_QUESTION}
    ]
    told = _listed([f"{name.lower()} {there} → {here}" for name, there, here in different])
    if facts.origin:
        return f"What can a model do that was trained elsewhere, looked at with {text}?"
    if facts.parent and facts.parent.step is not None:
        begun = f"{facts.parent.name}, trained on from its step {facts.parent.step:,}"
        return f"What becomes of {begun}, with {told}?" if told else f"Does {begun}, learn still more?"
    if told and (facts.parent or facts.config.preset):
        return f"What changes against {base_of(facts)[0]}, with {told}?"
    if facts.config.model.kind == "bigram":
        return f"How far does one table get on {text}, if it only knows which of the {facts.letters} follow which?"
    return f"How well does {model_in_words(facts)} learn {text} in {facts.step or facts.config.train.steps:,} steps?"


def answer(facts: Facts) -> list[str]:
    """What the numbers say, in a few sentences; each is true of this run, and none is said without its number."""
    if facts.origin:
        return ["It was not trained here, so there is no history of its learning."]
    loss = facts.val_loss
    if loss is None or facts.step == 0:
        return ["It has not trained yet, so there is nothing to tell."]
    took = f" ({duration_in_words(facts.seconds)})" if facts.seconds >= 1 else ""
    steps = f"{facts.step:,} step{'s' * (facts.step != 1)}"
    sentences = [
        f"After {steps}{took} its loss on text it never trained on is {loss:.3f} nats: "
        f"{loss_in_words(loss, facts.letters, facts.uniform)} at every step."
    ]
    if facts.progress:
        sentences.append(facts.progress)
    if facts.baselines:
        sentences.append(_against_counting(facts, loss))
    gap = loss - (facts.train_loss if facts.train_loss is not None else loss)
    if gap > _OVERFITTED:
        sentences.append(f"It knows its own training text better by {gap:.2f} nats, so part of it is learned by heart.")
    if facts.parent and facts.parent.val_loss is not None and facts.parent.same_text:
        sentences.append(_against_parent(facts, loss))
    if facts.state in ("stopped", "failed"):
        wanted = f"It was to take {facts.config.train.steps:,} steps"
        sentences.append(f"{wanted}. {facts.reason}" if facts.reason else f"{wanted}, but {facts.state}.")
    return sentences


def counted(name: str, facts: Facts) -> str:
    return COUNTED[name].format(facts.letters)


def bits(loss: float) -> float:
    """Nats as bits."""
    return loss / math.log(2)


def _against_counting(facts: Facts, loss: float) -> str:
    beaten = [name for name in COUNTED if loss < facts.baselines.get(name, -math.inf)]
    missed = [name for name in COUNTED if name in facts.baselines and name not in beaten]
    parts = []
    if beaten:
        best = min(beaten, key=facts.baselines.get)
        parts.append(
            f"That is better than {counted(best, facts)} in the same text reaches ({facts.baselines[best]:.3f})"
        )
    if missed:
        next_one = max(missed, key=facts.baselines.get)
        than = f"{counted(next_one, facts)} ({facts.baselines[next_one]:.3f})"
        parts.append(f"not yet as good as {than}" if beaten else f"That is not even as good as {than}")
    return ", but ".join(parts) + "."


def _against_parent(facts: Facts, loss: float) -> str:
    theirs = facts.parent.val_loss
    if abs(theirs - loss) < 0.005:
        return f"Its parent, {facts.parent.name}, ended at {theirs:.3f}: no difference to speak of."
    which = "lower" if loss < theirs else "higher"
    return f"Its parent, {facts.parent.name}, ended at {theirs:.3f}: this one is {which} by {abs(theirs - loss):.3f}."


def _listed(parts: list[str], most: int = 4) -> str:
    """ "a, b and c"; of many only the first."""
    if len(parts) > most:
        return f"{', '.join(parts[: most - 1])} and {len(parts) - most + 1} other changes"
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
