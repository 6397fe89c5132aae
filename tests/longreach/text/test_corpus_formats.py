"""Each format to its text, and the ways in which a whole file can fail."""

import gzip
import io
import zipfile
from pathlib import Path

import docx
import pytest
import zstandard

from longreach.text.corpus import Corpus
from longreach.text.document import Document, Skipped
from longreach.text.formats import reasons, zipped

PROSE = "The quick brown fox jumps over the lazy dog, naïvely. " * 6


def read(path: Path, min_chars: int = 1) -> list[Document | Skipped]:
    return list(Corpus([str(path)], min_chars=min_chars))


def text_of(path: Path) -> str:
    [document] = read(path)
    assert isinstance(document, Document), document
    assert document.id == document.path == str(path)
    return document.text


def note_of(path: Path) -> Skipped:
    [note] = read(path)
    assert isinstance(note, Skipped), note
    return note


@pytest.mark.parametrize(
    "name", ["a.txt", "a.MD", "a.rst", "a.py", "README", "NEWS.Debian", "a.odd", "odd", "a.txt.GZ", "a.c.zst"]
)
def test_plain_text_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    text = f"\r\n  {PROSE}\r\n\tcafé \u2028 e\u0301 \N{FAMILY}\n"
    path = tmp_path / name
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix.lower(), bytes)
    path.write_bytes(pack(text.encode()))
    assert text_of(path) == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_byte_order_mark_is_no_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(("\ufeff" if encoding.endswith("be") else "").encode("utf-16-be") + PROSE.encode(encoding))
    assert text_of(path) == PROSE


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv"])
def test_marks_in_files_of_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = f'text\n"{PROSE}"\n' if name.endswith("csv") else f'{{"text": "{PROSE}"}}\n'
    path.write_text(rows, "utf-8-sig")
    [document] = read(path)
    assert isinstance(document, Document) and document.text == PROSE
    path.write_text(rows, "utf-16")
    note = note_of(path)
    assert (note.reason, note.line, note.byte) == (reasons.BAD_UTF8, 1, 0)
    assert "iconv -f utf-16" in note.detail


def test_bad_utf8_in_a_text_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\nth\xffree")
    note = note_of(path)
    assert (note.reason, note.line, note.byte) == (reasons.BAD_UTF8, 3, 10)


