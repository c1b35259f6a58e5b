"""What is checked before a run is made, for the pages and the shell alike."""

from pathlib import Path

from core.config import RunConfig
from core.errors import RunError
from core.runs.folder import RunFolder
from core.text.corpora import load_corpus
from core.text.own_text import check_trainable
from core.text.tokenizers import TOKENIZERS, load_tokenizer

NO_TOKENIZER = (
    "GPT-2's pieces of words come with an imported model: fork one to train it further, or set the tokenizer to char."
)


def check_startable(data_dir: Path, config: RunConfig, parent: RunFolder | None = None, text: str | None = None) -> int:
    """Return how many tokens the model of a new run knows; raise ExplorerError where training could not begin.

    Args:
        parent: the run whose weights and tokenizer the new one begins with.
        text: of the user's own, before it is saved; the one that the settings name if left out.
    """
    tokenizer = load_tokenizer(parent.tokenizer_path) if parent else None
    if tokenizer is None and not TOKENIZERS[config.data.tokenizer].from_text_alone:
        raise RunError(NO_TOKENIZER)
    text = load_corpus(config.data.corpus, data_dir) if text is None else text
    if tokenizer and tokenizer.by_character:
        tokenizer.encode_array(text)  # refuses characters that the model does not know
    check_trainable(text, config.model.block_size, config.data.val_fraction, tokenizer)
    return (tokenizer or TOKENIZERS[config.data.tokenizer].from_text(text)).vocab_size


def new_run(data_dir: Path, config: RunConfig, name: str | None = None, *, inside: Path | None = None) -> RunFolder:
    """Make a run that begins from scratch, queued; nothing is left behind where it could not be trained.

    Args: see `RunFolder.create`.

    Raises:
        ExplorerError: the settings, the text or the folder are not what a run needs.
    """
    check_startable(data_dir, config)
    return RunFolder.create(data_dir, config, name, inside=inside)
