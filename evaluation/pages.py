"""HTML files of one piece: templates with everything escaped, and a policy that lets nothing be loaded or sent."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

STYLE = Path(__file__).with_name("page.css")  # of pages that are tables and pictures


def render(template: Path, *, styles: Sequence[Path], script: Path | None = None, **facts: Any) -> str:
    """The page of a template. It sets `policy` as its Content-Security-Policy, and `style` and `script` inline;
    `styles` are one after the other.

    Pictures stand in it as data.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), undefined=jinja2.StrictUndefined, autoescape=True
    )
    style_text = "".join(style.read_text(encoding="utf-8") for style in styles)
    script_text = script.read_text(encoding="utf-8") if script else ""
    return environment.get_template(template.name).render(
        policy=policy(style_text, script_text), style=Markup(style_text), script=Markup(script_text), **facts
    )


def policy(style: str, script: str = "") -> str:
    """A policy under which this style and this script work and no other, and nothing is fetched from anywhere."""
    allowed = f"script-src {_hashed(script)}; " if script else ""
    inside = f"img-src data:; style-src {_hashed(style)}"
    return f"default-src 'none'; {allowed}{inside}; base-uri 'none'; form-action 'none'"


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
