"""A run in the terminal: records with their evidence marked, rejected pairs by reason, where evidence lies, how long
records are. Document text is shown as data: control characters and markup in it have no effect."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from longreach.jsonl import read_lines
from longreach.run import GENERATE, read_finished

Row = dict[str, Any]
AROUND = 300  # characters of the document shown on either side of the evidence
BAR = 40
EXAMPLES = 3  # rejected pairs shown for each reason
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # and text direction overrides


def inspect_run(run: Path, number: int, task: str) -> None:
    """Print the run: `number` records (of one task, if named), spread over the file, then rejects and histograms."""
    console = Console(highlight=False)
    manifest = read_finished(run, GENERATE)
    for record in _spread(run, number, task):
        console.print(_panel(record))
    _print_rejected(console, run)
    _print_histogram(
        console,
        "evidence starts at this share of the context",
        [f"{10 * tenth:>3}–{10 * tenth + 10} %" for tenth in range(10)],
        manifest["counts"]["evidence_depth"],
    )
    labels, lengths = _lengths(run)
    _print_histogram(console, "length of the prompt, in thousands of characters", labels, lengths)


def _spread(run: Path, number: int, task: str) -> Iterator[Row]:
    """`number` records at even distances."""
    kept = read_finished(run, GENERATE)["counts"]["requests"]
    total = kept["kept_by_task"].get(task, 0) if task else kept["kept"]
    step = max(1, total // max(1, number))
    records = (record for record in read_lines(run / "records.jsonl") if not task or record["task"] == task)
    return islice(records, 0, step * number, step)


def _panel(record: Row) -> Panel:
    body = Text()
    question, answer = _last_paragraph(record["messages"][0]["content"]), record["messages"][1]["content"]
    body.append("asked     ", style="dim").append(_shown(question) + "\n")
    body.append("answer    ", style="dim").append(_shown(answer) + "\n", style="bold")
    for name, verdict in record["checks"].items():
        if verdict["score"] is not None and verdict["reason"]:
            body.append(f"{name:<10}", style="dim").append(f"{verdict['score']:g}  {_shown(verdict['reason'])}\n")
    body.append("\n").append(_marked(record))
    title = f"{record['task']} · {_shown(record['document']['id'])} · {record['id']}"
    return Panel(body, title=Text(title), title_align="left")


def _marked(record: Row) -> Text:
    """The document around the first evidence, with every evidence span in it marked."""
    prompt, context = record["messages"][0]["content"], record["context"]
    if not record["evidence"]:
        return Text("no evidence was recorded", style="dim")
    # The prompt holds the context as it stands in the document; the evidence's text says where it begins.
    first = record["evidence"][0]
    offset = _context_offset(prompt, record)
    start = max(context["start"], first["start"] - AROUND)
    end = min(context["end"], first["end"] + AROUND)
    text = Text(_shown(prompt[start - context["start"] + offset : end - context["start"] + offset]))
    for span in record["evidence"]:
        if start <= span["start"] and span["end"] <= end:
            text.stylize("black on yellow", span["start"] - start, span["end"] - start)
    return text


def _context_offset(prompt: str, record: Row) -> int:
    """Where the document begins in the prompt: there all evidence texts stand at their places."""
    base = record["context"]["start"]
    first = record["evidence"][0]
    at = prompt.find(first["text"])
    while at >= 0:
        offset = at - (first["start"] - base)
        if offset >= 0 and all(
            prompt.startswith(span["text"], span["start"] - base + offset) for span in record["evidence"]
        ):
            return int(offset)
        at = prompt.find(first["text"], at + 1)
    return 0


def _last_paragraph(prompt: str) -> str:
    return prompt.rstrip().rsplit("\n\n", 1)[-1]


def _shown(text: str) -> str:
    """Control characters made visible, one for one, so that offsets hold."""
    return _CONTROL.sub("·", text)


def _print_rejected(console: Console, run: Path) -> None:
    numbers: Counter[str] = Counter()
    examples: defaultdict[str, list[Row]] = defaultdict(list)
    for row in read_lines(run / "rejected.jsonl"):
        numbers[row["reason"]] += 1
        if len(examples[row["reason"]]) < EXAMPLES:
            examples[row["reason"]].append(row)
    for reason, number in numbers.most_common():
        console.print(Text(f"\n{number:,} rejected: {reason}", style="bold"))
        for row in examples[reason]:
            console.print(
                Text(_shown(f"  {row['detail']}\n    Q {row['question'][:200]}\n    A {row['answer'][:200]}"))
            )


def _print_histogram(console: Console, title: str, labels: Sequence[str], numbers: Sequence[int]) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    most = max(numbers, default=0) or 1
    for label, number in zip(labels, numbers, strict=True):
        console.print(Text(f"{label:>10} {'█' * round(BAR * number / most)} {number:,}"))


def _lengths(run: Path) -> tuple[list[str], list[int]]:
    """Records by the length of their prompt, in ten equal bins."""
    sizes = [len(record["messages"][0]["content"]) for record in read_lines(run / "records.jsonl")]
    width = max(1, -(-max(sizes, default=1) // 10))
    counted = Counter((size - 1) // width for size in sizes)
    return [f"{width * bin_ / 1000:.0f}–{width * (bin_ + 1) / 1000:.0f}" for bin_ in range(10)], [
        counted[bin_] for bin_ in range(10)
    ]
