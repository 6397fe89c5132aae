"""CSV and TSV: a header, then one row a record; a record that is not well formed costs only itself.

The csv module reads strictly, one record at a time, from lines that are kept until the record proves well formed.
When it does not, only its first line is given up and reading goes on at its second, so that an unclosed quote cannot
swallow the rows after it. (Strictly, a closing quote must be followed by a delimiter: the next quoted field betrays
an unclosed one.) In TSV, where many writers do not quote at all, a line that breaks the rules of quoting is taken as
it stands if its number of fields is right.
"""

import csv
from collections import Counter, deque
from collections.abc import Iterator

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.compressed import chunks
from longreach.text.formats.encoding import without_mark
from longreach.text.formats.fields import Flaw, missing_field
from longreach.text.formats.lines import Line, lines
from longreach.text.formats.source import MAX_BYTES, Damaged, Row, Source

DELIMITERS = ",\t;|"
MAX_FIELD_CHARS = 16 << 20  # also what a quote that nothing ever closes makes us hold

csv.field_size_limit(MAX_FIELD_CHARS)  # the module's own limit, 131,072, is less than many documents


class Feed:
    """The lines that the csv module asks for, with those of the record under way at hand."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self.lines = lines
        self.waiting: deque[Line] = deque()
        self.record: list[Line] = []
        self.damage: Damaged | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.waiting.popleft() if self.waiting else self._read()
        self.record.append(line)
        return (line.data or b"").decode("utf-8", "surrogateescape")  # the csv module goes on; `flaw` tells

    def _read(self) -> Line:
        try:
            return next(self.lines)
        except Damaged as damaged:
            self.damage = damaged
            raise StopIteration from damaged

    def peek(self) -> str:
        """The first line, without its mark; empty when there is none."""
        first = next(self.lines, None)
        if first is None:
            return ""
        data = without_mark(first.data or b"")
        self.waiting.append(first._replace(data=data))
        return data.decode("utf-8", "surrogateescape")

    def give_back(self) -> None:
        """Keep only the first line of the record; the others are read again."""
        self.waiting.extendleft(reversed(self.record[1:]))
        del self.record[1:]

    def flaw(self) -> Flaw | None:
        """The reason and the detail, if some line of the record is too long or not UTF-8."""
        for data, _, byte in self.record:
            if data is None:
                return reasons.TOO_LARGE, f"a line of more than {MAX_BYTES >> 20} MB"
            try:
                data.decode("utf-8")
            except UnicodeDecodeError as error:
                return reasons.BAD_UTF8, f"0x{data[error.start]:02x} at byte {byte + error.start}"
        return None


def read(source: Source) -> Iterator[Row | Skipped]:
    """A row or a note for each record; `line` and `byte` are where it starts."""
    feed = Feed(lines(chunks(source)))
    records = _records(feed, _delimiter(feed.peek(), source))
    header: list[str] = []
    for (_, line, byte), fields in records:
        if isinstance(fields, tuple):
            yield source.skipped(*fields, line, byte)
        elif header:
            yield Row(dict(zip(header, fields, strict=True)), line, byte)
        elif flaw := _header_flaw(source, fields):
            yield source.skipped(*flaw, line, byte)
        else:
            header = fields
        if not header:
            return
    if feed.damage:
        raise feed.damage


def _header_flaw(source: Source, names: list[str]) -> Flaw | None:
    """What is wrong, if the header lacks the required field, or where all are wanted names two fields alike."""
    if source.required:
        missing = source.required not in names
        return (reasons.NO_TEXT_FIELD, missing_field(source.required, names)) if missing else None
    twice = [name for name, times in Counter(names).items() if times > 1]
    return (reasons.BROKEN_CSV, f"the header names {twice[0]!r} twice") if twice else None


def _records(feed: Feed, delimiter: str) -> Iterator[tuple[Line, list[str] | Flaw]]:
    """The first line of each record, and its fields or what is wrong with it. The header fixes the number of fields."""
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    width = 0
    while True:
        feed.record.clear()
        problem = ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            feed.give_back()
            problem = str(error)
            fields = _unquoted(feed.record[0]) if delimiter == "\t" else []
        if len(fields) == width:
            problem = ""
        elif fields and width:
            problem = problem or f"{len(fields)} fields where the header has {width}"
        width = width or len(fields)
        flaw = feed.flaw() or ((reasons.BROKEN_CSV, problem) if problem else None)
        if flaw or fields:
            yield feed.record[0], flaw or fields


def _unquoted(line: Line) -> list[str]:
    return (line.data or b"").decode("utf-8", "surrogateescape").rstrip("\r\n").split("\t")


def _delimiter(header: str, source: Source) -> str:
    """What the file's name says, unless only another one shows the required field in the header, or any fields."""
    usual = "\t" if ".tsv" in source.path.lower()[-8:] else ","
    names = {delimiter: [name.strip('"') for name in header.strip("\r\n").split(delimiter)] for delimiter in DELIMITERS}
    if not source.required:
        return usual if len(names[usual]) > 1 else max((usual, *DELIMITERS), key=lambda each: len(names[each]))
    return next((each for each in (usual, *DELIMITERS) if source.required in names[each]), usual)
