"""The vLLM engine on a tiny random Llama, checked against `generate` of transformers. Most tests share one engine."""

import asyncio
import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pytest

from longreach.engines.base import Completion, Message, Request, RequestFailed, Sampling
from longreach.errors import UserError
from tinyllama import make_tiny_llama

os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.importorskip("vllm")
transformers = pytest.importorskip("transformers")
VllmEngine: Any = importlib.import_module("longreach.engines.vllm").VllmEngine

pytestmark = pytest.mark.vllm

WINDOW = 1024
SMALL = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 26}
STOPS_ON = "lo mi"  # the prompt whose sixth token is made one that ends an answer


@dataclass(frozen=True)
class Reference:
    """The checkpoint as transformers alone runs it."""

    folder: Path

    @cached_property
    def tokenizer(self) -> Any:
        return transformers.AutoTokenizer.from_pretrained(self.folder)

    @cached_property
    def model(self) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(self.folder)

    def tokens(self, text: str, max_tokens: int) -> list[int]:
        prompt = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        answer = self.model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False)
        return answer[0, prompt["input_ids"].shape[1] :].tolist()

    def text(self, text: str, max_tokens: int) -> str:
        """The answer without bytes at its end that are no whole character: vLLM leaves those out."""
        return self.tokenizer.decode(self.tokens(text, max_tokens), skip_special_tokens=True).rstrip("\ufffd")


