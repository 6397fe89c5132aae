"""The card of a finished chat model: what it was made of and how, so that others can judge it and make it again."""

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from finetune.config import MixSettings
from finetune.course import Course
from finetune.divide import HELD_OUT, TRAIN
from finetune.item import Source, is_text
from finetune.store import Store
from longreach.card import render_card
from longreach.jsonl import read_lines, write_whole
from longreach.model.checkpoint import read_provenance
from longreach.model.metrics import METRICS
from longreach.model.train import TrainReport
from longreach.run import read_manifest
from longreach.text.chat.llama2 import LLAMA2

CARD = "README.md"
LAST = 10  # the losses at the end are those of a tenth of the steps
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
AVERAGES = {"tokens": "a mean over the tokens of a step", "examples": "a mean over the examples of a step (LongAlign)"}


def write_card(course: Course, report: TrainReport) -> None:
    """Write README.md beside the finished model."""
    made = read_provenance(report.folder)
    lines = list(read_lines(report.folder / METRICS))
    facts = {
        **_model_facts(course, report, made),
        **_data_facts(course),
        **_loss_facts(lines),
        "command": command(course.base.settings),
    }
    write_whole(report.folder / CARD, render_card("finetune.md.jinja", _head(course), facts).encode())


def _head(course: Course) -> dict[str, Any]:
    """The YAML that the Hub reads; it knows bases by their ids there alone."""
    weights, adapter = course.base.weights, bool(course.base.settings.lora)
    on_hub = not Path(weights).exists() and HUB_ID.fullmatch(weights)
    license_name = _license(Path(weights))
    return {
        **({"base_model": weights} if on_hub else {}),
        **({"license": license_name} if license_name else {}),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["long-context", "conversational", "longreach", "sft", *(["lora"] if adapter else [])],
    }


def _license(base: Path) -> str:
    """That of the base, where its folder says it."""
    try:
        text = (base / CARD).read_text(encoding="utf-8")
        head = yaml.safe_load(text.split("---\n", 2)[1]) if text.startswith("---\n") else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    return str(head.get("license") or "") if isinstance(head, dict) else ""


def _model_facts(course: Course, report: TrainReport, made: Mapping[str, Any]) -> dict[str, Any]:
    """What it is and how it was trained."""
    settings, tokenizer = course.base.settings, course.base.chat.tokenizer
    template = str(tokenizer.chat_template)
    how = f"a LoRA adapter of rank {settings.lora}{', on 4 bits' if settings.qlora else ''}; embeddings and norms whole"
    return {
        "name": report.folder.resolve().name,
        "adapter": bool(settings.lora),
        "base": course.base.provenance(),
        "trained": how if settings.lora else "all weights",
        "rope": course.choices["rope"],
        "rope_parameters": _listed(made["rope_parameters"]),
        "window": f"{made['max_position_embeddings']:,}",
        "seq_len": f"{course.seq_len:,}",
        "steps": f"{report.steps:,}",
        "tokens": f"{report.tokens:,}",
        "template": "Llama 2's, which is saved with the model" if template == LLAMA2 else "the base's own",
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "versions": made["versions"],
        "notes": course.notes,
        "settings": {name.replace("_", " "): choice for name, choice in course.choices.items()},
        "by": settings.by.replace("-", " "),
        "average": AVERAGES[settings.average],
    }


def _data_facts(course: Course) -> dict[str, Any]:
    """What became of every source, and where it lies."""
    train, held_out = course.data.facts[TRAIN], course.data.facts[HELD_OUT]
    apart = course.data.held_out
    return {
        "sources": [
            {
                **vars(row),
                **_source_facts(train[row.name], source, apart.get(row.name)),
                "loss": "text" if is_text(source) else str(course.losses[row.name]),
                "used": len(source),
            }
            for row, source in zip(course.plan.rows, course.data.train, strict=True)
        ],
        "asked": [{"name": name, **_source_facts(facts, apart[name], apart[name])} for name, facts in held_out.items()],
        "files": [
            {"source": name, **file}
            for each in (train, held_out)
            for name, facts in each.items()
            for file in facts["files"]
        ],
        "runs": [run for each in (train, held_out) for name, facts in each.items() for run in _runs(name, facts)],
    }


def _source_facts(facts: Mapping[str, Any], source: Source, held_out: Source | None) -> dict[str, Any]:
    return {
        "forms": _listed(facts.get("forms", {})) or "packed rows",
        "skipped": _listed(facts.get("skipped", {})),
        "held_out": len(held_out) if held_out else 0,
        "cut": int(np.count_nonzero(source.cuts)) if isinstance(source, Store) else 0,
    }


def _listed(counts: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {number:,}" if isinstance(number, int) else f"{name} {number}" for name, number in counts.items()
    )


def _runs(name: str, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs of generate that records came from; one that was moved since is passed over: its file is still named."""
    for run in facts.get("runs", ()):
        folder = Path(run["folder"])
        if not (folder / "run.json").is_file():
            continue
        manifest = read_manifest(folder)
        counts = manifest["counts"]
        yield {
            "source": name,
            "folder": run["folder"],
            "card": str(folder / CARD) if (folder / CARD).is_file() else "",
            "documents": f"{counts['documents']['read']:,}",
            "kept": f"{counts['requests']['kept']:,}",
            "planned": f"{counts['requests']['planned']:,}",
            "engine": " ".join(dict.fromkeys(filter(None, (manifest["engine"]["name"], manifest["engine"]["model"])))),
            "licenses": ", ".join(sorted({row["license"] or "not said" for row in manifest["sources"]})),
        }


def _loss_facts(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Losses at the end of training, and on what was held out; parts apart."""
    steps = [line for line in lines if "loss" in line]
    last = steps[-max(1, len(steps) // LAST) :]
    validations = [line["validation"] for line in lines if "validation" in line]
    samples = [line for line in lines if "samples" in line]
    return {
        "last_steps": len(last),
        "parts": list(_parts(last)),
        "measured": list(_measured(validations[0], validations[-1])) if validations else [],
        "exact": {"share": samples[-1]["exact"], "questions": len(samples[-1]["samples"])} if samples else None,
    }


def _parts(steps: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The mean of each part over the tokens of these steps."""
    for name in dict.fromkeys(name for line in steps for name in line.get("parts", ())):
        found = [line["parts"][name] for line in steps if name in line["parts"]]
        tokens = sum(part["tokens"] for part in found)
        yield {
            "name": name,
            "loss": sum(part["loss"] * part["tokens"] for part in found) / tokens,
            "tokens": f"{tokens:,}",
        }


def _measured(first: Mapping[str, Any], last: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each part of each held-out set."""
    for name, figures in last.items():
        for part, found in figures.get("parts", {name: figures}).items():
            before = first[name].get("parts", {name: first[name]})[part]["loss"]
            yield {"name": part, "before": before, "loss": found["loss"], "tokens": f"{int(found['tokens']):,}"}


def command(settings: MixSettings) -> str:
    """What to type for these settings."""
    words = ["finetune sft"]
    for entry in fields(settings):
        value, flag = getattr(settings, entry.name), "--" + entry.name.replace("_", "-")
        if value == entry.default or entry.default is MISSING:
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            words.append(shlex.join([flag, *map(str, value if isinstance(value, tuple) else [value])]))
    return " \\\n  ".join(words)
