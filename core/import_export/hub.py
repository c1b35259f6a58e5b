"""Models by their name on Hugging Face's hub, for a machine that is online."""

import re
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
)

from core.formatting import memory_in_words
from core.import_export.external_weights import INDEX, SHARD, WEIGHTS, ExternalModelError
from core.import_export.huggingface import CONFIG
from core.text.download import through_proxy

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
# Nothing that could run.
_FILES = [CONFIG, WEIGHTS, INDEX, SHARD, "tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"]
_REFUSED = (401, 403, 404)  # to strangers the hub does not tell whether a model exists


def download(name: str, data_dir: Path, most_bytes: int | None = None, endpoint: str | None = None) -> Path:
    """The folder of a model by its name (`gpt2`, `distilgpt2`, `owner/model`), fetched once and then kept.

    Without a network a model that was fetched before is still found.

    Args:
        most_bytes: a model whose files are larger together is refused before anything is fetched.
        endpoint: the address of another hub; that of `HF_ENDPOINT` in the environment, or the hub's own, unless given.

    Raises ExternalModelError, in a sentence, where there is no such model, it has no safetensors, or no network.
    """
    if not HUB_NAME.fullmatch(name):
        raise ExternalModelError(f"{name[:80]!r} is no name of a model. Names look like gpt2 or owner/model.")
    try:
        known = _check_size(name, most_bytes, endpoint)
        kept = data_dir / "downloads" / "models"
        # No token: whoever asks may be a visitor, to whom the owner's private models are no business.
        found = snapshot_download(
            name, allow_patterns=_FILES, cache_dir=kept, endpoint=endpoint, token=False, local_files_only=not known
        )
        folder = Path(found)
    except ExternalModelError:
        raise
    except Exception as error:  # of many kinds: a proxy that cannot be used is an ImportError, or none of the library's
        raise ExternalModelError(_what_failed(name, endpoint, error)) from None
    for files in ((CONFIG,), (WEIGHTS, INDEX)):
        if not any((folder / file).exists() for file in files):
            raise ExternalModelError(
                f"The hub's {name!r} has no {files[0]}. Pickled weights (pytorch_model.bin) can hide programs, so they "
                "are not even fetched."
            )
    return folder


def _what_failed(name: str, endpoint: str | None, error: Exception) -> str:
    host = urlsplit(endpoint or constants.ENDPOINT).hostname or ""
    answered = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, RepositoryNotFoundError) or answered in _REFUSED:
        return f"The hub has no model called {name!r} that everybody may read."
    if answered is not None:
        return f"The hub cannot give {name!r} just now: it answers with error {answered}. Try again later."
    return (
        f"The model {name!r} cannot be fetched{through_proxy(host)} ({type(error).__name__}). Is this machine online? "
        "Without a network, give a folder with config.json and model.safetensors."
    )


def _check_size(name: str, most: int | None, endpoint: str | None) -> bool:
    """Whether it is known to be small enough: not where the hub cannot be asked, and then nothing is to be fetched."""
    try:
        told = HfApi(endpoint=endpoint, token=False).model_info(name, files_metadata=True, timeout=20).siblings or []
    except HfHubHTTPError:
        raise
    except Exception:  # no connection, or a proxy that cannot be used; what was fetched before is found without either
        return False
    size = sum(file.size or 0 for file in told if any(fnmatch(file.rfilename, wanted) for wanted in _FILES))
    if most is not None and size > most:
        raise ExternalModelError(
            f"The model {name!r} has {memory_in_words(size)}, and at most {memory_in_words(most)} are fetched here. In "
            f"a shell it is: python -m core import {name}"
        )
    return True
