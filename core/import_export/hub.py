"""Download of models from Hugging Face's hub."""

import re
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from core.formatting import memory_in_words
from core.import_export.external_weights import INDEX, SHARD, WEIGHTS, ExternalModelError
from core.import_export.huggingface import CONFIG
from core.text.download import through_proxy

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
# No file that could run code.
_FILES = [CONFIG, WEIGHTS, INDEX, SHARD, "tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"]
_REFUSED = (401, 403, 404)  # the hub does not tell visitors whether a model exists


def download_model(name: str, data_dir: Path, most_bytes: int | None = None, endpoint: str | None = None) -> Path:
    """Download a model by its name (`gpt2`, `distilgpt2`, `owner/model`) once, and return its folder.

    Without a network a model that was downloaded before is returned. Raises ExternalModelError where there is no such
    model, it has no safetensors or larger files than `most_bytes`, or there is no network. `endpoint` is the address of
    another hub, by default that of `HF_ENDPOINT` or the hub's own.
    """
    if not HUB_NAME.fullmatch(name):
        raise ExternalModelError(f"{name[:80]!r} is not a model name. Names look like gpt2 or owner/model.")
    try:
        online = _check_size(name, most_bytes, endpoint)
        cache = data_dir / "downloads" / "models"
        # No token: a visitor must not see the owner's private models.
        path = snapshot_download(
            name, allow_patterns=_FILES, cache_dir=cache, endpoint=endpoint, token=False, local_files_only=not online
        )
        folder = Path(path)
    except ExternalModelError:
        raise
    except Exception as error:  # of many kinds: a proxy that cannot be used is an ImportError, or none of the library's
        raise ExternalModelError(_what_failed(name, endpoint, error)) from None
    for files in ((CONFIG,), (WEIGHTS, INDEX)):
        if not any((folder / file).exists() for file in files):
            raise ExternalModelError(
                f"The hub's {name!r} has no {files[0]}. Pickled weights (pytorch_model.bin) can hide programs, so they "
                "are not downloaded."
            )
    return folder


def _what_failed(name: str, endpoint: str | None, error: Exception) -> str:
    host = urlsplit(endpoint or constants.ENDPOINT).hostname or ""
    answered = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, RepositoryNotFoundError) or answered in _REFUSED:
        return f"The hub has no model called {name!r} that everybody may read."
    if answered is not None:
        return f"The hub cannot give {name!r} now: it answers with error {answered}. Try again later."
    return (
        f"The model {name!r} cannot be fetched{through_proxy(host)} ({type(error).__name__}). Is this machine online? "
        "Without a network, give a folder with config.json and model.safetensors."
    )


def _check_size(name: str, most: int | None, endpoint: str | None) -> bool:
    """Check a model's size; return False where the hub cannot be reached, so that nothing is downloaded."""
    try:
        files = HfApi(endpoint=endpoint, token=False).model_info(name, files_metadata=True, timeout=20).siblings or []
    except HfHubHTTPError:
        raise
    except Exception:  # no connection, or a proxy that cannot be used; an earlier download needs neither
        return False
    size = sum(file.size or 0 for file in files if any(fnmatch(file.rfilename, wanted) for wanted in _FILES))
    if most is not None and size > most:
        raise ExternalModelError(
            f"The model {name!r} has {memory_in_words(size)}, and at most {memory_in_words(most)} are downloaded here. "
            f"Import it in a shell: python -m core import {name}"
        )
    return True
