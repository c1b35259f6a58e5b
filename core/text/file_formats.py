"""The text of a user's file: plain text in any encoding, a column of a table, a document, or a zip of such files.

Nothing of a file is executed or written to disk, and a packed file is read only up to the size that a text may have.
"""

import codecs
import csv
import io
import itertools
import json
import posixpath
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

from core.errors import TextError
from core.formatting import memory_in_words
from core.text.own_text import MAX_BYTES, decode_text, has_byte_order_mark

MAX_FILE_BYTES = 200 * 2**20
# Encodings that a text which is not UTF-8 most often has, by region. Their names are Python's.
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
_SUSPECTS = ("%PDF-", "{\\rtf", "\x7fELF", "\x89PNG", "GIF8")  # how files that are no text begin


def text_of_file(name: str, data: bytes, *, column: str = "", encoding: str = "") -> bytes | str:
    """Return what `read_text` checks: a document's text, or the bytes of a plain text file in UTF-8.

    Args:
        name: the file's name; its ending tells the format.
        column: of a table, one of `columns_of`; the first if empty.
        encoding: of a plain text or table that is not UTF-8, one of ENCODINGS.

    Raises TextError for a file that is damaged, protected, too large or without text.
    """
    if len(data) > MAX_FILE_BYTES:
        most = memory_in_words(MAX_FILE_BYTES)
        raise TextError(f"This file has {memory_in_words(len(data))}, and at most {most} are read. Cut it to a part.")
    ending = _ending(name)
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
    return _ending(name) not in (*_READERS, *_TABLES)


def columns_of(name: str, data: bytes, encoding: str = "") -> list[str]:
    """Return the columns or fields that hold text, the one with most text first; [] of a file that is no table.

    `encoding` is one of ENCODINGS, as in `text_of_file`. Raises TextError for a table without such a column, or in
    another encoding.
    """
    return _columns(name, _table(name, data, encoding))


def _table(name: str, data: bytes, encoding: str) -> str:
    """Return the characters of a table; "" of any other file."""
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
    """Return the encodings that a plain text can be in, likely ones first; [] where it is UTF-8 or marked.

    Many bytes are text in several encodings, so nobody but its reader can tell for certain which one is right.
    """
    if _ending(name) in _READERS or has_byte_order_mark(data) or _is_utf8(data):
        return []
    from charset_normalizer import from_bytes  # imported only here: few files need it

    beginning = data[:_BEGINNING]
    if beginning.decode("latin-1").startswith(_SUSPECTS):
        return []
    best = from_bytes(beginning, cp_isolation=list(ENCODINGS)).best()
    likely = str(best)[:_COMPARED] if best else ""
    fitting = [encoding for encoding in ENCODINGS if _fits(beginning, encoding)]
    return sorted(fitting, key=lambda encoding: not beginning.decode(encoding, "replace").startswith(likely))


def preview_of(data: bytes, encoding: str, length: int = 200) -> str:
    """Return how a text begins if it is in that encoding."""
    return data[: 4 * length].decode(encoding, "replace")[:length]


def _ending(name: str) -> str:
    return PurePosixPath(name.lower()).suffix


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _fits(data: bytes, encoding: str) -> bool:
    """Return whether bytes are text in an encoding; where they are a beginning, the last character may be cut off."""
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
                    f"Line {number:,} of this file is not JSON. A .jsonl file has one object a line."
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
    """Return what stands between the columns, by the first line; "" where there is only one column."""
    first = table[:_BEGINNING].partition("\n")[0]
    return max(",;\t", key=first.count) if set(first) & set(",;\t") else ""


def _cells(name: str, table: str, column: str) -> Iterator[str]:
    size = 0
    for row in _rows(name, table):
        value = row.get(column)
        if isinstance(value, str) and value.strip():
            _check_unpacked(size := size + len(value))
            yield value


def _check_unpacked(size: int) -> None:
    if size > MAX_BYTES:
        raise TextError(
            f"This file holds more than {memory_in_words(MAX_BYTES)} of text, the most that a text may have. Cut it to "
            "a part; a few million characters are plenty here."
        )


