"""Models by their name on Hugging Face's hub, for a machine that is online."""

import re
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from requests import RequestException

from core.interop.foreign import ForeignModelError
from core.words import memory_in_words

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_FILES = ["config.json", "model.safetensors", "tokenizer.json", "vocab.json", "merges.txt"]  # nothing that could run


def download(name: str, home: Path, most_bytes: int | None = None) -> Path:
    """The folder of a model by its name (`gpt2`, `distilgpt2`, `owner/model`), fetched once and then kept.

    Args:
        most_bytes: a model whose files are larger together is refused before anything is fetched.

    Raises ForeignModelError, in a sentence, where there is no such model, or no network.
    """
    if not HUB_NAME.fullmatch(name):
        raise ForeignModelError(f"{name[:80]!r} is no name of a model. Names look like gpt2 or owner/model.")
    try:
        if most_bytes is not None:
            _check_size(name, most_bytes)
        folder = snapshot_download(name, allow_patterns=_FILES, cache_dir=home / "downloads" / "models")
    except RepositoryNotFoundError:
        raise ForeignModelError(f"The hub has no model called {name!r} that everybody may read.") from None
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RequestException, OSError) as error:
        raise ForeignModelError(
            f"The model {name!r} cannot be fetched ({type(error).__name__}). Is this machine online? Without a "
            "network, give a folder with config.json and model.safetensors."
        ) from None
    return Path(folder)


def _check_size(name: str, most: int) -> None:
    told = HfApi().model_info(name, files_metadata=True, timeout=20).siblings or []
    size = sum(file.size or 0 for file in told if file.rfilename in _FILES)
    if size > most:
        raise ForeignModelError(
            f"The model {name!r} has {memory_in_words(size)}, and at most {memory_in_words(most)} are fetched here. In "
            f"a shell it is: python -m core import {name}"
        )
