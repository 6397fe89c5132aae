"""The default panel: every measure that applies to a model, each in a folder of its own under --out."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, TypeVar

from evaluation.config import (
    HarnessSettings,
    LossSettings,
    PanelSettings,
    QaSettings,
    RetrievalSettings,
    RunSettings,
)
from evaluation.results import Results
from longreach.errors import Unfinished, UserError

LENGTHS = 4  # each half of the next, the longest the window
WIDEST = 131_072  # tokens: further is for those who ask for it
SAMPLES = {"loss": 20, "retrieval": 1, "qa": 100, "harness": 100}

Given = TypeVar("Given", bound=RunSettings)
Measure = Callable[[], Results]


def measure_panel(settings: PanelSettings) -> Iterator[tuple[str, Results]]:
    """One measure after the other; a panel that was stopped goes on with the one it was at.

    One that cannot be taken does not stop the others: UserError tells of all such at the end.
    """
    lengths, problems = settings.lengths or _lengths(settings), []
    for name, measure in _parts(settings, lengths):
        sys.stderr.write(f"{name}: to {settings.folder / name}\n")
        try:
            yield name, measure()
        except Unfinished:  # a server that is away is away for all
            raise
        except UserError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise UserError("\n".join(problems), "the other measures are finished; the same command goes on with these")


def _parts(settings: PanelSettings, lengths: tuple[int, ...]) -> Iterator[tuple[str, Measure]]:
    """Those that apply; of the others it is said why they do not."""
    if settings.base_url:
        sys.stderr.write("loss: left out, it needs the checkpoint itself\n")
    else:
        yield "loss", lambda: _loss(settings, lengths)
    yield "retrieval", lambda: _retrieval(settings, lengths)
    if settings.records:
        yield "qa", lambda: _qa(settings)
    else:
        sys.stderr.write("qa: left out, no --records\n")
    if settings.data_dir:
        yield "harness", lambda: _harness(settings)
    else:
        sys.stderr.write(f"harness ({', '.join(settings.suite)}): left out, no --data-dir\n")


def _loss(settings: PanelSettings, lengths: tuple[int, ...]) -> Results:
    from evaluation.loss import measure_loss

    targets = min(LossSettings.targets, lengths[0] // 2)
    return measure_loss(_of(LossSettings, settings, "loss", lengths=lengths, targets=targets))


def _retrieval(settings: PanelSettings, lengths: tuple[int, ...]) -> Results:
    from evaluation.retrieval import measure_retrieval

    return measure_retrieval(_of(RetrievalSettings, settings, "retrieval", lengths=lengths))


def _qa(settings: PanelSettings) -> Results:
    from evaluation.qa import measure_qa

    return measure_qa(_of(QaSettings, settings, "qa"))


def _harness(settings: PanelSettings) -> Results:
    from evaluation.harness.run import measure_harness

    url = settings.base_url[0] if settings.base_url else ""
    style = settings.style if settings.style != "auto" else "text"
    return measure_harness(_of(HarnessSettings, settings, "harness", base_url=url, style=style))


def _of(kind: type[Given], settings: PanelSettings, name: str, **chosen: Any) -> Given:
    """The settings of one measure: what it shares with the panel, and `chosen`."""
    shared = {entry.name for entry in fields(kind)} & {entry.name for entry in fields(settings)}
    values = {each: getattr(settings, each) for each in shared}
    values |= {"samples": settings.samples or SAMPLES[name], "out": str(settings.folder / name)}
    return kind(**{**values, **chosen})


def _lengths(settings: PanelSettings) -> tuple[int, ...]:
    """Powers of two up to the window."""
    if settings.base_url:
        raise UserError("a server does not tell its model's window", "give --lengths")
    from longreach.model.load import read_config

    window: int = read_config(settings.model).get_text_config().max_position_embeddings
    longest = 2 ** (min(window, WIDEST).bit_length() - 1)
    return tuple(longest // 2**power for power in reversed(range(LENGTHS)))
