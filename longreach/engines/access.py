"""Engines from what a user typed: addresses of servers, the name of a key's variable, further arguments as JSON."""

import json
import os
from collections.abc import Sequence

from longreach.engines.base import Engine
from longreach.errors import UserError

HTTP_AT_ONCE = 64  # requests at each server, where nobody says


def http_engine(
    model: str, urls: Sequence[str], key_env: str, *, concurrency: int, timeout: float, structured: bool = False
) -> Engine:
    """The engine that asks those servers, each of them `concurrency` requests at once; 0 takes HTTP_AT_ONCE."""
    from longreach.engines.http import HttpEngine

    return HttpEngine(
        model=model,
        base_urls=urls,
        api_key=api_key(key_env),
        concurrency=concurrency or HTTP_AT_ONCE,
        timeout=timeout,
        structured=structured,
    )


def api_key(variable: str) -> str:
    """The key in that environment variable; empty where none is named."""
    if not variable:
        return ""
    if not os.environ.get(variable):
        raise UserError(
            f"the environment variable {variable}, named for a key, is not set",
            f"export {variable}=... and run it again",
        )
    return os.environ[variable]


def engine_args(given: str) -> dict[str, object]:
    """The JSON object of --engine-args; empty where nothing is given."""
    try:
        parsed = json.loads(given or "{}")
    except json.JSONDecodeError as error:
        raise UserError(f"--engine-args is no JSON: {error}", "for instance '{\"max_model_len\": 16384}'") from error
    if not isinstance(parsed, dict):
        raise UserError("--engine-args is no JSON object", "for instance '{\"max_model_len\": 16384}'")
    return parsed
