"""Which engine answers: as asked for, or the first that can run here, said aloud with what it is not good for."""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec

from longreach.engines.base import Engine
from longreach.engines.budget import Budget, Budgeted
from longreach.errors import UserError
from selfinstruct.config import GenerateSettings

EXTRACTIVE = "extractive"
EXTRACTIVE_NOTE = (
    "extractive: pairs are taken from the text by rule, with no model; good for a trial of the whole path and for "
    "reading drills, not for paraphrase, reasoning or style. Checks that need a model (leak, round trip, critique) are "
    "left out"
)


def budget_of(settings: GenerateSettings) -> Budget:
    """What a run may spend, generator and judge together."""
    return Budget(
        max_requests=settings.max_requests,
        max_tokens=settings.max_tokens,
        max_cost=settings.max_cost,
        price_in=settings.price_in,
        price_out=settings.price_out,
    )


def choose_engine(settings: GenerateSettings, budget: Budget) -> tuple[Engine, list[str]]:
    """The engine and what the user should know of the choice."""
    name, why = engine_name(settings)
    notes = [f"--engine auto takes {name}: {why}"] if why else []
    if name == EXTRACTIVE:
        notes.append(EXTRACTIVE_NOTE)
    return _limited(_engine(name, settings), budget), notes


def choose_judge(settings: GenerateSettings, budget: Budget) -> Engine | None:
    """The independent judge, where one is asked for: a server, or another model on the generator's servers."""
    if not (settings.judge_url or settings.judge_model):
        return None
    urls = settings.judge_url or settings.base_url
    if not urls:
        raise UserError(
            "--judge-model needs a server to ask",
            "give --judge-url: the judge is asked over HTTP, beside the generator",
        )
    key_env = settings.judge_api_key_env if settings.judge_url else settings.api_key_env
    return _limited(_http(settings.judge_model, urls, key_env, settings), budget)


def engine_name(settings: GenerateSettings) -> tuple[str, str]:
    """The engine's name, and why where the choice was left to us."""
    return _auto(settings) if settings.engine == "auto" else (settings.engine, "")


def _auto(settings: GenerateSettings) -> tuple[str, str]:
    if settings.base_url:
        return "http", "--base-url is given"
    if not settings.model:
        return EXTRACTIVE, "no --model and no --base-url is given"
    if find_spec("vllm"):
        return "vllm", "vLLM is installed"
    if find_spec("transformers") and find_spec("torch"):
        return (
            "transformers",
            "vLLM is not installed, transformers is; several times slower (pip install 'longreach[vllm]')",
        )
    raise UserError(
        f"no engine here can run {settings.model}",
        "pip install 'longreach[vllm]' or 'longreach[transformers]', or give --base-url, or leave --model out to try "
        "the built-in extractive engine",
    )


def _engine(name: str, settings: GenerateSettings) -> Engine:
    if name == EXTRACTIVE:
        from selfinstruct.extractive import ExtractiveEngine

        return ExtractiveEngine()
    if name == "http":
        return _http(settings.model, settings.base_url, settings.api_key_env, settings)
    args = _engine_args(settings)
    if name == "vllm":
        from longreach.engines.vllm import VllmEngine

        return VllmEngine(settings.model, concurrency=settings.concurrency or 256, engine_args=args)
    from longreach.engines.transformers import TransformersEngine

    return TransformersEngine(settings.model)


def _http(model: str, urls: Sequence[str], key_env: str, settings: GenerateSettings) -> Engine:
    from longreach.engines.http import HttpEngine

    return HttpEngine(
        model=model,
        base_urls=urls,
        api_key=_api_key(key_env),
        concurrency=settings.concurrency or 64,
        timeout=settings.timeout,
        structured=settings.structured,
    )


def _api_key(variable: str) -> str:
    if not variable:
        return ""
    if not os.environ.get(variable):
        raise UserError(
            f"the environment variable {variable}, named for a key, is not set",
            f"export {variable}=... and run it again",
        )
    return os.environ[variable]


def _engine_args(settings: GenerateSettings) -> dict[str, object]:
    try:
        parsed = json.loads(settings.engine_args or "{}")
    except json.JSONDecodeError as error:
        raise UserError(f"--engine-args is no JSON: {error}", "for instance '{\"max_model_len\": 16384}'") from error
    if not isinstance(parsed, dict):
        raise UserError("--engine-args is no JSON object", "for instance '{\"max_model_len\": 16384}'")
    return parsed


def _limited(engine: Engine, budget: Budget) -> Engine:
    return Budgeted(engine, budget) if budget.max_requests or budget.max_tokens or budget.max_cost else engine
