"""Every bad text is refused with one sentence before a run exists, and writes no file."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.cli import main
from core.errors import TextError
from core.text.bpe import train_merges
from core.text.file_formats import MAX_FILE_BYTES, text_of_file
from core.text.hub_datasets import columns_of_dataset, find_dataset
from core.text.own_text import MAX_BYTES, read_text
from core.text.splitting import chunks_of
from core.text.tokenizers import BPETokenizer
from tests.core.import_export.hub_server import serving
from tests.core.text.test_file_formats import EPUB, pdf, protected, word, zipped

WORDS = "the fog comes on little cat feet\n" * 60
IDS = np.frombuffer(WORDS.encode(), np.uint8)
MAX_WORDS = 30


def encrypted(archive: bytes) -> bytes:
    """Return the archive with headers that mark its files as encrypted (APPNOTE 4.4.4)."""
    return archive.replace(b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1").replace(
        b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"
    )


def lying(archive: bytes, size: int) -> bytes:
    """Return an archive of one file with headers that claim another size."""
    data = bytearray(archive)
    for header, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = data.index(header) + place
        data[start : start + 4] = size.to_bytes(4, "little")
    return bytes(data)


def word_of(xml: bytes) -> bytes:
    """Return a Word document with this XML as its body."""
    namespace = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    with zipfile.ZipFile(io.BytesIO(word("one"))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    head, _, body = xml.rpartition(b"|")
    parts["word/document.xml"] = head + b"<w:document %s><w:body>%s</w:body></w:document>" % (namespace, body)
    return zipped(**parts)


ENTITIES = b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">%s]>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
)
ZEROS = b"x" * MAX_BYTES
REPEATED = EPUB | {
    "OEBPS/a.xhtml": b"x" * 30_000,
    "OEBPS/content.opf": EPUB["OEBPS/content.opf"].replace(b'<itemref idref="a"/>', b'<itemref idref="a"/>' * 1000),
}
BAD = {
    "a vocabulary larger than the text can make": ("a.txt", WORDS, "at most 279 tokens from this text, not 300"),
    "a text that makes no tokens": ("a.txt", "ab cd " * 2, "Choose bytes or characters as tokens"),
    "shorter than a context in tokens": ("a.txt", WORDS, r"has \d+ tokens; .* needs 2,001. .* at most \d+.$"),
    "shorter than the shortest context": ("a.txt", "the fog", "Choose a longer text.$"),
    "a table without a column of text": ("a.csv", "a,b\n" + "1,2\n" * 99, "no column with text"),
    "a truncated parquet": ("a.parquet", b"PAR1" + bytes(99), "Save the column with the text as .csv"),
    "a pdf without text": ("a.pdf", pdf(""), "no text: its pages are pictures"),
    "a pdf with a password": ("a.pdf", protected(pdf(WORDS)), "protected by a password"),
    "a docx with a password": ("a.docx", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(999), "protected by a password"),
    "a zip with a password": ("a.zip", encrypted(zipped(**{"a.txt": WORDS.encode()})), "protected by a password"),
    "an epub with a password": ("a.epub", encrypted(zipped(**EPUB)), "protected by a password"),
    "a zip bomb": ("a.zip", zipped(**{"a.txt": ZEROS, "b.txt": ZEROS}), "more than 20 MB of text"),
    "a zip bomb that lies": ("a.zip", lying(zipped(**{"a.txt": ZEROS}), 2000), "damaged: Bad CRC-32"),
    "a zip that says that it is huge": ("a.zip", lying(zipped(**{"a.txt": b"x"}), MAX_FILE_BYTES + 1), "unpacks to"),
    "a docx bomb": ("a.docx", zipped(**{"a.xml": ZEROS, "b.xml": ZEROS, "c.xml": b"x"}), "more than 40 MB of XML"),
    "entities of entities": (
        "a.docx",
        word_of(ENTITIES + b"|<w:p><w:r><w:t>&j;</w:t></w:r></w:p>"),
        "damaged: Maximum",
    ),
    "a chapter a thousand times": ("a.epub", zipped(**REPEATED), "more than 20 MB of text"),
    "a damaged zip": ("a.zip", zipped(**{"a.txt": WORDS.encode()}).replace(b"\0a.txt", b"\0b.txt", 1), "damaged"),
    "nested zips": ("a.zip", zipped(**{"a.zip": zipped(**{"a.txt": WORDS.encode()})}), "Zips inside it are not opened"),
    "ids of this byte order": ("train.bin", IDS.astype("<u2").tobytes(), "There is no val.bin"),
    "ids of the other": ("train.bin", IDS.astype(">u2").tobytes(), "There is no val.bin"),
    "a vocabulary over uint16": ("a.txt", "".join(map(chr, range(0x10000, 0x20001))), "65,537 distinct characters"),
    "a dataset without text": ("hf:a/numbers", {"id": [1, 2]}, "no column with text"),
    "a dataset whose parquet is truncated": ("hf:a/cut", {"text": [WORDS]}, "damaged"),
}
OPTIONS = {
    "a vocabulary larger than the text can make": {"tokenizer": "bpe", "vocab_size": 300},
    "a text that makes no tokens": {"tokenizer": "bpe", "vocab_size": 260},
    "shorter than a context in tokens": {"tokenizer": "bpe", "vocab_size": 275},
}


def refusal(what: str, name: str, capsys) -> str:
    """Return the error that the train command prints for a text, or that the hub functions raise for a dataset."""
    if name.startswith("hf:"):
        with serving({name.removeprefix("hf:"): Path()}) as hub, pytest.raises(TextError) as refused:
            columns_of_dataset(find_dataset(name.removeprefix("hf:"), hub.url), "train")
        return f"{refused.value}\n"
    changes = [f"--set=data.{name}={value}" for name, value in OPTIONS.get(what, {}).items()]
    assert main(["train", "--text", name, "--set=model.block_size=200", *changes]) == 2
    out, said = capsys.readouterr()
    assert not out
    return said


@pytest.mark.parametrize("what", BAD)
def test_a_bad_text_is_refused_in_one_sentence_and_writes_no_files(what, tmp_path, monkeypatch, capsys):
    name, content, sentence = BAD[what]
    sources = tmp_path / "sources"
    sources.mkdir()
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(sources)
    if isinstance(content, dict):
        pq.write_table(pa.table(content), "train.parquet")
        written = Path("train.parquet").read_bytes()
        Path("train.parquet").write_bytes(written[:-9] if "truncated" in what else written)
    else:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = {path: path.read_bytes() for path in sources.iterdir()}
    said = refusal(what, name, capsys)
    assert re.search(sentence, said.strip()), said
    assert len(said.split()) <= MAX_WORDS and said.count("\n") == 1 and said.endswith(".\n")
    assert {path: path.read_bytes() for path in sources.iterdir()} == before
    assert {path.parent.name for path in tmp_path.rglob("*") if path.is_file()} <= {"sources", "tokenizers"}


def test_a_line_of_ten_million_characters_is_tokenized_in_chunks_that_split_no_word():
    line = read_text(("the fog comes, on little cat feet " * 300_000)[:10_000_000])
    parts = list(chunks_of(line))
    assert "".join(parts) == line and max(map(len, parts)) < 50_000
    assert all(part.startswith(" ") for part in parts[1:])
    tokenizer = BPETokenizer.from_merges(train_merges(line[:100_000]))
    assert tokenizer.encode_array(line[:100_000]).tolist() == tokenizer.encode(line[:100_000])
    dna = "ACGT" * 20_000
    assert max(map(len, chunks_of(dna))) <= 20_000 and len(train_merges(dna)) > 5


def test_formulas_path_names_and_external_entities_are_read_as_plain_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    formula = "=HYPERLINK(\"http://x\",A1)+cmd|' /C calc'!A0"
    table = 'text,n\n"{}",1\n'.format(formula.replace('"', '""'))
    assert text_of_file("a.csv", table.encode()) == formula
    assert text_of_file("a.zip", zipped(**{"../../up.txt": b"up", "/etc/root.txt": b"root"})) == "up\n\nroot\n"
    (tmp_path / "secret").write_text("password")
    outside = b'<!DOCTYPE d [<!ENTITY x SYSTEM "file://%s/secret">]>|<w:p><w:r><w:t>A&x;B</w:t></w:r></w:p>'
    assert "password" not in text_of_file("a.docx", word_of(outside % str(tmp_path).encode()))
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
