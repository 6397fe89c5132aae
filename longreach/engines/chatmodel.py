"""A checkpoint in this process: loaded by transformers, answering a batch of requests at a time.

Safetensors only, and never code that comes with a model. Rows are padded on the left; each draws with its own
temperature and seed and ends at its own length. Prompts are answered in sorted order, so that what neighbours have in
common is read once, across batches too. A request that does not fit fails alone, its batch is answered.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from longreach.engines.base import Completion, Message, Request, RequestFailed, Sampling
from longreach.engines.checkpoint import check_fits, no_chat_template, refused_chat
from longreach.engines.plaintext import PlainText
from longreach.engines.stop import cut
from longreach.errors import UserError, missing_extra, unloadable

try:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from longreach.engines import grouped
    from longreach.engines.decode import decode
    from longreach.engines.memory import batch_tokens
    from longreach.engines.prefix import CHUNK, Prefix, shareable
    from longreach.text.autotokenizer import auto_tokenizer
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise
    raise missing_extra(error.name, "--engine transformers", "transformers") from error

logger = logging.getLogger(__name__)

UNBOUNDED = 1 << 40  # the window of a model that reads past its own

Outcome = Completion | RequestFailed


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, how its answer is drawn and how many tokens that may have; `place` among the requests."""

    place: int
    prompt: list[int]
    sampling: Sampling
    budget: int