@dataclass(frozen=True)
class Running:
    """A started engine and the event loop that it lives in."""

    engine: Any
    loop: asyncio.Runner
    stack: AsyncExitStack

    def outcomes(self, *requests: Request) -> list[Any]:
        async def run() -> list[Any]:
            return await asyncio.gather(*map(self.engine.complete, requests), return_exceptions=True)

        return self.loop.run(run())

    def answer(self, request: Request) -> Completion:
        return self.loop.run(self.engine.complete(request))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose generation_config names a second token that ends an answer."""
    folder = make_tiny_llama(tmp_path_factory.mktemp("tiny"), window=WINDOW)
    path = folder / "generation_config.json"
    stops = [2, Reference(folder).tokens(STOPS_ON, 6)[5]]
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"eos_token_id": stops}))
    return folder


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    return Reference(checkpoint)


@pytest.fixture(scope="module")
def running(checkpoint: Path) -> Iterator[Running]:
    with asyncio.Runner() as loop:
        stack = AsyncExitStack()
        engine = VllmEngine(str(checkpoint), dtype="float32", engine_args=SMALL)
        loop.run(stack.enter_async_context(engine))
        yield Running(engine, loop, stack)
        loop.run(stack.aclose())


def ask(text: str, max_tokens: int = 12, temperature: float = 0.0, seed: int = 0) -> Request:
    return Request((Message("user", text),), Sampling(max_tokens, temperature, seed=seed))


def start(model: str, **options: Any) -> None:
    async def run() -> None:
        async with VllmEngine(model, dtype="float32", **options):
            raise AssertionError("it started")

    asyncio.run(run())


def test_many_concurrent_requests_each_get_what_generate_gives_one_by_one(
    running: Running, reference: Reference
) -> None:
    asked = [(f"ka {'lo mi ter ' * (number % 7)}{number}", 1 + number % 9) for number in range(60)]
    got = running.outcomes(*(ask(text, length) for text, length in asked))
    assert [completion.text for completion in got] == [reference.text(text, length) for text, length in asked]


def test_an_answer_stops_at_a_token_that_generation_config_names(running: Running, reference: Reference) -> None:
    got = running.answer(ask(STOPS_ON, 50))
    assert (got.text, got.finish_reason) == (reference.text(STOPS_ON, 50), "stop")
    assert got.completion_tokens <= 6


def test_the_token_limit_cuts_an_answer_short(running: Running) -> None:
    got = running.answer(ask(STOPS_ON, 3))
    assert (got.finish_reason, got.completion_tokens) == ("length", 3)


def test_a_prompt_that_does_not_fit_fails_alone(running: Running, reference: Reference) -> None:
    good, long, last = running.outcomes(ask("ka"), ask("ka lo mi " * 2000), ask("ter"))
    assert isinstance(long, RequestFailed) and long.reason == "prompt too long"
    assert [good.text, last.text] == [reference.text("ka", 12), reference.text("ter", 12)]


def test_the_window_cuts_an_answer_short(running: Running) -> None:
    got = running.answer(ask("ka" + " lo mi ter" * 335, 500))
    assert got.finish_reason == "length"
    assert got.prompt_tokens < got.prompt_tokens + got.completion_tokens == WINDOW


def test_a_schema_is_obeyed(running: Running) -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["short", "long"]},
            "words": {"type": "array", "items": {"type": "string", "maxLength": 6}, "minItems": 2, "maxItems": 3},
            "score": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["kind", "words", "score"],
        "additionalProperties": False,
    }
    requests = [replace(ask(f"ka {seed}", 300, 1.0, seed), schema=schema) for seed in range(5)]
    for got in running.outcomes(*requests):
        value = json.loads(got.text, strict=False)
        assert set(value) == {"kind", "words", "score"}
        assert value["kind"] in ("short", "long") and 2 <= len(value["words"]) <= 3 and 1 <= value["score"] <= 9


def test_a_schema_is_left_out_where_it_is_not_wanted(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.engine, "structured", False)
    assert running.answer(replace(ask("ka"), schema={"type": "boolean"})) == running.answer(ask("ka"))


def test_a_schema_that_vllm_refuses_fails_its_request_alone(running: Running, reference: Reference) -> None:
    refused, good = running.outcomes(replace(ask("ka"), schema={"type": "integer", "multipleOf": 3}), ask("ka"))
    assert isinstance(refused, RequestFailed) and refused.reason == "refused by vllm"
    assert good.text == reference.text("ka", 12)


def test_a_seed_repeats_its_answer(running: Running) -> None:
    requests = [ask("ka", 12, 1.0, seed) for seed in range(6)]
    first, second = running.outcomes(*requests), [running.answer(request) for request in reversed(requests)]
    assert [got.text for got in first] == [got.text for got in reversed(second)]
    assert len({got.text for got in first}) == 6


def test_questions_on_one_document_share_its_prefix(running: Running) -> None:
    document = "shu reba vonough " * 200
    running.answer(ask(f"{document} ka?"))
    got = running.answer(ask(f"{document} lo?"))
    assert got.prompt_tokens - 160 < got.cached_tokens < got.prompt_tokens


def test_a_cancelled_request_leaves_the_others_alone(running: Running, reference: Reference) -> None:
    async def run() -> list[Any]:
        pending = [asyncio.create_task(running.engine.complete(ask(f"ka {number}", 300))) for number in range(20)]
        await asyncio.sleep(0.2)
        for task in pending[1:]:
            task.cancel()
        return await asyncio.gather(*pending, return_exceptions=True)

    first, *others = running.loop.run(run())
    assert first.text == reference.text("ka 0", 300)
    assert any(isinstance(outcome, asyncio.CancelledError) for outcome in others)
    assert running.answer(ask("ter")).text == reference.text("ter", 12)


def test_closing_cancels_what_is_under_way_and_leaves_nothing_running(running: Running) -> None:
    """Ends the shared engine: what comes after starts its own, or none."""

    async def run() -> list[Any]:
        pending = [asyncio.create_task(running.engine.complete(ask(f"ka {number}", 900))) for number in range(100)]
        await asyncio.sleep(0.3)
        await running.stack.aclose()
        return await asyncio.gather(*pending, return_exceptions=True)

    outcomes = running.loop.run(run())
    assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert all(isinstance(outcome, asyncio.CancelledError | Completion) for outcome in outcomes)
    for child in multiprocessing.active_children():  # killed where the machine was too busy for it to end by itself
        child.join(30)
    assert not multiprocessing.active_children()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("render")]


def test_the_death_of_the_engine_process_is_an_error_and_no_wait(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        async with VllmEngine(str(checkpoint), dtype="float32", engine_args=SMALL) as engine:
            pending = [asyncio.create_task(engine.complete(ask(f"ka {number}", 900))) for number in range(100)]
            await asyncio.sleep(0.3)
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)
            return await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 60)

    outcomes = asyncio.run(run())
    assert any(isinstance(outcome, UserError) for outcome in outcomes)
    assert all(isinstance(outcome, UserError | Completion) for outcome in outcomes)


def test_a_base_model_is_refused(tmp_path: Path) -> None:
    make_tiny_llama(tmp_path / "base", window=WINDOW, chat_template=None)
    with pytest.raises(UserError, match="no chat template"):
        start(str(tmp_path / "base"))


def test_a_base_model_goes_on_with_text_and_refuses_chats(tmp_path: Path, reference: Reference) -> None:
    make_tiny_llama(tmp_path / "base", window=WINDOW, chat_template=None)

    async def run() -> list[Any]:
        async with VllmEngine(str(tmp_path / "base"), dtype="float32", chat=False, engine_args=SMALL) as engine:
            asked = (Request((), Sampling(8), text="ka lo"), ask("ka"))
            return await asyncio.gather(*map(engine.complete, asked), return_exceptions=True)

    text, chat = asyncio.run(run())
    prompt = reference.tokenizer("ka lo", return_tensors="pt")
    tokens = reference.model.generate(**prompt, max_new_tokens=8, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert text.text == reference.tokenizer.decode(tokens, skip_special_tokens=True).rstrip("\ufffd")
    assert isinstance(chat, UserError) and "no chat template" in str(chat)


def test_a_template_that_raises_is_the_users_to_mend(tmp_path: Path) -> None:
    make_tiny_llama(tmp_path / "picky", window=WINDOW, chat_template="{{ raise_exception('no user role here') }}")
    with pytest.raises(UserError, match="no user role here"):
        start(str(tmp_path / "picky"))


@pytest.mark.parametrize("model", ["/nowhere/at/all", "nobody/nothing"])
def test_a_model_that_is_nowhere_is_one_clear_error(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="neither a folder here nor") as caught:
        start(model)
    assert "\n" not in caught.value.problem


def test_a_window_longer_than_the_models_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="max_model_len"):
        start(str(checkpoint), max_model_len=2 * WINDOW)


def test_an_unknown_engine_argument_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean enforce_eager"):
        VllmEngine("m", engine_args={"enforce_eagr": True})


def test_code_that_comes_with_a_model_cannot_be_allowed() -> None:
    with pytest.raises(UserError, match="trust_remote_code"):
        VllmEngine("m", engine_args={"trust_remote_code": True})


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, "longreach.engines.vllm")
    with pytest.raises(UserError, match=r"pip install 'longreach\[vllm\]'"):
        importlib.import_module("longreach.engines.vllm")
