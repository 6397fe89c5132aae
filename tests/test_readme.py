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

from evaluation.cli import main as evaluate
from finetune.cli import main as finetune
from pretrain.cli import main as pretrain
from selfinstruct.cli import main as selfinstruct

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {"selfinstruct": selfinstruct, "pretrain": pretrain, "finetune": finetune, "evaluate": evaluate}
PACKAGES = {"evaluate": "evaluation"}  # whose name is not the command's
HELP = re.compile(
    r"(<!-- help: (selfinstruct|pretrain|finetune|evaluate|longreach) ?([\w -]*?) -->\n```text\n)(.*?)(```\n)", re.S
)
RUN = re.compile(r"<!-- run -->\n```sh\n(.*?)```\n", re.S)


def help_of(program: str, command: str) -> str:
    """As a terminal of 100 columns shows it."""
    return run([program, *command.split(), "--help"], ROOT).stdout


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", PACKAGES.get(words[0], words[0]), *words[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def filled(page: str) -> str:
    return HELP.sub(lambda block: block[1] + help_of(block[2], block[3]) + block[5], page)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_help_blocks_are_what_the_code_prints(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page == filled(page), "run: python tests/test_readme.py"


@pytest.mark.parametrize("program", COMMANDS)
def test_every_command_has_its_help_in_the_docs(program: str) -> None:
    blocks = [block.groups() for page in PAGES for block in HELP.finditer(page.read_text(encoding="utf-8"))]
    assert {command for _, name, command, *_ in blocks if name == program} == {"", *COMMANDS[program].commands}


def test_readme_commands_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "corpus")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    lines = [line for block in RUN.findall(PAGES[0].read_text(encoding="utf-8")) for line in block.splitlines()]
    assert len(lines) >= 8
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program in COMMANDS
        done = run([program, *arguments], tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (tmp_path / "runs/first/sharegpt.jsonl").stat().st_size > 0
    assert (tmp_path / "runs/long/model.safetensors").stat().st_size > 0


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
