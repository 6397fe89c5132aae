"""What documents, models and prompts wrote is text on every page; no page loads anything or runs a script not ours."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evaluation.cli import main
from faultserver import FaultServer

EVIL = (
    "</script><script>alert(1)</script><img src=http://evil.example/x.png onerror=alert(2)>"
    "<a href=javascript:alert(3)>x</a><style>@import url(http://evil.example)</style><!-- {{ 7 * 7 }} ]]> \u2028"
)


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


@pytest.fixture
def pages(tmp_path: Path, text: str, server_of: Callable[..., FaultServer]) -> dict[str, str]:
    """Every page of every command, on hostile documents, prompts, answers and names."""
    (tmp_path / "docs.jsonl").write_text(
        json.dumps({"id": EVIL[:60], "text": f"{EVIL} tells it all.\n\n{text}"}) + "\n"
    )
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": EVIL, "area": EVIL, "id": EVIL}) + "\n")
    servers = [server_of(lambda asked, n=n: f"{EVIL} {n}") for n in range(2)]

    def run(*words: Any) -> None:
        ended = CliRunner().invoke(main, [*map(str, words)])
        assert ended.exit_code == 0, ended.output

    def out(name: str) -> tuple[str, Path]:
        return "--out", tmp_path / name

    docs = "--docs", tmp_path / "docs.jsonl", "--lengths", "500,700"
    for number, server in enumerate(servers):
        asked = "--base-url", server.url, "--model", f"{EVIL} {number}"
        server.models = [f"{EVIL} {number}"]
        run("retrieval", *docs, *asked, "--task", "passkey", "--depths", "0", "--samples", "2", *out(f"r{number}"))
    run("red-team", *docs, *asked, "--prompts", tmp_path / "prompts.jsonl", "--max-tokens", "9", *out("red"))
    run("compare", tmp_path / "r0", tmp_path / "r1", *out("compared"))
    run("side-by-side", tmp_path / "r0", tmp_path / "r1", *out("sides"))
    return {path.parent.name: path.read_text() for path in tmp_path.rglob("*.html")}


def test_pages_hold_hostile_text_as_text(pages: dict[str, str]) -> None:
    assert set(pages) == {"red", "compared", "sides"}
    for name, whole in pages.items():
        assert "evil.example" in whole, name  # it is told, so that the rest of this says something
        page = Page(whole)
        assert page.tags.count("script") == whole.count("<script") == (2 if name == "sides" else 0)
        assert page.tags.count("style") == 1 and "49 ]]" not in whole
        for attribute, value in page.attributes:
            assert not attribute.startswith("on"), (name, attribute)
            assert attribute != "src" or value.startswith("data:image/png;base64,"), (name, value)
            assert attribute != "href" or value.startswith("#"), (name, value)
        [policy] = [value for attribute, value in page.attributes if value.startswith("default-src")]
        assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy


def test_no_page_names_what_annotators_must_not_know(pages: dict[str, str], tmp_path: Path) -> None:
    key = json.loads((tmp_path / "sides/key.json").read_text())
    assert key["a"]["model"] != key["b"]["model"]
    for told in (str(tmp_path), "passkey/500", '"left": "a"'):
        assert told not in pages["sides"]
