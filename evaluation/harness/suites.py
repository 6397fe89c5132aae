"""Suites: which published tasks are run together, with which examples, cut how, and how their figures are put together.

A suite is a TOML file: the shipped ones lie in suites/, one of a user's own is named by its path. Tasks of a group are
averaged, each counting alike, as the paper's Table 1 does; a task of many `parts` (MMLU's subjects) counts every
question alike.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from evaluation.results import Side
from longreach.errors import UserError
from longreach.tables import print_json, print_table

SHIPPED = Path(__file__).with_name("suites")
OURS = "longreach_"  # begins the names of the tasks that the harness lacks

Cut = Literal["none", "left", "middle"]  # of a prompt that is too long; none: the task sees to it, or is short
TYPES: dict[Any, Any] = {str: str, int: int, int | None: int, bool: bool, float: (float, int), Sequence[str]: list}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A task of a suite."""

    task: str
    group: str
    data: str  # under --data-dir
    metric: str  # as the harness names it: metric,filter
    source: str  # where the data come from
    parts: str = ""  # pattern of the harness's tasks that this one consists of
    shots: int | None = None  # None: as the task has it
    scale: float = 100.0  # of what the harness gives, to points
    higher_is_better: bool = True
    runs_code: bool = False
    judge: str = ""  # what would have to judge; then it is listed only
    packages: Sequence[str] = ()
    extra: str = ""  # of lm-eval, that brings the packages

    @property
    def metric_name(self) -> str:
        """Without the filter."""
        return self.metric.partition(",")[0]

    @property
    def ours(self) -> bool:
        """Whether the task file is one of this package."""
        return self.task.startswith(OURS)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What a file of suites/ says."""

    name: str
    side: Side
    description: str
    tasks: tuple[Entry, ...]
    folders: Sequence[str] = ()  # of the harness, that hold its tasks
    prompt_tokens: int = 0  # the longest prompt; 0: the window alone
    cut: Cut = "none"


def shipped_suites() -> dict[str, Suite]:
    """By name."""
    return {path.stem: read_suite(path) for path in sorted(SHIPPED.glob("*.toml"))}


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file; it is called as the file is."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"no such suite: {path} ({error.strerror})", "evaluate harness --list shows all") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML: {error}") from error
    rows = found.pop("tasks", [])
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        raise UserError(f"{path} has no [[tasks]]", _example())
    problems = [*_problems("", found, Suite), *(line for row in rows for line in _problems(_name(row), row, Entry))]
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems), _example())
    return Suite(name=path.stem, tasks=tuple(Entry(**row) for row in rows), **found)


def _name(row: Mapping[str, Any]) -> str:
    return f"task {row.get('task', 'without a name')}: "


def _problems(where: str, row: Mapping[str, Any], kind: type) -> Iterator[str]:
    """Keys that are not known, those that are missing, and values that cannot be."""
    known = {entry.name: entry for entry in fields(kind) if entry.name not in ("name", "tasks")}
    for key, value in row.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            yield f"{where}no key {key}" + (f"; did you mean {near[0]}?" if near else "")
        elif options := get_args(known[key].type) if known[key].type in (Side, Cut) else ():
            if value not in options:
                yield f"{where}{key} is one of {', '.join(options)}, not {value!r}"
        elif not isinstance(value, TYPES[known[key].type]):
            yield f"{where}{key} cannot be {value!r}"
    for key, field in known.items():
        if field.default is field.default_factory and key not in row:  # both MISSING: it has to be given
            yield f"{where}{key} is missing"


def _example() -> str:
    return f"the shipped suites show the form, for instance {SHIPPED / 'scrolls.toml'}"


def chosen(names: Sequence[str]) -> list[Suite]:
    """The suites of that name or path; a task's name stands for its suite with that task alone, a group by itself."""
    shipped, found = shipped_suites(), []
    for name in dict.fromkeys(names):
        if name.endswith(".toml"):
            found.append(read_suite(Path(name)))
        elif name in shipped:
            found.append(shipped[name])
        else:
            found.append(_with_one(shipped, name))
    return _each_task_once(found)


def _with_one(shipped: Mapping[str, Suite], name: str) -> Suite:
    tasks = {entry.task: (suite, entry) for suite in shipped.values() for entry in suite.tasks}
    if name not in tasks:
        near = difflib.get_close_matches(name, [*shipped, *tasks], 3)
        raise UserError(
            f"there is no suite or task {name}" + (f"; did you mean {', '.join(near)}?" if near else ""),
            "evaluate harness --list shows all; a file of your own ends in .toml",
        )
    suite, entry = tasks[name]
    return replace(suite, tasks=(replace(entry, group=entry.task),))


def _each_task_once(suites: Sequence[Suite]) -> list[Suite]:
    """A task that two suites name is run in the first of them."""
    seen: set[str] = set()
    found = []
    for suite in suites:
        entries = tuple(entry for entry in suite.tasks if entry.task not in seen)
        seen |= {entry.task for entry in entries}
        if entries:
            found.append(replace(suite, tasks=entries))
    return found


def list_suites(*, as_json: bool) -> None:
    """`evaluate harness --list`: the suites and their tasks, and what they need."""
    suites = shipped_suites()
    if as_json:
        print_json({name: _row(suite) for name, suite in suites.items()})
        return
    for name, suite in suites.items():
        limit = f", prompts of up to {suite.prompt_tokens:,} tokens" if suite.prompt_tokens else ""
        print_table((f"{name}: {suite.description}{limit}",), [])
        head = ("task", "group", "shots", "metric", "in --data-dir", "from", "needs")
        print_table(head, [_cells(entry) for entry in suite.tasks])


def _row(suite: Suite) -> dict[str, Any]:
    tasks = [{field.name: getattr(entry, field.name) for field in fields(entry)} for entry in suite.tasks]
    return {"side": suite.side, "description": suite.description, "prompt_tokens": suite.prompt_tokens, "tasks": tasks}


def _cells(entry: Entry) -> tuple[str, ...]:
    shots = "" if entry.shots is None else str(entry.shots)
    return entry.task, entry.group, shots, entry.metric_name, entry.data, entry.source, needs(entry)


def needs(entry: Entry) -> str:
    """What a task needs beside its data, in words."""
    wanted = [*entry.packages, *(["--run-code"] if entry.runs_code else []), *(["a judge"] if entry.judge else [])]
    return ", ".join(wanted)
