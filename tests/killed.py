"""Run a command and kill it at a named point: before or after the n-th call of a function.

python tests/killed.py COMMAND before|after MODULE:QUALIFIED.NAME N ARGUMENTS...
"""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def kill_at(moment: str, place: str, nth: int) -> None:
    module_name, _, name = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    setattr(owner, last, _deadly(getattr(owner, last), moment, nth))


def _deadly(function: Callable[..., Any], moment: str, nth: int) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if moment == "before" and calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if moment == "after" and calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


if __name__ == "__main__":
    command, moment, place, nth, *arguments = sys.argv[1:]
    kill_at(moment, place, int(nth))
    importlib.import_module(f"{command}.cli").main(arguments, prog_name=command)
