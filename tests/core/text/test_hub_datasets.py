"""Datasets by name, over real HTTP, from a local hub with the paths of the Hugging Face hub."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import TextError
from core.text.hub_datasets import columns_of_dataset, fetch_dataset, find_dataset
from tests.core.import_export.hub_server import serving

STORIES = [f"Story {number}. " + "Once upon a time. " * 50 for number in range(3000)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    (folder / "data").mkdir()
    (folder / "wiki").mkdir()
    for number, rows in enumerate((STORIES[:2000], STORIES[2000:])):
        table = pa.table({"id": range(len(rows)), "text": [*rows[:-1], None]})
        pq.write_table(
            table, folder / f"data/train-0000{number}-of-00002.parquet", row_group_size=500, compression="none"
        )
    pq.write_table(pa.table({"id": [1, 2]}), folder / "wiki/test-00000-of-00001.parquet")
    (folder / "data/broken.parquet").write_bytes((folder / "data/train-00000-of-00002.parquet").read_bytes()[:-9])
    (folder / "program.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def hub(folder, tmp_path):
    with serving({"somebody/stories": folder, "somebody/empty": tmp_path}) as hub:
        yield hub


def test_a_dataset_lists_its_license_and_its_parts_with_train_first(hub):
    dataset = find_dataset("somebody/stories", hub.url)
    assert dataset.license == "cc0-1.0" and dataset.parts == ("train", "broken", "wiki/test")
    assert len(dataset.files[0]) == 2 and columns_of_dataset(dataset, "train") == ["text"]


def test_all_rows_of_a_column_become_a_text(hub):
    dataset = find_dataset("somebody/stories", hub.url)
    *before, last = fetch_dataset(dataset, "train", "text")
    assert last.text == "\n\n".join(STORIES[:1999] + STORIES[2000:-1])
    assert len(before) > 2 and not any(fetched.text for fetched in before)


def test_only_as_much_as_needed_is_downloaded(hub, folder):
    dataset = find_dataset("somebody/stories", hub.url)
    *_, last = fetch_dataset(dataset, "train", "text", 100_000)
    assert 95_000 < len(last.text) <= 100_000 and last.text.startswith(STORIES[0])
    whole = sum(path.stat().st_size for path in folder.glob("data/train*"))
    assert 0 < hub.bytes_sent < whole * 0.7


def test_a_row_over_the_limit_is_cut_and_a_file_without_rows_is_allowed(tmp_path):
    kind = pa.schema([("text", pa.string())])
    pq.ParquetWriter(tmp_path / "empty.parquet", kind).close()
    pq.write_table(pa.table({"text": ["é" * 5000, "next"]}), tmp_path / "books.parquet")
    with serving({"somebody/books": tmp_path}) as hub:
        dataset = find_dataset("somebody/books", hub.url)
        *_, last = fetch_dataset(dataset, "books", "text", 1001)
        assert last.text == "é" * 500
        assert columns_of_dataset(dataset, "empty") == ["text"]
        assert [fetched.text for fetched in fetch_dataset(dataset, "empty", "text")][-1] == ""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("somebody/none", "no dataset called 'somebody/none' that is open to everybody"),
        ("somebody/empty", "has no parquet files"),
        ("../../etc", "is not a dataset's name"),
        ("http://x/y", "is not a dataset's name"),
    ],
)
def test_an_unknown_or_invalid_dataset_is_refused(hub, name, sentence):
    with pytest.raises(TextError, match=sentence):
        find_dataset(name, hub.url)


def test_a_part_without_text_or_with_a_truncated_file_is_refused(hub):
    dataset = find_dataset("somebody/stories", hub.url)
    with pytest.raises(TextError, match="has no column with text"):
        columns_of_dataset(dataset, "wiki/test")
    with pytest.raises(TextError, match=r"broken.parquet of somebody/stories is damaged"):
        columns_of_dataset(dataset, "broken")


def test_a_missing_network_or_a_hub_error_is_reported_with_a_remedy(hub):
    dataset = find_dataset("somebody/stories", hub.url)
    hub.trouble = 500
    with pytest.raises(TextError, match="answered with error 500. Try again later"):
        find_dataset("somebody/stories", hub.url)
    hub.stop()
    for ask in (lambda: find_dataset("somebody/stories", hub.url), lambda: columns_of_dataset(dataset, "train")):
        with pytest.raises(TextError, match="Is this machine online"):
            ask()
