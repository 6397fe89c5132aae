"""Settings: option over TOML over default, sizes, and all problems in one message."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from longreach.cli import Command
from longreach.config import did_you_mean, factor, options, ratio, resolve, setting, share, size, words, written
from longreach.errors import UserError


def percent(text: str) -> float:
    if not 0 <= float(text) <= 100:
        raise ValueError(f"{text} is not from 0 to 100")
    return float(text)


@dataclass(frozen=True, kw_only=True)
class Toy:
    """One field of each kind."""

    docs: tuple[str, ...] = setting((), "Files.", group="Input")
    tasks: tuple[str, ...] = setting(("short", "long"), "Tasks.", parse=words)
    tokens: int = setting(16_384, "Length.")
    rate: float = setting(0.5, "Rate.")
    share: float = setting(10.0, "Share.", parse=percent)
    model: str = setting("", "Model.")
    engine: str = setting("auto", "Engine.", choices=("auto", "http"))
    fast: bool = setting(False, "Go fast.")
    safe: bool = setting(True, "Be safe.")
    out: str = setting("runs", "Folder.", shapes_output=False)
    key: str = setting("", "Key.", secret=True)


NOTHING: dict[str, Any] = {
    "docs": (), "tasks": None, "tokens": None, "rate": None, "share": None, "model": None,
    "engine": None, "fast": None, "safe": None, "out": None, "key": None,
}  # fmt: skip


def toml(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def typed(*args: str) -> dict[str, Any]:
    """What click hands to a command on these arguments."""
    given: dict[str, Any] = {}

    @click.command(cls=Command)
    @options(Toy)
    def work(**values: Any) -> None:
        given.update(values)

    ended = CliRunner().invoke(work, args)
    assert ended.exit_code == 0, ended.output
    return given


def test_nothing_given_is_the_defaults() -> None:
    assert resolve(Toy, NOTHING) == Toy()
    assert typed() == {**NOTHING, "config": None}


def test_an_option_wins_over_toml_and_toml_over_the_default(tmp_path: Path) -> None:
    config = toml(tmp_path, 'tokens = 5\nrate = 0.25\nmodel = "of toml"\nsafe = false\nfast = true\ndocs = ["t"]')
    chosen = resolve(Toy, {**NOTHING, "tokens": "7", "safe": True, "docs": ("a", "b")}, config)
    assert chosen.tokens == 7
    assert chosen.safe is True
    assert chosen.docs == ("a", "b")
    assert chosen.rate == 0.25
    assert chosen.model == "of toml"
    assert chosen.fast is True
    assert chosen.share == 10.0


def test_a_value_equal_to_the_default_still_wins_over_toml(tmp_path: Path) -> None:
    config = toml(tmp_path, 'fast = true\nmodel = "m"\ntokens = 5')
    chosen = resolve(Toy, {**NOTHING, "fast": False, "model": "", "tokens": "16384"}, config)
    assert (chosen.fast, chosen.model, chosen.tokens) == (False, "", 16_384)


@pytest.mark.parametrize(
    ("args", "field", "value"),
    [
        (["--docs", "a", "b", "c"], "docs", ("a", "b", "c")),
        (["--tasks", "short, long ,,other"], "tasks", ("short", "long", "other")),
        (["--tokens", "2k"], "tokens", 2_000),
        (["--rate", "1e-3"], "rate", 0.001),
        (["--share", "99.5"], "share", 99.5),
        (["--engine", "http"], "engine", "http"),
        (["--fast"], "fast", True),
        (["--no-fast"], "fast", False),
        (["--no-safe"], "safe", False),
    ],
)
def test_an_option_gets_the_type_of_its_field(args: list[str], field: str, value: object) -> None:
    given = typed(*args)
    del given["config"]
    chosen = getattr(resolve(Toy, given), field)
    assert chosen == value
    assert type(chosen) is type(value)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('docs = "one"', "docs", ("one",)),
        ('tasks = ["short", "other"]', "tasks", ("short", "other")),
        ('tasks = "short,other"', "tasks", ("short", "other")),
        ("tokens = 2_000", "tokens", 2_000),
        ('tokens = "2k"', "tokens", 2_000),
        ("rate = 1", "rate", 1.0),
        ("share = 5", "share", 5.0),
    ],
)
def test_toml_gets_the_type_of_its_field(tmp_path: Path, line: str, field: str, value: object) -> None:
    chosen = getattr(resolve(Toy, NOTHING, toml(tmp_path, line)), field)
    assert chosen == value
    assert type(chosen) is type(value)


def test_every_problem_stands_in_one_message(tmp_path: Path) -> None:
    config = toml(tmp_path, 'tokns = 5\nfast = "yes"\nengine = "steam"\nrate = "fast"')
    with pytest.raises(UserError) as raised:
        resolve(Toy, {**NOTHING, "tokens": "many", "share": "101"}, config)
    problems = raised.value.problem.splitlines()
    assert len(problems) == 6
    for told in (
        "unknown setting 'tokns'; did you mean 'tokens'?",
        "--fast: 'yes' is not true or false",
        "--engine: 'steam' is none of auto, http",
        "--rate",
        "--tokens",
        "--share: 101 is not from 0 to 100",
    ):
        assert any(told in problem for problem in problems), told


@pytest.mark.parametrize("content", [b"tokens = ", b"\xff\xfe", b"tokens = 1\ntokens = 2"])
def test_a_broken_settings_file_is_the_users_to_mend(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot read settings from"):
        resolve(Toy, NOTHING, path)


def test_a_missing_settings_file_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml"):
        resolve(Toy, NOTHING, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("0", 0),
        ("16384", 16_384),
        ("16_384", 16_384),
        ("16,384", 16_384),
        ("2k", 2_000),
        ("2K", 2_000),
        ("1.5k", 1_500),
        ("0.5k", 500),
        ("2M", 2_000_000),
        ("1B", 1_000_000_000),
        (" 7 ", 7),
        ("3.0", 3),
    ],
)
def test_sizes_are_in_powers_of_ten(word: str, number: int) -> None:
    assert size(word) == number


@pytest.mark.parametrize(
    "word", ["", "k", "many", "-1", "1.5", "0.0001k", "2G", "0x10", "1k2", "nan", "--", "1 2", str(2**63), "1e30"]
)
def test_what_is_no_size_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        size(word)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999", "", "fast"])
def test_what_is_no_number_is_refused(word: str) -> None:
    with pytest.raises(UserError, match=f"--rate: '{word}' is no number"):
        resolve(Toy, {**NOTHING, "rate": word})


@pytest.mark.parametrize("line", ["rate = nan", "rate = -inf", "rate = true"])
def test_nor_is_one_of_a_file(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"--rate: '.*' is no number"):
        resolve(Toy, NOTHING, toml(tmp_path, line))


@given(st.integers(0, 2**63 - 1))
def test_a_whole_number_is_read_as_itself(number: int) -> None:
    assert size(str(number)) == size(f"{number:,}") == number


def test_words_are_split_at_commas() -> None:
    assert words(" a, b ,,c,") == ("a", "b", "c")
    with pytest.raises(ValueError, match="nothing"):
        words(" , ")


def test_what_is_written_down_holds_no_secret() -> None:
    toy = Toy(key="hunter2", docs=("a",), out="elsewhere")
    assert "hunter2" not in repr(written(toy))
    assert written(toy)["docs"] == ["a"]
    assert written(toy)["out"] == "elsewhere"


def test_what_shapes_the_output_leaves_out_the_rest() -> None:
    shaping = written(Toy(), shaping_only=True)
    assert shaping.keys() == Toy.__dataclass_fields__.keys() - {"out", "key"}


def test_help_shows_the_default_once() -> None:
    @click.command(cls=Command)
    @options(Toy)
    def work(**values: Any) -> None: ...

    shown = " ".join(CliRunner().invoke(work, ["--help"]).stdout.split())
    for told in ("Tasks. [default: short,long]", "Length. [default: 16384]", "Be safe. [default: on]"):
        assert told in shown
    assert "Model. [default" not in shown


def test_a_near_miss_is_suggested_and_nothing_else() -> None:
    assert did_you_mean("contxt_tokens", ["context_tokens", "seed"]) == "; did you mean 'context_tokens'?"
    assert did_you_mean("zzz", ["context_tokens", "seed"]) == ""


@pytest.mark.parametrize("word", ["abc", "", "nan", "inf", "1e999", "1.5", "k", "12x"])
def test_what_is_no_size_is_said_so(word: str) -> None:
    with pytest.raises(ValueError, match="is no whole number"):
        size(word)


def test_a_number_below_0_is_not_called_no_number() -> None:
    with pytest.raises(ValueError, match=r"^-3 is below 0$"):
        size("-3")


@pytest.mark.parametrize("parse", [share, factor, ratio])
def test_what_is_no_number_is_said_in_our_words(parse: Callable[[str], float]) -> None:
    with pytest.raises(ValueError, match=r"^'33%' is no number$"):
        parse("33%")


def test_a_list_of_numbers_in_a_file_is_as_good_as_words(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Lengths:
        lengths: tuple[str, ...] = setting((), "Lengths.", parse=words)

    (tmp_path / "s.toml").write_text("lengths = [256, 1000]")
    assert resolve(Lengths, {"lengths": None}, tmp_path / "s.toml").lengths == ("256", "1000")
