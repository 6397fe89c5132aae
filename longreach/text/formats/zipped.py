"""Documents that are a ZIP archive of XML: opened so that neither can do harm.

A member is read up to a limit whatever size it claims, so a bomb is a note and not a full memory. XML that declares
entities is refused, since neither format needs them and they are how a kilobyte becomes a gigabyte.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from longreach.text.formats.source import Damaged, Source

MAX_MEMBER_BYTES = 64 << 20
MAX_DEPTH = 200  # elements in elements: what readers may recurse into
BROKEN_ZIP = (  # what the zipfile module raises on bytes that are wrong; OSError when told to seek where nothing is
    *(zipfile.BadZipFile, KeyError, RuntimeError, ValueError, EOFError, OSError),
    *(struct.error, zlib.error, lzma.LZMAError),
)


class Archive:
    """The members of a document, each read on its own."""

    def __init__(self, zip_file: zipfile.ZipFile, broken: str) -> None:
        self.zip_file = zip_file
        self.broken = broken

    def read(self, name: str) -> bytes:
        """A member's bytes; Damaged when it is missing, encrypted, corrupt or too large."""
        try:
            with self.zip_file.open(name) as member:
                data = member.read(MAX_MEMBER_BYTES + 1)
        except BROKEN_ZIP as error:
            raise Damaged(self.broken, f"{name}: {error}") from error
        if len(data) > MAX_MEMBER_BYTES:
            raise Damaged(self.broken, f"{name} is larger than {MAX_MEMBER_BYTES >> 20} MB")
        return data

    def xml(self, name: str) -> Element:
        """A member as a tree of elements, named `{namespace}tag`."""
        try:
            return _parse(self.read(name))
        except (expat.ExpatError, ValueError) as error:
            raise Damaged(self.broken, f"{name}: {error}") from error


@contextmanager
def archive(source: Source, broken: str) -> Iterator[Archive]:
    """The file as an archive, or Damaged with the reason that its format uses."""
    with source.open() as file:
        try:
            zip_file = zipfile.ZipFile(file)
        except BROKEN_ZIP as error:
            raise Damaged(broken, str(error)) from error
        with zip_file:
            yield Archive(zip_file, broken)


def _parse(data: bytes) -> Element:
    parser = expat.ParserCreate(namespace_separator="}")
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} elements in one another")
        builder.start(_name(tag), {_name(name): value for name, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_name(tag))

    def entity(name: str, *_: object) -> None:
        raise ValueError(f"it declares an entity, {name!r}")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = entity
    parser.Parse(data, True)
    return builder.close()


def _name(tag: str) -> str:
    return "{" + tag if "}" in tag else tag
