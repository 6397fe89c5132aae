"""Bytes to text. UTF-8 unless a byte order mark or the document itself says otherwise; never a guess, never a repair.

The text is kept as given: line ends are not changed and nothing is normalised, so that offsets mean what they say. Only
the byte order mark goes, since it is a note on the encoding and no part of the text.
"""

import codecs

from longreach.text.formats import reasons
from longreach.text.formats.source import Damaged

MARKS = (  # the longer mark first where one begins another
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(data: bytes, declared: str = "utf-8") -> str:
    """The text of a whole file, in the encoding its mark names, else the declared one."""
    mark, encoding = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", declared))
    try:
        return data.decode(encoding) if not mark else data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        byte = error.start + len(mark)
        detail = f"0x{data[byte]:02x} at byte {byte} is not valid {encoding}"
        raise Damaged(reasons.BAD_UTF8, detail, data.count(b"\n", 0, byte) + 1, byte) from error


def without_mark(start: bytes) -> bytes:
    """The first bytes of a file of rows, without their mark; in UTF-16 and the like rows could not be told apart."""
    mark, encoding = next(((mark, name) for mark, name in MARKS if start.startswith(mark)), (b"", "utf-8"))
    if encoding != "utf-8":
        raise Damaged(reasons.BAD_UTF8, f"the file is {encoding}; try: iconv -f {encoding[:6]} -t utf-8", 1, 0)
    return start[len(mark) :]
