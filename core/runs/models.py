"""The model of a run, as it was last saved."""

from pathlib import Path
from typing import NamedTuple

from core.errors import RunError
from core.model import GPT, Bigram, build_model
from core.runs.folder import RunFolder
from core.text.tokenizers import Tokenizer, load_tokenizer
from core.training.checkpoints import load_weights
from core.training.finite import all_finite


class LoadedModel(NamedTuple):
    model: GPT | Bigram  # on the processor, in evaluation mode
    tokenizer: Tokenizer
    step: int  # at which the weights were saved


def load_model(folder: RunFolder, weights: Path | None = None) -> LoadedModel:
    """A run's model with its newest weights, or with those of a snapshot.

    Raises ExplorerError, in a sentence, where a file is missing or damaged, or nothing has been saved yet.
    """
    config = folder.record().config
    weights = weights or folder.latest_weights()
    if weights is None:
        raise RunError(f"The run {folder.name!r} has saved no weights yet. Wait for its first steps, or train it.")
    tokenizer = load_tokenizer(folder.tokenizer_path)
    model = build_model(config.model, tokenizer.vocab_size)
    step = load_weights(weights, model)
    if not all_finite(model.parameters()):
        raise RunError(
            f"The weights of the run {folder.name!r} hold numbers that are not finite, so the model computes nothing. "
            "Train or import it again."
        )
    return LoadedModel(model.eval(), tokenizer, step)
