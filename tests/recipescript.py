"""A recipe as a module, and its commands run in this process: a dozen processes would take minutes to load torch."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch

RECIPES = Path(__file__).parents[1] / "recipes"


@contextmanager
def recipe_script(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script; its neighbours are found as they are when it is run."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(RECIPES))
    yield importlib.import_module(name)
    for module in set(sys.modules) - before:
        file = getattr(sys.modules[module], "__file__", None)
        if file and Path(file).parent == RECIPES:
            del sys.modules[module]  # names such as `tokenizer` are nobody else's business


class OneAfterTheOther:
    """In place of the threads that wait for processes."""

    def __init__(self, workers: int) -> None:
        self.map = map

    def __enter__(self) -> "OneAfterTheOther":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def in_this_process(words: Sequence[str], folder: Path, threads: int = 1) -> None:
    """In place of chain.command."""
    torch.set_num_threads(1)
    package, *options = words
    try:
        importlib.import_module(f"{package}.cli").main([*options, f"--out={folder}"], standalone_mode=False)
    except SystemExit as ended:
        assert not ended.code, words
