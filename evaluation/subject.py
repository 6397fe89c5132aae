"""The model that is asked: what runs it, how its tokens are counted, whether it is asked as a chat or as text."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.config import ModelSettings
from longreach.engines.access import engine_args, http_engine
from longreach.engines.base import Engine
from longreach.errors import UserError
from longreach.text.tokenize import SHIPPED_NAME, Tokenizer, load_tokenizer

BATCH = 64  # requests that transformers answers together, where they are short
SEAM = 2  # tokens that may come in where parts of a prompt meet
UNSEEN_TEMPLATE = 32  # tokens allowed for a template that stands on a server
TOKENIZER = "tokenizer.json"  # of a model's folder
ENDS = 1 << 16  # bytes of a weight file that its fingerprint holds, at either end

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """The model under evaluation; its engine is not entered yet."""

    engine: Engine
    tokenizer: Tokenizer
    chat: bool  # asked through its chat template, else as text to go on with
    window: int  # tokens of prompt and answer together; 0: not known
    name: str
    overhead: int  # tokens of the template and of special tokens around a prompt
    notes: tuple[str, ...] = ()

    def room(self, length: int, max_tokens: int) -> int:
        """Tokens for the content of a prompt that makes `length` together with its answer."""
        return length - max_tokens - self.overhead - SEAM

    def fits(self, lengths: Sequence[int]) -> tuple[int, ...]:
        """Those within the window."""
        return tuple(length for length in lengths if not self.window or length <= self.window)


def open_subject(settings: ModelSettings) -> Subject:
    """The model that the settings name."""
    if engine_args(settings.engine_args) and (settings.base_url or _engine_name(settings) != "vllm"):
        raise UserError("--engine-args are vLLM's, and vLLM does not run this model", "leave them out")
    return _served(settings) if settings.base_url else _loaded(settings)


def _served(settings: ModelSettings) -> Subject:
    """Behind a server, which tells neither its tokenizer nor its template."""
    engine = http_engine(
        settings.model,
        settings.base_url,
        settings.api_key_env,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
    )
    named = settings.tokenizer or (settings.model if (Path(settings.model) / TOKENIZER).is_file() else "")
    notes = []
    if not named:
        notes.append(f"lengths are counted by {SHIPPED_NAME}, not by the server's tokenizer: name it with --tokenizer")
    chat = settings.style != "text"
    if settings.style == "auto":
        notes.append("asked as a chat; --style text asks a base model")
    tokenizer = load_tokenizer(named)
    overhead = _overhead(_template_of(named), tokenizer, chat=chat) if named else UNSEEN_TEMPLATE
    name = settings.model or ", ".join(settings.base_url)
    return Subject(engine, tokenizer, chat, 0, name, overhead, tuple(notes))


def _loaded(settings: ModelSettings) -> Subject:
    """A checkpoint in this process."""
    from longreach.model.load import read_config

    window: int = read_config(settings.model).get_text_config().max_position_embeddings
    template = _template_of(settings.model)
    has_template = template is not None and template.chat_template is not None
    if settings.style == "chat" and not has_template:
        raise UserError(f"{settings.model} has no chat template", "ask it as --style text")
    chat = settings.style != "text" and has_template
    tokenizer = load_tokenizer(settings.tokenizer or settings.model)
    engine = _engine(settings, chat=chat)
    style = "as a chat" if chat else "as text to go on with"
    notes = (f"{settings.model} is asked {style}, by {engine.name}",)
    overhead = _overhead(template, tokenizer, chat=chat)
    return Subject(engine, tokenizer, chat, window, settings.model, overhead, notes)


def _engine(settings: ModelSettings, *, chat: bool) -> Engine:
    if _engine_name(settings) == "vllm":
        from longreach.engines.vllm import VllmEngine

        if settings.past_window:
            raise UserError("vLLM reads no further than the window", "--past-window goes with --engine transformers")
        return VllmEngine(
            settings.model,
            concurrency=settings.concurrency or 256,
            dtype=settings.dtype,
            chat=chat,
            engine_args=engine_args(settings.engine_args),
        )
    from longreach.engines.transformers import TransformersEngine

    return TransformersEngine(
        settings.model,
        batch=settings.concurrency or BATCH,
        dtype=settings.dtype,
        past_window=settings.past_window,
        chat=chat,
    )


def _engine_name(settings: ModelSettings) -> str:
    """vLLM where it is installed and there is a GPU for it."""
    if settings.engine != "auto":
        return settings.engine
    from importlib.util import find_spec

    import torch

    return "vllm" if torch.cuda.is_available() and find_spec("vllm") else "transformers"


def _template_of(name: str) -> Any:
    """The tokenizer with its chat template; None where there is none."""
    if not name or Path(name).is_file():
        return None
    from longreach.model.load import own_tokenizer

    return own_tokenizer(name)


def _overhead(template: Any, tokenizer: Tokenizer, *, chat: bool) -> int:
    """Tokens around what is asked."""
    if not chat:
        return int(tokenizer.adds_bos)
    if template is None or template.chat_template is None:
        return UNSEEN_TEMPLATE
    turn = [{"role": "user", "content": "word"}]
    rendered = template.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
    return len(rendered) - tokenizer.count("word")


def fingerprint(model: str) -> str:
    """What tells one state of a checkpoint's folder from another; the name itself where it is no folder.

    Hashed are all small files and, of each weight file, the size and both ends: reading all of it would take minutes.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".safetensors", ".model"):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(ENDS))
                file.seek(max(0, path.stat().st_size - ENDS))
                digest.update(file.read())
    return digest.hexdigest()
