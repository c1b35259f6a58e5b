"""One-time download of a text, checked by its hash, and the reasons why Hugging Face's hub refuses a download."""

import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import pooch
import requests
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from core.errors import TextError

SECONDS = 20  # without an answer, after which a download is given up
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_REFUSED = (401, 403, 404)  # the hub does not tell visitors whether a private repository exists


def fetch(url: str, sha256: str, folder: Path, file_name: str) -> Path:
    """Return the path `folder / file_name` of the file at `url`, downloaded only if that is missing or damaged.

    Raises TextError if there is no connection, no answer or no disk space, or if the hash is not `sha256`.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # it would announce every download on standard error
    host = urlsplit(url).hostname or ""
    downloader: Any = pooch.HTTPDownloader(timeout=SECONDS)  # Any, because pooch's annotation does not fit it
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=file_name, path=folder, downloader=downloader))
    except requests.HTTPError as error:
        answer = error if error.response is None else f"{error.response.status_code} {error.response.reason}"
        raise TextError(
            f"This text is downloaded from {host}, which answered: {answer}. Try again later, or choose a text that "
            "needs no download."
        ) from None
    except requests.RequestException:
        raise TextError(
            f"This text is downloaded from {host} when first used, and that host cannot be "
            f"reached{_through_proxy(host)}. Check the connection to the internet, or choose a text that needs no "
            "download."
        ) from None
    except OSError as error:
        raise TextError(f"The text cannot be kept in {folder}: {error.strerror or error}.") from None
    except ValueError:  # pooch raises it for a wrong hash
        raise TextError(
            f"What {host} sent is not the text that was expected (its checksum differs), so it was deleted. "
            "Try again, or choose a text that needs no download."
        ) from None


def no_download(what: str, name: str, endpoint: str | None, error: Exception, instead: str) -> str:
    """Return a sentence on why a model or dataset (`what`) of Hugging Face's hub cannot be downloaded."""
    answered = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if answered in _REFUSED or type(error) is FileNotFoundError:
        return f"The hub has no {what} called {name!r} that is open to everybody."
    if answered is not None:
        return f"The hub cannot give {name!r} now: it answered with error {answered}. Try again later."
    host = urlsplit(endpoint or constants.ENDPOINT).hostname or ""
    return (
        f"The {what} {name!r} cannot be fetched{_through_proxy(host)} ({type(error).__name__}). Is this machine "
        f"online? Without a network, {instead}."
    )


def _through_proxy(host: str) -> str:
    """Return " through the proxy ...", naming the environment variable that sets one for a host; "" for no proxy."""
    kinds = [kind for kind in ("https", "all", "http") if getproxies().get(kind) and not proxy_bypass(host)]
    return f" through the proxy that {kinds[0].upper()}_PROXY names" if kinds else ""
