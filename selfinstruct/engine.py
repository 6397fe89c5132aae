"""Which engine answers: as asked for, or the first that can run here, said aloud with what it is not good for."""

from collections.abc import Sequence
from importlib.util import find_spec

from longreach.engines.access import HTTP_AT_ONCE, engine_args, http_engine
from longreach.engines.base import Engine
from longreach.engines.budget import Budget, Budgeted
from longreach.errors import UserError
from selfinstruct.config import GenerateSettings

EXTRACTIVE = "extractive"
VLLM_AT_ONCE = 256  # requests, where nobody says
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


def at_once(settings: GenerateSettings) -> int:
    """Requests under way at each server, or in vLLM here."""
    return settings.concurrency or (HTTP_AT_ONCE if engine_name(settings)[0] == "http" else VLLM_AT_ONCE)


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
    args = engine_args(settings.engine_args)
    if name == "vllm":
        from longreach.engines.vllm import VllmEngine

        return VllmEngine(settings.model, concurrency=at_once(settings), engine_args=args)
    from longreach.engines.transformers import TransformersEngine

    return TransformersEngine(settings.model)


def _http(model: str, urls: Sequence[str], key_env: str, settings: GenerateSettings) -> Engine:
    return http_engine(
        model,
        urls,
        key_env,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        structured=settings.structured,
    )


def _limited(engine: Engine, budget: Budget) -> Engine:
    return Budgeted(engine, budget) if budget.max_requests or budget.max_tokens or budget.max_cost else engine
