"""PDF: the text of the pages, a blank line between; a page that cannot be read is listed and the others are kept.

Lines stay as the page has them, hyphens at their ends included: joining them is a guess. Pictures of text are not read;
a file that holds nothing else is listed as empty.
"""

import re
from collections.abc import Iterator

import pypdfium2 as pdfium
from pypdfium2 import raw

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.source import MAX_BYTES, Damaged, Row, Source
from longreach.urls import is_url

LINE_END_HYPHEN = "\ufffe"  # pdfium's sign for a hyphen where it joined two lines
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]+")


def read(source: Source) -> Iterator[Row | Skipped]:
    """One text, and a note for each page that it lacks."""
    try:
        document = pdfium.PdfDocument(_bytes(source) if is_url(source.path) else source.path)
    except pdfium.PdfiumError as error:
        encrypted = error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        raise Damaged(reasons.ENCRYPTED_PDF if encrypted else reasons.BROKEN_PDF, str(error)) from error
    pages: list[str] = []
    length = 0
    with document:
        for number in range(len(document)):
            try:
                page = _text(document, number)
            except pdfium.PdfiumError as error:
                yield source.skipped(reasons.BROKEN_PDF, f"page {number + 1}: {error}")
                continue
            pages.append(page)
            length += len(page)
            if length > MAX_BYTES:
                raise Damaged(reasons.TOO_LARGE, f"more than {MAX_BYTES >> 20} MB of text")
    if any(pages):
        yield Row("\n\n".join(filter(None, pages)))
    elif pages:
        raise Damaged(reasons.EMPTY, f"no text on {len(pages)} pages; scanned? Text recognition (OCR) can add it")


def _bytes(source: Source) -> bytes:
    """All of a file that is no path: an error of a store would be lost on its way through pdfium."""
    with source.open() as file:
        return file.read()


def _text(document: pdfium.PdfDocument, number: int) -> str:
    page = document[number]
    words = page.get_textpage()
    try:
        text = words.get_text_bounded()
    finally:
        words.close()
        page.close()
    text = text.replace("\r\n", "\n").replace(LINE_END_HYPHEN, "-\n")
    return CONTROL.sub("", text).strip()