@pytest.mark.parametrize("data", [b"", b" \n", b"\0" * 500, b"\x7fELF\x02\x01\x01\0" + bytes(range(256)) * 4])
@pytest.mark.parametrize(
    "name", ["a.txt", "a.jsonl", "a.csv", "a.json", "a.html", "a.pdf", "a.docx", "a.epub", "a.parquet"]
)
def test_no_text_at_all_is_noted(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    notes = read(path)
    assert notes
    assert all(isinstance(note, Skipped) and note.detail for note in notes)


def test_rows_keep_what_they_say_of_themselves(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        f'{{"text": "{PROSE}", "id": "a b", "source": "here", "license": "MIT"}}',
        f'{{"text": "{PROSE}", "id": "a b"}}',
        "",
        f'{{"text": "{PROSE}", "id": 7, "source": null, "license": "\\ud800"}}',
        f'{{"text": "{PROSE}", "id": "two\\nlines"}}',
        f'"{PROSE}"',
    ]
    path.write_text("\n".join(rows))
    documents = [item for item in read(path) if isinstance(item, Document)]
    assert [document.id.removeprefix(str(path)) for document in documents] == ["#1:a b", "#2:a b", "#4", "#5", "#6"]
    assert [(document.source, document.license) for document in documents[:3]] == [("here", "MIT"), ("", ""), ("", "?")]
    assert all(document.text == PROSE for document in documents)


def test_json_file_of_one_object_and_of_strings(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(f'\n {{"id": "x", "text": "{PROSE}"}} \n')
    assert text_of(path) == PROSE
    path.write_text(f'["{PROSE}", 3, "{PROSE}"]')
    documents = read(path)
    assert [item.id if isinstance(item, Document) else item.reason for item in documents] == [
        f"{path}#1",
        reasons.NOT_A_STRING,
        f"{path}#3",
    ]
    path.write_text("[]")
    assert note_of(path).reason == reasons.EMPTY


def test_json_value_longer_than_many_chunks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    text = PROSE * 20_000
    path.write_text(f'[{{"text": "{text}"}},{" " * 1_000_000}{{"text": "{text}", "number": 12345678901234567890}}]')
    assert [item.text == text for item in read(path) if isinstance(item, Document)] == [True, True]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_with_the_delimiter_its_header_shows(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    long = "word, " * 40_000
    path.write_text(f'"id"{delimiter}"text"\r\n\r\n1{delimiter}"{long} ""q"" \n{delimiter}"\r\n')
    [document] = read(path)
    assert isinstance(document, Document)
    assert document.text == f'{long} "q" \n{delimiter}'
    assert document.id == f"{path}#3:1"


def test_csv_without_the_field_is_one_note(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,body\n" + "1,2\n" * 50)
    assert note_of(path).detail == "no field 'text' among: id, body; set the text field to one of them"


PAGE = """<!DOCTYPE html><html><head><title>Title</title>
<style>p {}</style><script>var a = "<p>no</p>";</script></head><body>
<nav><p>menu</p><nav>inner</nav></nav><h2>A  <em>head</em>ing<a class="headerlink" href="#x">¶</a></h2>
<p>One
two<br>three &amp; caf&eacute;</p>loose<div>block<p>inner</p>tail</div><ul><li>first<li><p>second</p><p>more</p></ul>
<table><tr><th>a</th><th>b</th></tr><tr><td><p>1</p></td><td></td><td>3</td></tr></table>
<pre>
def f():
    return <b>1</b>

end</pre><p hidden>no</p><noscript>no</noscript></body></html>"""
TEXT = """# Title

## A heading

One two
three & café

loose

block

inner

tail

- first

- second

more

a | b
1 |  | 3

def f():
    return 1

end"""


def test_html(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(PAGE)
    assert text_of(path) == TEXT
    path.write_text(PAGE.replace("<body>", "<body><p>Site</p><main>").replace("</body>", "</main><p>Foot</p></body>"))
    assert text_of(path) == TEXT


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ('<meta charset="windows-1251">', "cp1251"),
        ("<meta http-equiv=x content='a; charset=EUC-JP'>", "euc-jp"),
        ("", "utf-8"),
    ],
)
def test_html_in_the_encoding_it_declares(tmp_path: Path, declaration: str, encoding: str) -> None:
    path = tmp_path / "a.htm"
    path.write_bytes(f"<html><head>{declaration}</head><p>Привет".encode(encoding))
    assert text_of(path) == "Привет"


@pytest.mark.parametrize("label", ["rot13", "base64", "utf-16", "undefined", "unicode_escape", "no-such"])
def test_html_that_declares_what_cannot_be(tmp_path: Path, label: str) -> None:
    path = tmp_path / "a.html.gz"
    path.write_bytes(gzip.compress(f'<meta charset="{label}"><p>Привет'.encode()))
    assert text_of(path) == "Привет"


def test_xhtml_closes_its_own_elements(tmp_path: Path) -> None:
    path = tmp_path / "a.xhtml"
    path.write_text(
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x"/></head><body>a<br/>b</body></html>'
    )
    assert text_of(path) == "a\nb"


def pdf(pages: list[str | None], trailer: str = "") -> bytes:
    """A PDF with these texts on its pages; None for a page whose object is missing."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        kids.append(f"{len(objects) + 1} 0 R")
        content = f"BT /F1 12 Tf 72 720 Td 14 TL ({text}) Tj ET" if text else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects) + 2} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        if text is None:
            objects[-2] = "null"
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>"
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, 2)
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode())
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write("".join(f"{offset:010d} 00000 n \n" for offset in offsets).encode())
    out.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


def test_pdf(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(["First page.", "", "Third page."]))
    assert text_of(path) == "First page.\n\nThird page."


def test_pdf_with_a_page_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(["First page.", None, "Third page."]))
    note, document = read(path)
    assert isinstance(note, Skipped) and isinstance(document, Document)
    assert (note.reason, note.detail.partition(":")[0]) == (reasons.BROKEN_PDF, "page 2")
    assert document.text == "First page.\n\nThird page."


def test_pdf_without_text_or_key(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(["", ""]))
    note = note_of(path)
    assert note.reason == reasons.EMPTY and "scanned" in note.detail
    key = "00" * 32
    path.write_bytes(
        pdf(["Secret."], f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{key}> /U <{key}> >> /ID [<00> <00>]")
    )
    assert note_of(path).reason == reasons.ENCRYPTED_PDF
    path.write_bytes(b"%PDF-1.4 and no more")
    assert note_of(path).reason == reasons.BROKEN_PDF


def test_docx(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    document = docx.Document()
    document.add_heading("The title", 0)
    document.add_heading("A section", 2)
    paragraph = document.add_paragraph("Plain, ")
    paragraph.add_run("bold").bold = True
    paragraph.add_run("\tand\nmore.")
    table = document.add_table(2, 2)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell\n{number}"
    document.add_paragraph("an item", "List Bullet")
    document.add_paragraph("")
    document.add_paragraph("After.")
    document.save(str(path))
    assert text_of(path) == (
        "# The title\n\n## A section\n\nPlain, bold\tand\nmore.\n\ncell 0 | cell 1\ncell 2 | cell 3"
        "\n\n- an item\n\nAfter."
    )


def test_docx_text_in_unusual_places(tmp_path: Path) -> None:
    """A content control, a tracked change and a text box, which is stored twice."""
    path = tmp_path / "a.docx"
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    box = "<w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent>"
    body = (
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>"
        f'<w:p><w:r><m:AlternateContent xmlns:m="m"><m:Choice>{box}</m:Choice><m:Fallback>{box}</m:Fallback>'
        "</m:AlternateContent></w:r></w:p>"
    )
    relations = '<R xmlns="r"><Relationship Type="http://x/officeDocument" Target="/word/d.xml"/></R>'
    archive(path, {"_rels/.rels": relations, "word/d.xml": f'<w:d xmlns:w="{word}"><w:body>{body}</w:body></w:d>'})
    assert text_of(path) == "control\n\nnew\n\nbox"


def archive(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, text in members.items():
            book.writestr(name, text)


CHAPTER = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><h1>{0}</h1><p>Text of {0}.</p></body>'
BOOK = {
    "META-INF/container.xml": '<container xmlns="c"><rootfiles><rootfile full-path="O/a.opf"/></rootfiles></container>',
    "O/a.opf": '<package xmlns="p"><manifest><item id="one" href="ch%201.xhtml"/><item id="two" href="../two.xhtml#x"/>'
    '<item id="css" href="a.css"/></manifest><spine><itemref idref="two"/><itemref idref="one"/></spine></package>',
    "O/ch 1.xhtml": CHAPTER.format("One"),
    "two.xhtml": CHAPTER.format("Two"),
}


def test_epub_in_reading_order(tmp_path: Path) -> None:
    path = tmp_path / "a.epub"
    archive(path, BOOK)
    assert text_of(path) == "# Two\n\nText of Two.\n\n# One\n\nText of One."


def test_epub_without_one_of_its_chapters(tmp_path: Path) -> None:
    path = tmp_path / "a.epub"
    archive(path, {name: text for name, text in BOOK.items() if name != "two.xhtml"})
    note, document = read(path)
    assert isinstance(note, Skipped) and isinstance(document, Document)
    assert note.reason == reasons.BROKEN_EPUB and "two.xhtml" in note.detail
    assert document.text == "# One\n\nText of One."


@pytest.mark.parametrize("name", ["a.epub", "a.docx"])
def test_archives_that_mean_harm(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    first = {"a.epub": "META-INF/container.xml", "a.docx": "_rels/.rels"}[name]
    archive(path, {first: '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>'})
    assert "entity" in note_of(path).detail
    archive(path, {first: "<r>" * 5000 + "</r>" * 5000})
    assert "in one another" in note_of(path).detail
    monkeypatch.setattr(zipped, "MAX_MEMBER_BYTES", 1 << 20)
    archive(path, {first: "<r>" + " " * (1 << 20) + "</r>"})
    assert "larger than 1 MB" in note_of(path).detail
    path.write_bytes(path.read_bytes()[:200])
    assert note_of(path).reason.startswith("broken")
