"""The data card of a run, from its manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longreach.card import render_card
from longreach.jsonl import write_whole
from selfinstruct.config import MODEL_CHECKS

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_CATEGORIES = {
    "short_answer": "question-answering",
    "long_answer": "question-answering",
    "section_summary": "summarization",
    "summary": "summarization",
}


def write_card(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write README.md of a run folder."""
    name = folder.resolve().name
    write_whole(
        folder / "README.md", render_card("generate.md.jinja", _head(name, manifest), _facts(name, manifest)).encode()
    )


def _head(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML that the Hub reads."""
    kept = manifest["counts"]["requests"]["kept"]
    licenses = sorted({row["license"] for row in manifest["sources"] if row["license"]})
    return {
        "pretty_name": name,
        "license": "other",
        "license_name": ", ".join(licenses) or "see-sources",
        "task_categories": sorted({_CATEGORIES[task] for task in manifest["settings"]["tasks"]}),
        "tags": ["long-context", "synthetic", "longreach"],
        "size_categories": [next((label for limit, label in _SIZES if kept < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "records.jsonl"}]}],
    }


def _facts(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    counts, settings = manifest["counts"], manifest["settings"]
    judge = manifest["shaping"]["judge"]
    has_model = manifest["engine"]["name"] != "extractive"
    made = [
        check
        for check in settings["checks"]
        if has_model or check not in MODEL_CHECKS or (judge and check == "critique")
    ]
    return {
        "name": name,
        "kept": counts["requests"]["kept"],
        "documents": counts["documents"],
        "requests": counts["requests"],
        "depths": counts["evidence_depth"],
        "checks": made,
        "judge": judge,
        "has_model": has_model,
        "prompts": manifest["shaping"]["prompts_sha256"],
        **{
            key: manifest[key]
            for key in ("engine", "settings", "tokenizer", "seed", "versions", "notes", "sources", "inputs")
        },
    }
