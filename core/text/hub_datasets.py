"""Texts from datasets on Hugging Face's hub: a column of their parquet files, read row by row up to a size."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi, HfFileSystem, constants
from huggingface_hub.errors import HfHubHTTPError

from core.errors import TextError
from core.text.download import HUB_NAME, SECONDS, no_download
from core.text.own_text import MAX_BYTES

_INSTEAD = "choose an included text or a file of your own"
_CONVERTED = "refs/convert/parquet"  # where the hub writes parquet files of datasets uploaded in other formats
_ROWS = 1000  # read at once
_BLOCK = 2**20  # fewest bytes downloaded at once


@dataclass(frozen=True)
class Dataset:
    """The hub's description of a dataset."""

    name: str
    license: str
    parts: tuple[str, ...]  # folders or splits with parquet files, such as `wikitext-2-raw-v1/train`
    files: tuple[tuple[str, ...], ...]  # the paths of each part's parquet files
    revision: str
    endpoint: str  # the hub's address


class Fetched(NamedTuple):
    """How much of a text has been read."""

    bytes: int
    text: str  # "" until it is complete


def find_dataset(name: str, endpoint: str | None = None) -> Dataset:
    """Ask the hub for a dataset by its name (`roneneldan/TinyStories`).

    Raises TextError if there is none, it has no parquet files, or the hub cannot be reached. `endpoint` is the address
    of another hub, by default that in `HF_ENDPOINT` or Hugging Face's own.
    """
    if not HUB_NAME.fullmatch(name):
        raise TextError(f"{name[:80]!r} is not a dataset's name. Names look like roneneldan/TinyStories.")
    endpoint = endpoint or constants.ENDPOINT
    api = HfApi(endpoint=endpoint, token=False)  # no token: a visitor must not see the owner's private data
    for revision in (None, _CONVERTED):
        try:
            info = api.dataset_info(name, revision=revision, timeout=SECONDS)
        except Exception as error:  # of many kinds, including those of underlying libraries
            if revision and isinstance(error, HfHubHTTPError):
                break
            raise TextError(no_download("dataset", name, endpoint, error, _INSTEAD)) from None
        paths = sorted(file.rfilename for file in info.siblings or [] if file.rfilename.endswith(".parquet"))
        if paths:
            parts: dict[str, list[str]] = {}
            for path in paths:
                parts.setdefault(_part_of(path), []).append(path)
            ordered = sorted(parts, key=lambda part: "train" not in part)
            terms: Any = (info.card_data or {}).get("license") or "unknown"
            return Dataset(
                name,
                ", ".join(terms) if isinstance(terms, list) else str(terms),
                tuple(ordered),
                tuple(tuple(parts[part]) for part in ordered),
                info.sha or "main",
                endpoint,
            )
    raise TextError(f"The dataset {name!r} has no parquet files, which are the only ones that are read from the hub.")


def columns_of_dataset(dataset: Dataset, part: str) -> list[str]:
    """Return a part's columns of text, the one with most text first; raises TextError for none, or no answer."""
    with _reading(dataset, dataset.files[dataset.parts.index(part)][0]) as file:
        sizes: Counter[str] = Counter()
        if file.num_row_groups:  # none if a file has no rows
            first = file.metadata.row_group(0)
            chunks = (first.column(index) for index in range(first.num_columns))
            sizes.update({chunk.path_in_schema: chunk.total_uncompressed_size for chunk in chunks})
        columns = [field.name for field in file.schema_arrow if _is_text(field.type)]
    if not columns:
        raise TextError(f"The dataset {dataset.name!r} has no column with text.")
    return sorted(columns, key=lambda column: -sizes[column])


def fetch_dataset(dataset: Dataset, part: str, column: str, most_bytes: int = MAX_BYTES) -> Iterator[Fetched]:
    """Read a column's rows, separated by blank lines, to its end or `most_bytes` of UTF-8; yield the progress.

    A row that would exceed `most_bytes` is cut there, because a row may be a whole book. Only the needed parts of a
    file are downloaded. Raises TextError for no answer or a damaged file.
    """
    rows: list[str] = []
    size = 0
    for path in dataset.files[dataset.parts.index(part)]:
        with _reading(dataset, path) as file:
            for batch in file.iter_batches(_ROWS, columns=[column]):
                for row in batch.column(0).to_pylist():
                    if not row or not row.strip():
                        continue
                    data = row.encode()
                    if size + len(data) > most_bytes:
                        rows.append(data[: most_bytes - size].decode(errors="ignore"))
                        yield Fetched(most_bytes, "\n\n".join(rows))
                        return
                    rows.append(row)
                    size = min(most_bytes, size + len(data) + 2)
                yield Fetched(size, "")
    yield Fetched(size, "\n\n".join(rows))


def _part_of(path: str) -> str:
    """Return the folder and split of a parquet file: `plain/train` for `plain/train-00000-of-00002.parquet`."""
    folder, _, name = path.rpartition("/")
    split = re.split(r"-\d{5}-of-\d{5}", name.removesuffix(".parquet"))[0]
    return f"{folder}/{split}".removeprefix("data/").strip("/") if not split.isdigit() else folder


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


@contextmanager
def _reading(dataset: Dataset, path: str) -> Iterator[pq.ParquetFile]:
    files = HfFileSystem(endpoint=dataset.endpoint, token=False, use_listings_cache=False)
    try:
        with files.open(f"datasets/{dataset.name}@{dataset.revision}/{path}", block_size=_BLOCK) as file:
            yield pq.ParquetFile(file, pre_buffer=False)  # else it downloads whole files in advance
    except TextError:
        raise
    except pa.ArrowInvalid as error:
        raise TextError(f"{path} of {dataset.name} is damaged: {str(error)[:120]}.") from None
    except Exception as error:
        raise TextError(no_download("dataset", dataset.name, dataset.endpoint, error, _INSTEAD)) from None
