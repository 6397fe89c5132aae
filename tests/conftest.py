"""What many tests share: a scripted engine, the shipped tokenizer and prompts, units of a small document."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from longreach.engines.base import Completion, Ready, Request
from longreach.text.document import Document
from longreach.text.tokenize import Tokenizer, load_tokenizer
from selfinstruct.config import GenerateSettings
from selfinstruct.plan import Plan, Unit
from selfinstruct.prompts import Prompts, load_prompts

quiet = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("suite", max_examples=60, derandomize=True, **quiet)
settings.register_profile("wide", max_examples=2_000, **quiet)  # pytest --hypothesis-profile=wide
settings.load_profile("suite")

Answer = str | Completion | BaseException


class ScriptedEngine(Ready):
    """An Engine that answers from a queue, or by a function of the request; an exception among them is raised."""

    name = "scripted"
    model = "script"
    structured = False

    def __init__(
        self,
        answers: Sequence[Answer] | Callable[[Request], Answer | Awaitable[Answer]],
        concurrency: int = 4,
    ) -> None:
        self.concurrency = concurrency
        self.asked: list[Request] = []
        self.at_once = self.most_at_once = 0
        self._answers = answers

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            answer = self._answers(request) if callable(self._answers) else self._answers[len(self.asked) - 1]
            answer = await answer if inspect.isawaitable(answer) else answer
        finally:
            self.at_once -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Completion) else Completion(answer)


@pytest.fixture(scope="session")
def scripted() -> type[ScriptedEngine]:
    return ScriptedEngine


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return load_tokenizer("")


@pytest.fixture(scope="session")
def prompts() -> Prompts:
    return load_prompts()


def harbour(sections: int) -> str:
    """A document of numbered sections in which no two sentences are alike."""
    return "\n\n".join(
        f"{number}. The harbour of Orvane, section {number}\n\n"
        f"The pier of basin {number} stands on {number * 7 + 3} oak piles. It was finished by Master Farraday in the "
        f"year {1700 + number}. Barges of up to {number * 11 + 20} tonnes may lie there, since the clay below was "
        f"dredged to a depth of {number + 4} metres."
        for number in range(1, sections + 1)
    )


@pytest.fixture(scope="session")
def text() -> str:
    """About 6,000 characters."""
    return harbour(24)


@pytest.fixture(scope="session")
def plan_of(tokenizer: Tokenizer) -> Callable[..., tuple[Plan, list[Any]]]:
    """plan_of(text or documents, **settings) -> the plan and all its units."""

    def draw(source: str | Iterator[Any] | Sequence[Any], **given: Any) -> tuple[Plan, list[Any]]:
        plan = Plan(GenerateSettings(docs=("docs",), **given), tokenizer)
        items = [Document("harbour.txt", "harbour.txt", source)] if isinstance(source, str) else source
        return plan, list(plan.units(items))

    return draw


@pytest.fixture(scope="session")
def units_of(plan_of: Callable[..., tuple[Plan, list[Any]]]) -> Callable[..., list[Unit]]:
    """units_of(text or documents, **settings) -> its units."""
    return lambda source, **given: plan_of(source, **given)[1]
