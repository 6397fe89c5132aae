"""mix, sft and merge through the command: data to a chat model, and what is said when it cannot be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune.cli import main
from longreach.model.settings import TrainSettings

ROOT = Path(__file__).parents[2]
WINDOW = 512  # of `base`
CHATS = ROOT / "recipes/chats.jsonl"
QUICK = (
    "--steps",
    "4",
    "--batch-tokens",
    "1024",
    "--validate-every",
    "2",
    "--save-every",
    "2",
    "--learning-rate",
    "1e-3",
)
MIX_KEYS = {"name", "examples", "tokens", "answer_tokens", "epochs", "planned_share", "realised_share"}


def finetune(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(base: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("trained") / "chat"
    return out, finetune("sft", *sources(base, records), "--mix", "long:short=0.7:0.3", *QUICK, "--out", out)


def sources(base: Path, records: Path) -> tuple[object, ...]:
    return ("--base", base, "--long", records, "--short", CHATS, "--validation", "0.1")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sft_makes_a_chat_model(trained: tuple[Path, Result], base: Path, records: Path) -> None:
    out, done = trained
    assert done.exit_code == 0, done.output
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=True, return_dict=False)
    assert tokenizer.decode(ids).startswith("<s>[INST] Hello")
    assert model.generation_config.eos_token_id in (tokenizer.eos_token_id, [tokenizer.eos_token_id])
    assert any(
        not torch.equal(tensor, load_file(base / "model.safetensors")[name])
        for name, tensor in load_file(out / "model.safetensors").items()
    )
    made = json.loads((out / "longreach.json").read_text())
    assert made["base"]["name"] == str(base)
    assert made["losses"] == {"long": "all", "short": "answer"}
    assert made["settings"]["mix"] == "long:short=0.7:0.3"
    assert made["settings"]["average"] == "tokens"
    [file] = made["data"]["train"]["long"]["files"]
    assert file["path"] == str(records / "records.jsonl")
    assert len(file["sha256"]) == 64
    assert made["data"]["train"]["long"]["runs"][0]["folder"] == str(records)
    assert made["rope_parameters"]["rope_theta"] == 10_000
    card = (out / "README.md").read_text()
    assert "records.jsonl" in card
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    assert (out / "mix.png").stat().st_size > 1_000


def test_answers_and_prompts_are_logged_apart(trained: tuple[Path, Result]) -> None:
    out, done = trained
    lines = lines_of(out / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert {name for line in steps for name in line["parts"]} == {"long answer", "long prompt", "short answer"}
    for line in steps:
        parts = line["parts"].values()
        assert line["loss"] == pytest.approx(
            sum(p["loss"] * p["tokens"] for p in parts) / sum(p["tokens"] for p in parts)
        )
    validated = [line for line in lines if "validation" in line]
    assert {line["step"] for line in validated} == {0, 2, 4}
    assert all(set(line["validation"]) == {"long", "short"} for line in validated)
    assert all(set(line["validation"]["long"]["parts"]) == {"long answer", "long prompt"} for line in validated)
    samples = [line for line in lines if "samples" in line]
    assert {line["step"] for line in samples} == {0, 2, 4}
    assert samples[0]["samples"][0]["reference"]
    assert "long answer" in done.stderr


def test_mix_shows_the_plan_and_sft_uses_its_examples(base: Path, records: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (*sources(base, records), "--mix", "long:short=3:1", "--by", "examples", "--out", out)
    first = finetune("mix", *arguments, "--json")
    assert first.exit_code == 0, first.output
    shown = json.loads(first.stdout)
    assert all(set(row) >= MIX_KEYS for row in shown["sources"])
    assert {row["name"]: row["planned_share"] for row in shown["sources"]} == {"long": 0.75, "short": 0.25}
    assert all(abs(row["planned_share"] - row["realised_share"]) < 0.005 for row in shown["sources"])
    assert shown["truncated_context"] > 0
    assert {"rows", "dropped"} <= shown.keys()
    assert not (out / "model.safetensors").exists()
    written = (out / "data/data.json").stat().st_mtime_ns
    table = finetune("mix", *arguments)
    assert "realised" in table.stdout
    assert finetune("sft", *arguments, "--batch-size", 4, "--steps", 1).exit_code == 0
    assert (out / "data/data.json").stat().st_mtime_ns == written


def test_same_command_again_does_nothing(trained: tuple[Path, Result], base: Path, records: Path) -> None:
    out, _ = trained
    weights = (out / "model.safetensors").read_bytes()
    again = finetune("sft", *sources(base, records), "--mix", "long:short=0.7:0.3", *QUICK, "--out", out)
    assert again.exit_code == 0
    assert "finished already" in again.stderr
    other = finetune("sft", *sources(base, records), "--mix", "long:short=0.6:0.4", *QUICK, "--out", out)
    assert other.exit_code == 1
    assert "mix: was 'long:short=0.7:0.3'" in other.stderr
    assert (out / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("recipe", ["short", "short-pretrain", "self-instruct-answers", "self-instruct"])
def test_the_settings_of_table_9(recipe: str, base: Path, records: Path, rows: Path, tmp_path: Path) -> None:
    given: dict[str, tuple[object, ...]] = {"short": (), "short-pretrain": ("--pretrain", rows)}
    data = given.get(recipe, ("--long", records))
    out = tmp_path / "out"
    done = finetune(
        "sft",
        "--config",
        ROOT / f"recipes/table9/{recipe}.toml",
        "--base",
        base,
        "--short",
        CHATS,
        *data,
        *QUICK,
        "--out",
        out,
    )
    assert done.exit_code == 0, done.output
    parts = {name for line in lines_of(out / "metrics.jsonl") if "loss" in line for name in line["parts"]}
    assert (
        parts
        == {
            "short": {"short answer"},
            "short-pretrain": {"short answer", "pretrain text"},
            "self-instruct-answers": {"short answer", "long answer"},
            "self-instruct": {"short answer", "long answer", "long prompt"},
        }[recipe]
    )
    counted = json.loads((out / "run.json").read_text())["counts"]["train"]
    assert all(counts.get("examples") or counts.get("rows") for counts in counted.values())


def test_more_words_than_embeddings_are_refused(base: Path, tmp_path: Path) -> None:
    larger = tmp_path / "larger"
    shutil.copytree(base, larger)
    tokenizer = AutoTokenizer.from_pretrained(larger)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save_pretrained(larger)
    done = finetune("mix", "--base", larger, "--short", CHATS, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "8,194 tokens, the model embeddings of 8,192" in done.stderr


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pretrain.cli import main as pretrain

    folder = tmp_path_factory.mktemp("rows")
    (folder / "docs.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in list(topics.values())[:20])
    )
    arguments = [
        "prepare",
        "--source",
        f"ref={folder / 'docs.jsonl'}",
        "--seq-len",
        "256",
        "--workers",
        "1",
        "--out",
        str(folder / "rows"),
    ]
    done = CliRunner().invoke(pretrain, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return folder / "rows"


def test_an_adapter_and_its_merge_say_the_same(base: Path, records: Path, tmp_path: Path) -> None:
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    done = finetune("sft", *sources(base, records), "--lora", 4, *QUICK, "--out", adapter)
    assert done.exit_code == 0, done.output
    assert finetune("merge", "--adapter", adapter, "--out", merged).exit_code == 0
    from longreach.model.lora import load_adapter

    adapted, _ = load_adapter(adapter, dtype="float32", attention="sdpa")
    tokens = torch.arange(3, 103)[None]
    with torch.no_grad():
        before, after = adapted(tokens).logits, AutoModelForCausalLM.from_pretrained(merged)(tokens).logits
        plain = AutoModelForCausalLM.from_pretrained(base)(tokens).logits
    assert torch.allclose(before, after, atol=1e-4)
    assert not torch.allclose(plain, after, atol=1e-2)
    assert "[INST]" in AutoTokenizer.from_pretrained(merged).chat_template
    assert json.loads((merged / "longreach.json").read_text())["merged"] == str(adapter)
    again = finetune("merge", "--adapter", adapter, "--out", merged)
    assert again.exit_code == 1
    assert "not empty" in again.stderr


def test_an_adapter_refuses_a_base_of_another_rope(base: Path, records: Path, tmp_path: Path) -> None:
    adapter, other = tmp_path / "adapter", tmp_path / "other"
    assert finetune("sft", *sources(base, records), "--lora", 4, *QUICK, "--out", adapter).exit_code == 0
    shutil.copytree(base, other)
    config = json.loads((other / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500_000
    (other / "config.json").write_text(json.dumps(config))
    done = finetune("merge", "--adapter", adapter, "--base", other, "--out", tmp_path / "merged")
    assert done.exit_code == 1
    assert "RoPE" in done.stderr
    assert not (tmp_path / "merged").exists()


def command(*arguments: object) -> list[str]:
    return [*map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def test_two_processes_train_as_one(base: Path, records: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = (*sources(base, records), "--mix", "long:short=1:1", *QUICK)
    assert finetune("sft", *arguments, "--out", one).exit_code == 0
    torchrun = command(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "finetune", "sft"
    )
    done = subprocess.run(
        [*torchrun, *command(*arguments, "--out", two)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    losses = [[line["loss"] for line in lines_of(out / "metrics.jsonl") if "loss" in line] for out in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    weights = [load_file(out / "model.safetensors") for out in (one, two)]
    assert all(torch.allclose(tensor, weights[1][name], atol=2e-5) for name, tensor in weights[0].items())


CORRUPT = (
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n{"messages": [\n'
)


def test_bad_rows_are_listed_and_strict_stops(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "chats.jsonl"
    data.write_text(
        CHATS.read_text() + CORRUPT + '{"rows": 3}\n' + '{"messages": [{"role": "user", "content": "Hi"}]}\n'
    )
    good = len(CHATS.read_text().splitlines()) + 1
    done = finetune("mix", "--base", base, "--short", data, "--json", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    skipped = lines_of(tmp_path / "out/skipped.jsonl")
    assert [(line["line"], line["path"]) for line in skipped] == [(good + number, str(data)) for number in (1, 2, 3)]
    assert sum(json.loads(done.stdout)["dropped"].values()) == 3
    strict = finetune("mix", "--base", base, "--short", data, "--strict", "--out", tmp_path / "strict")
    assert strict.exit_code == 1
    assert f"line {good + 1}" in strict.stderr


def test_an_adapter_on_a_base_of_4_bits(base: Path, records: Path, tmp_path: Path) -> None:
    """On a CPU, as by hand: trained, validated on the way, and merged into the base."""
    pytest.importorskip("bitsandbytes")
    adapter = tmp_path / "adapter"
    done = finetune("sft", *sources(base, records), "--lora", 4, "--qlora", *QUICK, "--out", adapter)
    assert done.exit_code == 0, done.output
    factors = [each for name, each in load_file(adapter / "adapter_model.safetensors").items() if "lora_B" in name]
    assert factors and all(bool(each.any()) for each in factors)  # zeros, before they learn
    assert finetune("merge", "--adapter", adapter, "--out", tmp_path / "merged").exit_code == 0


BAD: dict[str, tuple[tuple[object, ...], str]] = {
    "no data": ((), "no data"),
    "unknown name in mix": (("--short", CHATS, "--mix", "shrt=1"), "did you mean 'short'"),
    "unnamed source": (("--short", CHATS, "--data", f"more={CHATS}", "--mix", "short=1"), "more"),
    "no number": (("--short", CHATS, "--mix", "short=a"), "--mix"),
    "fewer numbers": (("--short", CHATS, "--mix", "long:short=1"), "2 names, but 1 number"),
    "unknown name in loss": (("--short", CHATS, "--loss", "shrt=all"), "did you mean 'short'"),
    "no loss": (("--short", CHATS, "--loss", "short=some"), "--loss"),
    "empty file": (("--short", "empty.jsonl"), "short"),
    "unknown form": (("--short", "odd.jsonl"), "unknown form"),
    "no file": (("--short", "chat.jsonl"), "no such file"),
    "no name": (("--data", CHATS), "has no name"),
    "two batches": (("--short", CHATS, "--batch-size", 4, "--batch-tokens", 99), "give one"),
    "batch too small": (("--short", CHATS, "--batch-tokens", 9), "longest example"),
    "longer than the window": (("--short", CHATS, "--seq-len", 2 * WINDOW), "more than the 512 tokens"),
    "qlora without a rank": (("--short", CHATS, "--qlora"), "--lora"),
    "alpha without a rank": (("--short", CHATS, "--lora-alpha", 8), "--lora"),
    "empty path": (("--short", CHATS, "--long", ""), "--long: a path is empty"),
    "taken name": (
        ("--short", CHATS, "--pretrain", "r", "--validation-data", f"pretrain={CHATS}"),
        "taken by --pretrain",
    ),
    "batch far too large": (("--short", CHATS, "--batch-size", 10**9, "--steps", 9), "9,000,000,000 examples"),
    "same data held out": (("--short", CHATS, "--validation-data", f"short={CHATS}"), "trained on, too"),
    "unknown option in TOML": (("--config", "odd.toml"), "did you mean 'short'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message(case: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    Path("odd.jsonl").write_text('{"rows": 3}\n')
    Path("odd.toml").write_text('shrt = "x"\n')
    arguments, expected = BAD[case]
    done = finetune("sft", "--base", base, *arguments, *(() if "batch" in case else QUICK), "--out", tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output
    assert done.stderr.count("error: ") == 1
    assert expected in done.stderr
    assert not (tmp_path / "out/model.safetensors").exists()


def test_a_loss_that_jumps_does_not_stop_it(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune import sft

    class Seen(Exception):
        pass

    def train(*given: Any) -> None:
        [settings] = [each for each in given if isinstance(each, TrainSettings)]
        raise Seen(settings.spike_factor)

    monkeypatch.setattr(sft, "train", train)
    with pytest.raises(Seen, match=r"^0\.0$"):
        finetune("sft", "--base", base, "--short", CHATS, *QUICK, "--out", tmp_path / "out")
