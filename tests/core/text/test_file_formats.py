import io
import zipfile
from collections.abc import Sequence

import docx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from core.errors import TextError
from core.text import file_formats
from core.text.file_formats import ENCODINGS, columns_of, encodings_of, preview_of, text_of_file
from core.text.own_text import read_text

SENTENCES = {
    "cp1252": "Größe und Übermut tun selten gut. ",
    "cp1251": "Широка страна моя родная, много в ней лесов, полей и рек. ",
    "koi8-r": "Широка страна моя родная, много в ней лесов, полей и рек. ",
    "cp1253": "Η γλώσσα μου είναι ελληνικά. ",
    "gb18030": "床前明月光，疑是地上霜。",
    "big5": "白日依山盡，黃河入海流。",
    "cp932": "これは日本語の文章です。",
    "cp949": "나는 한국어를 배웁니다. ",
    "utf-16-le": "hello there. ",
}


def zipped(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def pdf(text: str) -> bytes:
    """A page with a line of text, written by hand as PDF 1.4 has it."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 6\n0000000000 65535 f \n{table}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + end.encode()


def protected(data: bytes) -> bytes:
    writer, target = PdfWriter(PdfReader(io.BytesIO(data))), io.BytesIO()
    writer.encrypt("secret")
    writer.write(target)
    return target.getvalue()


def word(*paragraphs: str, rows: Sequence[Sequence[str]] = ()) -> bytes:
    document, target = docx.Document(), io.BytesIO()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    table = document.add_table(len(rows), len(rows[0])) if rows else None
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            table.cell(row, column).text = text
    document.save(target)
    return target.getvalue()


CONTAINER = b"""<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/content.opf"/></rootfiles></container>"""
PACKAGE = b"""<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="b" href="b%20two.xhtml"/>
<item id="a" href="a.xhtml"/></manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>"""
EPUB = {
    "META-INF/container.xml": CONTAINER,
    "OEBPS/content.opf": PACKAGE,
    "OEBPS/a.xhtml": b"<head><title>T</title><style>p {}</style></head><h1>One</h1><p>A <b>dark</b>\nnight.</p>",
    "OEBPS/b two.xhtml": "<p>Größe &amp; &lt;Ende&gt;</p><script>no()</script>".encode(),
}


@pytest.mark.parametrize("encoding", SENTENCES)
def test_the_right_legacy_encoding_is_offered_first(encoding):
    data = (SENTENCES[encoding] * 40).encode(encoding)
    assert encodings_of("old.txt", data)[0] == encoding
    assert preview_of(data, encoding).startswith(SENTENCES[encoding][:10])
    assert read_text(text_of_file("old.txt", data, encoding=encoding)) == SENTENCES[encoding] * 40


@pytest.mark.parametrize("data", [b"plain", "Größe".encode(), "Größe".encode("utf-16"), b"", b"%PDF-1.4 \xff\xfe"])
def test_no_encoding_is_offered_if_the_encoding_is_certain(data):
    assert encodings_of("new.txt", data) == []


def test_an_unknown_or_wrong_encoding_is_refused():
    with pytest.raises(TextError, match="not in Japanese .*: byte 2 cannot be read"):
        text_of_file("old.txt", b"ab\xff\xff", encoding="euc-jp")
    with pytest.raises(TextError, match="There is no encoding called 'rot13'"):
        text_of_file("old.txt", b"ab", encoding="rot13")


def test_a_csv_column_becomes_a_text():
    table = 'id;note;text\n1;a;"one; two"\n2;b;"three\nfour"\n3;c;\n'.encode("utf-8-sig")
    assert columns_of("t.csv", table) == ["text", "note"]
    assert text_of_file("t.csv", table) == "one; two\nthree\nfour"
    assert text_of_file("t.csv", table, column="note") == "a\nb\nc"


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_table_is_read_in_its_encoding(mark):
    for name, table in (
        ("t.csv", "Größe,n\nüber,1\n"),
        ("t.tsv", "Größe\tn\nüber\t1\n"),
        ("t.jsonl", '{"Größe": "über"}'),
    ):
        data, encoding = table.encode(mark), "" if mark.startswith("utf") else mark
        assert columns_of(name, data, encoding) == ["Größe"]
        for column in ("", "Größe"):
            assert text_of_file(name, data, column=column, encoding=encoding) == "über"


def test_a_missing_column_or_a_table_that_is_not_utf8_is_refused():
    for name, data, sentence in (
        ("t.csv", b"a,b\nx,1\n", "no column 'c' with text in t.csv: a"),
        ("t.txt", b"a,b\nx,1\n", "no column 'c' with text in t.txt: it is no table"),
        ("t.csv", "a,b\nGröße,1\n".encode("cp1252"), "not valid UTF-8"),
    ):
        with pytest.raises(TextError, match=sentence):
            text_of_file(name, data, column="c")


def test_json_lines_fields_become_a_text():
    rows = b'{"text": "one", "n": 1}\n\n{"text": "=2+3", "label": "x"}\n{"label": "yy"}\n'
    assert columns_of("t.jsonl", rows) == ["text", "label"]
    assert text_of_file("t.jsonl", rows) == "one\n=2+3"


def test_a_table_of_one_column_is_a_plain_text():
    assert columns_of("t.csv", b"one\ntwo\n") == [] and text_of_file("t.csv", b"one\ntwo\n") == b"one\ntwo\n"


def test_text_is_extracted_from_pdf_word_and_epub():
    assert text_of_file("a.pdf", pdf("To be or not")) == "To be or not"
    assert text_of_file("a.DOCX", word("One", "Größe\tin\nm", rows=[["a", "b"], ["c", "d"]])) == (
        "One\nGröße\tin\nm\na\tb\nc\td"
    )
    assert text_of_file("a.epub", zipped(**EPUB)) == "One\nA dark night.\n\nGröße & <Ende>"


def test_a_zip_gives_its_texts_sorted_by_name():
    inner = {
        "b.md": b"two\n",
        "a.txt": "\ufeffone\n".encode(),
        "c.docx": word("three"),
        "x.png": b"\x89PNG",
        "z.zip": b"",
    }
    assert text_of_file("all.zip", zipped(**inner)) == "one\n\ntwo\n\nthree\n"


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.pdf", b"no pdf", "This PDF is damaged"),
        ("a.docx", b"no zip", "This Word document is damaged"),
        ("a.docx", cut(word("one")), "This Word document is damaged"),
        ("a.docx", zipped(a=b""), "This Word document is damaged"),
        ("a.epub", b"no zip", "This EPUB is damaged"),
        ("a.epub", zipped(a=b""), "This EPUB is damaged"),
        ("a.epub", zipped(**EPUB | {"OEBPS/content.opf": b"<!DOCTYPE"}), "This EPUB is damaged"),
        ("a.zip", b"PK", "This zip is damaged"),
        ("a.zip", zipped(**{"a.txt": b"\xff\xfe\xff"}), "a.txt in this zip cannot be read. This is not valid UTF-16"),
        ("a.jsonl", b'{"a": 1}\n', "no column with text"),
        ("a.jsonl", b'{"a": "x"}\nno\n', "Line 2 of this file is not JSON"),
        ("a.jsonl", b'{"a": ' + b"[" * 100_000, "Line 1 of this file is not JSON"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(name, data, sentence):
    with pytest.raises(TextError, match=sentence):
        read_text(text_of_file(name, data))


def test_an_archive_over_the_size_limit_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(file_formats, "MAX_FILE_BYTES", 20_000)
    for name in ("a.zip", "a.docx", "a.epub"):
        with pytest.raises(TextError, match="unpacks to more than 20 KB"):
            text_of_file(name, zipped(**{"a.txt": b"x" * 100_000}))
    with pytest.raises(TextError, match="at most .* are read"):
        text_of_file("a.txt", b"x" * 30_000)


def test_a_table_or_document_over_the_text_limit_is_refused(monkeypatch):
    monkeypatch.setattr(file_formats, "MAX_BYTES", 10)
    for name, data in (("a.csv", b"a,b\n1,words\n2,and words\n"), ("a.pdf", pdf("more than ten letters"))):
        with pytest.raises(TextError, match="of text, the most"):
            text_of_file(name, data)


@given(st.sampled_from(["a.pdf", "a.docx", "a.epub", "a.zip", "a.csv", "a.tsv", "a.jsonl", "a.txt", "a"]), st.binary())
def test_any_bytes_give_a_text_or_a_text_error(name, data):
    try:
        encoding = next(iter(encodings_of(name, data)), "")
        read_text(text_of_file(name, data, encoding=encoding))
    except TextError as error:
        assert str(error).endswith((".", "try again."))


def test_python_supports_every_offered_encoding():
    assert all("a".encode(encoding).decode(encoding) == "a" for encoding in ENCODINGS)
