"""What the recipes that run several commands one after another have in common."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import corpus

from longreach.errors import UserError
from longreach.text import document
from longreach.text.corpus import Corpus

Size = TypeVar("Size")  # of a recipe


@dataclass(frozen=True)
class Stage:
    """One training run."""

    steps: int
    batch_tokens: int
    learning_rate: float
    warmup_steps: int

    @property
    def tokens(self) -> int:
        """That it reads, padding too."""
        return self.steps * self.batch_tokens

    def options(self) -> Iterator[str]:
        """For the command."""
        for name, value in asdict(self).items():
            yield f"--{name.replace('_', '-')}={value}"


class Clock:
    """Says what is under way, and how long it took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._start = "", 0.0

    def __call__(self, name: str) -> "Clock":
        self._name = name
        return self

    def __enter__(self) -> None:
        sys.stderr.write(f"{self._name} ...\n")
        self._start = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self.seconds[self._name] = round(time.monotonic() - self._start, 1)


def command(words: Sequence[str], folder: Path, threads: int = 1) -> None:
    """`python -m WORDS --out=FOLDER`; what it says goes into a file beside the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", *words, f"--out={folder}"]
    log = folder.with_suffix(".log")
    with log.open("ab") as file:
        env = {"OMP_NUM_THREADS": str(threads), **os.environ, "HF_HUB_OFFLINE": "1"}
        if subprocess.run(words, stdout=file, stderr=file, env=env, check=False).returncode:
            sys.exit(f"{' '.join(words)}\nfailed; {log} says why")


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def texts_of(docs: Sequence[str], out: Path) -> list[str]:
    """The texts of all documents."""
    if not docs:
        corpus.main(out / "corpus")
        docs = [str(out / "corpus")]
    return [item.text for item in Corpus(docs) if isinstance(item, document.Document)]


def start(
    main: Callable[[list[str], Path, int, Size], object], doc: str | None, out: str, full: Size, quick: Size
) -> None:
    """The recipe as a command, in one of its two sizes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", nargs="+", default=[], help="files, folders or globs, as the commands read them")
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it works")
    given = parser.parse_args()
    try:
        main(given.docs, given.out, given.seed, quick if given.quick else full)
    except UserError as error:
        sys.exit(f"error: {error}")
