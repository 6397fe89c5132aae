"""Word documents: paragraphs, headings, list items and tables in the order of the page, a blank line between.

Read with the standard library: the text also stands inside content controls, links, insertions and text boxes, all of
which a walk over the XML meets and a list of the body's paragraphs does not. Deleted text, headers, footers, notes
and comments are left out. A heading is what the style sheet calls a heading, whatever language Word spoke; tags are
compared without their namespaces, which differ between the two variants of the format.
"""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from longreach.text.formats import reasons
from longreach.text.formats.source import Damaged, Row, Source
from longreach.text.formats.zipped import Archive, archive

HEADING = re.compile(r"heading ([1-6])")
LIST = re.compile(r"list( bullet| number)( \d)?")
SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
NOT_HERE = {"Fallback", "pPr", "rPr", "del", "moveFrom", "txbxContent"}  # said twice, no text, gone, or read on its own


def read(source: Source) -> Iterator[Row]:
    """One text."""
    with archive(source, reasons.BROKEN_DOCX) as parts:
        main = _main_part(parts)
        yield Row("\n\n".join(filter(None, _blocks(parts.xml(main), _starts(parts, main)))))


def _main_part(parts: Archive) -> str:
    for relation in parts.xml("_rels/.rels"):
        if relation.get("Type", "").endswith("/officeDocument"):
            return relation.get("Target", "").lstrip("/")
    raise Damaged(reasons.BROKEN_DOCX, "the archive names no main part")


def _starts(parts: Archive, main: str) -> dict[str, str]:
    """What a paragraph of each style starts with in the text; nothing is known where no style sheet can be read."""
    try:
        styles = parts.xml(main.rpartition("/")[0] + "/styles.xml")
    except Damaged:
        return {}
    starts = {}
    for style in styles:
        name = next((_value(child) for child in style if _tag(child) == "name"), "").lower()
        if found := HEADING.fullmatch(name):
            starts[_attribute(style, "styleId")] = "#" * int(found[1]) + " "
        elif name == "title":
            starts[_attribute(style, "styleId")] = "# "
        elif LIST.fullmatch(name):
            starts[_attribute(style, "styleId")] = "- "
    return starts


def _blocks(element: Element, starts: dict[str, str]) -> Iterator[str]:
    for child in element:
        tag = _tag(child)
        if tag == "p":
            if text := _text(child).strip():
                yield _start(child, starts) + text
            for box in _nearest(child, "txbxContent"):
                yield from _blocks(box, starts)
        elif tag == "tbl":
            yield "\n".join(filter(None, _rows(child, starts)))
        elif tag not in NOT_HERE:
            yield from _blocks(child, starts)


def _rows(table: Element, starts: dict[str, str]) -> Iterator[str]:
    """A line for each row, its cells between bars."""
    for row in _nearest(table, "tr"):
        cells = [" ".join(" ".join(_blocks(cell, starts)).split()) for cell in _nearest(row, "tc")]
        yield " | ".join(cells).rstrip() if any(cells) else ""


def _text(element: Element) -> str:
    pieces = []
    for child in element:
        tag = _tag(child)
        if tag == "t":
            pieces.append(child.text or "")
        elif tag not in NOT_HERE:
            pieces.append(SIGNS.get(tag, "") or _text(child))
    return "".join(pieces)


def _start(paragraph: Element, starts: dict[str, str]) -> str:
    """What marks a heading or a list item in the text."""
    for properties in _nearest(paragraph, "pPr"):
        for child in properties:
            if _tag(child) == "pStyle" and _value(child) in starts:
                return starts[_value(child)]
            if _tag(child) == "numPr":
                return "- "
    return ""


def _nearest(element: Element, tag: str) -> Iterator[Element]:
    """The elements of that tag below this one, but none inside another of them."""
    for child in element:
        if _tag(child) == tag:
            yield child
        elif _tag(child) not in NOT_HERE:
            yield from _nearest(child, tag)


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _attribute(element: Element, name: str) -> str:
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")


def _value(element: Element) -> str:
    return _attribute(element, "val")
