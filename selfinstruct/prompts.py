"""The prompts: Jinja files, strict both ways. A variable that a file lacks, or that nobody gives, is an error at
start.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta

from longreach.config import did_you_mean
from longreach.errors import UserError
from longreach.shipped import shipped

PAIR = frozenset({"text", "language", "structured"})
TRAIN = frozenset({"document", "question"})
VARIABLES: Mapping[str, frozenset[str]] = {
    "short_answer": PAIR,
    "long_answer": PAIR,
    "section_summary": PAIR,
    "merge_summaries": frozenset({"summaries", "language", "structured"}),
    "answer_from_text": frozenset({"text", "question", "short", "language"}),
    "answer_closed_book": frozenset({"question", "short", "language"}),
    "critique": frozenset({"text", "question", "answer", "structured"}),
    "train_short_answer": TRAIN,
    "train_long_answer": TRAIN,
    "train_section_summary": TRAIN,
    "train_summary": frozenset({"document"}),
}
PARTS = frozenset({"document"})  # included by others


@dataclass(frozen=True)
class Prompts:
    """Compiled prompts and the hash of each, its included parts counted in."""

    sha256: Mapping[str, str]
    _templates: Mapping[str, jinja2.Template]

    def render(self, name: str, **variables: Any) -> str:
        """The prompt's text. Values are inserted as they are and never read as templates."""
        return self._templates[name].render(**variables)


def load_prompts(override: str = "") -> Prompts:
    """The shipped prompts, each replaced by the file of the same name in the folder `override` where there is one."""
    home = shipped("prompts")
    folders = [Path(override), home] if override else [home]
    if override:
        _check_folder(Path(override))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(path) for path in folders]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    problems: list[str] = []
    templates, hashes = {}, {}
    for name, expected in VARIABLES.items():
        try:
            sources = _sources(environment, f"{name}.jinja")
            problems += _variable_problems(name, environment, sources, expected)
            templates[name] = environment.get_template(f"{name}.jinja")
        except jinja2.TemplateError as error:
            where = f"{getattr(error, 'name', None) or name}, line {getattr(error, 'lineno', '?')}"
            problems.append(f"{where}: {error.message or type(error).__name__}")
            continue
        hashes[name] = hashlib.sha256("\0".join(sources).encode()).hexdigest()
    if problems:
        raise UserError("\n".join(problems), f"compare the shipped prompts in {home}")
    return Prompts(hashes, templates)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"no such folder of prompts: {folder}", f"the shipped ones are in {shipped('prompts')}")
    known = VARIABLES.keys() | PARTS
    found = [path for path in sorted(folder.iterdir()) if path.suffix == ".jinja"]
    if not found:
        raise UserError(f"{folder} holds no .jinja file", f"copy the one to change from {shipped('prompts')}")
    unknown = [path.name for path in found if path.stem not in known]
    if unknown:
        raise UserError(
            "\n".join(f"{folder}: {name} is not asked for{did_you_mean(name[:-6], known)}" for name in unknown),
            f"prompts are: {', '.join(sorted(known))}",
        )


def _sources(environment: jinja2.Environment, name: str) -> list[str]:
    """The source of a template and of all that it includes."""
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, name)
    included = meta.find_referenced_templates(environment.parse(source))
    return [source, *(text for part in included if part for text in _sources(environment, part))]


def _variable_problems(
    name: str, environment: jinja2.Environment, sources: list[str], expected: frozenset[str]
) -> list[str]:
    used = {word for source in sources for word in meta.find_undeclared_variables(environment.parse(source))}
    missing = [f"{name}.jinja does not use {{{{ {word} }}}}" for word in sorted(expected - used)]
    unknown = [
        f"{name}.jinja uses {{{{ {word} }}}}, which nobody gives{did_you_mean(word, expected)}"
        for word in sorted(used - expected)
    ]
    return missing + unknown
