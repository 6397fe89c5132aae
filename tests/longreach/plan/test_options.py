"""Numbers that a plan is given, by both commands: what makes no sense is refused by name, in one message."""

import click
import pytest
from click.testing import CliRunner

from finetune.cli import main as finetune
from pretrain.cli import main as pretrain

WHOLE = ("tokens", "steps", "batch-tokens", "micro-batch", "seq-len", "lora", "gpus", "sequence-parallel")
NONE = ("nan", "inf", "-inf", "1e999", "x", "")


@pytest.mark.parametrize("command", [pretrain, finetune], ids=["pretrain", "finetune"])
@pytest.mark.parametrize(
    ("name", "typed", "problem"),
    [
        *((name, "-2", "-2 is below 0") for name in WHOLE),
        *((name, word, f"{word!r} is no whole number") for name in WHOLE for word in ("0.5", *NONE)),
        *((name, word, f"{word!r} is no number") for name in ("price", "mfu") for word in NONE),
        *(("price", word, f"{word} is not above 0") for word in ("-2", "0")),
        *(("mfu", word, f"{word} is not from 0 to 1") for word in ("-2", "33")),
    ],
)
def test_no_such_number(command: click.Group, name: str, typed: str, problem: str) -> None:
    ended = CliRunner().invoke(command, ["plan", "--base", "llama2-7b", f"--{name}", typed])
    assert (ended.exit_code, ended.stderr) == (1, f"error: --{name}: {problem}\n")
