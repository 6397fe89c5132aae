"""Data cards: a Jinja template of data_cards/, filled from a run's manifest, with a YAML head that the Hub reads."""

from collections.abc import Mapping
from typing import Any

import jinja2
import yaml

from longreach.shipped import shipped


def render_card(template: str, head: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The card's Markdown. `head` becomes the YAML head; every name the template uses must be in `facts`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(shipped("data_cards"))),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["cell"] = cell
    body = environment.get_template(template).render(**facts)
    return f"---\n{yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True)}---\n\n{body}"


def cell(value: object) -> str:
    """Text that can stand in a cell of a Markdown table, whatever it holds."""
    text = " ".join(str(value).split())
    for mark in ("\\", "|", "<", "`", "[", "*"):
        text = text.replace(mark, "\\" + mark if mark != "<" else "&lt;")
    return text or "–"
