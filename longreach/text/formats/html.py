"""HTML to text: a block a paragraph with a blank line between, headings as `# ...`, list items as `- ...`.

What is not the document's own text goes: scripts, styles, navigation, controls. Where the page marks one `main`
element, that is the document. `pre` keeps its spaces and lines; elsewhere runs of white space are one space, as in a
browser. A table row is one line, its cells between bars. The tree is marked in place and read out in one go, since a
walk over its nodes in Python would cost several times the parsing.
"""

import codecs
import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from longreach.text.formats.compressed import chunks
from longreach.text.formats.encoding import decode
from longreach.text.formats.source import Row, Source, whole

DROPPED = (
    ":is(script, style, noscript, template, nav, svg, iframe, object, canvas, audio, video, button, select, textarea,"
    " annotation, annotation-xml, a.headerlink, a.doc-anchor, [hidden])"
)
OUTERMOST_DROPPED = f"{DROPPED}:not({DROPPED} *)"  # a node inside one that is gone must not be touched
BLOCKS = (
    "p:not(:is(td, th, li, dd) > p:only-child), div, section, article, main, header, footer, aside, ul, ol, dl, dt, dd,"
    " blockquote, figure, figcaption, table, caption, hr, address, details, summary, fieldset, form, center"
)
STARTS = {"h1": "# ", "h2": "## ", "h3": "### ", "h4": "#### ", "h5": "##### ", "h6": "###### ", "li": "- "}
PREFIXES = {start.strip() for start in STARTS.values()}

# Marks put into the tree. A document that holds such characters itself gets a break more, nothing worse.
BLOCK, LINE, CELL, PRE = "\x1e", "\x1f", "\x1d", "\x1c"
BREAKS_IN_PRE = re.compile(f"\r\n|{BLOCK}+|{LINE}")

DECLARED = re.compile(
    rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)|^<\?xml[^>]+encoding\s*=\s*["']([\w.:-]+)""", re.I
)
DECLARED_WITHIN = 4096  # bytes
NOT_OF_PAGES = ("utf-16", "utf-7", "idna", "punycode", "unicode", "raw")  # Python has codecs that are no charsets
VOID = "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
SELF_CLOSED = re.compile(rf"<(?!(?:{VOID})\b)([a-zA-Z][\w:.-]*)([^<>]*)/>")


def read(source: Source) -> Iterator[Row]:
    """One text."""
    yield Row(text_of(whole(chunks(source))))


def text_of(page: bytes) -> str:
    """The text of a page, in the encoding that its mark or the page itself declares."""
    html = decode(page, _declared_encoding(page))
    if "http://www.w3.org/1999/xhtml" in html[:DECLARED_WITHIN]:
        html = SELF_CLOSED.sub(r"<\1\2></\1>", html)  # read as HTML, `<title/>` would take the rest of the page with it
    tree = LexborHTMLParser(html)
    mains = tree.css("main, [role=main]")
    root = mains[0] if len(mains) == 1 else tree.body
    if root is None:
        return ""
    for node in root.css(OUTERMOST_DROPPED):
        node.decompose()
    title = tree.css_first("head > title")
    heading = f"# {' '.join(title.text().split())}" if title and title.text().strip() and not root.css("h1") else ""
    _mark(root)
    blocks = _blocks(root.text())
    return "\n\n".join([heading, *blocks] if heading and blocks else blocks)


def _declared_encoding(page: bytes) -> str:
    """The encoding a page names, read as browsers read it: Latin-1 is Windows-1252, what cannot be true is UTF-8."""
    found = DECLARED.search(page[:DECLARED_WITHIN])
    label = (found[1] or found[2]).decode("ascii").lower() if found else "utf-8"
    try:
        name = codecs.lookup(label).name
        b"a".decode(name)
    except (LookupError, ValueError):  # unknown, no encoding of text, or one in which no page declares anything
        return "utf-8"
    if name in ("iso8859-1", "ascii"):
        return "cp1252"
    return "utf-8" if name.startswith(NOT_OF_PAGES) else name


def _mark(root: LexborNode) -> None:
    """Put a mark where `_blocks` is to break."""
    for node in root.css(BLOCKS):
        node.insert_before(BLOCK)
        node.insert_after(BLOCK)
    for node in root.css("h1, h2, h3, h4, h5, h6, li"):
        node.insert_before(BLOCK + STARTS[node.tag or ""])
        node.insert_after(BLOCK)
    for selector, mark in (("br, tr", LINE), ("td, th", CELL)):
        for node in root.css(selector):
            node.insert_before(mark)
    for node in root.css("pre:not(pre *)"):
        node.insert_before(PRE)
        node.insert_after(PRE)


def _blocks(marked: str) -> list[str]:
    """The paragraphs between the marks. A list item or heading that starts with a block is one with it."""
    blocks: list[str] = []
    prefix = ""
    for number, part in enumerate(marked.split(PRE)):
        pre = number % 2 == 1
        pieces = [BREAKS_IN_PRE.sub("\n", part).strip("\n").rstrip()] if pre else map(_paragraph, part.split(BLOCK))
        for piece in filter(None, pieces):
            if piece in PREFIXES:
                prefix = piece + " "
            else:
                blocks.append(prefix + piece)
                prefix = ""
    return blocks


def _paragraph(part: str) -> str:
    return "\n".join(filter(None, map(_line, part.split(LINE))))


def _line(part: str) -> str:
    if CELL not in part:
        return " ".join(part.split())
    cells = [" ".join(cell.split()) for cell in part.split(CELL)]
    return " | ".join(cells[1:]).rstrip() if any(cells[1:]) else cells[0]
