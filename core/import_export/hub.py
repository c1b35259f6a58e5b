"""Download of models from Hugging Face's hub."""

from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from core.formatting import memory_in_words
from core.import_export.external_weights import INDEX, SHARD, WEIGHTS, ExternalModelError
from core.import_export.huggingface import CONFIG
from core.text.download import HUB_NAME, SECONDS, no_download

# No file that could run code.
_FILES = [CONFIG, WEIGHTS, INDEX, SHARD, "tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"]
_INSTEAD = "give a folder with config.json and model.safetensors"


def download_model(name: str, data_dir: Path, most_bytes: int | None = None, endpoint: str | None = None) -> Path:
    """Download a model by its name (`gpt2`, `distilgpt2`, `owner/model`) once, and return its folder.

    Without a network, return an earlier download. Raises ExternalModelError if there is no such model, it has no
    safetensors or is larger than `most_bytes`, or there is neither a network nor an earlier download. `endpoint` is the
    address of another hub, by default that of `HF_ENDPOINT` or Hugging Face's own.
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
    except Exception as error:  # many kinds: an unusable proxy raises ImportError, or an error from outside the library
        raise ExternalModelError(no_download("model", name, endpoint, error, _INSTEAD)) from None
    for files in ((CONFIG,), (WEIGHTS, INDEX)):
        if not any((folder / file).exists() for file in files):
            raise ExternalModelError(
                f"The hub's {name!r} has no {files[0]}. Pickled weights (pytorch_model.bin) can hide programs, so they "
                "are not downloaded."
            )
    return folder


def _check_size(name: str, most: int | None, endpoint: str | None) -> bool:
    """Check a model's size; return False if the hub cannot be reached, so that nothing is downloaded."""
    try:
        files = (
            HfApi(endpoint=endpoint, token=False).model_info(name, files_metadata=True, timeout=SECONDS).siblings or []
        )
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
