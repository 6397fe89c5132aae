"""Real documents that every Python installation holds: the language reference and the standard library's documentation.

    python -m recipes.corpus FOLDER

Two sources, each a JSON lines file: `reference`, the chapters of pydoc_data.topics, and `library`, what the modules of
the standard library say of themselves (their docstrings, one document a module). Paragraphs are set on one line each.
Every tenth document goes to FOLDER/held-out, less the paragraphs that stand in others, too; the others go to
FOLDER/documents. All of it is under the PSF licence.
"""

import ast
import re
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

from longreach.jsonl import LineWriter

DOCUMENTS, HELD_OUT = "documents", "held-out"
SOURCES = ("reference", "library")
HELD_OUT_EVERY = 10
APART = "\n\n"  # paragraphs
SHORTEST = 1_500  # characters of a module's documentation
ELSEWHERE = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}  # folders of other people's code


class Document(NamedTuple):
    """A row of the files."""

    id: str
    text: str
    source: str
    license: str = "PSF-2.0"


def documents() -> Iterator[Document]:
    """All of them, in the order of their names."""
    for name, text in sorted(topics.items()):
        yield Document(f"reference/{name}", reflowed(text), "reference")
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        module = path.relative_to(library)
        if ELSEWHERE & set(module.parts):
            continue
        text = documentation(path.read_text(encoding="utf-8", errors="replace"))
        if len(text) >= SHORTEST:
            yield Document(f"library/{module.with_suffix('').as_posix()}", text, "library")


def documentation(code: str) -> str:
    """The docstrings of a module, its classes and its functions, each once."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return ""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, described))
    return APART.join(filter(None, map(reflowed, dict.fromkeys(found))))


def reflowed(text: str) -> str:
    """One line a paragraph."""
    return APART.join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip())


def unlike(text: str, known: Collection[str]) -> str:
    """The text without the paragraphs that are known."""
    return APART.join(paragraph for paragraph in text.split(APART) if paragraph not in known)


def main(folder: Path) -> None:
    """Write the files."""
    found = list(documents())
    parts = {DOCUMENTS: [each for number, each in enumerate(found) if number % HELD_OUT_EVERY]}
    known = {paragraph for each in parts[DOCUMENTS] for paragraph in each.text.split(APART)}
    others = (each._replace(text=unlike(each.text, known)) for each in found[::HELD_OUT_EVERY])
    parts[HELD_OUT] = [each for each in others if each.text]
    for part, those in parts.items():
        for source in SOURCES:
            write(folder / part / f"{source}.jsonl", [each for each in those if each.source == source])
        print(f"{len(those)} documents, {sum(len(each.text) for each in those):,} characters -> {folder / part}")


def write(path: Path, those: list[Document]) -> None:
    """One document a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with LineWriter(path) as file:
        for each in those:
            file.write(each._asdict())
        file.publish()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
