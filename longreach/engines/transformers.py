"""Hugging Face transformers on this machine, GPU or not: for trying things out where vLLM does not run.

What waits when the model becomes free is answered together, up to `batch` requests, or fewer at a time where
`batch_tokens` (rows times their padded length; 0: by the memory) would be exceeded. The model lives in one worker
thread. Prompts that begin alike are read once, if they come one after another. No schema is enforced, and nothing joins
a batch that is under way, so a large run takes many times what vLLM or a server needs.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from longreach.engines.base import Completion, Request, RequestFailed
from longreach.engines.chatmodel import ChatModel, Limits, Outcome, load


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that are answered together; `outcomes` gives one each, in their order."""

    requests: list[Request]
    outcomes: asyncio.Task[list[Outcome]]


class TransformersEngine:
    """Completes requests by a model that it loads on entry. `max_model_len` 0 takes the model's own window.

    With `past_window` prompts may be longer than that: RoPE goes on. Without `chat` a base model is taken as well.
    """

    name = "transformers"
    structured = False

    def __init__(
        self,
        model: str,
        *,
        batch: int = 4,
        batch_tokens: int = 0,
        max_model_len: int = 0,
        dtype: str = "auto",
        past_window: bool = False,
        chat: bool = True,
    ) -> None:
        self.model = model
        self.concurrency = 2 * batch  # while one batch is answered the next one gathers
        self._batch_size = batch
        self._limits = Limits(batch_tokens, max_model_len, past_window)
        self._dtype = dtype
        self._chat = chat
        self._gathering: Batch | None = None
        self._batches: set[asyncio.Task[list[Outcome]]] = set()
        self._closing = threading.Event()

    async def __aenter__(self) -> Self:
        """Load the model onto the best device there is."""
        self._worker = ThreadPoolExecutor(1, "transformers")
        self._model_is_free = asyncio.Lock()
        loading = self._worker.submit(load, self.model, self._limits, self._dtype, chat=self._chat)
        try:
            self._chat_model: ChatModel = await asyncio.wrap_future(loading)
        except BaseException:
            self._worker.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is under way; the thread ends at its next token."""
        self._closing.set()
        for outcomes in self._batches:
            outcomes.cancel()
        self._worker.shutdown()

    async def complete(self, request: Request) -> Completion:
        """Answer one request, together with those that wait at the same time."""
        batch = self._gathering or self._new_batch()
        place = len(batch.requests)
        batch.requests.append(request)
        if len(batch.requests) == self._batch_size:
            self._gathering = None
        outcome = (await asyncio.shield(batch.outcomes))[place]
        if isinstance(outcome, RequestFailed):
            raise outcome
        return outcome

    def _new_batch(self) -> Batch:
        requests: list[Request] = []
        outcomes = asyncio.create_task(self._answer(requests))
        self._batches.add(outcomes)
        outcomes.add_done_callback(self._batches.discard)
        self._gathering = Batch(requests, outcomes)
        return self._gathering

    async def _answer(self, requests: list[Request]) -> list[Outcome]:
        """Wait for the model while more requests join, then answer them all."""
        async with self._model_is_free:
            if self._gathering is not None and self._gathering.requests is requests:
                self._gathering = None
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._chat_model.answer, requests, self._closing)
