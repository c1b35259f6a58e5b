"""The text of a user's file: plain text in any encoding, a column of a table, a document, nanoGPT's data, or a zip.

No part of a file is executed or written to disk, and no file takes more memory or time than the largest text.
"""

import codecs
import csv
import io
import itertools
import json
import lzma
import posixpath
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from core.errors import TextError
from core.formatting import memory_in_words
from core.text.nanogpt_data import PARTS, TOKEN_FILES, read_data
from core.text.own_text import MAX_BYTES, decode_text, has_byte_order_mark

MAX_FILE_BYTES = 200 * 2**20
# The most frequent encodings of texts that are not UTF-8, by region, under Python's names.
ENCODINGS = {
    "cp1252": "Western European (Windows-1252)",
    "cp1250": "Central European (Windows-1250)",
    "cp1251": "Cyrillic (Windows-1251)",
    "koi8-r": "Cyrillic (KOI8-R)",
    "cp1253": "Greek (Windows-1253)",
    "cp1254": "Turkish (Windows-1254)",
    "cp1255": "Hebrew (Windows-1255)",
    "cp1256": "Arabic (Windows-1256)",
    "gb18030": "Chinese, simplified (GB 18030)",
    "big5": "Chinese, traditional (Big5)",
    "cp932": "Japanese (Shift JIS)",
    "euc-jp": "Japanese (EUC-JP)",
    "cp949": "Korean (CP949)",
    "utf-16-le": "UTF-16, little-endian",
    "utf-16-be": "UTF-16, big-endian",
}
_BEGINNING = 2**16  # bytes or characters from which an encoding or a delimiter is guessed
_COMPARED = 10_000  # characters
_SUSPECTS = ("%PDF-", "{\\rtf", "\x7fELF", "\x89PNG", "GIF8")  # how files that are not text start
_MAX_MARKUP = 2 * MAX_BYTES  # of a Word document's XML
_MAX_PDF_SECONDS = 120
_MAX_PAGE_BYTES = 4 * 2**20  # of drawing instructions on a page of a PDF; larger pages may take half a minute to read
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # starts Word documents with a password, and all from before 2007
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, KeyError)  # from `zipfile`


def text_of_file(name: str, data: bytes, *, column: str = "", encoding: str = "") -> bytes | str:
    """Return the input of `read_text`: a document's text, or the bytes of a plain text file in UTF-8.

    Args:
        name: the file's name; its ending decides on the format.
        column: for a table, one of `columns_of`; the first if empty.
        encoding: for a plain text or table that is not UTF-8, one of ENCODINGS.

    Raises TextError for a file that is damaged, protected, too large or without text.
    """
    if len(data) > MAX_FILE_BYTES:
        most = memory_in_words(MAX_FILE_BYTES)
        raise TextError(f"This file has {memory_in_words(len(data))}, and at most {most} are read. Cut it to a part.")
    ending = _ending(name)
    if ending in _REFUSED:
        raise TextError(_REFUSED[ending])
    if ending in _READERS:
        return _READERS[ending](data)
    table = _table(name, data, encoding)
    columns = _columns(name, table)
    if column and column not in columns:
        raise TextError(f"There is no column {column!r} with text in {name}: {', '.join(columns) or 'it is no table'}.")
    if columns:
        return "\n".join(_cells(name, table, column or columns[0]))
    return _decoded(data, encoding).encode() if encoding else data


def is_plain(name: str) -> bool:
    """Return whether a file of that name is read as plain text."""
    return _ending(name) not in (*_READERS, *_TABLES, *_REFUSED)


def columns_of(name: str, data: bytes, encoding: str = "") -> list[str]:
    """Return the columns or fields that hold text, the one with most text first; [] for a file that is not a table.

    `encoding` is one of ENCODINGS, as in `text_of_file`. Raises TextError for a table without such a column, or in
    another encoding.
    """
    return _columns(name, _table(name, data, encoding))


