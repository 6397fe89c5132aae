"""The page at the end of recipes/demo.sh: what was made on the way and what came of it.

    python -m recipes.demo.report OUT

Everything on it is read from what the commands left in OUT.
"""

import base64
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from evaluation.asking import PROMPTS
from evaluation.compare.model import Model, read_models
from evaluation.compare.pictures import draw_curves
from evaluation.heatmap import HEATMAP
from evaluation.pages import STYLE, render
from evaluation.results import PREDICTIONS, Results, Score
from evaluation.sample import Prediction, read_predictions
from longreach.jsonl import read_lines, write_whole
from longreach.model.checkpoint import read_provenance

PAGE = "report.html"
HERE = Path(__file__).parent
MODELS = ("base", "long", "chat")
RECORDS, ANSWERS = 3, 6  # that are shown
QUESTION = "short_answer"

IN_EARNEST = (  # what to change, from here to the paper's size
    ("recipes.corpus", "your own --docs: books, papers, code; --source NAME=PATH@SHARE for pretraining"),
    ("recipes.drills, the tokenizer of 640 words", "none: text as it is, the tokenizer of Llama 2"),
    ("pretrain scratch, rows of 64 tokens", "none: --base llama2-7b, trained at 4,096 tokens"),
    ("--rope abf:7812.5, rows of 512 tokens", "--rope abf:500000 (the default), --seq-len 32768"),
    ("350 steps of 4,096 tokens", "100,000 steps of 4M tokens in the paper; 5B tokens in all were found enough later"),
    ("torchrun --nproc-per-node 2, on CPU cores", "torchrun --nproc-per-node 8, on GPUs, --gradient-checkpointing"),
    (
        "generate --engine extractive",
        "generate --engine vllm --model a chat model; every task, checked by --judge-model",
    ),
    ("chats made by rule", "--short your chats, in any usual form"),
    ("sft --seq-len 512", "sft --seq-len 32768 --mix long:short=0.2:0.8"),
)


class Headline(NamedTuple):
    """One line of the first table: a figure of each model, None where it was not measured."""

    what: str
    figures: Sequence[Score | None]


class Shown(NamedTuple):
    """A record: its prompt with the evidence marked, and the answer."""

    document: str
    prompt: Markup
    answer: str


class Answered(NamedTuple):
    """A held-out question, what is right, and what each model says."""

    question: str
    right: str
    said: Sequence[str]


def main(out: Path) -> None:
    """Write the page."""
    models = read_models([out / "results" / name for name in MODELS], MODELS)
    curves = draw_curves(models)
    page = render(
        HERE / "report.html.jinja",
        styles=[STYLE, HERE / "report.css"],
        headlines=list(headlines(models)),
        names=MODELS,
        curves=picture(curves) if curves else "",
        heatmaps=[(path.parts[-3], picture(path.read_bytes())) for path in sorted(out.glob(f"results/*/*/{HEATMAP}"))],
        lengths=[(row, picture((out / f"rows-{row}" / "lengths.png").read_bytes())) for row in (64, 512)],
        mix=read_provenance(out / "chat")["mix"],
        records=list(records(out / "records" / "records.jsonl")),
        answers=list(answers([out / "results" / name / "qa" / PREDICTIONS for name in MODELS])),
        in_earnest=IN_EARNEST,
        commands=[(model.name, results.measure, " ".join(results.command)) for model, results in parts(models)],
        versions=next(results for _, results in parts(models)).versions,
    )
    write_whole(out / PAGE, page.encode())
    print(out / PAGE)


def parts(models: Sequence[Model]) -> Iterator[tuple[Model, Results]]:
    """Every measure of every model."""
    return ((model, results) for model in models for _, results in model.parts)


def headlines(models: Sequence[Model]) -> Iterator[Headline]:
    """What the story is about, at the longest length; then retrieval at the others."""
    lengths = {score.length for score in of(models[0], "retrieval") if score.length}
    longest = max(lengths)
    for length in sorted(lengths, reverse=True):
        what = f"first sentence of {length} tokens, ROUGE-L"
        yield Headline(what, [find(of(model, "retrieval"), "first-sentence", "rouge_l", length) for model in models])
    what = f"loss with {longest} tokens of context, nats"
    yield Headline(what, [find(of(model, "loss"), "loss", "loss", longest) for model in models])
    what = "held-out questions answered to the letter, %"
    yield Headline(what, [find(of(model, "qa"), QUESTION, "exact_match", None) for model in models])


def of(model: Model, measure: str) -> Sequence[Score]:
    """The scores of a measure."""
    return [score for _, results in model.parts if results.measure == measure for score in results.scores]


def find(scores: Sequence[Score], task: str, metric: str, length: int | None) -> Score | None:
    """The score of all depths."""
    return next(
        (each for each in scores if (each.task, each.metric, each.length, each.depth) == (task, metric, length, None)),
        None,
    )


def picture(png: bytes) -> str:
    """As data of an img."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def records(path: Path) -> Iterator[Shown]:
    """Some records, evenly from the file, their evidence marked."""
    rows = list(read_lines(path))
    for row in rows[:: max(1, len(rows) // RECORDS)][:RECORDS]:
        prompt, answer = (turn["content"] for turn in row["messages"])
        [evidence, *_] = row["evidence"]
        before, marked, after = prompt.partition(evidence["text"])
        yield Shown(row["document"]["id"], Markup("{}<mark>{}</mark>{}").format(before, marked, after), answer)


def answers(paths: Sequence[Path]) -> Iterator[Answered]:
    """The same questions to all models: half of them answered by the last one, where there are as many."""
    asked: list[dict[str, Prediction]] = [{each.id: each for each in read_predictions(path)} for path in paths]
    prompts = {row["sha256"]: row["messages"][-1]["content"] for row in read_lines(paths[-1].with_name(PROMPTS))}
    right = [key for key, each in asked[-1].items() if each.scores.get("exact_match")]
    wrong = [key for key in asked[-1] if key not in right]
    for key in [*right[: ANSWERS // 2], *wrong[: ANSWERS // 2]]:
        said = [each[key].output or each[key].failed for each in asked]
        question = prompts[asked[-1][key].prompt_sha256].rpartition("\n\n")[2]
        yield Answered(question, asked[-1][key].references[0], said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
