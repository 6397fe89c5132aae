"""Programs that a model wrote, run against their tests (HumanEval, MBPP).

It takes the place of code_eval, the scorer that the package `evaluate` would fetch from the hub. Each program runs in a
process of its own, in an empty folder and for a few seconds: it cannot hang or end an evaluation. It is no protection
against a program that means harm.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

NAME = "code_eval"
SECONDS = 10.0  # of a program, Python's own start included


class CodeEval:
    """Behind the interface of the scorer on the hub."""

    def compute(
        self, references: Sequence[str], predictions: Sequence[Sequence[str]], k: Sequence[int] = (1,)
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """pass@1, the only k that the tasks here ask for: the share of programs that pass the tests in `references`."""
        if list(k) != [1]:
            raise ValueError(f"k is 1 here, not {k}")
        shares = [
            fmean(passes(f"{program}\n{test}") for program in programs)
            for test, programs in zip(references, predictions, strict=True)
        ]
        return {"pass@1": fmean(shares)}, {}


def passes(program: str, seconds: float = SECONDS) -> bool:
    """Whether a program runs to its end; one that leaves early does not."""
    mark = secrets.token_hex(8)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, said = Path(folder, "program.py"), Path(folder, "said")
        path.write_text(f"{program}\nprint('\\n{mark}')\n", "utf-8", "surrogatepass")
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-I", path.name],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                _kill_all(process)
        return status == 0 and said.read_bytes().rstrip().endswith(mark.encode())


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """The program, and what it may have started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def local_code_eval() -> Iterator[None]:
    """`evaluate.load("code_eval")` gives the scorer of this file."""
    evaluate: Any = import_module("evaluate")  # it has no types
    load = evaluate.load
    evaluate.load = lambda name, *given, **options: CodeEval() if name == NAME else load(name, *given, **options)
    try:
        yield
    finally:
        evaluate.load = load