def _table(name: str, data: bytes, encoding: str) -> str:
    """Return the characters of a table; "" for any other file."""
    if _ending(name) not in _TABLES:
        return ""
    return (_decoded(data, encoding) if encoding else decode_text(data)).removeprefix("\ufeff")


def _columns(name: str, table: str) -> list[str]:
    if not table or (_ending(name) != ".jsonl" and not _delimiter(table)):
        return []
    sizes: dict[str, int] = {}
    for row in itertools.islice(_rows(name, table), 1000):
        for column, value in row.items():
            if isinstance(value, str) and any(map(str.isalpha, value)):
                sizes[column] = sizes.get(column, 0) + len(value)
    if not sizes:
        raise TextError("This table has no column with text. Choose one that has, or save the text as plain text.")
    return sorted(sizes, key=lambda column: -sizes[column])


def encodings_of(name: str, data: bytes) -> list[str]:
    """Return the encodings that a plain text can be in, likely ones first; [] if it is UTF-8 or has a mark.

    Many bytes are valid in several encodings, so only a reader of the text can tell for certain which one is right.
    """
    if _ending(name) in (*_READERS, *_REFUSED) or has_byte_order_mark(data) or _is_utf8(data):
        return []
    from charset_normalizer import from_bytes  # imported only here: few files need it

    beginning = data[:_BEGINNING]
    if beginning.decode("latin-1").startswith(_SUSPECTS):
        return []
    best = from_bytes(beginning, cp_isolation=list(ENCODINGS)).best()
    likely = str(best)[:_COMPARED] if best else ""
    fitting = [encoding for encoding in ENCODINGS if _fits(beginning, encoding)]
    return sorted(fitting, key=lambda encoding: not beginning.decode(encoding, "replace").startswith(likely))


_PREVIEW = 200  # characters


def preview_of(data: bytes, encoding: str) -> str:
    """Return the beginning of a text, decoded in that encoding."""
    return data[: 4 * _PREVIEW].decode(encoding, "replace")[:_PREVIEW]


def _ending(name: str) -> str:
    return PurePosixPath(name.lower()).suffix


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _fits(data: bytes, encoding: str) -> bool:
    """Return whether bytes are valid in an encoding; at the end of a beginning, a character may be cut off."""
    try:
        return "\0" not in codecs.getincrementaldecoder(encoding)().decode(data, final=len(data) < _BEGINNING)
    except UnicodeDecodeError:
        return False


def _decoded(data: bytes, encoding: str) -> str:
    if encoding not in ENCODINGS:
        raise TextError(f"There is no encoding called {encoding[:40]!r} to read this text in.")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextError(
            f"This text is not in {ENCODINGS[encoding]}: byte {error.start:,} cannot be read. Choose another encoding."
        ) from None


def _rows(name: str, table: str) -> Iterator[dict[str, object]]:
    """Yield the rows of a table by column. Raises TextError at a row that cannot be read."""
    text = io.StringIO(table, newline="")
    if _ending(name) == ".jsonl":
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise TextError(
                    f"Line {number:,} of this file is not JSON. A .jsonl file has one object per line."
                ) from None
            yield row if isinstance(row, dict) else {"value": row}
        return
    csv.field_size_limit(MAX_BYTES)
    rows = csv.DictReader(text, delimiter=_delimiter(table))
    try:
        for row in rows:
            yield {str(column): value for column, value in row.items() if column is not None}
    except csv.Error as error:
        raise TextError(f"Line {rows.line_num:,} of this table cannot be read: {error}.") from None


def _delimiter(table: str) -> str:
    """Return the delimiter of columns, by the first line; "" if there is only one column."""
    first = table[:_BEGINNING].partition("\n")[0]
    return max(",;\t", key=first.count) if set(first) & set(",;\t") else ""


def _cells(name: str, table: str, column: str) -> Iterator[str]:
    size = 0
    for row in _rows(name, table):
        value = row.get(column)
        if isinstance(value, str) and value.strip():
            _check_unpacked(size := size + len(value))
            yield value


