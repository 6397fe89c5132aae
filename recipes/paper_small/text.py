"""The text of all experiments: sources in, a folder of files out, the same for every seed and arm.

    tokenizer/                a small BPE in which the retrieval question is one token
    NAME-ROW.jsonl            documents of a source to train on, for rows of that length: drills (recipes/drills.py)
    documents/NAME.jsonl      the source itself: `selfinstruct generate` writes records from it
    held-out/NAME.jsonl       what no training has seen: for loss and questions
    held-out/passages.jsonl   text of these that begins with a sentence: for `evaluate retrieval`
    prompts/                  training templates of records, without the words that would fill a short window
    chats.jsonl               short chats

A source is NAME=PATH, or the NAME of one that every Python installation holds. Every tenth document is held out, less
the paragraphs that stand in others, too. It is a command of its own, so that whoever runs jobs treats it as any other:
`main` takes its words.
"""

import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from longreach.errors import UserError
from longreach.jsonl import LineWriter
from longreach.text.corpus import Corpus
from longreach.text.document import Document
from recipes import corpus
from recipes.drills import Drill, Text, chats, drills, train_tokenizer, write_drills, write_tokenizer
from recipes.passages import passages

LARGEST_PART = 40  # no document is more than this part of its source
DEMO_PROMPTS = Path(corpus.__file__).parent / "demo" / "prompts"
PROMPT = "{{ document }}\n\n{{ question }}\n"  # where the demo has none
RECORD_TASKS = ("short_answer", "long_answer")


@dataclass(frozen=True)
class Wanted:
    """How much text. `tokens` of documents are written by length of row, for each source."""

    short: int
    long: int
    vocabulary: int
    characters: int  # of each source, at most
    tokens: Mapping[str, int]
    chats: int
    passages: int


def main(words: Sequence[str]) -> None:
    """text --wanted=JSON NAME[=PATH]... --out=FOLDER"""
    given = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith("--")}
    wanted = Wanted(**orjson.loads(given["--wanted"]))
    write_text([word for word in words if not word.startswith("--")], wanted, Path(given["--out"]))


def write_text(sources: Sequence[str], wanted: Wanted, out: Path) -> None:
    """sources -> tokenizer, documents, held-out text, chats."""
    texts = {source.partition("=")[0]: read(source, wanted.characters) for source in sources}
    seen = {
        name: [text for place, text in enumerate(each) if place % corpus.HELD_OUT_EVERY] for name, each in texts.items()
    }
    known = {paragraph for each in seen.values() for text in each for paragraph in text.split(corpus.APART)}
    held_out = {
        name: [corpus.unlike(text, known) for text in each[:: corpus.HELD_OUT_EVERY]] for name, each in texts.items()
    }
    tokenizer = train_tokenizer((text for each in seen.values() for text in each), wanted.vocabulary)
    write_tokenizer(tokenizer, out / "tokenizer")
    write_prompts(out / "prompts")
    cut = {name: [Text(text, tokenizer) for text in each] for name, each in seen.items()}
    for name, those in cut.items():
        write_rows(out, name, those, wanted)
        for part, plain in (("documents", seen[name]), ("held-out", held_out[name])):
            write(out / part / f"{name}.jsonl", ({"id": f"{name}/{n}", "text": text} for n, text in enumerate(plain)))
    unseen = [text for each in held_out.values() for text in each]
    begun = passages(unseen, tokenizer, wanted.short, 2 * wanted.long, wanted.passages)
    write(out / "held-out" / "passages.jsonl", begun)
    write(out / "chats.jsonl", chats([text for each in cut.values() for text in each], wanted.chats, 0))


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One a line, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with LineWriter(path) as file:
        for row in rows:
            file.write(dict(row))
        file.publish()


def write_prompts(folder: Path) -> None:
    """In place of the shipped ones."""
    folder.mkdir(exist_ok=True)
    for name in (f"train_{task}.jinja" for task in RECORD_TASKS):
        known = DEMO_PROMPTS / name
        (folder / name).write_text(known.read_text(encoding="utf-8") if known.exists() else PROMPT, encoding="utf-8")


# Sources


def read(source: str, characters: int) -> list[str]:
    """The texts of a source, one line a paragraph."""
    name, given, path = source.partition("=")
    longest, kept = characters // LARGEST_PART, list[str]()
    for text in _texts_in(path) if given else _installed(name):
        if characters <= 0:
            break
        kept.append(text[:longest])
        characters -= len(kept[-1])
    if len(kept) < 2 * corpus.HELD_OUT_EVERY:
        needed = 2 * corpus.HELD_OUT_EVERY
        raise UserError(f"{source} has {len(kept)} documents: {needed} are needed", "give more documents")
    return kept


def _texts_in(path: str) -> Iterator[str]:
    return (corpus.reflowed(item.text) for item in Corpus([path]) if isinstance(item, Document))


def _installed(name: str) -> Iterator[str]:
    if name not in INSTALLED:
        raise UserError(f"there is no source {name!r} in Python itself", f"NAME=PATH, or {', '.join(INSTALLED)}")
    return INSTALLED[name]()


def _of_corpus(name: str) -> Callable[[], Iterator[str]]:
    return lambda: (each.text for each in corpus.documents() if each.source == name)


def _code() -> Iterator[str]:
    """Modules of the standard library as they stand."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        yield corpus.reflowed(path.read_text(encoding="utf-8", errors="replace"))


INSTALLED: Mapping[str, Callable[[], Iterator[str]]] = {
    "library": _of_corpus("library"),
    "code": _code,
    "reference": _of_corpus("reference"),
}


# Documents


def write_rows(out: Path, name: str, texts: Sequence[Text], wanted: Wanted) -> None:
    """For short rows, drills of their length; for long rows as many tokens of long drills as of short ones.

    A quarter of a row is long, as `pretrain prepare` has it, whose --long-share then decides how much there is of each.
    """
    quarter = wanted.long // 4
    tokens = {int(row): number for row, number in wanted.tokens.items()}
    write_drills(out / f"{name}-{wanted.short}.jsonl", drills(texts, wanted.short, 0), tokens[wanted.short])
    long = (each for each in drills(texts, wanted.long, 0) if each.tokens > quarter)
    short = (each for each in drills(texts, quarter, 1) if each.tokens < quarter)
    write_drills(out / f"{name}-{wanted.long}.jsonl", evenly(short, long), tokens[wanted.long])


def evenly(first: Iterator[Drill], second: Iterator[Drill]) -> Iterator[Drill]:
    """Of both as many tokens."""
    ahead = 0
    while True:
        if ahead <= 0:
            yield (one := next(first))
            ahead += one.tokens
        else:
            yield (other := next(second))
            ahead -= other.tokens
