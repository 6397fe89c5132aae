"""What `selfinstruct generate` keeps on disk and in memory of millions of documents and requests.

    python -m benchmarks.scale_generate [--requests 100k,1M] [--documents 20k,80k]

The journal itself takes completions of 800 characters under random keys, 64 at once as an engine of that concurrency
gives them, and is then opened again and asked for each in another order, as a run that goes on does. The search for
repeated texts itself reads made-up texts of 200 words. Each line is a process of its own; memory is what came on top
of the imports.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.attention_and_loss import resident
from longreach.config import size
from longreach.engines.base import Completion
from longreach.journal import Journal
from longreach.text.distinct import Seen
from longreach.text.document import Document

ROOT = Path(__file__).parents[1]
AT_ONCE, CHARS, WORDS = 64, 800, 200


def main() -> None:
    """Print both tables, or in a child the figures of one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", default="100k,1M")
    parser.add_argument("--documents", default="20k,80k")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "COUNT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure = {"journal": journal, "repeats": repeats}[given.one[0]]
        print(json.dumps(measure(int(given.one[1]))))
        return
    table("journal", "requests", given.requests.split(","), ("put, a second", "got, a second", "bytes each", "MB"))
    table("repeats", "documents", given.documents.split(","), ("a second", "bytes each", "MB"))


def table(what: str, counted: str, counts: Sequence[str], columns: Sequence[str]) -> None:
    """One table, a process for each line."""
    print(f"\n{what}\n\n| {counted} | {' | '.join(columns)} |\n|{'---:|' * (len(columns) + 1)}")
    for count in map(size, counts):
        command = [sys.executable, "-m", "benchmarks.scale_generate", "--one", what, str(count)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        found = json.loads(done.stdout)
        print(f"| {count:,} | {' | '.join(f'{found[column]:,.0f}' for column in columns)} |", flush=True)


def journal(count: int) -> dict[str, Any]:
    """Fill a journal, then go on with it."""
    before = resident("VmRSS")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        begun = time.perf_counter()
        with Journal(path) as opened:
            asyncio.run(filled(opened, count))
        put = count / (time.perf_counter() - begun)
        begun = time.perf_counter()
        with Journal(path) as opened:
            for number in shuffled(count):
                assert opened.get(key_of(number))
        got = count / (time.perf_counter() - begun)
        each = path.stat().st_size / count
    return {
        "put, a second": put,
        "got, a second": got,
        "bytes each": each,
        "MB": (resident("VmHWM") - before) / 1e6,
    }


async def filled(journal: Journal, count: int) -> None:
    """Completions as they come in."""
    text = "".join(random.Random(0).choices("abcdefghij klmnop", k=CHARS))
    for begin in range(0, count, AT_ONCE):
        numbers = range(begin, min(begin + AT_ONCE, count))
        await asyncio.gather(
            *(journal.put(key_of(number), Completion(f"{number} {text}", "stop")) for number in numbers)
        )


def key_of(number: int) -> bytes:
    """As good as a hash."""
    return random.Random(number).randbytes(32)


def shuffled(count: int) -> list[int]:
    """Another order."""
    numbers = list(range(count))
    random.Random(1).shuffle(numbers)
    return numbers


def repeats(count: int) -> dict[str, Any]:
    """Look for repeated texts in so many that are none."""
    draw, words = random.Random(0), [f"word{number}" for number in range(5_000)]
    before, begun = resident("VmRSS"), time.perf_counter()
    with closing(sqlite3.connect("", isolation_level=None)) as database:  # as `distinct` opens it
        seen = Seen(database, near=0.85)
        for number in range(count):
            text = " ".join(draw.choices(words, k=WORDS))
            assert not seen.repeat(Document(f"made-up.jsonl#{number}", "made-up.jsonl", text))
        seconds = time.perf_counter() - begun
        ((pages,), (size,)) = (database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    return {
        "a second": count / seconds,
        "bytes each": pages * size / count,
        "MB": (resident("VmHWM") - before) / 1e6,
    }


if __name__ == "__main__":
    main()