def _check_unpacked(size: int, most: int = 0, what: str = "text") -> None:
    if size > (most := most or MAX_BYTES):
        raise TextError(
            f"This file contains more than {memory_in_words(most)} of {what}, the most that is read. Cut it to a part."
        )


def _pdf(data: bytes) -> str:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    pages: list[str] = []
    size, end = 0, time.monotonic() + _MAX_PDF_SECONDS
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise TextError("This PDF is protected by a password. Save it without one and try again.")
        for page in reader.pages:
            content = page.get_contents()
            _check_unpacked(len(content.get_data()) if content else 0, _MAX_PAGE_BYTES, "drawings on one page")
            pages.append(page.extract_text())
            _check_unpacked(size := size + len(pages[-1]))
            if time.monotonic() > end:
                raise TextError(f"This PDF was not read after {_MAX_PDF_SECONDS} seconds. Cut it to fewer pages.")
    except TextError:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotImplementedError) as error:
        raise TextError(_damaged("PDF", error)) from None
    if not "".join(pages).strip():
        raise TextError("This PDF has no text: its pages are pictures, as from a scanner. Save it as text first.")
    return "\n\n".join(pages)


def _docx(data: bytes) -> str:
    """Return the paragraphs of a Word document, one per line; a table's row is one line, with tabs between cells."""
    import docx
    from docx.opc.exceptions import OpcError
    from lxml import etree

    stored = io.BytesIO()  # everything read from it has the size that was checked
    with _archive(data, "Word document") as archive, zipfile.ZipFile(stored, "w") as target:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        _check_unpacked(sum(sizes[name] for name in sizes if _ending(name) in (".xml", ".rels")), _MAX_MARKUP, "XML")
        for name in sizes:
            target.writestr(name, _read(archive, name))
    try:
        body = docx.Document(stored).element.body
    except (OpcError, KeyError, ValueError, SyntaxError) as error:  # lxml's errors of syntax are SyntaxErrors
        raise TextError(_damaged("Word document", error)) from None
    etree.strip_elements(body, "{*}Fallback", with_tail=False)  # copies of text boxes for old versions of Word
    text: list[str] = []
    for node in body.iter("{*}p", "{*}t", "{*}tab", "{*}br", "{*}cr"):
        kind = etree.QName(node).localname
        text.append(node.text or "" if kind == "t" else "\t" if kind == "tab" or _follows_a_cell(node) else "\n")
    return "".join(text).removeprefix("\n")


def _follows_a_cell(node: Any) -> bool:
    """Return whether an lxml node is the first paragraph of a table's cell that is not the first in its row."""
    cell, before = node.getparent(), node.getprevious()
    if not cell.tag.endswith("}tc") or (before is not None and before.tag.endswith("}p")):
        return False
    other = cell.getprevious()
    return other is not None and other.tag.endswith("}tc")


class _Text:
    """A parser target for lxml that returns the text of an HTML page; blocks end lines."""

    _BLOCKS = ("p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "section")
    _HIDDEN = ("script", "style", "title")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._hidden = 0

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._hidden += tag in self._HIDDEN

    def end(self, tag: str) -> None:
        self._hidden -= tag in self._HIDDEN
        if tag in self._BLOCKS:
            self._parts.append("\n")

    def data(self, data: str) -> None:
        if not self._hidden:
            self._parts.append(data.replace("\n", " "))

    def close(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._parts).split("\n"))
        return "\n".join(line for line in lines if line)


def _html(data: bytes) -> str:
    from lxml import etree

    return etree.fromstring(data, etree.HTMLParser(target=_Text(), encoding="utf-8", huge_tree=True))


