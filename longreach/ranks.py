"""The number of this process among those that torchrun started, and what is told once for all of them."""

import contextlib
import hashlib
import os
from pathlib import Path

import click
import filelock

PATIENCE = 10.0  # seconds that one waits while another tells something


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK") or 0)


def world() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def started() -> bool:
    """Whether torchrun, or what does its work, started this process."""
    return "RANK" in os.environ


def tell(message: str) -> None:
    """A message on stderr. Of several processes with one stderr that have the same message, the first tells it, with
    its number; without a folder that they share, all do.

    None waits for another's message to come, for torchrun ends all others as soon as one is gone: a message is passed
    over only where it stands on stderr already.
    """
    if world() == 1:
        click.echo(message, err=True)
        return
    mark = _mark(message)
    told = False
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, NotImplementedError):  # no lock, or none in time: told twice is no harm
            if mark:
                held.enter_context(filelock.FileLock(mark.with_suffix(".lock"), timeout=PATIENCE))
                told = mark.exists()
        if not told:
            click.echo(f"{message}\n  (process {rank()} of {world()}; others may have met the same)", err=True)
            with contextlib.suppress(OSError):
                if mark:
                    mark.touch()


def _mark(message: str) -> Path | None:
    """The file that is there once `message` was told on this stderr, in a folder that torchrun makes anew for the
    processes of a machine whenever it starts them: theirs are FOLDER/NUMBER/error.json. None where nobody made one."""
    given = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", ""))
    if given.parts[-2:] != (os.environ.get("LOCAL_RANK"), "error.json"):
        return None
    try:
        stream = os.fstat(2)
    except OSError:  # it is closed
        return None
    name = hashlib.sha256(f"{stream.st_dev} {stream.st_ino} {message}".encode()).hexdigest()
    return given.parents[1] / f"{name}.told"
