"""A fork: a new run that begins with another one's weights. Its optimizer, its schedule and its dice begin afresh."""

import shutil
from pathlib import Path

from core.atomic_io import TEMPORARY, put_in_place
from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.runs.checks import check_startable
from core.runs.folder import RunFolder
from core.runs.names import NAME_LENGTH
from core.runs.weights import weights_of, weights_step
from core.settings import differences, value_at
from core.text.tokenizers import load_tokenizer
from core.training.checkpoints import check_weights

_SCHEDULE = ("train.warmup_steps", "train.decay_steps", "train.schedule_start")
_RATES = ("train.learning_rate", "train.min_learning_rate", "train.muon_learning_rate")


def fork_config(folder: RunFolder, step: int | None = None) -> RunConfig:
    """Return the settings to fork a run with: those that its weights of a step were trained with, or its own now.

    Only the schedule is that of a whole run again, also where the parent was continued.
    """
    config = folder.config_now() if step is None else folder.config_at(step - 1)  # a change at it came after it
    first = folder.record().config
    schedule = {path: value_at(first, path) for path in _SCHEDULE}
    rates = {path: float(f"{value_at(config, path):.12g}") for path in _RATES}  # 0.1, not 0.09999999999999999
    return config.replace(schedule | rates)


def fork(
    data_dir: Path,
    folder: RunFolder,
    step: int | None,
    config: RunConfig,
    name: str | None = None,
    owner: str | None = None,
    *,
    inside: Path | None = None,
) -> RunFolder:
    """Make a run, queued at step 0, that begins with the weights its parent had at a step.

    Weights and tokenizer are copied, so the parent may train on or be deleted. The optimizer's averages are not: they
    belong to the parent's settings, and the warm-up is there to gather new ones.

    Args:
        step: of a snapshot, or of the parent's last save; None takes the newest weights.
        config: of the new run. Its model must be the parent's but for the dropout.
        name: a label; told from the parent's if left out.
        inside: a folder other than the home's own to make it in.

    Raises:
        RunError: no weights are kept of that step.
        ConfigError: the model is another one.
        TextError: the new run's text is missing, too short, or has characters that the model does not know.
    """
    weights, step = weights_of(folder, step)
    check_weights(weights)
    parent = folder.record()
    _check_same_model(folder.name, parent.config, config)
    tokenizer = load_tokenizer(folder.tokenizer_path)
    check_startable(data_dir, config, folder)

    def fill(fork: RunFolder) -> None:
        temporary = fork.path / f"{TEMPORARY}{fork.start_path.name}"
        shutil.copyfile(weights, temporary)
        put_in_place(temporary, fork.start_path)
        if weights_step(fork.start_path) != step:  # the parent trains, and has saved once more
            raise RunError(f"The run {folder.name!r} has saved other weights just now. Try again.")
        tokenizer.save(fork.tokenizer_path)

    suffix = f" from step {step}"
    name = name or folder.name[: NAME_LENGTH - len(suffix)] + suffix
    return RunFolder.create(data_dir, config, name, owner, folder.id, parent_step=step, fill=fill, inside=inside)


def _check_same_model(name: str, parent: RunConfig, config: RunConfig) -> None:
    other = {
        path: value
        for path, value in differences(parent, config).items()
        if path.startswith("model.") and path != "model.dropout"
    }
    if other:
        told = ", ".join(f"{path} {value}" for path, value in other.items())
        raise ConfigError(
            f"The weights of {name!r} are of a model with {told}. A fork keeps the model, all but its dropout: leave "
            "these as they are, or start a new run."
        )
