"""Answers given during training: the greedy ones, ended where they should be, and nothing of the training touched."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from longreach.errors import UserError
from longreach.model.causal import causal_loss
from longreach.model.rope import Rope
from longreach.model.samples import Question, Samples, brief, sample_lines
from tinyllama import tiny_tokenizer
from tinyrun import VOCABULARY, Plan, recorded, samples_of, tiny_model, tiny_run, with_lora

PROMPT = list(range(100, 140))
TOKENIZER = tiny_tokenizer(VOCABULARY, 64)
NEVER = 4  # a token that the model does not say


def full() -> Any:
    return causal_loss(tiny_model(Rope("none"), 64))


def adapted() -> Any:
    """An adapter that says something."""
    model = with_lora(tiny_model(Rope("none"), 64))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return causal_loss(model)


def greedily(model: Any, count: int) -> list[int]:
    """The whole row anew for every token, without a cache."""
    row = list(PROMPT)
    model.eval()
    with torch.no_grad():
        for _ in range(count):
            row.append(int(model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1].argmax()))
    return row[len(PROMPT) :]


def text(tokens: list[int]) -> str:
    assert NEVER not in tokens
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True)).strip()


def samples(ends: set[int], most: int = 8, reference: str = "") -> Samples:
    return Samples([Question("q", PROMPT, "what?", reference)], TOKENIZER, frozenset(ends), most)


@pytest.mark.parametrize("made", [full, adapted])
def test_answers_are_greedy_and_end_at_any_end_token(made: Callable[[], Any]) -> None:
    model = made()
    expected = greedily(model, 8)
    model.train()
    (answer,) = samples({NEVER}).measure(model)["samples"]
    assert (answer["answer"], answer["ended"]) == (text(expected), False)
    end = next(token for place, token in enumerate(expected) if place > 1 and token not in expected[:place])
    (answer,) = samples({NEVER, end}).measure(model)["samples"]
    before = expected[: expected.index(end)]
    assert (answer["answer"], answer["ended"]) == (text(before), True)


def test_adapters_answer_too() -> None:
    assert greedily(adapted(), 8) != greedily(full(), 8)


def test_the_window_is_not_left() -> None:
    (answer,) = samples({NEVER}, most=100).measure(full())["samples"]
    assert answer["answer"] == text(greedily(full(), 24))


def test_nothing_of_the_model_changes() -> None:
    model = full()
    model.train()
    model.get_input_embeddings().register_forward_hook(
        lambda module, given, found: torch.nn.functional.dropout(found, 0.5, module.training)
    )
    model.model.layers[0].eval()  # as frozen parts may be
    model.generation_config.repetition_penalty = 9.0
    model.generation_config.eos_token_id = greedily(full(), 1)[0]
    own, config, state = model.generation_config, model.config.to_dict(), torch.get_rng_state()
    training = [module.training for module in model.modules()]
    (answer,) = samples({NEVER}).measure(model)["samples"]
    assert answer["answer"] == text(greedily(full(), 8))
    assert model.generation_config is own
    assert (model.config.to_dict(), [module.training for module in model.modules()]) == (config, training)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_answer_is_exact_but_for_case_and_space() -> None:
    said = samples({NEVER}).measure(full())["samples"][0]["answer"]
    assert samples({NEVER}, reference=f" {said.upper()}\n").measure(full())["exact"] == 1.0
    two = replace(samples({NEVER}), questions=[Question("a", PROMPT, "", said), Question("b", PROMPT, "", "else")])
    assert two.measure(full())["exact"] == 0.5


@pytest.mark.parametrize(
    "change", [{"dropout": 0.1, "lora": True, "dtype": "bfloat16"}, {"gradient_checkpointing": True}]
)
def test_a_run_with_samples_trains_as_one_without(tmp_path: Path, change: dict[str, Any]) -> None:
    plan = Plan(steps="4@64", validate_every=1, **change)
    tiny_run(tmp_path / "without", plan)
    tiny_run(tmp_path / "with", replace(plan, samples=True))
    lines = recorded(tmp_path / "with")
    assert [line["step"] for line in lines if "samples" in line] == [0, 1, 2, 3, 4]
    assert [line for line in lines if "samples" not in line] == recorded(tmp_path / "without")
    for path in sorted((tmp_path / "without").glob("*.json*")):
        if path.name != "metrics.jsonl":
            assert (tmp_path / "with" / path.name).read_bytes() == path.read_bytes(), path.name


def test_metrics_hold_the_answers_and_tensorboard_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run(tmp_path, Plan(steps="1@64", samples=True))
    line = next(line for line in recorded(tmp_path) if "samples" in line)
    assert line.keys() == {"step", "stage", "samples", "exact"}
    assert line["samples"][0] | {"answer": ""} == {
        "name": "short",
        "question": "twenty?",
        "reference": "Thirty",
        "answer": "",
        "ended": False,
    }
    board = EventAccumulator(str(tmp_path / "runs"))
    board.Reload()
    assert [event.step for event in board.Scalars("exact")] == [0, 1]
    assert not any("sample" in tag for tag in board.Tags()["scalars"])
    assert "step 1 | samples | exact 0.0% of 2\n  short: twenty? -> " in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_answers_are_computed_as_training_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """Also those of adapters, around whose inner model the trainer puts no autocast."""
    stock, half = Samples.measure, []

    def measured(self: Samples, model: Any, *, together: bool) -> dict[str, Any]:
        half.append(torch.is_autocast_enabled("cpu"))
        return stock(self, model, together=together)

    monkeypatch.setattr(Samples, "measure", measured)
    tiny_run(tmp_path, Plan(steps="1@64", samples=True, dtype=dtype))
    assert half == [dtype == "bfloat16"] * 2


def test_a_prompt_that_fills_the_window_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = replace(samples_of(TOKENIZER), questions=[Question("book", [9] * 64, "", "")])
    monkeypatch.setattr("tinyrun.samples_of", lambda tokenizer: long)
    with pytest.raises(UserError, match="sample question book has 64 tokens, the model reads 64"):
        tiny_run(tmp_path, Plan(steps="1@64", samples=True))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_no_questions_are_no_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = replace(samples_of(TOKENIZER), questions=[])
    monkeypatch.setattr("tinyrun.samples_of", lambda tokenizer: none)
    tiny_run(tmp_path, Plan(steps="1@64", samples=True))
    assert not any("samples" in line for line in recorded(tmp_path))


def test_the_log_shows_both_ends_of_a_long_text() -> None:
    assert brief("a\n b") == "a b"
    assert brief("x" * 300 + "?") == "x" * 50 + " ... " + "x" * 49 + "?"
    answer = {"name": "q", "question": "w?", "reference": "r", "answer": "a\nb", "ended": False}
    lines = list(sample_lines(7, {"samples": [answer, {**answer, "ended": True}], "exact": 0.5}))
    assert lines[0] == "step 7 | samples | exact 50.0% of 2"
    assert lines[1:] == ["  q: w? -> 'a b' (does not end), hoped for 'r'", "  q: w? -> 'a b', hoped for 'r'"]


def test_how_a_finished_model_ends_its_answers_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat model ends a turn by another token than a text: with the chat template, that must outlive the training."""
    stock = tiny_model

    def made(rope: Rope, seq_len: int, tied: bool) -> Any:
        model = stock(rope, seq_len, tied)
        model.generation_config.eos_token_id = [2, 5]
        return model

    def chatting(vocabulary: int, window: int) -> Any:
        tokenizer = tiny_tokenizer(vocabulary, window)
        tokenizer.chat_template = "{{ messages[0].content }}"
        return tokenizer

    monkeypatch.setattr("tinyrun.tiny_model", made)
    monkeypatch.setattr("tinyrun.tiny_tokenizer", chatting)
    for lora in (False, True):
        out = tmp_path / str(lora)
        tiny_run(out, Plan(steps="1@64", samples=True, lora=lora))
        for folder in (out, out / "checkpoint-1"):
            assert orjson.loads((folder / "generation_config.json").read_bytes())["eos_token_id"] == [2, 5]
            assert (folder / "chat_template.jinja").read_text() == "{{ messages[0].content }}"
