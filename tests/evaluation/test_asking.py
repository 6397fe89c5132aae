"""Asking: every sample ends as a line, nothing is asked twice, what got no answer stops the run without results."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluation.asking import PROMPTS, ask, measured
from evaluation.config import QaSettings
from evaluation.results import PREDICTIONS
from evaluation.sample import Prediction, Sample, prediction_of, question
from evaluation.subject import Subject, fingerprint
from longreach.engines.base import Completion, Request, RequestFailed, RequestRefused
from longreach.errors import Unfinished, UserError
from longreach.jsonl import read_lines
from longreach.run import read_manifest
from longreach.text.tokenize import Tokenizer

Answers = Callable[[Request], Any]


@pytest.fixture
def subject_of(scripted: Any, tokenizer: Tokenizer) -> Callable[..., Subject]:
    """A model that answers by a function of the request."""
    return lambda answers, chat=False: Subject(scripted(answers), tokenizer, chat, 0, "scripted", 2)


def samples(number: int) -> list[Sample]:
    """Questions that differ."""
    return [
        Sample(
            id=f"count/{each}",
            task="count",
            references=(str(each),),
            max_tokens=8,
            **question(f"The number is {each}.", "Which is the number?", "The number is"),
        )
        for each in range(number)
    ]


def exact(sample: Sample, output: str) -> dict[str, float]:
    return {"exact": 100.0 * (output in sample.references)}


def right(request: Request) -> str:
    """What a model says that reads."""
    asked = request.text or request.messages[-1].content
    return " " + asked.split("The number is ")[1].split(".")[0] + "\n"


def run(subject: Subject, asked: Sequence[Sample], out: Path) -> list[Prediction]:
    with measured(QaSettings(model="scripted", records=("r",), out=str(out))) as folder:
        return ask(subject, asked, folder, exact, title="test")


@pytest.mark.parametrize("chat", [False, True])
def test_every_sample_is_a_line_in_order(subject_of: Any, tmp_path: Path, chat: bool) -> None:
    found = run(subject_of(right, chat), samples(20), tmp_path)
    assert [each.output for each in found] == [str(number) for number in range(20)]
    assert all(each.scores == {"exact": 100.0} for each in found)
    lines = list(read_lines(tmp_path / PREDICTIONS))
    assert [prediction_of(line) for line in lines] == found
    prompts = {line["sha256"]: line for line in read_lines(tmp_path / PROMPTS)}
    assert set(prompts) == {line["prompt_sha256"] for line in lines}
    assert all(("messages" in line) == chat for line in prompts.values())
    assert read_manifest(tmp_path)["status"] == "finished"


def test_a_chat_never_sees_the_opening_and_a_text_ends_in_it(subject_of: Any, tmp_path: Path) -> None:
    for chat in (False, True):
        subject = subject_of(right, chat)
        run(subject, samples(1), tmp_path / str(chat))
        [request] = subject.engine.asked
        assert request.text.endswith("Which is the number?\nThe number is") != chat
        assert request.sampling.temperature == 0
        assert request.sampling.stop == (() if chat else ("\n",))
        if chat:
            assert request.messages[-1].content.endswith("Which is the number?")


def test_a_refused_sample_stays_with_its_reason_and_without_scores(subject_of: Any, tmp_path: Path) -> None:
    def refusing(request: Request) -> Any:
        return RequestRefused("prompt too long", "9 tokens") if "is 3." in request.text else right(request)

    found = run(subject_of(refusing), samples(6), tmp_path)
    assert [each.failed for each in found] == ["", "", "", "prompt too long: 9 tokens", "", ""]
    assert found[3].scores == {} and found[3].output == ""


def test_what_got_no_answer_ends_without_results_and_is_asked_again_alone(subject_of: Any, tmp_path: Path) -> None:
    def failing(request: Request) -> Any:
        return RequestFailed("http 503") if "is 4." in request.text else right(request)

    with pytest.raises(Unfinished, match="1 of 6 requests got no answer \\(http 503\\)"):
        run(subject_of(failing), samples(6), tmp_path)
    assert not (tmp_path / PREDICTIONS).exists()
    assert read_manifest(tmp_path)["status"] == "running"
    again = subject_of(right)
    assert len(run(again, samples(6), tmp_path)) == 6
    assert len(again.engine.asked) == 1


def test_a_run_that_was_stopped_asks_nothing_twice(subject_of: Any, tmp_path: Path) -> None:
    asked: list[str] = []

    async def stopping(request: Request) -> str:
        await asyncio.sleep(0.01)
        if len(asked) == 9:
            raise KeyboardInterrupt
        asked.append(request.text)
        return right(request)

    with pytest.raises(KeyboardInterrupt):
        run(subject_of(stopping), samples(20), tmp_path)
    again = subject_of(right)
    found = run(again, samples(20), tmp_path)
    assert [each.output for each in found] == [str(number) for number in range(20)]
    assert 0 < len(again.engine.asked) < 20


def test_nothing_to_ask_is_refused_and_a_folder_with_answers_is_bound_to_its_settings(
    subject_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="nothing to ask"):
        run(subject_of(right), [], tmp_path)
    with measured(QaSettings(model="typo", records=("r",), out=str(tmp_path))):
        pass  # nothing was kept, so a mistake in the settings can be mended in the same folder
    run(subject_of(right), samples(1), tmp_path)
    (tmp_path / PREDICTIONS).unlink()
    (tmp_path / PROMPTS).unlink()  # the journal alone binds it
    with (
        pytest.raises(UserError, match="other settings"),
        measured(QaSettings(model="other", records=("r",), out=str(tmp_path))),
    ):
        pass


def test_prompt_tokens_and_finish_reason_are_kept(subject_of: Any, tmp_path: Path) -> None:
    completion = Completion(" 0", "length", prompt_tokens=17, completion_tokens=8)
    [found] = run(subject_of([completion]), samples(1), tmp_path)
    assert (found.prompt_tokens, found.finish_reason, found.output) == (17, "length", "0")


def test_the_fingerprint_follows_weights_and_settings(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(200_000))
    seen = {fingerprint(str(tmp_path))}
    (tmp_path / "model.safetensors").write_bytes(bytes(199_999) + b"1")
    seen.add(fingerprint(str(tmp_path)))
    (tmp_path / "config.json").write_text("{ }")
    seen.add(fingerprint(str(tmp_path)))
    (tmp_path / "training.log").write_text("no part of the model")
    seen.add(fingerprint(str(tmp_path)))
    assert len(seen) == 3
    assert fingerprint("org/model") == "org/model"
