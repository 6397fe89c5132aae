"""The model as the harness asks it: by its own classes for transformers, vLLM and OpenAI-compatible servers.

The harness takes the room for an answer out of `max_length`, so that is the longest prompt and the longest answer
together, not the prompt alone.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.config import HarnessSettings
from evaluation.harness.plan import TEMPLATE_TOKENS, Job, Model
from longreach.engines.access import api_key, engine_args
from longreach.errors import UserError, missing_extra, unloadable

try:
    import torch
    from transformers import GenerationConfig
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise
    raise missing_extra(error.name, "evaluate harness", "harness") from error

from longreach.model.load import UNREADABLE, own_tokenizer, read_config, why
from longreach.text.tokenize import load_tokenizer

REQUESTS = 16  # at once, of a server
UNBOUNDED = 1 << 20  # tokens that a server is taken to read where neither suite nor user says


def tokenizer_name(settings: HarnessSettings) -> str:
    """Folder or hub id of the tokenizer; empty where a server's is not known."""
    if settings.tokenizer or not settings.base_url:
        return settings.tokenizer or settings.model
    return settings.model if Path(settings.model).is_dir() else ""


def describe(settings: HarnessSettings) -> Model:
    """Told before the weights are loaded."""
    if settings.base_url:
        chat = settings.style != "text"
        return Model(window=0, chat=chat, tells=not chat and bool(tokenizer_name(settings)))
    try:
        window: int = read_config(settings.model).get_text_config().max_position_embeddings
    except UserError as error:
        if settings.hub or Path(settings.model).exists():
            raise
        raise UserError(error.problem, "check the spelling; --hub allows to take a model from the hub") from error
    tokenizer = own_tokenizer(tokenizer_name(settings))
    has_template = tokenizer is not None and tokenizer.chat_template is not None
    if settings.style == "chat" and not has_template:
        raise UserError(f"{settings.model} has no chat template", "ask it as --style text")
    return Model(window, settings.style != "text" and has_template, tells=True)


def open_model(settings: HarnessSettings, model: Model, jobs: tuple[Job, ...]) -> Any:
    """The harness's model, wide enough for all jobs."""
    lengths = [job.prompt_tokens + job.new_tokens + TEMPLATE_TOKENS for job in jobs]
    if settings.base_url:
        return _served(settings, model, max(lengths) if all(job.prompt_tokens for job in jobs) else UNBOUNDED)
    length = min(max(lengths), model.window)
    load = _vllm if _by_vllm(settings) else _transformers
    try:
        return load(settings, length)
    except (TypeError, *UNREADABLE) as error:
        raise unloadable(settings.model, why(error)) from error
    except torch.OutOfMemoryError as error:
        raise UserError(f"{settings.model} does not fit on the GPU", "choose a smaller model") from error


def _by_vllm(settings: HarnessSettings) -> bool:
    automatic = torch.cuda.is_available() and find_spec("vllm") is not None
    return settings.engine == "vllm" or (settings.engine == "auto" and automatic)


def _vllm(settings: HarnessSettings, length: int) -> Any:
    try:
        from lm_eval.models.vllm_causallms import VLLM
    except ModuleNotFoundError as error:
        raise missing_extra("vllm", "--engine vllm", "vllm") from error
    return VLLM(
        pretrained=settings.model,
        **({"tokenizer": settings.tokenizer} if settings.tokenizer else {}),
        dtype=settings.dtype,
        batch_size=settings.batch_size or "auto",
        **{"max_model_len": length, **engine_args(settings.engine_args)},
    )


def _transformers(settings: HarnessSettings, length: int) -> Any:
    """Its own settings of how it generates, a penalty on repetition say, would change what is asked: none are kept."""
    from lm_eval.models.huggingface import HFLM

    gpu = torch.cuda.is_available()
    lm = HFLM(
        pretrained=settings.model,
        tokenizer=settings.tokenizer or None,
        dtype=settings.dtype,
        batch_size=settings.batch_size or ("auto" if gpu else 1),
        device="cuda" if gpu else "cpu",
        **{"max_length": length, **engine_args(settings.engine_args)},
    )
    own = lm.model.generation_config.to_dict()
    lm.model.generation_config = GenerationConfig(
        **{name: value for name, value in own.items() if name.endswith("_token_id")}
    )
    return lm


def _served(settings: HarnessSettings, model: Model, length: int) -> Any:
    """A server's model: asked with token ids where likelihoods are told, which need to be counted."""
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    if find_spec("tenacity") is None:
        raise missing_extra("tenacity", "evaluate harness --base-url", "harness")
    key = api_key(settings.api_key_env)
    name = tokenizer_name(settings)
    common = {
        "model": settings.model,
        "header": {"Authorization": f"Bearer {key}"} if key else {"Accept": "application/json"},
        "num_concurrent": settings.batch_size or REQUESTS,
        "max_length": length + 1,  # of which it keeps one to itself
        **engine_args(settings.engine_args),
    }
    base = settings.base_url.rstrip("/")
    if model.chat:
        return LocalChatCompletion(base_url=f"{base}/chat/completions", **common)
    if not name:
        return LocalCompletionsAPI(base_url=f"{base}/completions", tokenizer_backend="none", **common)
    return LocalCompletionsAPI(
        base_url=f"{base}/completions",
        tokenizer=name,
        tokenizer_backend="huggingface",
        add_bos_token=load_tokenizer(name).adds_bos,
        **common,
    )