@dataclass(frozen=True)
class ChatModel:
    """A model with its tokenizer. `window` is the most tokens of prompt and answer together, `stops` end an answer."""

    name: str
    model: Any
    tokenizer: Any
    window: int
    batch_tokens: int
    stops: frozenset[int]
    plain: PlainText
    prefix: Prefix | None  # None: the model's cache cannot be shared

    def answer(self, requests: Sequence[Request], closing: threading.Event) -> list[Outcome]:
        """One outcome per request, in their order; cut short, and of no use, once `closing` is set."""
        outcomes: dict[int, Outcome] = {}
        asked: list[Asked] = []
        for place, request in enumerate(requests):
            try:
                asked.append(self._asked(place, request))
            except RequestFailed as failure:
                outcomes[place] = failure
        for group in self._groups(asked):
            answered = self._answers(group, closing)
            outcomes |= zip((one.place for one in group), answered, strict=True)
        return [outcomes[place] for place in range(len(requests))]

    def _asked(self, place: int, request: Request) -> Asked:
        prompt = self.plain.ids(request.text) if request.text else self._chat(request.messages)
        check_fits(len(prompt), self.window)
        if (largest := max(prompt)) >= self.model.config.get_text_config().vocab_size:
            raise UserError(
                f"the tokenizer of {self.name} gives the token {largest}, which its model does not have",
                "is the tokenizer in this folder another model's?",
            )
        budget = min(request.sampling.max_tokens, self.window - len(prompt))
        return Asked(place, prompt, request.sampling, budget)

    def _chat(self, messages: Sequence[Message]) -> list[int]:
        if self.tokenizer.chat_template is None:
            raise no_chat_template(self.name)
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        try:
            tokens: list[int] = self.tokenizer.apply_chat_template(
                conversation, add_generation_prompt=True, return_dict=False
            )
        except TemplateError as error:
            raise refused_chat(self.name, str(error)) from error
        return tokens

    def _groups(self, asked: Sequence[Asked]) -> Iterator[list[Asked]]:
        """Neighbours in sorted order, as many as the memory allows; at least one."""
        group: list[Asked] = []
        for one in sorted(asked, key=lambda one: one.prompt):
            if group and not self._fits_memory([*group, one]):
                yield group
                group = []
            group.append(one)
        if group:
            yield group

    def _fits_memory(self, group: Sequence[Asked]) -> bool:
        width = max(len(one.prompt) for one in group)
        if self.prefix is None and width > CHUNK:  # a padded batch that is read at once needs a mask of width x width
            return False
        return (width + max(one.budget for one in group)) * len(group) <= self.batch_tokens

    def _answers(self, group: Sequence[Asked], closing: threading.Event) -> Sequence[Outcome]:
        try:
            return self._generate(group, closing)
        except torch.OutOfMemoryError as error:
            if self.prefix:
                self.prefix.forget()
            torch.cuda.empty_cache()
            return [RequestFailed("out of memory", str(error).partition("\n")[0])] * len(group)

    def _generate(self, group: Sequence[Asked], closing: threading.Event) -> list[Completion]:
        """All rows together."""
        prompts, budgets = [one.prompt for one in group], [one.budget for one in group]
        samplings = [one.sampling for one in group]
        cache, known = self.prefix.caches(prompts, max(budgets), closing) if self.prefix else (None, [0] * len(group))
        answers = decode(self.model, self.tokenizer, self.stops, prompts, samplings, budgets, cache, closing)
        return [self._completion(*each) for each in zip(group, answers, known, strict=True)]

    def _completion(self, asked: Asked, tokens: list[int], cached: int) -> Completion:
        end = next((place for place, token in enumerate(tokens) if token in self.stops), None)
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        before = cut(text, asked.sampling.stop)
        return Completion(
            text=text.rstrip("\ufffd") if before is None else before,  # half a letter at the end is none
            finish_reason="length" if end is None and before is None else "stop",
            prompt_tokens=len(asked.prompt),
            completion_tokens=len(tokens) if end is None else end + 1,
            cached_tokens=cached,
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_model_len` 0 takes the model's own window, which prompts may leave where `past_window` says so.

    `batch_tokens` 0 takes what the memory holds.
    """

    batch_tokens: int
    max_model_len: int = 0
    past_window: bool = False


def load(name: str, limits: Limits, dtype: str, *, chat: bool) -> ChatModel:
    """Load a checkpoint onto the best device there is, and say which; where chats are to come, one that takes them."""
    device = best_device()
    disable_progress_bar()
    set_verbosity_error()  # it warns of lengths that are checked here, and of padding as if it were text
    try:
        tokenizer = auto_tokenizer(name)
        if chat and tokenizer.chat_template is None:
            raise no_chat_template(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True, trust_remote_code=False)
        model.to(device)
        grouped.use(model)
    except (OSError, ValueError, SafetensorError) as error:
        raise unloadable(name, str(error).partition("\n")[0]) from error
    except torch.OutOfMemoryError as error:
        raise UserError(f"{name} does not fit into the memory of {device}", "choose a smaller model") from error
    logger.warning("transformers runs %s on %s in %s; vllm and http serve many times faster", name, device, model.dtype)
    stops = stop_tokens(model, tokenizer)
    model.generation_config = GenerationConfig()  # its own sampling defaults must not change what is asked
    return ChatModel(
        name,
        model.eval(),
        tokenizer,
        window(name, model, limits),
        limits.batch_tokens or batch_tokens(model),
        stops,
        PlainText(name),
        Prefix(model) if device == "cpu" and shareable(model) else None,  # on a GPU it takes longer: docs/gpu.md
    )


def best_device() -> str:
    """A CUDA GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's and those of the model's generation_config."""
    own = model.generation_config.eos_token_id
    stops = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id} - {None}
    if not stops:
        raise UserError(f"{model.name_or_path} names no token that ends an answer", "set eos_token_id in its config")
    return frozenset(stops)


def window(name: str, model: Any, limits: Limits) -> int:
    """The tokens that prompt and answer may take together."""
    config = model.config.get_text_config()
    longest: int = config.max_position_embeddings
    if limits.past_window:
        if not getattr(config, "rope_parameters", None):
            raise UserError(f"{name} has no places past its {longest} tokens", "only RoPE goes on past a window")
        return limits.max_model_len or UNBOUNDED
    if limits.max_model_len > longest:
        raise UserError(f"{name} reads {longest} tokens, not {limits.max_model_len}", "lower max_model_len")
    return limits.max_model_len or longest
