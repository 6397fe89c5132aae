"""figures -> verdicts -> results.json, report.html, report.md, pictures/: the paper's tables and ours side by side."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.pages import STYLE, render
from longreach.jsonl import write_json, write_whole
from recipes.paper_small.claims import CLAIMS, Claim
from recipes.paper_small.commands import Setting
from recipes.paper_small.experiments import EXPERIMENTS, Experiment
from recipes.paper_small.figures import Figures
from recipes.paper_small.origin import Origin
from recipes.paper_small.pictures import Picture, pictures
from recipes.paper_small.published import PUBLISHED, Table
from recipes.paper_small.tables import our_tables
from recipes.paper_small.verdicts import CANNOT, NOT_MEASURED, NOT_SEEN, SEEN, Found, Verdict

HERE = Path(__file__).parent
PAGE, TEXT, RESULTS, PICTURES = "report.html", "report.md", "results.json", "pictures"
KINDS = {SEEN: "seen", NOT_SEEN: "unseen", CANNOT: "beyond", NOT_MEASURED: "missing"}


class Decided(NamedTuple):
    """A claim and what came of it."""

    claim: Claim
    verdict: Verdict

    @property
    def kind(self) -> str:
        """Of the verdict, as the style sheet has it."""
        return KINDS[self.verdict.word]


class Part(NamedTuple):
    """What the report says of an experiment."""

    experiment: Experiment
    theirs: Sequence[Table]
    ours: Sequence[Table]
    picture: Picture | None
    decided: Sequence[Decided]
    seconds: float

    @property
    def file(self) -> str:
        """Of the picture, beside the Markdown."""
        return f"{PICTURES}/{self.experiment.name}.png"


def decide(found: Found) -> list[Decided]:
    """Every claim."""
    return [Decided(claim, claim.decide(found)) for claim in CLAIMS]


def parts(run: Setting, figures: Figures, seconds: Mapping[str, float]) -> list[Part]:
    """All experiments, those too that were not run."""
    decided = decide(Found(figures, run.scale.short, run.scale.long))
    ours, drawn = our_tables(run, figures), pictures(run, figures)
    return [
        Part(
            experiment,
            PUBLISHED.get(name, ()),
            ours.get(name, []),
            drawn.get(name),
            [each for each in decided if each.claim.experiment == name],
            seconds.get(name, 0.0),
        )
        for name, experiment in EXPERIMENTS.items()
    ]


def write_report(run: Setting, seeds: int, figures: Figures, seconds: Mapping[str, float], made: Origin) -> list[Part]:
    """Three files in the folder of the run, and the pictures of the Markdown."""
    found = parts(run, figures, seconds)
    write_json(run.out / RESULTS, as_json(run, seeds, figures, found, made))
    facts: dict[str, Any] = {
        "scale": run.scale,
        "seeds": seeds,
        "sources": run.sources,
        "counts": counts(found),
        "parts": found,
        "made": made,
    }
    page = render(HERE / "report.html.jinja", styles=[STYLE, HERE / "report.css"], **facts)
    write_whole(run.out / PAGE, page.encode())
    (run.out / PICTURES).mkdir(exist_ok=True)
    for part in found:
        if part.picture:
            write_whole(run.out / part.file, part.picture.png)
    write_whole(run.out / TEXT, "\n".join(markdown(run, seeds, found, made)).encode())
    return found


def counts(found: Sequence[Part]) -> dict[str, int]:
    """Claims by verdict."""
    tally = Counter(each.verdict.word for part in found for each in part.decided)
    return {word: tally[word] for word in KINDS if tally[word]}


def as_json(run: Setting, seeds: int, figures: Figures, found: Sequence[Part], made: Origin) -> dict[str, Any]:
    """Everything that the report is made of, but the pictures."""
    return {
        "format": 1,
        "scale": asdict(run.scale),
        "seeds": seeds,
        "sources": list(run.sources),
        "claims": [
            {
                **{name: getattr(each.claim, name) for name in ("name", "experiment", "where", "says", "decided")},
                "verdict": each.verdict.word,
                "reason": each.verdict.reason,
            }
            for part in found
            for each in part.decided
        ],
        "figures": [each._asdict() for each in figures],
        "seconds": {part.experiment.name: part.seconds for part in found},
        "made": asdict(made),
    }


# Markdown


def markdown(run: Setting, seeds: int, found: Sequence[Part], made: Origin) -> Iterator[str]:
    """For docs/."""
    tally = ", ".join(f"{number} {word}" for word, number in counts(found).items())
    yield f"# The paper's experiments, small ({run.scale.name}, {seeds} seed{'s' * (seeds > 1)})\n"
    yield f"Claims: {tally}. Means over the seeds with 95 % intervals (Student's t, paired by seed).\n"
    hours = f"{made.lanes} jobs at once, {made.seconds / 3600:.1f} hours of jobs in all"
    packages = ", ".join(f"{name} {number}" for name, number in made.versions.items())
    yield f"Made by {plain(made.command)} on {made.machine}, {hours}; {packages}.\n"
    for part in found:
        yield f"## {part.experiment.title}: {part.experiment.where}\n"
        yield from _claims(part.decided)
        for whose, tables in (("Paper", part.theirs), ("Here", part.ours)):
            for table in tables:
                yield f"{whose}. {plain(table.title)}\n"
                yield from _table(table)
        if part.picture:
            yield f"![{plain(part.picture.title)}]({part.file})\n"


def _claims(decided: Sequence[Decided]) -> Iterator[str]:
    yield "| claim | where | verdict | why |"
    yield "|---|---|---|---|"
    for claim, (word, reason) in decided:
        yield f"| {plain(claim.says)} | {plain(claim.where)} | **{word}** | {plain(reason)} |"
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield _row(table.columns)
    yield _row(("---", *("---:" for _ in table.columns[1:])))
    yield from map(_row, table.rows)
    yield f"\n{plain(table.note)}\n" if table.note else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(plain, cells))} |"


def plain(text: str) -> str:
    """As text of a table: nothing in it is markup."""
    for mark in "\\|<>*_`[]":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return " ".join(text.split())
