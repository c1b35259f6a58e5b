"""New runs, from scratch or forked from another run's weights, and the ancestors of a run."""

import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from core.atomic_io import TEMPORARY, put_in_place
from core.classroom import ClassError, settings_of_class
from core.config import RATES, SETTINGS, RunConfig
from core.errors import ConfigError, ExplorerError, RunError
from core.formatting import duration_in_words
from core.lessons.shannon import Passage
from core.live_settings import STEPS
from core.paths import class_root
from core.presets import PRESETS, preset
from core.runs.commands import config_at, config_now
from core.runs.folder import RunFolder, open_run
from core.runs.machine import check_processes, estimate_run
from core.runs.queue import Queue
from core.runs.records import NAME_LENGTH, RunRecord
from core.runs.weights import require_weights, weights_step
from core.settings import differences, value_at
from core.text import split_point
from core.text.bpe import new_tokenizer
from core.text.corpora import find_corpus, load_corpus, text_hash
from core.text.own_text import check_trainable
from core.text.tasks import check_task
from core.text.tokenizers import OnProgress, Tokenizer, load_tokenizer
from core.training.checkpoints import check_weights
from core.training.cost import TYPICAL_VOCABULARY

CLASS_STEPS = 300  # steps of a class's short run: it takes seconds, so thirty of them take minutes
_SCHEDULE = ("train.warmup_steps", "train.decay_steps", "train.schedule_start")
_MAX_GENERATIONS = 32  # an edited record may name itself as its parent
_CONTEXT = 40  # characters compared before a passage, because a few letters alone occur in many texts

_hash = lru_cache(maxsize=4)(text_hash)


def check_startable(
    data_dir: Path,
    config: RunConfig,
    parent: RunFolder | None = None,
    text: str | None = None,
    report: OnProgress = lambda share: None,
) -> int:
    """Return the vocabulary size of a new run; raises ExplorerError if training could not start.

    `report` is called with the progress of training a tokenizer.
    """
    check_processes(config)
    text = load_corpus(config.data.corpus, data_dir) if text is None else text
    if parent:
        tokenizer = parents_tokenizer(parent, config, text)
    else:
        tokenizer = new_tokenizer(config.data, text, data_dir, report)
    check_trainable(text, config.model.block_size, config.data.val_fraction, tokenizer, is_fork=parent is not None)
    check_task(config.data.corpus, config.model.block_size, tokenizer.by_character)
    return tokenizer.vocab_size


def check_allowed(data_dir: Path, config: RunConfig, vocab_size: int, base: RunConfig | None = None) -> None:
    """Raise ClassError if a class member may not start another run now, or not with these settings.

    Hidden settings must equal those of `base`, by default the preset.
    """
    if (limits := settings_of_class(data_dir)) is None:
        return
    if limits.paused:
        raise ClassError("Your teacher has paused the class: you can look, but start and change nothing.")
    if Queue(data_dir).count_of(data_dir.name) >= limits.most_running + limits.most_waiting:
        raise ClassError(
            "You have as many runs in training and waiting as your class allows. Wait for one to end, or stop one."
        )
    if limits.text not in ("", config.data.corpus):
        title = find_corpus(limits.text, class_root(data_dir)).title
        raise ClassError(f"Your teacher has chosen the text {title!r} for this lesson. Choose it on Train.")
    check_hidden(data_dir, config, base or preset_of(config))
    check_cost(data_dir, config, vocab_size)


def preset_of(config: RunConfig) -> RunConfig:
    """Return the preset that the settings started from, or the defaults if there is none."""
    return preset(config.preset) if config.preset in PRESETS else RunConfig()


def hidden_settings(data_dir: Path) -> list[str]:
    """Return the paths of settings that a class member cannot choose; empty for any other data folder."""
    settings = settings_of_class(data_dir)
    names = {*settings.hidden} if settings else set()
    return [path for path, setting in SETTINGS.items() if path != "data.corpus" and names & {path, setting.group}]


def check_hidden(data_dir: Path, config: RunConfig, base: RunConfig) -> None:
    """Raise ClassError if a setting that the class hides differs between `config` and `base`."""
    for path in hidden_settings(data_dir):
        if value_at(config, path) != value_at(base, path):
            raise ClassError(
                f"Your teacher has hidden the setting {SETTINGS[path].label!r} in this lesson, so it stays "
                f"{value_at(base, path)}."
            )


def check_cost(data_dir: Path, config: RunConfig, vocab_size: int) -> None:
    """Raise ClassError if a class member may not train a model of this size or for this long."""
    if (limits := settings_of_class(data_dir)) is None:
        return
    expected = estimate_run(config, vocab_size, data_dir)
    if expected.parameters > limits.most_parameters:
        raise ClassError(
            f"This model has {expected.parameters:,} parameters, and your class allows {limits.most_parameters:,}. "
            "Choose fewer layers or a smaller width."
        )
    if config.train.steps > limits.most_steps:
        raise ClassError(
            f"This run would train for {config.train.steps:,} steps, and your class allows {limits.most_steps:,}. "
            "Choose fewer steps."
        )
    if expected.seconds > 60 * limits.most_minutes:
        raise ClassError(
            f"This run would take about {duration_in_words(expected.seconds)}, and your class allows "
            f"{limits.most_minutes:g} minutes. Choose fewer steps or a smaller model."
        )


