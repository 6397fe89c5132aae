"""The manners of every command: exit statuses, one message for the user's mistakes, lists after one option."""

import errno
import sqlite3

import click
import pytest
from click.testing import CliRunner

from longreach.cli import Command, Group, GroupedOption, spread
from longreach.errors import UserError, missing_extra
from selfinstruct.cli import main as selfinstruct

SEVERAL = {"--docs", "--base-url"}


@pytest.mark.parametrize(
    ("typed", "spread_out"),
    [
        ("--docs a b c", "--docs a --docs b --docs c"),
        ("--docs a b --out r --docs c d", "--docs a --docs b --out r --docs c --docs d"),
        ("--docs a --docs b", "--docs a --docs b"),
        ("--docs a --json", "--docs a --json"),
        ("run --docs a b", "run --docs a --docs b"),
        ("--out r run", "--out r run"),
        ("--docs - b", "--docs - --docs b"),  # "-" is a file
        ("--docs a -- b --docs c d", "--docs a -- b --docs c d"),
        ("--docs a b --base-url u v", "--docs a --docs b --base-url u --base-url v"),
        ("--docs=a", "--docs=a"),
        ("", ""),
    ],
)
def test_values_after_one_option_are_spread(typed: str, spread_out: str) -> None:
    assert spread(typed.split(), SEVERAL) == spread_out.split()


def test_the_real_command_reads_a_list_after_one_option() -> None:
    generate = selfinstruct.commands["generate"]
    context = generate.make_context("generate", "--docs a b c --limit 2 --base-url u v --json".split())
    assert context.params["docs"] == ("a", "b", "c")
    assert context.params["base_url"] == ("u", "v")
    assert context.params["limit"] == "2"
    assert context.params["as_json"] is True
    assert context.params["config"] is None


def test_words_are_not_spread_where_one_could_be_the_argument() -> None:
    check = selfinstruct.commands["check"]
    context = check.make_context("check", "--judge-url u runs/first".split())
    assert context.params["judge_url"] == ("u",)
    assert str(context.params["run"]) == "runs/first"


def outcome(error: BaseException) -> click.testing.Result:
    """How a command that raises `error` ends."""

    @click.group(cls=Group)
    def main() -> None: ...

    @main.command(cls=Command)
    def work() -> None:
        raise error

    return CliRunner().invoke(main, ["work"])


def test_a_user_error_is_one_message_and_status_1() -> None:
    ended = outcome(UserError("no such file: x", "look again"))
    assert ended.exit_code == 1
    assert ended.stderr == "error: no such file: x\n  hint: look again\n"
    assert ended.stdout == ""


def test_a_user_error_without_hint_shows_none() -> None:
    assert outcome(UserError("broken")).stderr == "error: broken\n"


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    ended = outcome(missing_extra("vllm", "--engine vllm", "vllm"))
    assert "--engine vllm needs vllm" in ended.stderr
    assert "pip install 'longreach[vllm]'" in ended.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EFBIG, "File too large"), "may not grow"),
        (OSError(errno.EROFS, "Read-only", "/runs/first"), "read-only: /runs/first"),
        (PermissionError(errno.EACCES, "Permission denied", "/runs/first"), "permission denied: /runs/first"),
        (FileExistsError(errno.EEXIST, "File exists", "runs"), "a file stands where a folder is needed: runs"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "out"), "a folder stands where a file is needed: out"),
        (sqlite3.DatabaseError("file is not a database"), "journal.sqlite is damaged"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (sqlite3.OperationalError("disk I/O error"), "the disk is full"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "read-only"),
    ],
)
def test_a_storage_problem_is_the_users_to_mend(error: BaseException, said: str) -> None:
    ended = outcome(error)
    assert ended.exit_code == 1
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "bug",
    [
        ValueError("a bug"),
        OSError(errno.EBADF, "Bad file descriptor"),
        sqlite3.OperationalError("no such table: completions"),
        AssertionError("counts do not balance"),
    ],
)
def test_a_bug_keeps_its_traceback(bug: BaseException) -> None:
    ended = outcome(bug)
    assert ended.exception is bug
    assert "error:" not in ended.stderr


def test_an_interrupt_says_that_the_run_can_go_on() -> None:
    ended = outcome(KeyboardInterrupt())
    assert ended.exit_code == 130
    assert "goes on from here" in ended.stderr


def test_retryable_failures_are_status_3() -> None:
    assert outcome(SystemExit(3)).exit_code == 3


@pytest.mark.parametrize("words", [["generate", "--nonsense"], ["nonsense"], ["generate", "--engine", "steam"]])
def test_wrong_usage_is_status_2(words: list[str]) -> None:
    assert CliRunner().invoke(selfinstruct, words).exit_code == 2


def test_settings_of_a_command_are_the_users_to_mend() -> None:
    ended = CliRunner().invoke(selfinstruct, ["generate", "--context-tokens", "many", "--min-score", "11"])
    assert ended.exit_code == 1
    assert "--context-tokens" in ended.stderr
    assert "--min-score" in ended.stderr  # all at once


def test_help_groups_options_under_their_headings() -> None:
    @click.command(cls=Command)
    @click.option("--plain", help="Of no group.")
    @click.option("--docs", cls=GroupedOption, group="Documents", help="What to read.")
    @click.option("--seed", cls=GroupedOption, group="Run", help="Of all draws.")
    @click.option("--min-chars", cls=GroupedOption, group="Documents", help="Shorter ones are skipped.")
    def work() -> None: ...

    shown = CliRunner().invoke(work, ["--help"]).stdout
    places = [shown.index(word) for word in ("Options:", "--plain", "Documents:", "--docs", "--min-chars", "Run:")]
    assert places == sorted(places)
    assert shown.count("Documents:") == 1


def test_every_setting_of_generate_stands_in_its_help() -> None:
    shown = CliRunner().invoke(selfinstruct, ["generate", "--help"]).stdout
    generate = selfinstruct.commands["generate"]
    assert all(name in shown for option in generate.params for name in option.opts)


def test_a_package_of_an_extra_that_is_not_installed_is_named_with_the_command() -> None:
    ended = outcome(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert ended.exit_code == 1
    assert (
        ended.stderr == "error: training needs torch, which is not installed\n  hint: pip install 'longreach[train]'\n"
    )
    bug = outcome(ModuleNotFoundError("No module named 'finetune.mix'", name="finetune.mix"))
    assert isinstance(bug.exception, ModuleNotFoundError)
