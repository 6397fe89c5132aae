"""What tests of the harness share."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest


class Analyzer:
    """Counts two words, in place of VADER's lexicon."""

    def polarity_scores(self, text: str) -> dict[str, float]:
        """A quarter for each word."""
        return {"compound": 0.25 * (text.count("good") - text.count("bad"))}


@pytest.fixture
def vader(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """vaderSentiment, as a module that is not installed."""
    package, module = ModuleType("vaderSentiment"), ModuleType("vaderSentiment.vaderSentiment")
    module.SentimentIntensityAnalyzer = Analyzer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vaderSentiment", package)
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", module)
    monkeypatch.delitem(sys.modules, "evaluation.harness.tasks.bold.task", raising=False)
    yield module
    sys.modules.pop("evaluation.harness.tasks.bold.task", None)