def short_config(data_dir: Path, config: RunConfig) -> RunConfig:
    """Return settings for a class member's short run: few steps, and no longer than the class allows.

    For any other data folder, return the settings unchanged.
    """
    if (limits := settings_of_class(data_dir)) is None:
        return config
    steps, most = min(config.train.steps, CLASS_STEPS, limits.most_steps), 60 * limits.most_minutes
    while steps > 1 and estimate_run(config.replace({STEPS: steps}), TYPICAL_VOCABULARY, data_dir).seconds > most:
        steps //= 2
    config = config.replace({"data.corpus": limits.text or config.data.corpus})
    return config.replace({STEPS: steps, "train.warmup_steps": min(config.train.warmup_steps, steps // 4)})


def parents_tokenizer(parent: RunFolder, config: RunConfig, text: str) -> Tokenizer:
    """Return the parent's tokenizer; raises ExplorerError if `config` has another one, or it cannot encode `text`."""
    data = parent.record().config.data
    same_text = config.data.model_copy(update=data.model_dump(include={"tokenizer", "vocab_size"}))
    if other := differences(same_text, config.data):
        values = ", ".join(f"data.{path} {value}" for path, value in other.items())
        raise ConfigError(
            f"A fork keeps the tokenizer of {parent.name!r}, with {values}. Leave these as they are, or start a new "
            "run."
        )
    tokenizer = load_tokenizer(parent.tokenizer_path)
    if tokenizer.by_character:
        tokenizer.encode_array(text)  # refuses characters that the model does not know
    return tokenizer


def new_run(
    data_dir: Path,
    config: RunConfig,
    name: str | None = None,
    *,
    inside: Path | None = None,
    base: RunConfig | None = None,
) -> RunFolder:
    """Create a queued run that starts from scratch; raises ExplorerError if it could not be trained.

    In a class, hidden settings must equal those of `base`, by default the preset.
    """
    check_allowed(data_dir, config, check_startable(data_dir, config), base)
    return RunFolder.create(data_dir, config, name, inside=inside)


def fork_config(folder: RunFolder, step: int | None = None) -> RunConfig:
    """Return a fork's settings: those that its weights were trained with, but with the original schedule."""
    config = config_now(folder) if step is None else config_at(folder, step - 1)  # changes at `step` affect later steps
    first = folder.record().config
    schedule = {path: value_at(first, path) for path in _SCHEDULE}
    rates = {path: float(f"{value_at(config, path):.12g}") for path in RATES}  # 0.1, not 0.09999999999999999
    return config.replace(schedule | rates)


def fork(
    data_dir: Path,
    folder: RunFolder,
    step: int | None,
    config: RunConfig,
    name: str | None = None,
    *,
    inside: Path | None = None,
) -> RunFolder:
    """Create a run, queued at step 0, that starts with its parent's weights at a step, by default the newest.

    Weights and tokenizer are copied, so the parent can keep training or be deleted. The optimizer's averages are not
    copied: they belong to the parent's settings. Raises ExplorerError if there are no such weights, the model differs
    in more than dropout, or the text is not trainable.
    """
    weights, step = require_weights(folder, step)
    check_weights(weights)
    model = folder.record().config.model
    same_dropout = config.model.model_copy(update={"dropout": model.dropout})
    if other := differences(model, same_dropout):
        values = ", ".join(f"model.{path} {value}" for path, value in other.items())
        raise ConfigError(
            f"The weights of {folder.name!r} are of a model with {values}. A fork keeps the model, except for its "
            "dropout: leave these as they are, or start a new run."
        )
    tokenizer = load_tokenizer(folder.tokenizer_path)
    check_allowed(data_dir, config, check_startable(data_dir, config, folder), fork_config(folder, step))

    def fill(fork: RunFolder) -> None:
        temporary = fork.path / f"{TEMPORARY}{fork.start_path.name}"
        shutil.copyfile(weights, temporary)
        put_in_place(temporary, fork.start_path)
        if weights_step(fork.start_path) != step:  # the parent is training, and has saved again
            raise RunError(f"The run {folder.name!r} has just saved other weights. Try again.")
        tokenizer.save(fork.tokenizer_path)

    suffix = f" from step {step}"
    name = name or folder.name[: NAME_LENGTH - len(suffix)] + suffix
    return RunFolder.create(data_dir, config, name, folder.id, parent_step=step, fill=fill, inside=inside)


def ancestors(data_dir: Path, record: RunRecord) -> Iterator[tuple[RunFolder, RunRecord] | None]:
    """Yield the runs that a run descends from, nearest first; ends with None if one is deleted or damaged."""
    for _ in range(_MAX_GENERATIONS):
        if record.parent_step is None:
            return
        try:
            run = open_run(data_dir, record.parent or "")
            record = run.record()
        except ExplorerError:
            break
        yield run, record
    yield None


def may_have_trained_on(run: RunFolder, data_dir: Path, corpus: str, passage: Passage) -> bool:
    """Return whether the run or an ancestor may have trained on a passage of the text `corpus`.

    Also true for an imported model, a deleted ancestor, and a missing or changed text. Raises RunError if the run's own
    record cannot be read.
    """
    record = run.record()
    records = [record, *(ancestor and ancestor[1] for ancestor in ancestors(data_dir, record))]
    return any(one is None or _may_have_held(one, data_dir, corpus, passage) for one in records)


def _may_have_held(record: RunRecord, data_dir: Path, corpus: str, passage: Passage) -> bool:
    data = record.config.data
    try:
        text = load_corpus(data.corpus, data_dir)
    except ExplorerError:
        return True
    if record.origin or record.corpus_hash not in (None, _hash(text)):
        return True
    end = split_point(len(text), data.val_fraction)
    if data.corpus == corpus:
        return passage.start < end
    return passage.before[-_CONTEXT:] + passage.hidden in text[:end]
