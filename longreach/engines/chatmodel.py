"""A chat checkpoint in this process: loaded by transformers, answering a batch of requests at a time.

Safetensors only, and never code that comes with a model. Rows are padded on the left; each draws with its own
temperature and seed and ends at its own length. A request that does not fit fails alone, its batch is answered.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from longreach.engines.base import Completion, Message, Request, RequestFailed, Sampling
from longreach.engines.checkpoint import check_fits, no_chat_template, refused_chat
from longreach.errors import UserError, missing_extra, unloadable

try:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    from longreach.engines.draw import Draw
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise
    raise missing_extra(error.name, "--engine transformers", "transformers") from error

logger = logging.getLogger(__name__)

Outcome = Completion | RequestFailed
Asked = tuple[list[int], Sampling]  # a prompt's tokens, and how its answer is drawn


@dataclass(frozen=True)
class ChatModel:
    """A model with its tokenizer. `window` is the most tokens of prompt and answer together, `stops` end an answer."""

    name: str
    model: Any
    tokenizer: Any
    window: int
    stops: frozenset[int]

    def answer(self, requests: Sequence[Request], closing: threading.Event) -> list[Outcome]:
        """One outcome per request, in their order; cut short, and of no use, once `closing` is set."""
        prompts = [self._prompt(request.messages) for request in requests]
        asked = [
            (prompt, request.sampling)
            for prompt, request in zip(prompts, requests, strict=True)
            if not isinstance(prompt, RequestFailed)
        ]
        answered = iter(self._answers(asked, closing) if asked else [])
        return [prompt if isinstance(prompt, RequestFailed) else next(answered) for prompt in prompts]

    def _prompt(self, messages: Sequence[Message]) -> list[int] | RequestFailed:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        try:
            tokens: list[int] = self.tokenizer.apply_chat_template(
                conversation, add_generation_prompt=True, return_dict=False
            )
            check_fits(len(tokens), self.window)
        except TemplateError as error:
            raise refused_chat(self.name, str(error)) from error
        except RequestFailed as failure:
            return failure
        return tokens

    def _answers(self, asked: Sequence[Asked], closing: threading.Event) -> Sequence[Outcome]:
        budgets = [min(sampling.max_tokens, self.window - len(prompt)) for prompt, sampling in asked]
        try:
            rows = self._generate(asked, max(budgets), closing)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            return [RequestFailed("out of memory", str(error).partition("\n")[0])] * len(asked)
        return [
            self._completion(row[:budget], len(prompt))
            for row, budget, (prompt, _) in zip(rows, budgets, asked, strict=True)
        ]

    def _generate(self, asked: Sequence[Asked], longest: int, closing: threading.Event) -> list[list[int]]:
        """At most `longest` new tokens of each row, with padding behind those that ended early."""
        width = max(len(prompt) for prompt, _ in asked)
        padding = min(self.stops)
        device = self.model.device
        tokens = torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt, _ in asked], device=device)
        real = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt, _ in asked], device=device)
        rows = self.model.generate(
            tokens,
            attention_mask=real,
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=longest,
                eos_token_id=sorted(self.stops),
                pad_token_id=padding,
            ),
            logits_processor=[Draw([sampling for _, sampling in asked])],
            stopping_criteria=[lambda ids, _: torch.full((len(ids),), closing.is_set(), device=device)],
        )
        new: list[list[int]] = rows[:, width:].tolist()
        return new

    def _completion(self, tokens: list[int], prompt_tokens: int) -> Completion:
        end = next((place for place, token in enumerate(tokens) if token in self.stops), None)
        return Completion(
            text=self.tokenizer.decode(tokens[:end], skip_special_tokens=True),
            finish_reason="length" if end is None else "stop",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(tokens) if end is None else end + 1,
        )


def load(name: str, max_model_len: int, dtype: str) -> ChatModel:
    """Load a checkpoint onto the best device there is, and say which."""
    device = best_device()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        if tokenizer.chat_template is None:
            raise no_chat_template(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True, trust_remote_code=False)
        model.to(device)
    except (OSError, ValueError) as error:
        raise unloadable(name, str(error).partition("\n")[0]) from error
    except torch.OutOfMemoryError as error:
        raise UserError(f"{name} does not fit into the memory of {device}", "choose a smaller model") from error
    logger.warning("transformers runs %s on %s in %s; vllm and http serve many times faster", name, device, model.dtype)
    stops = stop_tokens(model, tokenizer)
    model.generation_config = GenerationConfig()  # its own sampling defaults must not change what is asked
    return ChatModel(name, model.eval(), tokenizer, window(name, model, max_model_len), stops)


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


def window(name: str, model: Any, max_model_len: int) -> int:
    """The tokens that prompt and answer may take together."""
    longest: int = model.config.get_text_config().max_position_embeddings
    if max_model_len > longest:
        raise UserError(f"{name} reads {longest} tokens, not {max_model_len}", "lower max_model_len")
    return max_model_len or longest
