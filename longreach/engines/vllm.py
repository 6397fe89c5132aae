"""vLLM on the GPUs of this machine: the engine for large runs.

The model runs in a process of its own, behind vLLM's asyncio front: the GPU never waits for what this process does
meanwhile, one refused request harms no other, and the death of that process is noticed rather than waited for. It costs
some ten seconds more at start than a model in this process, and a script of yours needs `if __name__ == "__main__":`,
since that process may import it again. Templates are filled in and tokenized by a few threads, ahead of the model.

vLLM's log goes to stderr from warnings up and its usage report stays off, unless the environment says otherwise.
"""

import asyncio
import difflib
import itertools
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Self

from longreach.engines.base import Completion, Message, Request, RequestFailed, RequestRefused
from longreach.engines.checkpoint import check_fits, no_chat_template, refused_chat
from longreach.engines.plaintext import PlainText
from longreach.errors import UserError, missing_extra, unloadable

os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # vLLM reads these when it is first imported
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

try:
    from pydantic import ValidationError
    from vllm import AsyncEngineArgs, RequestOutput, SamplingParams
    from vllm.config import StructuredOutputsConfig, VllmConfig
    from vllm.exceptions import VLLMClientError
    from vllm.inputs import EngineInput, tokens_input
    from vllm.platforms import current_platform
    from vllm.renderers import BaseRenderer, ChatParams, renderer_from_config
    from vllm.renderers.chat_utils import ChatTemplateResolutionError
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.exceptions import EngineDeadError
except ModuleNotFoundError as error:
    if error.name != "vllm":
        raise
    raise missing_extra("vllm", "--engine vllm", "vllm") from error

logger = logging.getLogger(__name__)

RENDER_THREADS = 4  # one tokenizes some 2 MB of text a second, which a fast GPU with a warm prefix cache outruns
LONGEST_THAT_FITS = -1  # vLLM's word for a window as long as the model and the memory allow
CHAT = ChatParams(chat_template_kwargs={"add_generation_prompt": True, "tokenize": True})
PROBE = (Message("user", "?"),)
SEE_ABOVE = "vLLM's own message stands above; where memory is short, lower max_model_len or change gpu_memory"


