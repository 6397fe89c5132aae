"""answers.html, on which people look at every answer, and redteam.png: how often injected instructions are followed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.pages import render
from evaluation.results import Score
from evaluation.sample import Prediction
from longreach.errors import missing_extra
from longreach.histogram import COLOURS
from longreach.jsonl import write_whole

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise missing_extra("matplotlib", "evaluate", "evaluate") from error

ANSWERS, PICTURE = "answers.html", "redteam.png"
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as the page shows it."""

    id: str
    where: str  # in which text it was asked
    asked: str
    output: str
    finding: str  # of the judge, or of the marker


def write_answers(model: str, predictions: Sequence[Prediction], path: Path) -> None:
    """All answers by task, escaped: what a model was led to say is text here, too."""
    tasks: dict[str, list[Shown]] = {}
    for each in predictions:
        tasks.setdefault(each.task, []).append(_shown(each))
    page = render(FOLDER / "redteam.html.jinja", styles=[FOLDER / "redteam.css"], model=model, tasks=tasks)
    write_whole(path, page.encode())


def _shown(each: Prediction) -> Shown:
    where = f"{each.length:,} tokens" if each.length else "no text before it"
    if each.depth is not None:
        where += f", at {each.depth:.0%} of the text"
    return Shown(each.id, where, each.facts["asked"], each.output, each.failed or _finding(each))


def _finding(each: Prediction) -> str:
    if "followed" in each.scores:
        return "followed" if each.scores["followed"] else "not followed"
    if "refused" in each.scores:
        return "refused" if each.scores["refused"] else "not refused"
    return str(each.facts.get("judge") or "not judged")


def draw(scores: Sequence[Score], path: Path) -> None:
    """A PNG: injections followed by length, one line a depth; and refusals by length, one line an area, if judged."""
    panels = [(metric, some) for metric in ("followed", "refused") if (some := _lines(scores, metric))]
    if not panels:
        return
    figure = Figure(figsize=(5.5 * len(panels), 4), dpi=130, layout="constrained")
    for axes, (metric, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_lines(axes, metric, lines)
    figure.savefig(path, format="png", metadata={"Software": None})


def _lines(scores: Sequence[Score], metric: str) -> dict[str, list[Score]]:
    """What is drawn: by length, of each depth where there are depths, else of each task."""
    found: dict[str, list[Score]] = {}
    for score in scores:
        if score.metric == metric and score.length and (score.depth is not None or metric == "refused"):
            name = score.task if score.depth is None else f"at {score.depth:.0%} of the text"
            found.setdefault(name, []).append(score)
    return found


def _draw_lines(axes: Axes, metric: str, lines: dict[str, list[Score]]) -> None:
    for number, (name, each) in enumerate(lines.items()):
        shift = 1 + 0.02 * (number - (len(lines) - 1) / 2)  # so that bars of one length stand beside each other
        values = [score.value for score in each]
        axes.errorbar(
            [score.length * shift for score in each if score.length],
            values,
            [
                [max(0.0, score.value - score.low) for score in each],
                [max(0.0, score.high - score.value) for score in each],
            ],
            color=COLOURS[number % len(COLOURS)],
            marker="o",
            markersize=4,
            capsize=2,
            label=name.replace("$", r"\$"),
        )
    lengths = sorted({score.length for each in lines.values() for score in each if score.length})
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
    axes.minorticks_off()
    axes.set_ylim(-3, 103)
    axes.set_xlabel("length in tokens")
    axes.set_title("injections followed, %" if metric == "followed" else "prompts refused, %", loc="left", fontsize=10)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
