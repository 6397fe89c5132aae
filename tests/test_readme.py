"""The README's and the docs' help blocks are what the code prints, and the README's commands run.

After a change of options: python tests/test_readme.py rewrites the help blocks.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from selfinstruct.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HELP = re.compile(r"(<!-- help: selfinstruct ?([\w ]*) -->\n```text\n)(.*?)(```\n)", re.S)
RUN = re.compile(r"<!-- run -->\n```sh\n(.*?)```\n", re.S)


def help_of(command: str) -> str:
    """As a terminal of 100 columns shows it."""
    return selfinstruct([*command.split(), "--help"], ROOT).stdout


def selfinstruct(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfinstruct", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def filled(page: str) -> str:
    return HELP.sub(lambda block: block[1] + help_of(block[2]) + block[4], page)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_help_blocks_are_what_the_code_prints(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page == filled(page), "run: python tests/test_readme.py"


def test_every_command_has_its_help_in_the_docs() -> None:
    shown = {
        block[1]
        for page in PAGES
        for block in HELP.finditer(page.read_text(encoding="utf-8"))
        for block in [block.groups()]
    }
    assert shown == {"", *main.commands}


def test_readme_commands_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "corpus")
    lines = [line for block in RUN.findall(PAGES[0].read_text(encoding="utf-8")) for line in block.splitlines()]
    assert len(lines) >= 4
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "selfinstruct"
        done = selfinstruct(arguments, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (tmp_path / "runs/first/sharegpt.jsonl").stat().st_size > 0


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
