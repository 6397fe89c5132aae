"""The loss by length is that of the model's own logits, wherever a run was stopped before."""

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM

from evaluation import told
from evaluation.cli import main
from evaluation.config import LossSettings
from evaluation.loss import default_lengths, measure_loss
from evaluation.results import read_results
from longreach.errors import UserError
from longreach.text.tokenize import load_tokenizer
from tinyllama import make_tiny_llama, words

WINDOW, TARGETS, LENGTHS = 64, 8, (16, 32, 48, 64, 100)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = make_tiny_llama(tmp_path_factory.mktemp("model"), window=WINDOW)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "add_bos_token": True}))
    return folder


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    known = [word.strip() for word in words()]
    draw = np.random.default_rng(0)
    return {f"t{number}": " ".join(draw.choice(known, 150 + 60 * number)) for number in range(4)}


@pytest.fixture(scope="module")
def docs(texts, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "held-out.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"id": name, "text": text}) + b"\n" for name, text in texts.items()))
    return path


def settings(model: Path, docs: Path, out: Path, **how) -> LossSettings:
    chosen = {"targets": TARGETS, "lengths": LENGTHS, "samples": 12, "batch_tokens": 256, **how}
    return LossSettings(model=str(model), docs=(str(docs),), out=str(out), **chosen)


def lines(folder: Path) -> list[dict]:
    return [orjson.loads(line) for line in (folder / "predictions.jsonl").read_bytes().splitlines()]


def cross_entropies(model: Path, row: list[int]) -> torch.Tensor:
    """By stock transformers, with all its logits."""
    stock = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokens = torch.tensor([row])
    with torch.no_grad():
        logits = stock(input_ids=tokens).logits
    return torch.nn.functional.cross_entropy(logits[0, :-1], tokens[0, 1:], reduction="none")


def test_equal_to_the_logits_of_transformers(model, docs, texts, tmp_path):
    measure_loss(settings(model, docs, tmp_path))
    tokenizer = load_tokenizer(str(model))
    found = lines(tmp_path)
    assert len(found) == 12 * len(LENGTHS)
    whole = defaultdict(list)
    for line in found[:: len(found) // 13]:
        length, place = line["length"], line["facts"]["offset"]
        text = texts[line["facts"]["document"].rpartition(":")[2]]
        end = place + LENGTHS[-1] - 1
        row = [tokenizer.bos_id, *tokenizer.ids(text)[end - length + 1 : end].tolist()]
        assert len(row) == length == line["prompt_tokens"]
        assert line["scores"]["loss"] == pytest.approx(float(cross_entropies(model, row)[-TARGETS:].mean()), abs=1e-5)
    for line in found[-12:]:  # the longest: of these the bins are
        place = line["facts"]["offset"]
        text = texts[line["facts"]["document"].rpartition(":")[2]]
        row = [tokenizer.bos_id, *tokenizer.ids(text)[place : place + LENGTHS[-1] - 1].tolist()]
        for position, loss in enumerate(cross_entropies(model, row).tolist(), 1):
            whole[position].append(loss)
    bins = read_results(tmp_path).further["by_position"]
    assert [each["first"] for each in bins] == list(range(1, LENGTHS[-1], 2))  # 100 tokens in at most 64 bins
    for each in bins:
        positions = range(each["first"], each["last"] + 1)
        assert each["value"] == pytest.approx(np.mean([whole[position] for position in positions]), abs=1e-5)
    assert bins[-1]["last"] == LENGTHS[-1] - 1


def test_what_is_written(model, docs, tmp_path):
    results = measure_loss(settings(model, docs, tmp_path))
    assert read_results(tmp_path).scores == results.scores
    found = lines(tmp_path)
    assert [headline.task for headline in results.headline] == ["loss at 64", "loss at 100"]  # the window, the longest
    for headline in results.headline:
        of_task = [line["scores"]["loss"] for line in found if line["task"] == headline.task]
        assert headline.n == len(of_task) == 12
        assert headline.value == pytest.approx(np.mean(of_task))
    assert len({line["id"] for line in found}) == len(found)
    by_length = {score.length: score for score in results.scores if score.metric == "loss"}
    assert tuple(by_length) == LENGTHS
    for score in results.scores:
        assert score.low <= score.value <= score.high
        if score.metric == "perplexity":
            assert score.value == pytest.approx(math.exp(by_length[score.length].value))
    assert any("No power law" in note or "Power law" in note for note in results.notes)
    assert any("the window of its config, 64 tokens" in note for note in results.notes)
    for picture in ("loss_by_length.png", "loss_by_position.png"):
        content = (tmp_path / picture).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert b"Software" not in content


def test_a_run_that_was_killed_goes_on(model, docs, tmp_path, monkeypatch):
    measure_loss(settings(model, docs, tmp_path / "whole"))
    calls, real = [], told._token_losses
    opened, open_model = [], told._open_model
    monkeypatch.setattr(told, "_open_model", lambda *args: opened.append(args) or open_model(*args))

    def counted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(told, "_token_losses", counted)
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        measure_loss(settings(model, docs, stopped))
    assert not (stopped / "results.json").exists()
    with (stopped / "losses.jsonl").open("ab") as file:
        file.write(b'{"length":32,"wind')  # a line that was being written
    measure_loss(settings(model, docs, stopped))
    batches = sum(-(-12 // (256 // length)) for length in LENGTHS)
    assert len(calls) == batches + 1  # only the one that was stopped is done again
    assert len(opened) == 2  # by each process once
    for name in ("predictions.jsonl", "losses.jsonl", "loss_by_length.png", "loss_by_position.png"):
        assert (stopped / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    monkeypatch.setattr(told, "_open_model", None)  # a run that is finished needs none
    measure_loss(settings(model, docs, stopped))


def test_other_text_is_another_run(model, docs, texts, tmp_path):
    measure_loss(settings(model, docs, tmp_path / "out", samples=2))
    other = tmp_path / "held-out.jsonl"
    other.write_bytes(orjson.dumps({"text": texts["t3"]}))
    with pytest.raises(UserError, match="windows: was"):
        measure_loss(settings(model, other, tmp_path / "out", samples=2))


def test_few_windows_are_said(model, docs, tmp_path):
    notes = measure_loss(settings(model, docs, tmp_path, samples=2)).notes
    assert "2 windows are few: do not rely on the intervals" in notes


def test_default_lengths():
    assert default_lengths(128, 4096) == (256, 512, 1024, 2048, 4096)
    assert default_lengths(16, 100) == (32, 64)
    with pytest.raises(UserError, match="less than twice the 128 targets") as raised:
        default_lengths(128, 64)
    assert "--targets 8" in raised.value.hint


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"lengths": (8, 64)}, "a length of 8 has no room for context before its 8 targets"),
        ({"targets": 0}, "at least 1"),
        ({"samples": 0}, "at least 1"),
        ({"lengths": (64, 5000)}, "no document has the 4,999 tokens"),
        ({"targets": 64, "lengths": ()}, "less than twice the 64 targets"),
    ],
)
def test_bad_settings(model, docs, tmp_path, how, problem):
    with pytest.raises(UserError, match=problem):
        measure_loss(settings(model, docs, tmp_path / "out", **how))
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_is_not_the_models(model, docs, tmp_path):
    other = make_tiny_llama(tmp_path / "small", window=WINDOW, vocabulary=300)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).write_bytes((model / name).read_bytes())
    with pytest.raises(UserError, match="its model has 300"):
        measure_loss(settings(other, docs, tmp_path / "out"))


def test_a_loss_that_is_no_number(model, docs, tmp_path):
    broken = AutoModelForCausalLM.from_pretrained(model)
    broken.model.embed_tokens.weight.data[50:] = math.nan
    broken.save_pretrained(tmp_path / "broken")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "broken" / name).write_bytes((model / name).read_bytes())
    with pytest.raises(UserError, match="is no number"):
        measure_loss(settings(tmp_path / "broken", docs, tmp_path / "out"))


def test_the_command(model, docs, tmp_path):
    arguments = [f"--model={model}", f"--docs={docs}", f"--out={tmp_path / 'out'}", "--lengths=16,32", "--targets=8"]
    shown = CliRunner().invoke(main, ["loss", *arguments, "--samples=4"])
    assert shown.exit_code == 0, shown.output
    assert "loss at 32" in shown.stdout
    printed = CliRunner().invoke(main, ["loss", *arguments, "--samples=4", "--json"])
    assert json.loads(printed.stdout)["measure"] == "loss"
