"""EPUB books: the chapters in reading order, each as its HTML gives it, from container to package to spine.

A chapter that cannot be read is listed and the others are kept, as one book.
"""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.html import text_of
from longreach.text.formats.source import MAX_BYTES, Damaged, Row, Source
from longreach.text.formats.zipped import Archive, archive

CONTAINER = "META-INF/container.xml"


def read(source: Source) -> Iterator[Row | Skipped]:
    """One text, and a note for each chapter that it lacks."""
    with archive(source, reasons.BROKEN_EPUB) as book:
        chapters: list[str] = []
        length = 0
        for name in _spine(book):
            try:
                chapter = text_of(book.read(name))
            except Damaged as damaged:
                yield source.skipped(reasons.BROKEN_EPUB, f"chapter {name}: {damaged.detail}")
                continue
            chapters.append(chapter)
            length += len(chapter)
            if length > MAX_BYTES:
                raise Damaged(reasons.TOO_LARGE, f"a book of more than {MAX_BYTES >> 20} MB of text")
        yield Row("\n\n".join(filter(None, chapters)))


def _spine(book: Archive) -> list[str]:
    """The names of the chapters' members in reading order."""
    package_name = next(
        (found for root in _all(book.xml(CONTAINER), "rootfile") if (found := root.get("full-path"))), ""
    )
    if not package_name:
        raise Damaged(reasons.BROKEN_EPUB, "the container names no package")
    package = book.xml(package_name)
    hrefs = {item.get("id", ""): item.get("href", "") for item in _all(package, "item")}
    chapters = [hrefs.get(itemref.get("idref", ""), "") for itemref in _all(package, "itemref")]
    folder = posixpath.dirname(package_name)
    return [posixpath.normpath(posixpath.join(folder, unquote(urlsplit(href).path))) for href in chapters if href]


def _all(root: Element, tag: str) -> Iterator[Element]:
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == tag)
