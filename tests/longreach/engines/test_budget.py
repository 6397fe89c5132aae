"""A budget around an engine: what is counted, and that nothing is asked once it is spent."""

import asyncio
from types import TracebackType
from typing import Self

import pytest

from longreach.engines.base import Completion, Message, Request, RequestFailed, Sampling
from longreach.engines.budget import Budget, Budgeted
from longreach.errors import UserError

ASKED = Request((Message("user", "hello"),), Sampling(16))


class Scripted:
    """An engine that learns its model when entered and answers everything with the same completion."""

    name = "scripted"
    concurrency = 3
    structured = True

    def __init__(self, completion: Completion) -> None:
        self.model = ""
        self.asked = 0
        self.left = False
        self._completion = completion

    async def __aenter__(self) -> Self:
        self.model = "learnt"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left = True

    async def complete(self, request: Request) -> Completion:
        self.asked += 1
        await asyncio.sleep(0)
        if not self._completion.text:
            raise RequestFailed("timeout")
        return self._completion


def spent(budget: Budget, completion: Completion, times: int) -> tuple[int, list[str]]:
    """How many requests of so many in a row reach the engine, and why the others do not."""

    async def story() -> tuple[int, list[str]]:
        engine = Scripted(completion)
        reasons = []
        async with Budgeted(engine, budget) as budgeted:
            for _ in range(times):
                try:
                    await budgeted.complete(ASKED)
                except RequestFailed as error:
                    reasons.append(error.reason)
        return engine.asked, reasons

    return asyncio.run(story())


ANSWER = Completion("hi", prompt_tokens=900, completion_tokens=100)


def test_without_limits_everything_is_asked_and_counted() -> None:
    budget = Budget(price_in=2.0, price_out=10.0)
    assert spent(budget, ANSWER, 5) == (5, [])
    assert (budget.requests, budget.tokens) == (5, 5000)
    assert budget.cost == pytest.approx(5 * (900 * 2 + 100 * 10) / 1e6)


@pytest.mark.parametrize(
    "budget",
    [
        Budget(max_requests=3),
        Budget(max_tokens=2001),
        Budget(max_tokens=3000),
        Budget(max_cost=0.0084, price_in=2.0, price_out=10.0),
        Budget(max_cost=0.00025, price_out=1.0),
    ],
)
def test_once_a_limit_is_reached_nothing_more_is_asked(budget: Budget) -> None:
    assert spent(budget, ANSWER, 5) == (3, ["budget", "budget"])


def test_a_request_that_failed_counts_as_made() -> None:
    assert spent(Budget(max_requests=2), Completion(""), 3) == (2, ["timeout", "timeout", "budget"])


def test_requests_made_at_once_do_not_exceed_their_number() -> None:
    async def story() -> int:
        engine = Scripted(ANSWER)
        async with Budgeted(engine, Budget(max_requests=4)) as budgeted:
            await asyncio.gather(*(budgeted.complete(ASKED) for _ in range(9)), return_exceptions=True)
        return engine.asked

    assert asyncio.run(story()) == 4


def test_a_limit_that_cannot_be_kept_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="price"):
        Budget(max_cost=5.0)
    with pytest.raises(UserError, match="how many tokens"):
        spent(Budget(max_tokens=100), Completion("hi"), 1)
    assert spent(Budget(max_requests=5), Completion("hi"), 1) == (1, [])


def test_it_stands_for_the_engine_that_it_holds() -> None:
    async def story() -> None:
        engine = Scripted(ANSWER)
        async with Budgeted(engine, Budget()) as budgeted:
            assert (budgeted.name, budgeted.model) == ("scripted", "learnt")
            assert (budgeted.concurrency, budgeted.structured) == (3, True)
        assert engine.left

    asyncio.run(story())
