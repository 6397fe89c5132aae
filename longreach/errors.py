"""Errors that are the user's to mend; everything else is a bug and keeps its traceback."""

from pathlib import Path


class UserError(Exception):
    """One problem and one hint, shown as a single message on stderr with exit status 1.

    Collect every problem before raising: `UserError("\\n".join(problems), hint)`.
    """

    status = 1  # of the process

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}\n  hint: {self.hint}" if self.hint else self.problem


class Unfinished(UserError):
    """What was asked for is not all there, and the same command tries the rest again: exit status 3."""

    status = 3


def unloadable(model: str, reason: str) -> UserError:
    """The error for a model that is not there, or is there and cannot be loaded for `reason`."""
    if Path(model).exists():
        return UserError(f"cannot load {model}: {reason}")
    return UserError(
        f"no model {model}: neither a folder here nor one that the Hugging Face hub gave ({reason})",
        "check the spelling; a gated model needs `hf auth login`; HF_HUB_OFFLINE=1 allows only what was loaded before",
    )


def missing_extra(package: str, purpose: str, extra: str) -> UserError:
    """The error for an optional package that is not installed; names the command that installs it."""
    return UserError(f"{purpose} needs {package}, which is not installed", f"pip install 'longreach[{extra}]'")
