"""The card of a chat model: everything that it was made of, readable on the Hub whatever the names are."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from finetune.batches import MixBatches
from finetune.card import command, write_card
from finetune.config import SftSettings
from finetune.course import Course
from finetune.divide import Data
from finetune.losses import ANSWER, Loss
from finetune.mix import Budget, plan_mix
from finetune.store import Store, StoreWriter
from longreach.model.aliases import Choice
from longreach.model.train import TrainReport
from longreach.text.chat.llama2 import LLAMA2

NASTY = "a|b <x> `c`.jsonl"
RUN = {
    "status": "finished",
    "settings": {},
    "shaping": {},
    "counts": {"documents": {"read": 1_234}, "requests": {"kept": 90, "planned": 100}},
    "engine": {"name": "vllm", "model": "some/model"},
    "sources": [{"source": "books", "license": "CC-BY-4.0"}, {"source": "more", "license": ""}],
}


def settings_of(base: str, out: Path, **more: Any) -> SftSettings:
    given = {"long": ("runs/first",), "short": (NASTY, "b.jsonl"), "mix": "long:short=0.2:0.8", "out": str(out)}
    return SftSettings(base=base, **{**given, **more})


def store(folder: Path, examples: int, cut: int) -> Store:
    with StoreWriter(folder, 100) as writer:
        for number in range(examples):
            writer.append(np.arange(20), np.arange(20) > 15, number, number, cut * (number % 2), "")
        writer.finish()
    return Store(folder)


def course_of(folder: Path, settings: SftSettings, *, template: str = LLAMA2, **base: Any) -> Course:
    run = folder / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps(RUN))
    (run / "README.md").write_text("the data's card")
    train = [store(folder / "long", 10, 7), store(folder / "short", 40, 0)]
    held_out = {"long": store(folder / "held/long", 3, 0), "asked": store(folder / "held/asked", 5, 1)}
    shares = {"long": 0.2, "short": 0.8}
    plan = plan_mix(train, shares, "tokens", Budget(batch_tokens=200), seed=0)
    losses = {"long": Loss(0.2), "short": ANSWER}
    facts = {
        "train": {
            "long": {
                "forms": {"record": 13},
                "skipped": {"too long": 2},
                "files": [{"path": "runs/first/records.jsonl", "sha256": "ab" * 32}],
                "runs": [{"folder": str(run), "sha256": ""}, {"folder": str(folder / "gone"), "sha256": ""}],
            },
            "short": {
                "forms": {"messages": 1_030, "share|gpt": 10},
                "skipped": {},
                "files": [{"path": NASTY, "sha256": "cd" * 32}, {"path": "hub/data", "sha256": ""}],
            },
        },
        "held-out": {"asked": {"forms": {"messages": 5}, "skipped": {}, "files": []}},
    }
    chat = SimpleNamespace(tokenizer=SimpleNamespace(chat_template=template))
    named = {"name": settings.base, "weights": settings.base, "provenance": lambda: {"name": settings.base}, **base}
    choices = {
        "rope": Choice("none", "as the base has it"),
        "seq_len": Choice(16_384, "paper, Sec. 2.2"),
        "learning_rate": Choice(2e-5, "given"),
    }
    return Course(
        SimpleNamespace(chat=chat, settings=settings, **named),
        Data(train, held_out, facts, ()),
        losses,
        plan,
        MixBatches(train, plan, losses, seq_len=64),
        choices,
        ["something | odd"],
    )


def finished(folder: Path) -> TrainReport:
    """What training left: 30 steps, three validations."""
    folder.mkdir(exist_ok=True)
    made = {
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
        "max_position_embeddings": 32_768,
        "versions": {"longreach": "0.1.0", "torch": "2.13.0"},
    }
    (folder / "longreach.json").write_text(json.dumps(made))
    lines: list[dict[str, Any]] = [validation(0, 9.0)]
    for step in range(1, 31):
        parts = {"long answer": {"loss": 100.0, "tokens": 10}} if step < 28 else {}
        parts |= {"short answer": {"loss": float(step), "tokens": 100 * (step - 27)}} if step >= 28 else {}
        lines.append({"step": step, "loss": 5.0, "parts": parts})
    lines += [validation(30, 2.0), {"step": 30, "samples": [{}, {}, {}, {}], "exact": 0.25}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return TrainReport(folder, 30, 12_345, ())


def validation(step: int, loss: float) -> dict[str, Any]:
    parts = {"long prompt": {"loss": loss + 1, "tokens": 60}, "long answer": {"loss": loss + 2, "tokens": 12}}
    return {
        "step": step,
        "validation": {"long": {"loss": loss, "tokens": 72.0, "parts": parts}, "x": {"loss": loss, "tokens": 9.0}},
    }


def card_of(
    folder: Path, base: str = "org/base-7b", *, template: str = LLAMA2, **more: Any
) -> huggingface_hub.ModelCard:
    report = finished(folder / "chat")
    write_card(course_of(folder, settings_of(base, report.folder, **more), template=template), report)
    return huggingface_hub.ModelCard.load(report.folder / "README.md")


def cells(card: huggingface_hub.ModelCard) -> list[list[str]]:
    """Every row of every table."""
    rows = [line for line in card.text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_the_hub_can_read_its_head(tmp_path: Path) -> None:
    data = card_of(tmp_path).data
    assert (data.base_model, data.library_name, data.pipeline_tag) == ("org/base-7b", "transformers", "text-generation")
    assert data.tags == ["long-context", "conversational", "longreach", "sft"]
    assert data.license is None


def test_a_base_in_a_folder_gives_its_license_and_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/base").mkdir(parents=True)  # looks like an id
    Path("runs/base/README.md").write_text("---\nlicense: llama2\ntags: [x]\n---\n# It\n")
    data = card_of(tmp_path, "runs/base").data
    assert (data.base_model, data.license) == (None, "llama2")


@pytest.mark.parametrize("text", ["", "# plain", "---\n[\n---\n", "---\n- a\n---\n", "---\nlicense:\n---\n", "---\n"])
def test_a_base_whose_card_says_no_license_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/README.md").write_text(text)
    assert card_of(tmp_path, str(tmp_path / "base")).data.license is None


def test_every_source_is_told_of(tmp_path: Path) -> None:
    found = cells(card_of(tmp_path))
    assert ["long", "all:0.2", "20", "400", "80", "2.00", "20.00 %", "20.00 %"] in found
    assert ["short", "answer", "80", "1,600", "320", "2.00", "80.00 %", "80.00 %"] in found
    assert ["long", "record 13", "10", "3", "5", "too long 2"] in found
    assert ["short", r"messages 1,030, share\|gpt 10", "40", "0", "0", "–"] in found
    assert ["asked (to measure on)", "messages 5", "0", "5", "2", "–"] in found
    assert ["long", "runs/first/records.jsonl", f"`{'ab' * 32}`"] in found
    assert ["short", r"a\|b &lt;x> \`c\`.jsonl", f"`{'cd' * 32}`"] in found
    assert ["short", "hub/data", "–"] in found


def test_every_table_has_as_many_cells_in_each_row(tmp_path: Path) -> None:
    for block in re.split(r"\n\n+", card_of(tmp_path).text):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, block


def test_the_cards_of_the_records_are_named_with_their_counts(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    run = str(tmp_path / "run")
    row = ["long", run, f"{run}/README.md", "1,234", "90", "100", "vllm some/model", "CC-BY-4.0, not said"]
    assert [each for each in cells(card) if run in each] == [row]
    assert "gone" not in card.text


def test_losses_are_those_of_the_end(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    found = cells(card)
    assert ["short answer", f"{(28 * 100 + 29 * 200 + 30 * 300) / 600:.4f}", "600"] in found
    assert "loss over the last 3 steps" in card.text
    assert "long answer" not in [row[0] for row in found if len(row) == 3]  # nothing of it in the last steps
    assert ["long prompt", "10.0000", "3.0000", "60"] in found
    assert ["long answer", "11.0000", "4.0000", "12"] in found
    assert ["x", "9.0000", "2.0000", "9"] in found
    assert "Of 4 held-out questions, 25 % were answered exactly" in card.text


def test_nothing_held_out_is_no_table(tmp_path: Path) -> None:
    report = finished(tmp_path / "chat")
    metrics = report.folder / "metrics.jsonl"
    steps = [line for line in metrics.read_text().splitlines() if '"loss"' in line and "validation" not in line]
    metrics.write_text("\n".join(steps) + "\n")
    write_card(course_of(tmp_path, settings_of("org/base", report.folder)), report)
    text = (report.folder / "README.md").read_text()
    assert "before training" not in text
    assert "held-out questions" not in text


def test_it_says_what_the_model_is(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    found = cells(card)
    assert card.text.startswith("\n# chat\n\nA chat model: org/base-7b, trained\n")
    assert "12,345 tokens of conversations" in card.text
    assert "up to 32,768 tokens" in card.text
    assert ["RoPE of this model", "rope_type default, rope_theta 500000.0"] in found
    assert ["learning rate", "2e-05", "given"] in found
    assert "Llama 2's, which is saved" in card.text
    assert r"> something \| odd" in card.text
    assert "longreach.json" not in card.text


def test_an_adapter_is_called_one(tmp_path: Path) -> None:
    card = card_of(tmp_path, lora=16, template="{{ own }}")
    assert (card.data.library_name, card.data.tags[-1]) == ("peft", "lora")
    assert "A LoRA adapter that teaches org/base-7b to answer" in card.text
    assert "a LoRA adapter of rank 16; embeddings and norms whole" in card.text
    assert "the base's own" in card.text


def test_a_base_of_longreach_leads_further_back(tmp_path: Path) -> None:
    report = finished(tmp_path / "chat")
    made_by = {"name": "runs/long", "made_by": {"base": "llama2-7b"}}
    course = course_of(tmp_path, settings_of("runs/long", report.folder), provenance=lambda: made_by)
    write_card(course, report)
    assert "its `longreach.json` says how" in (report.folder / "README.md").read_text()


def test_the_command_is_what_has_to_be_typed(tmp_path: Path) -> None:
    settings = settings_of("org/base", tmp_path, learning_rate=1e-3, steps=40, qlora=True, lora=8)
    assert command(settings).split(" \\\n  ") == [
        "finetune sft",
        "--learning-rate 0.001",
        "--base org/base",
        "--long runs/first",
        "--short 'a|b <x> `c`.jsonl' b.jsonl",
        "--mix long:short=0.2:0.8",
        "--steps 40",
        "--lora 8",
        "--qlora",
        f"--out {tmp_path}",
    ]
    assert command(replace(settings, qlora=False)).count("qlora") == 0


def test_the_command_stands_as_code(tmp_path: Path) -> None:
    lines = card_of(tmp_path).text.splitlines()
    begin = lines.index("    finetune sft \\")
    assert lines[begin + 1] == "      --base org/base-7b \\"
    assert "`c`" in lines[begin + 3]