def _epub(data: bytes) -> str:
    """Return the chapters of an EPUB in the order of its spine (EPUB 3.3, section 5)."""
    with _archive(data, "EPUB") as archive:
        container = ElementTree.fromstring(_read(archive, "META-INF/container.xml"))
        place = next((node.get("full-path", "") for node in container.iter() if node.tag.endswith("}rootfile")), "")
        package = ElementTree.fromstring(_read(archive, place))
        items = {node.get("id"): node.get("href", "") for node in package.iter() if node.tag.endswith("}item")}
        spine = [items[node.get("idref")] for node in package.iter() if node.tag.endswith("}itemref")]
        paths = [posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(href))) for href in spine]
        _check_unpacked(sum(archive.getinfo(path).file_size for path in paths))
        return "\n\n".join(_html(_read(archive, path)) for path in paths)


def _zip(data: bytes) -> str:
    """Return the texts in a zip, in the order of their names, separated by blank lines."""
    texts: list[str] = []
    with _archive(data, "zip") as archive:
        by_name = {PurePosixPath(name).name: name for name in archive.namelist() if "__MACOSX" not in name}
        if PARTS[0] in by_name:
            names = [name for name in (*PARTS, *TOKEN_FILES, "meta.pkl") if name in by_name]
            return read_data({name: _read(archive, by_name[name]) for name in names})
        for name in sorted(set(archive.namelist())):
            if _ending(name) not in _IN_ZIPS or "__MACOSX" in name:
                continue
            content = _read(archive, name)
            try:
                inner = text_of_file(name, content)
                text = inner if isinstance(inner, str) else decode_text(inner)
            except TextError as error:
                reason = str(error).partition(". ")[0].removesuffix(".")
                raise TextError(f"{name[:80]} in this zip cannot be read. {reason}.") from None
            texts.append(text.removeprefix("\ufeff").strip("\n"))
            _check_unpacked(sum(map(len, texts)))
    if not texts:
        raise TextError(f"This zip contains none of these files: {', '.join(_IN_ZIPS)}. Zips inside it are not opened.")
    return "\n\n".join(texts) + "\n"


@contextmanager
def _archive(data: bytes, what: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; raise TextError if it is damaged or protected, or unpacks to more than MAX_FILE_BYTES."""
    protected = f"This {what} is protected by a password. Save it without one and try again."
    if data.startswith(_OLE):
        raise TextError(f"This {what} is protected by a password, or from Word before 2007. Save it as plain .docx.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        if sum(entry.file_size for entry in archive.infolist()) > MAX_FILE_BYTES:
            raise TextError(f"This file unpacks to more than {memory_in_words(MAX_FILE_BYTES)}, the most that is read.")
        yield archive
    except RuntimeError:  # also NotImplementedError, for an unknown encryption
        raise TextError(protected) from None
    except (*_DAMAGED, ElementTree.ParseError) as error:
        raise TextError(_damaged(what, error)) from None


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a file of an archive, up to the size in its header; `ZipFile.read` would first unpack all of it."""
    with archive.open(name) as file:
        return file.read(archive.getinfo(name).file_size)


def _damaged(what: str, error: Exception) -> str:
    """Return the sentence for a damaged document, with the beginning of its library's message."""
    reason = " ".join(str(error).split()).partition(". ")[0].partition(", ")[0]
    return f"This {what} is damaged: {reason[:80].removesuffix('.') or type(error).__name__}."


_READERS: dict[str, Callable[[bytes], str]] = {".pdf": _pdf, ".docx": _docx, ".epub": _epub, ".zip": _zip}
_TABLES = (".csv", ".tsv", ".jsonl")
_REFUSED = {
    ".bin": (
        "A .bin file contains token ids. Put nanoGPT's train.bin, val.bin and a file that defines their tokens "
        f"({', '.join(TOKEN_FILES)}) into one zip."
    ),
    ".parquet": "Parquet is read only from Hugging Face's hub. Save the column with the text as .csv or .jsonl.",
}
_IN_ZIPS = (".txt", ".md", *_TABLES, *(ending for ending in _READERS if ending != ".zip"))