class VllmEngine:
    """Completes requests by a vLLM engine that it starts on entry and stops on exit.

    `max_model_len` 0 takes the longest window that fits. `engine_args` are further arguments of vLLM's AsyncEngineArgs
    by name, from `quantization` to `kv_cache_memory_bytes`; they win over what is chosen here. Without `chat` a base
    model is taken as well.
    """

    name = "vllm"

    def __init__(
        self,
        model: str,
        *,
        concurrency: int = 256,
        max_model_len: int = 0,
        structured: bool = True,
        tensor_parallel: int = 1,
        gpu_memory: float = 0.9,
        dtype: str = "auto",
        chat: bool = True,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.concurrency = concurrency
        self.structured = structured
        chosen = {
            "model": model,
            "max_model_len": max_model_len or LONGEST_THAT_FITS,
            "tensor_parallel_size": tensor_parallel,
            "gpu_memory_utilization": gpu_memory,
            "dtype": dtype,
            "load_format": "safetensors",
            "language_model_only": True,
            "enable_prefix_caching": True,
            "structured_outputs_config": StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
            "renderer_num_workers": RENDER_THREADS,
        }
        if current_platform.is_cpu():
            # vLLM sets a seeded request's random generator back after a chunk of its prompt; a CPU's cannot be set back
            chosen["enable_chunked_prefill"] = False
        self._arguments = chosen | checked_arguments(engine_args or {})
        self._chat = chat
        self._names = itertools.count()
        self._pending: set[asyncio.Task[Completion]] = set()

    async def __aenter__(self) -> Self:
        """Check what can be checked at once, then start the engine; this takes seconds to minutes."""
        config = self._config()
        if self._chat:
            check_chat_template(config, self.model)
        self._plain = PlainText(config.model_config.tokenizer)
        longest: int = config.model_config.max_model_len
        try:
            self._llm = AsyncLLM.from_vllm_config(config, usage_context=UsageContext.LLM_CLASS, disable_log_stats=True)
        except RuntimeError as error:
            if being_cancelled():  # Ctrl-C ended the engine's process as well
                raise asyncio.CancelledError from error
            if "initialization failed" not in str(error):
                raise
            raise UserError(f"vLLM could not start {self.model}", SEE_ABOVE) from error
        self._window: int = config.model_config.max_model_len  # the engine has lowered it where memory is short
        if self._window < longest:
            logger.warning("memory allows %s a window of %d of its %d tokens", self.model, self._window, longest)
        self._render_threads = ThreadPoolExecutor(RENDER_THREADS, "render")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is under way, so that nobody waits for an engine that is gone, and stop the engine."""
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        self._render_threads.shutdown(cancel_futures=True)
        self._llm.shutdown()
        del self._llm  # its finalizer fails, aloud, in an interpreter that is ending

    async def complete(self, request: Request) -> Completion:
        """Answer one request."""
        task = asyncio.create_task(self._answer(request))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return await task

    async def reset_prefix_cache(self) -> None:
        """Forget every cached prefix; a benchmark does this between its rounds."""
        await self._llm.reset_prefix_cache()

    def _config(self) -> VllmConfig:
        try:
            return AsyncEngineArgs(**self._arguments).create_engine_config(UsageContext.LLM_CLASS)
        except ValidationError as error:
            raise unloadable(self.model, error.errors()[0]["msg"].removeprefix("Value error, ")) from error
        except (OSError, ValueError) as error:
            raise unloadable(self.model, str(error).partition("\n")[0]) from error

    async def _answer(self, request: Request) -> Completion:
        loop = asyncio.get_running_loop()
        prompt = await loop.run_in_executor(self._render_threads, self._render, request)
        check_fits(len(prompt["prompt_token_ids"]), self._window)
        return completion(await self._generate(prompt, self._sampling(request)))

    def _render(self, request: Request) -> EngineInput:
        if request.text:
            return tokens_input(self._plain.ids(request.text))
        try:
            return rendered(self._llm.renderer, request.messages)
        except ChatTemplateResolutionError as error:
            raise no_chat_template(self.model) from error
        except VLLMClientError as error:
            raise refused_chat(self.model, str(error)) from error

    async def _generate(self, prompt: EngineInput, sampling: SamplingParams) -> RequestOutput:
        try:
            async for output in self._llm.generate(prompt, sampling, str(next(self._names))):
                final = output
        except VLLMClientError as error:
            raise RequestRefused("refused by vllm", str(error)) from error
        except EngineDeadError as error:
            raise UserError("vLLM's engine process ended in the middle of the run", SEE_ABOVE) from error
        return final

    def _sampling(self, request: Request) -> SamplingParams:
        asked = request.sampling
        constrained = self.structured and request.schema is not None
        return SamplingParams(
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            top_p=asked.top_p,
            stop=list(asked.stop),
            seed=asked.seed if asked.temperature > 0 else None,  # a generator per request costs time: only where drawn
            structured_outputs=StructuredOutputsParams(json=request.schema) if constrained else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def checked_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The user's own engine arguments, if vLLM knows them all and none runs code that a model brings along."""
    known = {field.name for field in fields(AsyncEngineArgs)}
    for name in arguments:
        if name == "trust_remote_code":
            raise UserError("trust_remote_code is not allowed: it would run code that comes with the model")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise UserError(f"vLLM has no engine argument {name}", f"did you mean {close[0]}?" if close else "")
    return dict(arguments)


def check_chat_template(config: VllmConfig, model: str) -> None:
    """Raise UserError for a base model before its weights are loaded."""
    renderer = renderer_from_config(config)
    try:
        rendered(renderer, PROBE)
    except ChatTemplateResolutionError as error:
        raise no_chat_template(model) from error
    except VLLMClientError as error:
        raise refused_chat(model, str(error)) from error
    finally:
        renderer.shutdown()


def rendered(renderer: BaseRenderer, messages: tuple[Message, ...]) -> EngineInput:
    """The prompt of a chat as token ids, of any length: whether it fits is checked, and said, per request."""
    conversation = [{"role": message.role, "content": message.content} for message in messages]
    any_length = replace(renderer.default_chat_tok_params, max_total_tokens=None, add_special_tokens=False)
    _, (prompt,) = renderer.render_chat([conversation], CHAT, any_length)
    return prompt


def being_cancelled() -> bool:
    """Whether somebody has asked the running task to stop."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def completion(output: RequestOutput) -> Completion:
    """What vLLM gave back as ours; an answer it broke off is a failure of this request."""
    (answer,) = output.outputs
    if answer.finish_reason not in ("stop", "length"):
        raise RequestFailed(f"vllm: {answer.finish_reason}")
    return Completion(
        text=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(answer.token_ids),
        cached_tokens=output.num_cached_tokens or 0,
    )
