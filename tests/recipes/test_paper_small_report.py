"""The report holds every claim, both sides' tables, and nothing of what it shows is markup."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from recipes.paper_small.claims import CLAIMS
from recipes.paper_small.commands import Setting
from recipes.paper_small.computed import computed
from recipes.paper_small.experiments import EXPERIMENTS
from recipes.paper_small.figures import Figure, Figures
from recipes.paper_small.origin import origin
from recipes.paper_small.published import PUBLISHED
from recipes.paper_small.report import PAGE, RESULTS, TEXT, plain, write_report
from recipes.paper_small.scales import QUICK

HOSTILE = "<script>alert('x')</script>|`"


class Tags(HTMLParser):
    """What a browser would find."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag == "img":
            assert (given["src"] or "").startswith("data:image/png;base64,")
        assert not {"href", "onerror", "onload"} & set(given)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Of a run with a hostile source and figures of two arms."""
    run = Setting(tmp_path, QUICK, ("library=a", HOSTILE))
    losses = [
        Figure(arm, measure, at, seed, 2.0 + seed / 10)
        for arm in ("rope/none", "rope/ABF")
        for measure, at in (("loss", 512), (f"loss of {HOSTILE}", 512), ("retrieval", 64), ("retrieval", 512))
        for seed in range(3)
    ]
    write_report(run, 3, Figures([*computed(), *losses]), {"rope": 90.0}, origin(run, 3, 2, 5_400.0))
    return tmp_path


def test_the_page(out: Path) -> None:
    page = (out / PAGE).read_text()
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.found
    assert "<script>" not in page
    assert HOSTILE in tags.text
    assert tags.policy.startswith("default-src 'none'")
    assert "img" in tags.found
    for claim in CLAIMS:
        assert claim.says in tags.text
    for tables in PUBLISHED.values():
        for table in tables:
            assert table.title in tags.text
    assert "2.100 (1.852 to 2.348)" in tags.text
    assert "ABF less the others, at 512 tokens" in tags.text
    assert "0.000 (0.000 to 0.000)" in tags.text  # of equal figures, paired by seed


def test_the_text(out: Path) -> None:
    text = (out / TEXT).read_text()
    assert "<script>" not in text
    for claim in CLAIMS:
        assert plain(claim.says) in text
    for name, experiment in EXPERIMENTS.items():
        assert f"## {experiment.title}" in text, name
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_the_pictures(out: Path) -> None:
    names = re.findall(r"!\[.*\]\((.*)\)", (out / TEXT).read_text())
    assert "pictures/rope.png" in names
    assert sorted(names) == sorted(str(path.relative_to(out)) for path in (out / "pictures").iterdir())
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_the_figures(out: Path) -> None:
    results = json.loads((out / RESULTS).read_text())
    assert [each["name"] for each in results["claims"]] == [claim.name for claim in CLAIMS]
    assert {each["verdict"] for each in results["claims"]} >= {"seen", "not measured", "cannot be seen at this size"}
    assert {"arm": "rope/ABF", "measure": "loss", "at": 512, "seed": 1, "value": 2.1} in results["figures"]
    assert results["scale"]["name"] == "quick"


def test_where_it_comes_from(out: Path) -> None:
    made = json.loads((out / RESULTS).read_text())["made"]
    assert made["command"].startswith("python -m recipes.paper_small --scale quick --seeds 3 --docs library=a ")
    assert "cores" in made["machine"]
    assert {"python", "torch", "transformers"} <= made["versions"].keys()
    assert "2 jobs at once, 1.5 hours of jobs in all" in (out / PAGE).read_text()
    assert f"Made by {plain(made['command'])}" in (out / TEXT).read_text()
