"""A run's model card: what Mitchell and others ask to be told of any model."""

import shlex

from core.errors import ConfigError
from core.formatting import duration_in_words, loss_in_words
from core.import_export.report.facts import Facts
from core.import_export.report.markup import Content, Markup, tag
from core.import_export.report.words import bits, counted, text_in_words
from core.presets import preset
from core.settings import differences


def model_card(facts: Facts) -> Markup:
    """What it is, learned from, and is or is not good for (Mitchell 2019, Model Cards for Model Reporting)."""
    rows = [
        ("What it is", _model(facts)),
        ("What it learned from", _text(facts)),
        ("How it was trained", _training(facts)),
        ("How good it is", _quality(facts)),
        ("Where it comes from", _descent(facts)),
        (
            "What it is for",
            "Seeing how a language model learns, and what goes on in one. It continues text in the style that it read.",
        ),
        (
            "What to beware of",
            "It knows only which writing is likely, not what is true; it repeats whatever its text holds, prejudices "
            f"and errors included, and has no number for {facts.letters} that it never met.",
        ),
        ("The same again", _again(facts)),
    ]
    listed = [tag("div", tag("dt", name), tag("dd", told)) for name, told in rows if told]
    return tag("dl", listed, class_="card")


def command(facts: Facts) -> str:
    """The line of a shell that trains such a run; "" for one that needs the weights it began with."""
    if facts.origin or (facts.parent and facts.parent.step is not None):
        return ""
    parts = ["python", "-m", "core", "train"]
    try:
        base = preset(facts.config.preset)
        parts += ["--preset", facts.config.preset]
    except ConfigError:
        base = preset("gpt-quick")  # what the command line begins with
    for path, value in differences(facts.config, base).items():
        if path == "data.corpus":
            own = facts.corpus is None or facts.corpus.own
            parts += ["--text", "FILE"] if own else ["--corpus", value]
        elif path != "preset":
            parts += ["--set", f"{path}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(parts)


def _model(facts: Facts) -> str:
    model = facts.config.model
    size = f"{facts.parameters:,} parameters, " if facts.parameters else ""
    tokens = f"{len(facts.vocabulary):,} different {facts.letters}" if facts.vocabulary else "its text's letters"
    if model.kind == "bigram":
        return f"A bigram table: {size}one row of scores for each of {tokens}."
    shape = (
        f"{model.n_layer} layer{'s' * (model.n_layer != 1)}, {model.n_head} heads each, {model.n_embd} wide, "
        f"a context of {model.block_size} {facts.letters}"
    )
    return f"A decoder-only transformer (GPT): {shape}; {size}reading and writing {tokens}."


def _text(facts: Facts) -> str:
    kept = f"the last {facts.config.data.val_fraction:.0%} kept aside to measure on"
    digest = f" SHA-256 of the text: {facts.corpus_hash[:16]}…" if facts.corpus_hash else ""
    if facts.corpus is None:
        return f"A text that is no longer on this machine, {kept}.{digest}"
    about = f"{facts.corpus.characters:,} characters, {facts.corpus.language}, {facts.corpus.licence}"
    return f"{text_in_words(facts)}: {about}; {kept}.{digest}"


def _training(facts: Facts) -> str:
    if facts.origin:
        return "Elsewhere."
    train = facts.config.train
    seen = facts.step * train.batch_size * facts.config.model.block_size
    took = f" in {duration_in_words(facts.seconds)}" if facts.seconds >= 1 else ""
    versions = ", ".join(f"{name} {facts.versions[name]}" for name in ("python", "torch") if name in facts.versions)
    how = f"{facts.precision}, {facts.threads} thread{'s' * (facts.threads != 1)}, " if facts.precision else ""
    batches = "" if any("atch" in words for _, words in facts.turns) else f" ({seen:,} {facts.letters} read)"
    return (
        f"{facts.step:,} of {train.steps:,} steps{took} with {train.optimizer}, {train.batch_size} pieces a "
        f"step{batches}; {how}seed {train.seed}, {versions}. {facts.hardware}"
    )


def _quality(facts: Facts) -> Content:
    loss = facts.val_loss
    if loss is None:
        return "Not measured."
    meaning = loss_in_words(loss, facts.letters, facts.uniform)
    told = f"Validation loss {loss:.4f} nats ({bits(loss):.3f} bits), {meaning}. "
    lines = [f"{counted(name, facts)} {value:.3f}" for name, value in (facts.baselines or {}).items()]
    return (
        told
        + (f"For comparison: {', '.join(lines)}. " if lines else "")
        + "One run with one seed: others differ a little."
    )


def _descent(facts: Facts) -> str:
    if facts.origin:
        return facts.origin[0].upper() + facts.origin[1:] + "."
    if not facts.parent:
        return "Trained from random weights."
    if facts.parent.step is None:
        return f"Random weights; its settings began as those of {facts.parent.name}."
    return f"It began with the weights that {facts.parent.name} had at step {facts.parent.step:,}."


def _again(facts: Facts) -> Content:
    if facts.origin:
        return ""
    if line := command(facts):
        return tag("code", line)
    return "Take its script or its notebook along too: they train it again from where it began."
