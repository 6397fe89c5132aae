"""The page: blind, offline, and whatever models and documents wrote is text in it."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from evaluation.sidebyside.examples import Pairing, pair
from evaluation.sidebyside.page import KEY, PAGE, draw_page

HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)><!-- {{ 7 * 7 }} & \u2028"


class Elements(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.tags[-1][0] if self.tags else "", []).append(data)


def data_of(html: str) -> Any:
    """The JSON that the page's script reads."""
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return orjson.loads(found)


def test_every_example_stands_there_with_its_answers_and_its_prompt(pairing: Pairing) -> None:
    page = draw_page(pairing, seed=0)
    data = data_of(page.html())
    assert len(data["examples"]) == len(page.shown) == 7  # one of eight has the same answer on both sides
    for shown, told in zip(page.shown, data["examples"], strict=True):
        answers = (shown.example.a, shown.example.b) if shown.left == "a" else (shown.example.b, shown.example.a)
        assert (told["left"], told["right"]) == answers
        turns = data["prompts"][told["prompt"]]
        assert [turn["content"] for turn in turns] == [turn.content for turn in shown.example.turns]
    assert data["page"] == page.id


def test_sides_and_order_are_drawn_by_the_seed(folders: Any) -> None:
    answers = {number: f"says {number}" for number in range(60)}
    pairing = pair(*folders(answers, {number: f"not {number}" for number in range(60)}), samples=0, seed=0)
    page = draw_page(pairing, seed=0)
    left = [each.left for each in page.shown]
    assert 18 < left.count("a") < 42
    order = [each.example.id for each in page.shown]
    assert order != sorted(order, key=lambda each: int(each.split("/")[1]))
    assert draw_page(pairing, seed=0) == page
    assert draw_page(pairing, seed=1).id != page.id


def test_nothing_in_the_page_tells_the_sides(pairing: Pairing, tmp_path: Path) -> None:
    page = draw_page(pairing, seed=0)
    page.write(tmp_path, pairing, (tmp_path / "folder-of-a", tmp_path / "folder-of-b"))
    html = (tmp_path / PAGE).read_text()
    for secret in ("alpha", "beta", "folder-of", "qa/"):
        assert secret not in html
    key = orjson.loads((tmp_path / KEY).read_bytes())
    assert key["a"] == {"model": "model-alpha", "results": str(tmp_path / "folder-of-a")}
    assert [(each["id"], each["left"]) for each in key["examples"]] == [
        (each.example.id, each.left) for each in page.shown
    ]
    assert key["same_answers"] == ["qa/7"]
    assert key["page"] == page.id


def test_what_models_wrote_is_never_html(folders: Any) -> None:
    page = draw_page(pair(*folders({1: HOSTILE}, {1: "mild"}), samples=0, seed=0), seed=0)
    html = page.html()
    assert HOSTILE in data_of(html)["examples"][0].values()
    assert "<script>alert" not in html and "<img" not in html and "<!--" not in html
    kinds = [tag for tag, _ in Elements(html).tags]
    assert kinds.count("script") == 2


def test_the_policy_allows_the_pages_own_script_and_style_and_no_network(pairing: Pairing) -> None:
    html = draw_page(pairing, seed=0).html()
    elements = Elements(html)
    [policy] = [
        attrs["content"] for tag, attrs in elements.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for rule, pattern in (("script-src", r"<script>(.*?)</script>"), ("style-src", r"<style>(.*?)</style>")):
        [text] = re.findall(pattern, html, re.S)
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert html.index("Content-Security-Policy") < html.index("<style>")
    for tag, attributes in elements.tags:
        assert not {"src", "href", "style", "action"} & attributes.keys(), tag
        assert not any(name.startswith("on") for name in attributes), tag


def test_a_prompt_that_examples_share_stands_there_once(pairing: Pairing) -> None:
    first = pairing.examples[0]
    shared = [replace(each, prompt_sha256=first.prompt_sha256, turns=first.turns) for each in pairing.examples]
    data = data_of(draw_page(replace(pairing, examples=shared), seed=0).html())
    assert len(data["prompts"]) == 1
    assert {each["prompt"] for each in data["examples"]} == {0}


@pytest.mark.parametrize("name", ["page.js", "page.css"])
def test_script_and_style_end_nothing_early(name: str) -> None:
    text = (Path(__file__).parents[3] / "evaluation" / "sidebyside" / name).read_text()
    assert "</" not in text and "innerHTML" not in text and "eval(" not in text