def _pdf(data: bytes) -> str:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    pages: list[str] = []
    size = 0
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise TextError("This PDF is protected by a password. Save it without one and try again.")
        for page in reader.pages:
            pages.append(page.extract_text())
            _check_unpacked(size := size + len(pages[-1]))
    except TextError:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotImplementedError) as error:
        raise TextError(f"This PDF is damaged or of an unknown kind: {str(error)[:100]}.") from None
    if not "".join(pages).strip():
        raise TextError("This PDF has no text: its pages are pictures, as from a scanner. Save it as text first.")
    return "\n\n".join(pages)


def _docx(data: bytes) -> str:
    _check_archive(_open_zip(data, "This Word document"))
    import docx
    from docx.opc.exceptions import OpcError

    try:
        document = docx.Document(io.BytesIO(data))
    except (OpcError, KeyError, ValueError, SyntaxError) as error:  # lxml's errors of syntax are SyntaxErrors
        raise TextError(f"This Word document is damaged: {str(error)[:100]}.") from None
    lines = [paragraph.text for paragraph in document.paragraphs]
    for table in document.tables:
        lines += ["\t".join(cell.text for cell in row.cells) for row in table.rows]
    return "\n".join(lines)


class _Text(HTMLParser):
    """The text of a page of HTML; blocks end lines."""

    _BLOCKS = ("p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "section")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._hidden += tag in ("script", "style", "title")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style", "title") and self._hidden > 0
        if tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(" ".join(data.split("\n")))


def _html(data: bytes) -> str:
    parser = _Text()
    parser.feed(data.decode("utf-8", "replace"))
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _epub(data: bytes) -> str:
    """Return the chapters of an EPUB in the order of its spine (EPUB 3.3, section 5)."""
    archive = _open_zip(data, "This EPUB")
    _check_archive(archive)
    try:
        container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
        place = next(node.get("full-path", "") for node in container.iter() if node.tag.endswith("}rootfile"))
        package = ElementTree.fromstring(archive.read(place))
        items = {node.get("id"): node.get("href", "") for node in package.iter() if node.tag.endswith("}item")}
        spine = [items[node.get("idref")] for node in package.iter() if node.tag.endswith("}itemref")]
        paths = [posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(href))) for href in spine]
        return "\n\n".join(_html(archive.read(path)) for path in paths)
    except (KeyError, StopIteration, ElementTree.ParseError, RuntimeError, zipfile.BadZipFile) as error:
        raise TextError(f"This EPUB is damaged or protected: {str(error)[:100]}.") from None


def _zip(data: bytes) -> str:
    """Return the texts in a zip, in the order of their names, with a blank line between two."""
    archive = _open_zip(data, "This zip")
    _check_archive(archive)
    texts = []
    for name in sorted(archive.namelist()):
        if _ending(name) not in _IN_ZIPS or "__MACOSX" in name:
            continue
        try:
            inner = text_of_file(name, archive.read(name))
            texts.append((inner if isinstance(inner, str) else decode_text(inner)).removeprefix("\ufeff").strip("\n"))
        except RuntimeError:  # also NotImplementedError, for an unknown encryption
            raise TextError("This zip is protected by a password. Pack it without one and try again.") from None
        except (TextError, zipfile.BadZipFile, OSError, ValueError) as error:
            raise TextError(f"{name[:80]} in this zip cannot be read. {str(error)[:200]}") from None
    if not texts:
        raise TextError(f"This zip holds none of these files: {', '.join(_IN_ZIPS)}. Zips inside it are not opened.")
    return "\n\n".join(texts) + "\n"


def _open_zip(data: bytes, what: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise TextError(f"{what} is damaged: {str(error)[:100]}.") from None


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Refuse an archive that unpacks to more than a file may have; `zipfile` reads no more than its headers say."""
    if (size := sum(entry.file_size for entry in archive.infolist())) > MAX_FILE_BYTES:
        raise TextError(
            f"This file unpacks to {memory_in_words(size)}, and at most {memory_in_words(MAX_FILE_BYTES)} are read. "
            "Take fewer files."
        )


_READERS: dict[str, Callable[[bytes], str]] = {".pdf": _pdf, ".docx": _docx, ".epub": _epub, ".zip": _zip}
_TABLES = (".csv", ".tsv", ".jsonl")
_IN_ZIPS = (".txt", ".md", *_TABLES, *(ending for ending in _READERS if ending != ".zip"))
