"""evaluate loss: held-out documents -> windows -> the loss by length of context and by position -> a power law.

By length, the same tokens at the end of each window are told with more and more of the window before them, so that two
lengths differ in context alone. By position, the longest rows are told whole: one pass gives both. The window of the
config may be exceeded, with the RoPE as it is: that shows where a model collapses.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from evaluation.asking import measured
from evaluation.config import LossSettings
from evaluation.intervals import mean_interval
from evaluation.lossview import Bin, draw, perplexity
from evaluation.powerlaw import PowerLaw
from evaluation.results import PREDICTIONS, Headline, Results, Score
from evaluation.sample import Prediction
from evaluation.told import Floats, Told, edges_of, tell_all
from evaluation.verdict import Verdict, judge
from evaluation.windows import Window, digest, draw_windows
from longreach.config import written
from longreach.errors import UserError
from longreach.jsonl import LineWriter
from longreach.model.load import read_config
from longreach.model.ropeconfig import extended_parameters
from longreach.text.corpus import Corpus
from longreach.text.fast import TokenizerMismatch
from longreach.text.tokenize import load_tokenizer

METRIC = "loss"
FEW = 10  # windows, below which no interval is to be trusted


def measure_loss(settings: LossSettings) -> Results:
    """Measure, fit, draw, and say it in words."""
    window = _window(settings.model)
    lengths = settings.lengths or default_lengths(settings.targets, window)
    _check(lengths, settings)
    windows, notes = _windows(settings, lengths[-1])
    with measured(settings, {"windows": digest(windows)}) as folder:
        told = tell_all(settings, windows, lengths, folder.path)
        verdict = judge(lengths, told.losses, window, settings.seed)
        bins = list(_bins(told, lengths[-1], settings.seed))
        _write_predictions(windows, lengths, told.losses, folder.path)
        draw(verdict, bins, folder.path)
        results = _results(settings, verdict, bins, [*notes, *verdict.sentences(), *_about_law(verdict)])
        results.write(folder.path)
    return results


# What is measured


def _window(model: str) -> int:
    """Of the config; UserError for a model whose positions longreach does not know."""
    config = read_config(model)
    extended_parameters(config)
    return int(config.max_position_embeddings)


def default_lengths(targets: int, window: int) -> tuple[int, ...]:
    """Powers of two within the window, from where every target has as many tokens before it as there are targets."""
    lengths = tuple(2**power for power in range(window.bit_length()) if 2 * targets <= 2**power <= window)
    if not lengths:
        raise UserError(
            f"the window of {window:,} tokens is less than twice the {targets:,} targets",
            f"--targets {max(1, window // 8)}, or --lengths of your own",
        )
    return lengths


def _check(lengths: Sequence[int], settings: LossSettings) -> None:
    if lengths[0] <= settings.targets:
        raise UserError(
            f"a length of {lengths[0]:,} has no room for context before its {settings.targets:,} targets",
            f"--targets {max(1, lengths[0] // 4)}, or longer --lengths",
        )


def _windows(settings: LossSettings, longest: int) -> tuple[list[Window], list[str]]:
    """From the corpus; read again where the fast tokenizer finds out late that it is wrong."""
    tokenizer = load_tokenizer(settings.model)

    def drawn() -> tuple[list[Window], list[str]]:
        corpus = Corpus(settings.docs, text_field=settings.text_field, min_chars=settings.min_chars)
        how = {"samples": settings.samples, "targets": settings.targets, "seed": settings.seed}
        return draw_windows(corpus, tokenizer, longest, **how, join=settings.join)

    try:
        windows, notes = drawn()
    except TokenizerMismatch:
        windows, notes = drawn()
    few = [f"{len(windows)} windows are few: do not rely on the intervals"] if len(windows) < FEW else []
    return windows, notes + few


# What is written


def _bins(told: Told, length: int, seed: int) -> Iterator[Bin]:
    """Over all windows."""
    edges = [*edges_of(length).tolist(), length]
    for first, after, column in zip(edges, edges[1:], told.positions.T, strict=False):
        yield Bin(first, after - 1, mean_interval(column.tolist(), seed=seed))


def _task(length: int) -> str:
    """What is compared between models: the loss at one length."""
    return f"loss at {length}"


def _write_predictions(windows: Sequence[Window], lengths: Sequence[int], losses: Floats, folder: Path) -> None:
    """One line for each length and window."""
    with LineWriter(folder / PREDICTIONS) as file:
        for place, length in enumerate(lengths):
            for window, loss in zip(windows, losses[:, place].tolist(), strict=True):
                prediction = Prediction(
                    id=f"{window.id}/{length}",
                    task=_task(length),
                    output="",
                    scores={METRIC: loss},
                    length=length,
                    prompt_sha256=sha256(window.row(length).astype("<u4").tobytes()).hexdigest(),
                    prompt_tokens=length,
                    facts={"document": window.document, "offset": window.offset},
                )
                file.write(prediction.as_row())
        file.publish()


def _results(settings: LossSettings, verdict: Verdict, bins: Sequence[Bin], notes: Sequence[str]) -> Results:
    """As results.json holds it."""
    return Results(
        measure="loss",
        model=settings.model,
        settings=written(settings),
        scores=list(_scores(verdict)),
        headline=list(_headlines(verdict)),
        notes=notes,
        fit=verdict.law.as_json() if isinstance(verdict.law, PowerLaw) else None,
        further={
            "window": verdict.window,
            "falls_to": verdict.falls_to,
            "holds_to": verdict.holds_to,
            "explodes": verdict.explodes,
            "changes": [
                {"shorter": each.shorter, "longer": each.longer, **each.difference._asdict()}
                for each in verdict.changes
            ],
            "by_position": [{"first": each.first, "last": each.last, **each.loss._asdict()} for each in bins],
        },
    )


def _scores(verdict: Verdict) -> Iterator[Score]:
    """Of each length: the loss, its perplexity, and what the power law has there."""
    by_length = list(zip(verdict.lengths, verdict.losses, strict=True))
    for length, mean in by_length:
        yield Score("loss", METRIC, length, None, verdict.windows, *mean)
    for length, mean in by_length:
        yield Score("loss", "perplexity", length, None, verdict.windows, *map(perplexity, mean))
    if isinstance(verdict.law, PowerLaw):
        for length in verdict.lengths:
            yield Score("loss", "power law", length, None, verdict.windows, *verdict.law.at(length))


def _headlines(verdict: Verdict) -> Iterator[Headline]:
    """At the longest length within the window; and at the longest of all, where models of other windows can meet it."""
    inside = [length for length in verdict.lengths if length <= verdict.window][-1:]
    for length, mean in zip(verdict.lengths, verdict.losses, strict=True):
        if length in (*inside, verdict.lengths[-1]):
            yield Headline(_task(length), METRIC, "long", False, "nats", verdict.windows, *mean)


def _about_law(verdict: Verdict) -> Iterator[str]:
    """The power law in a line, or why there is none."""
    law = verdict.law
    if not isinstance(law, PowerLaw):
        yield f"No power law up to {verdict.holds_to:,} tokens: {law.reason}."
        return
    named = {"alpha": law.alpha, "beta": law.beta, "gamma": law.gamma}
    shown = ", ".join(f"{name} {each.value:.4g} ({each.low:.4g} to {each.high:.4g})" for name, each in named.items())
    yield f"Power law up to {verdict.holds_to:,} tokens: {shown}."
    if law.note:
        yield f"{law.note}."
