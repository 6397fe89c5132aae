"""Manners that every command shares: errors, exit statuses, grouped help, lists after one option.

Exit statuses: 0 done, 1 the user's problem (one message), 2 wrong usage, 3 finished with failures that the same command
retries. A bug keeps its traceback. Processes that torchrun started tell once what all of them meet.
"""

import errno
import io
import sqlite3
from collections.abc import Sequence
from typing import Any

import click

from longreach.config import GroupedOption
from longreach.errors import UserError, missing_extra
from longreach.ranks import tell, world

RETRYABLE = 3
OF_TRAINING = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")  # packages of the extra
LAST = ("Training", "Run")  # headings of --help
_STORAGE = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command: it goes on where it was"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command: it goes on where it was"),
    errno.EFBIG: ("a file may not grow further", "raise the limit and run the same command: it goes on where it was"),
    errno.EROFS: ("the file system is read-only", "choose another --out"),
    errno.EEXIST: ("a file stands where a folder is needed", "choose another path"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another path"),
    errno.EISDIR: ("a folder stands where a file is needed", "choose another path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter path"),
    errno.EACCES: ("permission denied", "choose another --out, or change its permissions"),
    errno.EPERM: ("operation not permitted", "choose another --out, or change its permissions"),
}


class Group(click.Group):
    """A click group whose commands report a UserError as one message and exit 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and turn what is the user's to mend into one message."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise Complaint(error) from error
        except ModuleNotFoundError as error:
            if error.name not in OF_TRAINING:
                raise
            raise Complaint(missing_extra(error.name, "training", "train")) from error
        except (OSError, sqlite3.DatabaseError) as error:
            raise Complaint(_storage_problem(error)) from error
        except KeyboardInterrupt:
            tell("stopped; the same command goes on from here")
            ctx.exit(130)
        except click.UsageError as error:
            if world() == 1:
                raise
            shown = io.StringIO()
            error.show(shown)
            tell(shown.getvalue().rstrip())
            ctx.exit(error.exit_code)


class Complaint(click.ClickException):
    """A UserError on its way to stderr."""

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.exit_code = error.status  # type: ignore[misc]  # click reads it of the instance

    def show(self, file: Any = None) -> None:
        """Print the problem and its hint."""
        tell(f"error: {self.message}")


def _storage_problem(error: OSError | sqlite3.DatabaseError) -> UserError:
    """What a full or forbidden disk says; any other error is a bug and goes on as it is."""
    if isinstance(error, sqlite3.DatabaseError):
        if "not a database" in str(error) or "malformed" in str(error):
            return UserError("the run's journal.sqlite is damaged", "move it away: what it held is asked again")
        if "full" in str(error) or "disk I/O" in str(error):
            return UserError(*_STORAGE[errno.ENOSPC])
        if "readonly" in str(error):
            return UserError(*_STORAGE[errno.EROFS])
        raise error
    if error.errno not in _STORAGE:
        raise error
    problem, hint = _STORAGE[error.errno]
    return UserError(f"{problem}: {error.filename}" if error.filename else problem, hint)


class Command(click.Command):
    """A command whose help groups its options and whose repeatable options take several values: `--docs a b c`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Spread `--docs a b` to `--docs a --docs b` before click sees it."""
        if any(isinstance(parameter, click.Argument) for parameter in self.params):
            return super().parse_args(ctx, args)  # which of the words would be the argument?
        several = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        return super().parse_args(ctx, spread(args, several))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its own heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                groups.setdefault(getattr(parameter, "group", "") or "Options", []).append(row)
        for name in sorted(groups, key=_place):
            with formatter.section(name):
                formatter.write_dl(groups[name])


def _place(heading: str) -> int:
    """What a command works on stands before how it does so."""
    return LAST.index(heading) + 1 if heading in LAST else 0


def spread(args: Sequence[str], several: set[str]) -> list[str]:
    """Repeat an option's name before each of the values that follow it."""
    out: list[str] = []
    current = ""
    for position, word in enumerate(args):
        if word == "--":
            return [*out, *args[position:]]
        if word.startswith("-") and word != "-":
            current = word if word in several else ""
            out.append(word)
        elif current and out[-1] != current:
            out += [current, word]
        else:
            out.append(word)
    return out


__all__ = ["RETRYABLE", "Command", "Complaint", "Group", "GroupedOption", "spread"]
