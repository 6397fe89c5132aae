"""The page for annotators: one file that works offline, and the key that tells which side was whose.

All that models and documents wrote travels as JSON and is shown as text, never as HTML. The page's policy allows its
own script and style, by their hashes, and no network: nothing that is in it can call anyone. Sides and order are drawn
by the seed; neither names nor ids are in the page.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from markupsafe import Markup

from evaluation.judge import CRITERIA
from evaluation.pages import render
from evaluation.sidebyside.examples import Example, Pairing
from longreach.jsonl import write_json, write_whole

PAGE, KEY, TEMPLATE = "page.html", "key.json", "page.html.jinja"
FOLDER = Path(__file__).parent
A, B = "a", "b"


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as the page shows it."""

    example: Example
    left: str  # whose answer stands on the left: A or B


@dataclass(frozen=True)
class Page:
    """The examples in the page's order; `id` is the hash of all that it shows."""

    id: str
    shown: Sequence[Shown]
    data: dict[str, Any]

    def write(self, folder: Path, pairing: Pairing, folders: tuple[Path, Path]) -> None:
        """page.html for the annotators, key.json for those who count."""
        write_whole(folder / PAGE, self.html().encode())
        sides = zip((A, B), (pairing.a, pairing.b), folders, strict=True)
        examples = [
            {"example": number, "id": each.example.id, "task": each.example.task, "left": each.left}
            for number, each in enumerate(self.shown)
        ]
        key = {
            "page": self.id,
            **{side: {"model": model, "results": str(where)} for side, model, where in sides},
            "examples": examples,
            "same_answers": [each.id for each in pairing.examples if each.same],
            "left_out": pairing.left_out,
        }
        write_json(folder / KEY, key)

    def html(self) -> str:
        """The whole page."""
        data = orjson.dumps({"page": self.id, **self.data}).decode().replace("<", "\\u003c")  # ends no script element
        template, style, script = (FOLDER / name for name in (TEMPLATE, "page.css", "page.js"))
        return render(template, styles=[style], script=script, data=Markup(data), criteria=CRITERIA)


def draw_page(pairing: Pairing, seed: int) -> Page:
    """The page of all examples that leave a choice."""
    shown = [Shown(each, _left(each.id, seed)) for each in pairing.examples if not each.same]
    random.Random(f"{seed} side by side order").shuffle(shown)
    data = _data(shown)
    return Page(hashlib.sha256(orjson.dumps(data)).hexdigest()[:16], shown, data)


def _left(example: str, seed: int) -> str:
    return random.Random(f"{seed} side by side {example}").choice((A, B))


def _data(shown: Sequence[Shown]) -> dict[str, Any]:
    """What the script shows; a prompt that several examples share stands there once."""
    prompts: dict[str, tuple[int, Example]] = {}
    for each in shown:
        prompts.setdefault(each.example.prompt_sha256, (len(prompts), each.example))
    return {
        "prompts": [
            [{"role": turn.role, "content": turn.content} for turn in example.turns] for _, example in prompts.values()
        ],
        "examples": [
            {
                "prompt": prompts[each.example.prompt_sha256][0],
                "left": each.example.a if each.left == A else each.example.b,
                "right": each.example.b if each.left == A else each.example.a,
            }
            for each in shown
        ],
    }
