"""The harness's own models, as this command opens them: a checkpoint, and servers of either protocol."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, GenerationConfig

from evaluation.config import HarnessSettings
from evaluation.harness.model import describe, tokenizer_name
from evaluation.harness.plan import Model
from evaluation.results import Results
from faultserver import HANG_UP, Act, FaultServer, Plan, always, answering, raw, status
from longreach.errors import Unfinished, UserError
from tinyllama import make_tiny_llama

Measure = Callable[..., Results]
ONCE = '{"max_retries": 1}'


def settings(model: Path | str, **given: Any) -> HarnessSettings:
    """Those of a model."""
    return HarnessSettings(model=str(model), suite=("short",), out="out", **given)


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose tokenizer begins a text with a token of its own, as Llama's does; it repeats nothing."""
    folder = make_tiny_llama(tmp_path_factory.mktemp("bos"), window=800, chat_template=None)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = [(tokenizer.bos_token, tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{tokenizer.bos_token} $A", special_tokens=special
    )
    tokenizer.save_pretrained(folder)
    GenerationConfig(repetition_penalty=9.0, eos_token_id=tokenizer.eos_token_id).save_pretrained(folder)
    return folder


# A checkpoint


def test_what_is_told_of_a_checkpoint(tiny: Path, beginning: Path) -> None:
    assert describe(settings(tiny)) == Model(4096, chat=False, tells=True)
    assert describe(settings(tiny, style="auto")) == Model(4096, chat=True, tells=True)
    assert describe(settings(beginning, style="auto")) == Model(800, chat=False, tells=True)
    with pytest.raises(UserError, match="has no chat template"):
        describe(settings(beginning, style="chat"))


def test_cut_prompts_keep_the_token_that_begins_a_text(
    beginning: Path, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin: int = AutoTokenizer.from_pretrained(beginning).bos_token_id
    seen: list[tuple[list[int], int]] = []
    generate, call = HFLM._model_generate, HFLM._model_call

    def generates(self: Any, context: Any, max_length: int, **options: Any) -> Any:
        assert self.model.generation_config.repetition_penalty in (None, 1.0)  # its own are not kept
        seen.append((context[0].tolist(), max_length))
        return generate(self, context=context, max_length=context.shape[1] + 1, **options)

    def calls(self: Any, inps: Any, **options: Any) -> Any:
        seen.append((inps[0].tolist(), 0))
        return call(self, inps, **options)

    monkeypatch.setattr(HFLM, "_model_generate", generates)
    monkeypatch.setattr(HFLM, "_model_call", calls)
    results = measure("gsm8k", "mmlu", "longreach_leval_tpo", "scrolls_quality", model=str(beginning), samples=1)
    assert results.further["tasks"]["gsm8k"]["cut_prompts"] == 1
    assert all(ids[0] == begin and begin not in ids[1:] for ids, _ in seen)
    assert all(len(ids) <= 800 and longest <= 800 for ids, longest in seen)
    longest_prompts = [len(ids) for ids, longest in seen if longest]
    assert longest_prompts[0] >= 800 - 256 - 3  # gsm8k's, cut to what there is room for


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine_args": '{"nonsense": 1}'}, "cannot load .*nonsense"),
        ({"engine_args": "{"}, "--engine-args is no JSON"),
        ({"engine": "vllm"}, "--engine vllm needs vllm"),
    ],
)
def test_a_model_that_cannot_be_opened(
    measure: Measure, given: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.models.vllm_causallms", None)  # as where there is no vLLM
    with pytest.raises(UserError, match=said):
        measure("nq_open", samples=1, **given)


# A server


class Telling(FaultServer):
    """Tells, as vLLM does, how likely each token of a prompt is: the higher its id, the likelier."""

    silent = False  # without likelihoods

    def act_on(self, path: bytes, headers: dict[str, str], body: bytes) -> tuple[Act, bytes]:
        """Likelihoods where they are asked for."""
        asked = orjson.loads(body) if body else {}
        if not asked.get("echo") or self.silent:
            return super().act_on(path, headers, body)
        self.prompts.append(asked["prompt"])
        return raw(orjson.dumps({"choices": [self._choice(n, ids) for n, ids in enumerate(asked["prompt"])]})), b""

    def _choice(self, number: int, ids: list[int]) -> dict[str, Any]:
        logprobs = [None, *(each / 1000 - 10 for each in ids[1:]), -1.0]
        return {
            "index": number,
            "text": "",
            "logprobs": {"token_logprobs": logprobs, "top_logprobs": [{"x": 0.0}] * len(logprobs)},
        }

    def __post_init__(self) -> None:
        super().__post_init__()
        self.prompts: list[list[list[int]]] = []


@pytest.fixture
def serve(server_of: Callable[..., Any]) -> Callable[..., Telling]:
    """serve(answer, plan=...) -> a running server."""

    def start(answer: Callable[[dict[str, Any]], str], plan: Plan = answering, key: str = "") -> Any:
        return server_of(answer, Telling, plan=plan, key=key)

    return start


Serve = Callable[..., Telling]


def test_what_is_told_of_a_server(tiny: Path) -> None:
    url = "http://127.0.0.1:1/v1"
    assert describe(settings("m", base_url=url)) == Model(0, chat=False, tells=False)
    assert describe(settings("m", base_url=url, tokenizer=str(tiny))) == Model(0, chat=False, tells=True)
    assert describe(settings("m", base_url=url, style="chat", tokenizer=str(tiny))) == Model(0, chat=True, tells=False)
    assert tokenizer_name(settings("m", base_url=url)) == ""
    assert tokenizer_name(settings(tiny, base_url=url)) == str(tiny)


def test_a_chat_server(serve: Serve, measure: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEY", "sesame")
    server = serve(lambda asked: "Josef 0" if "wheel 0" in asked["messages"][-1]["content"] else "nobody", key="sesame")
    results = measure("nq_open", "arc_easy", model="tiny", base_url=f"{server.url}/", style="chat", api_key_env="KEY")
    (score,) = results.scores
    assert (score.task, score.value) == ("nq_open", 50)
    assert "likelihoods" in results.further["cannot_run"]["arc_easy"]
    asked = next(seen.asked for seen in server.seen if "wheel 0" in seen.asked["messages"][-1]["content"])
    assert [message["role"] for message in asked["messages"]] == ["system", *["user", "assistant"] * 5, "user"]
    prompt = orjson.loads((tmp_path / "out/prompts.jsonl").read_bytes().splitlines()[0])
    assert orjson.loads(prompt["text"]) == asked["messages"]
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("tiny", 0.0, 256)
    assert any("lengths are counted by the tokenizer that ships" in note for note in results.notes)


def test_a_server_asked_with_text(serve: Serve, measure: Measure) -> None:
    server = serve(lambda asked: " Josef 1" if "wheel 1" in asked["prompt"].splitlines()[-2] else "nobody")
    results = measure("nq_open", "arc_easy", model="tiny", base_url=server.url)
    assert [score.value for score in results.scores] == [50]
    assert "--tokenizer" in results.further["cannot_run"]["arc_easy"]
    assert server.seen[0].asked["prompt"].startswith("Answer these questions:\n\nQ: ")


def test_a_server_asked_with_tokens(serve: Serve, measure: Measure, beginning: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(beginning)
    server = serve(lambda asked: " Josef 1" if "wheel 1" in tokenizer.decode(asked["prompt"][0][-20:]) else "nobody")
    results = measure(
        "nq_open",
        "mmlu",
        "scrolls_quality",
        model="tiny",
        base_url=server.url,
        tokenizer=str(beginning),
        prompt_tokens=300,
    )
    scores = {score.task: score for score in results.scores}
    assert scores["nq_open"].value == 50
    assert scores["mmlu"].value == 12.5  # the letter with the highest id is D: one of eight answers
    prompts = [ids for seen in server.seen for ids in seen.asked["prompt"]] + [
        ids for each in server.prompts for ids in each
    ]
    assert all(ids[0] == tokenizer.bos_token_id and tokenizer.bos_token_id not in ids[1:] for ids in prompts)
    assert max(map(len, prompts)) <= 300 + 64
    assert results.further["tasks"]["mmlu"]["cut_prompts"] == 8


def test_a_server_that_goes_away_and_comes_back(serve: Serve, measure: Measure) -> None:
    server = serve(lambda asked: "nobody")
    asked = {"model": "tiny", "base_url": server.url, "style": "chat", "engine_args": ONCE}
    gone = [False]
    server.plan = lambda digest, arrivals: HANG_UP if gone[0] else Act()

    def answer(request: dict[str, Any]) -> str:
        gone[0] = len(server.seen) >= 2  # after the two of the first task
        return "nobody"

    server.answer = answer
    with pytest.raises(Unfinished, match=r"triviaqa: the server at .* gave no answer") as caught:
        measure("nq_open", "triviaqa", **asked)
    assert caught.value.status == 3
    assert "run the same command again" in caught.value.hint
    server.plan, server.answer = answering, lambda request: "Josef 0"
    server.seen.clear()
    assert [score.value for score in measure("nq_open", "triviaqa", **asked).scores] == [0, 50]
    assert {seen.asked["messages"][-1]["content"][:9] for seen in server.seen} == {
        "Question:"
    }  # nq_open's begin with Q:


@pytest.mark.parametrize(
    ("plan", "error", "said"),
    [
        (always(status(404, "no model tiny here")), UserError, "refuses .*404.*no model tiny here"),
        (always(status(400, "maximum context length is 9")), UserError, "maximum context length is 9"),
        (always(status(503, "loading")), Unfinished, "gave no answer .*503.*loading"),
        (always(raw(b"<html>")), UserError, "cannot read what the server at .*JSONDecodeError"),
        (always(raw(b'{"choices": 3}')), UserError, "cannot read what the server"),
    ],
)
def test_what_a_server_may_say(
    serve: Serve, measure: Measure, plan: Plan, error: type[UserError], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(lambda asked: "", plan)
    with pytest.raises(UserError, match=said) as caught:
        measure("nq_open", model="tiny", base_url=server.url, engine_args=ONCE)
    assert type(caught.value) is error
    assert "Traceback" not in capsys.readouterr().err


def test_a_server_that_tells_no_likelihoods(serve: Serve, measure: Measure, tiny: Path) -> None:
    server = serve(lambda asked: "no")
    server.silent = True
    with pytest.raises(UserError, match="arc_easy: cannot read what the server") as caught:
        measure("arc_easy", model="tiny", base_url=server.url, tokenizer=str(tiny), engine_args=ONCE)
    assert "echo and logprobs" in caught.value.hint
