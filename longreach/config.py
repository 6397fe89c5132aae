"""Settings: one frozen dataclass per command gives its defaults, help, options and TOML keys.

Order of precedence: option, then TOML, then default. No environment variable takes part. Every problem is collected and
raised once.
"""

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from longreach.errors import UserError
from longreach.urls import with_keys

Settings = TypeVar("Settings")
Command = TypeVar("Command", bound=Callable[..., Any])

LARGEST = 2**63 - 1  # that a file of ours can hold
_MULTIPLIERS = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


def setting(
    default: Any,
    help: str,
    *,
    group: str = "",
    metavar: str = "",
    choices: tuple[str, ...] = (),
    refused: Mapping[str, str] | None = None,
    parse: Callable[[str], Any] | None = None,
    shapes_output: bool = True,
    secret: bool = False,
) -> Any:
    """A field of a settings dataclass.

    `parse` reads a value as typed by the user and raises ValueError where it is wrong. `refused` holds, beside the
    choices, what users may well look for in vain, and what to do instead. `shapes_output` tells whether a
    run folder made with another value may be gone on with. A `secret` is never written down.
    """
    meta = {
        "help": help,
        "group": group,
        "metavar": metavar,
        "choices": choices,
        "refused": refused or {},
        "parse": parse,
        "shapes_output": shapes_output and not secret,
        "secret": secret,
    }
    return field(default=default, metadata=meta)


def size(text: str) -> int:
    """A whole number with an optional k, M or B (powers of ten): "16384", "2M", "1.5k"."""
    word = str(text).strip().replace("_", "").replace(",", "").lower()
    multiplier = _MULTIPLIERS.get(word[-1:], 1)
    digits = word[:-1] if multiplier > 1 else word
    try:
        found = (int(digits) if digits.isdecimal() else float(digits)) * multiplier
        whole = found == int(found)
    except (ValueError, OverflowError):  # words, nan, inf
        whole = False
    if not whole:
        raise ValueError(f"{text!r} is no whole number")
    if found < 0:
        raise ValueError(f"{text} is below 0")
    if found > LARGEST:
        raise ValueError(f"{text} is more than {LARGEST:,}")
    return int(found)


def number(text: str) -> float:
    """A number; neither nan nor inf is one."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{text!r} is no number")
    return found


def share(text: str) -> float:
    """A share of the whole, from 0 to 1."""
    found = number(text)
    if not 0 <= found <= 1:
        raise ValueError(f"{text} is not from 0 to 1")
    return found


def factor(text: str) -> float:
    """A number above 0."""
    found = number(text)
    if found <= 0:
        raise ValueError(f"{text} is not above 0")
    return found


def ratio(text: str) -> float:
    """A number of 0 or more."""
    found = number(text)
    if found < 0:
        raise ValueError(f"{text} is below 0")
    return found


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list of at least one word."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if not found:
        raise ValueError("names nothing")
    return found


def options(kind: type) -> Callable[[Command], Command]:
    """Decorator that gives a click command one option per field of the settings dataclass `kind`.

    The settings file is --config, or --settings where `kind` has a setting called config.
    """
    flag = "--settings" if "config" in (entry.name for entry in fields(kind)) else "--config"

    def decorate(command: Command) -> Command:
        for entry in reversed(fields(kind)):
            command = _option(entry)(command)
        return click.option(
            flag, type=click.Path(path_type=Path), metavar="F.toml", help="Settings file; options win over it."
        )(command)

    return decorate


def _option(entry: Field[Any]) -> Callable[[Command], Command]:
    meta, default = entry.metadata, entry.default
    flag = "--" + entry.name.replace("_", "-")
    if isinstance(default, bool):
        return click.option(
            f"{flag}/--no-{flag[2:]}", default=None, help=_help(entry), cls=GroupedOption, group=meta["group"]
        )
    return click.option(
        flag,
        default=None,
        multiple=isinstance(default, tuple) and meta["parse"] is None,
        type=Choices(meta["choices"], meta["refused"]) if meta["choices"] else str,
        metavar=meta["metavar"] or None,
        help=_help(entry),
        cls=GroupedOption,
        group=meta["group"],
    )


class Choices(click.Choice[str]):
    """One of some words; a word that is refused is met with its reason."""

    def __init__(self, choices: Iterable[str], refused: Mapping[str, str]) -> None:
        super().__init__(choices)
        self._refused = refused

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, or a usage error."""
        if value in self._refused:
            self.fail(self._refused[value], param, ctx)
        return super().convert(value, param, ctx)


class GroupedOption(click.Option):
    """An option that names the heading of `--help` under which it stands."""

    def __init__(self, *args: Any, group: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def _help(entry: Field[Any]) -> str:
    default = entry.default
    if default in (None, "", (), False):
        return str(entry.metadata["help"])
    shown = "on" if default is True else ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{entry.metadata['help']}  [default: {shown}]"


def resolve(kind: type[Settings], given: Mapping[str, Any], config: Path | None = None) -> Settings:
    """The settings from the options a user gave (None or () means: not given) over a TOML file over the defaults."""
    chosen = _read_toml(config) if config else {}
    chosen |= {name: value for name, value in given.items() if value is not None and value != ()}
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    problems = [f"unknown setting {name!r}{did_you_mean(name, known)}" for name in chosen if name not in known]
    values = {}
    for name, value in chosen.items():
        if name in known:
            try:
                values[name] = _convert(known[name], value)
            except (ValueError, TypeError, OverflowError) as error:
                problems.append(f"--{name.replace('_', '-')}: {error}")
    problems += with_keys(_texts(value for name, value in values.items() if not known[name].metadata["secret"]))
    if problems:
        raise UserError("\n".join(problems), f"settings known here: {', '.join(sorted(known))}" if config else "")
    return kind(**values)


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read settings from {path}: {error}") from error


def _convert(entry: Field[Any], value: Any) -> Any:
    """A value as typed or as read from TOML, in the type of the field's default."""
    meta, default = entry.metadata, entry.default
    if meta["parse"] is not None:
        return meta["parse"](",".join(map(str, value)) if isinstance(value, list) else str(value))
    if str(value) in meta["refused"]:
        raise ValueError(meta["refused"][str(value)])
    if meta["choices"] and value not in meta["choices"]:
        raise ValueError(f"{value!r} is none of {', '.join(meta['choices'])}")
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return value
    if isinstance(default, tuple):
        return (value,) if isinstance(value, str) else tuple(value)
    if isinstance(default, float):
        return number(str(value))
    if isinstance(default, int):
        return size(str(value))
    return str(value)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" where something close is known, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def written(settings: object, *, shaping_only: bool = False) -> dict[str, Any]:
    """The settings as JSON-able values, without secrets; with `shaping_only`, just those that shape the output."""
    shown = {}
    for entry in fields(settings):  # type: ignore[arg-type]
        meta = entry.metadata
        if meta["secret"] or (shaping_only and not meta["shapes_output"]):
            continue
        value = getattr(settings, entry.name)
        shown[entry.name] = list(value) if isinstance(value, tuple) else value
    return shown


def read_back(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings from what `written` made of them; a name that they do not have any more is passed over."""
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    return kind(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in known}
    )


def defaults(kind: type) -> dict[str, Any]:
    """Field names and their defaults."""
    return {entry.name: entry.default for entry in fields(kind) if entry.default is not MISSING}
