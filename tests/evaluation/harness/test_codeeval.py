"""Programs of a model: which pass, and that none can hang or leave early with success."""

import time
from importlib import import_module
from pathlib import Path

import pytest

from evaluation.harness.codeeval import CodeEval, local_code_eval, passes

PROGRAM = "def add(a, b):\n    return a + b\n"


@pytest.mark.parametrize(
    ("program", "right"),
    [
        (f"{PROGRAM}assert add(2, 3) == 5", True),
        (f"{PROGRAM}assert add(2, 3) == 6", False),
        (f"{PROGRAM}print('said')\nassert add(2, 3) == 5", True),
        ("import sys\nsys.exit(0)", False),
        ("import os\nos._exit(0)", False),
        ("def add(a, b:", False),
        ("open('here', 'w').write('x')\nassert open('here').read() == 'x'", True),
        ("assert input() == ''", False),  # nothing to read
        ("print('\\ud800')", False),
    ],
)
def test_a_program_passes_where_it_comes_to_its_end(program: str, right: bool) -> None:
    assert passes(program) is right


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    late = tmp_path / "late"
    child = f"import time; time.sleep(2); open({str(late)!r}, 'w')"
    begun = time.monotonic()
    assert not passes(
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])\nwhile True: pass", 1
    )
    assert time.monotonic() - begun < 10
    time.sleep(2)
    assert not late.exists()


def test_the_share_of_programs_that_pass() -> None:
    with local_code_eval():
        scorer = import_module("evaluate").load("code_eval")
    found, _ = scorer.compute(
        references=["assert add(2, 3) == 5", "assert add(0, 0) == 1"],
        predictions=[[PROGRAM, "add = 3"], [PROGRAM]],
        k=[1],
    )
    assert isinstance(scorer, CodeEval)
    assert found == {"pass@1": 0.25}
    with pytest.raises(ValueError, match="k is 1"):
        scorer.compute([], [], k=[10])
