"""A limit on what a run may spend, around any engine.

Counted is what the engine reports of completed requests. What is under way when the limit is reached may finish, so up
to `concurrency` requests more can be paid for.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from longreach.engines.base import Completion, Engine, Request, RequestFailed
from longreach.errors import UserError


@dataclass(slots=True)
class Budget:
    """The limits (0: none), the prices in dollars per million tokens, and what was spent so far."""

    max_requests: int = 0
    max_tokens: int = 0  # prompt and completion together
    max_cost: float = 0.0
    price_in: float = 0.0
    price_out: float = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        if self.max_cost and not (self.price_in or self.price_out):
            raise UserError(
                "a limit on cost needs the price of tokens", "give the dollars per million tokens in and out"
            )

    @property
    def tokens(self) -> int:
        """All tokens so far."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> float:
        """Dollars so far."""
        return (self.prompt_tokens * self.price_in + self.completion_tokens * self.price_out) / 1e6

    def exhausted(self) -> str:
        """The limit that was reached, in words; empty while there is something left."""
        if self.max_requests and self.requests >= self.max_requests:
            return f"{self.max_requests:,} requests were made"
        if self.max_tokens and self.tokens >= self.max_tokens:
            return f"{self.tokens:,} of {self.max_tokens:,} tokens are spent"
        if self.max_cost and self.cost >= self.max_cost:
            return f"${self.cost:.2f} of ${self.max_cost:.2f} are spent"
        return ""

    def spend(self, completion: Completion) -> None:
        """Count a completion."""
        if (self.max_tokens or self.max_cost) and not completion.prompt_tokens:
            raise UserError(
                "the server does not say how many tokens a request took, so no limit on tokens or cost can be kept",
                "limit the number of requests instead",
            )
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens


class Budgeted:
    """An engine that refuses requests once its budget is spent."""

    def __init__(self, engine: Engine, budget: Budget) -> None:
        self.name = engine.name
        self.model = engine.model
        self.concurrency = engine.concurrency
        self.structured = engine.structured
        self._engine = engine
        self._budget = budget

    async def __aenter__(self) -> Self:
        await self._engine.__aenter__()
        self.model = self._engine.model  # some engines learn it from their server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engine.__aexit__(kind, error, trace)

    async def complete(self, request: Request) -> Completion:
        """The engine's completion; RequestFailed("budget") without asking it once the budget is spent."""
        reached = self._budget.exhausted()
        if reached:
            raise RequestFailed("budget", reached)
        self._budget.requests += 1
        completion = await self._engine.complete(request)
        self._budget.spend(completion)
        return completion
