"""The weights in a folder of transformers: one safetensors file, or several with an index."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from core.atomic_io import parse_json
from core.import_export.external_weights import ExternalModelError
from core.training.checkpoints import checksum_holds

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = "model-*.safetensors"  # a pattern for the names of the several files
_FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,200}\.safetensors", re.ASCII)  # a name only: no way out of the folder
_FLOATS = ("F64", "F32", "F16", "BF16")


class StoredWeights:
    """Open files of weights.

    Attributes:
        shapes: of all tensors, by their names; no number has been read for them.
    """

    def __init__(self, files: dict[str, safe_open]):
        self._files = files  # by the names of the tensors
        self.shapes = {name: self._shape(name) for name in files}

    def read(self, name: str) -> Tensor:
        """Return a tensor as it is stored."""
        return self._files[name].get_tensor(name)

    def _shape(self, name: str) -> tuple[int, ...]:
        stored = self._files[name].get_slice(name)
        if stored.get_dtype() not in _FLOATS:
            raise ExternalModelError(f"The tensor {name} holds {stored.get_dtype()}, not numbers with a point.")
        return tuple(stored.get_shape())


@contextmanager
def open_weights(folder: Path) -> Iterator[StoredWeights]:
    """Open the weights in a folder; raises ForeignModelError where a file is missing or damaged."""
    with ExitStack() as stack:
        files: dict[str, safe_open] = {}
        for path, names in _paths(folder):
            try:
                if not checksum_holds(path):
                    raise ExternalModelError(
                        f"The file {path.name} is damaged: its checksum is not that of what was exported. "
                        "Export it again."
                    )
                file = stack.enter_context(safe_open(path, "pt"))
                stored = set(file.keys())
                files |= dict.fromkeys(stored if names is None else names & stored, file)
            except FileNotFoundError:
                raise ExternalModelError(f"The file {path.name}, which {INDEX} names, is missing.") from None
            except (OSError, SafetensorError) as error:
                raise _damaged(path, error) from None
        try:
            yield StoredWeights(files)
        except (OSError, SafetensorError) as error:
            raise _damaged(path, error) from None


def _paths(folder: Path) -> list[tuple[Path, set[str] | None]]:
    """The files, each with the names that are read from it; None for all."""
    if (folder / WEIGHTS).exists():
        return [(folder / WEIGHTS, None)]
    if not (folder / INDEX).exists():
        raise ExternalModelError(
            f"There is no {WEIGHTS} in {folder.name}. Pickled weights (pytorch_model.bin) can hide programs, so they "
            "are not read."
        )
    try:
        index = parse_json((folder / INDEX).read_bytes())["weight_map"]
        names: dict[str, set[str]] = {}
        for name, file in index.items():
            names.setdefault(file, set()).add(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ExternalModelError(f"The file {INDEX} is damaged: it does not say which file holds what.") from None
    if not names:
        raise ExternalModelError(f"The file {INDEX} names no weights.")
    if bad := next((file for file in names if not isinstance(file, str) or not _FILE_NAME.fullmatch(file)), None):
        raise ExternalModelError(
            f"The file {INDEX} names {str(bad)[:60]!r}, which is not the name of a safetensors file in its folder."
        )
    return [(folder / file, names[file]) for file in sorted(names)]


def _damaged(path: Path, error: Exception) -> ExternalModelError:
    return ExternalModelError(f"The file {path.name} is damaged or no safetensors file: {error}.")
