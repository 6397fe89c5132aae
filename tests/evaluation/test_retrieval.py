"""evaluate retrieval from documents to points: who copies gets 100, who does not gets 0, and nothing is left out unsaid."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from evaluation import retrieval
from evaluation.config import RetrievalSettings
from evaluation.heatmap import CURVES, HEATMAP
from evaluation.results import PREDICTIONS, Results, read_results
from evaluation.retrieval import TASKS, measure_retrieval
from evaluation.subject import Subject
from longreach.engines.base import Request, RequestRefused
from longreach.engines.prefix import common
from longreach.errors import UserError
from longreach.jsonl import read_lines
from longreach.text.tokenize import Tokenizer
from tinyllama import make_tiny_llama

Answers = Callable[[Request], Any]


def asked(request: Request) -> str:
    return request.text or request.messages[-1].content


def oracle(request: Request) -> str:
    """What a reader answers who sees the prompt alone."""
    prompt = asked(request)
    if "first sentence" in prompt:
        return re.split(r"(?<=[.])\s", prompt)[0]
    if "pass key is" in prompt:
        return re.findall(r"The pass key is (\d+)", prompt)[0]
    if "VAR " in prompt:
        return " ".join(re.findall(r"VAR (\w+) = ", prompt))
    if "secret number" in prompt:
        wanted = prompt.rsplit("\n\n", 1)[1]
        return ", ".join(number for key, number in re.findall(r"number of (\w+) is (\d{7})\.", prompt) if key in wanted)
    listed = prompt.split("\n\n")[0].split()
    number = int(re.findall(r"the (\d+) words", prompt)[0])
    return " ".join(sorted(set(listed), key=listed.count)[-number:])


@pytest.fixture
def docs(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"Book {number} tells all there is about harbours. {text}")
    return folder


@pytest.fixture
def measure(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted: Any, tokenizer: Tokenizer
) -> Callable[..., Results]:
    """measure(answers, **settings) -> results."""

    def run(answers: Answers, *, chat: bool = True, window: int = 0, out: str = "out", **given: Any) -> Results:
        subject = Subject(scripted(answers), tokenizer, chat, window, "scripted", 8)
        monkeypatch.setattr(retrieval, "open_subject", lambda settings: subject)
        chosen = {"lengths": (500, 1_000), "samples": 1, "depths": (0.0, 0.5, 1.0), **given}
        return measure_retrieval(RetrievalSettings(model="m", docs=(str(docs),), out=str(tmp_path / out), **chosen))

    return run


@pytest.mark.parametrize("chat", [True, False])
def test_who_reads_scores_100_in_everything(measure: Any, tmp_path: Path, chat: bool) -> None:
    found = measure(oracle, chat=chat)
    headlines = {headline.task: headline for headline in found.headline}
    assert headlines.keys() == {*TASKS, "effective length"}
    assert {headlines[name].value for name in TASKS} == {100.0}
    assert headlines["effective length"].value == 1_000
    assert all(headlines[name].low < 100 for name in TASKS)
    assert (tmp_path / "out" / CURVES).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / HEATMAP).read_bytes().startswith(b"\x89PNG")
    on_disk = read_results(tmp_path / "out")
    assert list(on_disk.scores) == list(found.scores)


@pytest.mark.parametrize("answer", ["", "I cannot tell."])
def test_who_does_not_scores_0(measure: Any, answer: str) -> None:
    found = measure(lambda request: answer, task=tuple(set(TASKS) - {"first-sentence"}))
    assert {headline.value for headline in found.headline} == {0.0}
    first = measure(lambda request: "Nothing of the kind", task=("first-sentence",), out="first")
    assert [headline.value for headline in first.headline] == [0.0, 0.0]


def test_always_the_first_sentence_is_100_there_and_0_elsewhere(measure: Any) -> None:
    found = measure(lambda request: [*re.findall(r"Book \d tells[^.]*\.", asked(request)), "no book"][0])
    values = {headline.task: headline.value for headline in found.headline}
    assert values.pop("first-sentence") == 100.0
    assert set(values.values()) == {0.0}
    exact = [score.value for score in found.scores if score.metric == "exact"]
    assert exact and set(exact) == {100.0}


def test_points_are_told_apart_by_length_and_depth(measure: Any) -> None:
    def forgetful(request: Request) -> str:
        """Finds what stands in the second half."""
        prompt = asked(request)
        found = re.search(r"The pass key is (\d+)", prompt)
        return found[1] if found and found.start() > len(prompt) * 0.4 else "?"

    found = measure(forgetful, task=("passkey",), samples=4)
    by_depth = {(score.length, score.depth): score.value for score in found.scores}
    assert {by_depth[length, depth] for length in (500, 1_000) for depth in (0.5, 1.0)} == {100.0}
    assert {by_depth[length, 0.0] for length in (500, 1_000)} == {0.0}
    assert by_depth[500, None] == pytest.approx(200 / 3)
    assert [score.n for score in found.scores if score.depth is None] == [12, 12]


def test_the_same_prompts_every_time_in_an_order_that_shares_beginnings(measure: Any, tmp_path: Path) -> None:
    for out in ("one", "two"):
        measure(oracle, out=out, samples=2)
    one, two = ((tmp_path / out / PREDICTIONS).read_bytes() for out in ("one", "two"))
    assert one == two
    ids = [line["id"] for line in read_lines(tmp_path / "one" / PREDICTIONS)]
    assert len(set(ids)) == len(ids)
    numbers = [each.rsplit("/", 1)[1] for each in ids]
    assert numbers == sorted(numbers, key=int)
    prompts = [line["messages"][0]["content"] for line in read_lines(tmp_path / "one" / "prompts.jsonl")]
    read = sum(len(other) - common(one, other) for one, other in pairwise(["", *prompts]))
    assert read < 0.8 * sum(map(len, prompts))


def test_lengths_beyond_the_window_are_refused_unless_asked_for(measure: Any) -> None:
    with pytest.raises(UserError, match="reads 600 tokens: 1,000 are more"):
        measure(oracle, window=600)
    assert measure(oracle, window=600, past_window=True, out="beyond").headline


def test_what_does_not_fit_is_said(measure: Any) -> None:
    found = measure(oracle, lengths=(140, 1_000), task=("passkey", "niah-multikey"))
    assert any(re.match("Left out at 140 tokens.*: niah-multikey\\.", note) for note in found.notes)
    assert not any(score.length == 140 and score.task == "niah-multikey" for score in found.scores)


def test_a_refused_prompt_has_no_score_and_is_counted(measure: Any, tmp_path: Path) -> None:
    def refusing(request: Request) -> Any:
        return RequestRefused("prompt too long") if len(asked(request)) > 2_000 else oracle(request)

    found = measure(refusing, task=("passkey",))
    assert any("3 of 6 prompts were refused (prompt too long)" in note for note in found.notes)
    assert {score.length for score in found.scores} == {500}
    assert sum(bool(line["failed"]) for line in read_lines(tmp_path / "out" / PREDICTIONS)) == 3
    with pytest.raises(UserError, match="no prompt was answered"):
        measure(lambda request: RequestRefused("prompt too long"), task=("passkey",), out="none")


def test_an_unknown_task_is_named(measure: Any) -> None:
    with pytest.raises(UserError, match="no task 'paskey'; did you mean 'passkey'"):
        measure(oracle, task=("paskey",))


def test_a_real_checkpoint(docs: Path, tmp_path: Path) -> None:
    model = make_tiny_llama(tmp_path / "model", window=1024)
    settings = RetrievalSettings(
        model=str(model), docs=(str(docs),), out=str(tmp_path / "out"), lengths=(400, 1_000), samples=1, depths=(0.5,)
    )
    found = measure_retrieval(settings)
    assert all(0 <= headline.value <= 100 for headline in found.headline if headline.unit == "points")
    lines = list(read_lines(tmp_path / "out" / PREDICTIONS))
    assert all(
        0.7 * line["length"] <= line["prompt_tokens"] + TASKS[line["task"]].max_tokens <= line["length"]
        for line in lines
    )
    assert measure_retrieval(settings).scores == found.scores  # from the journal
    with pytest.raises(UserError, match="other settings"):
        measure_retrieval(replace(settings, seed=1))
