"""A base model goes on with longer rows: through the command, for every family, and what it says when it cannot."""

import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from longreach.rows.rows import Rows
from longreach.text.tokenize import SHIPPED
from pretrain.cli import main
from tinymodels import make_tiny

SHORT, LONG = 64, 256
VOCABULARY = 8_192
ROOT = Path(__file__).parents[2]
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
QUICK = ("--steps", "2", "--batch-tokens", "512", "--validate-every", "2", "--save-every", "2")


def pretrain(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "reference.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in list(topics.values())[:60]))
    return path


@pytest.fixture(scope="module")
def rows(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of rows by length."""
    folder = tmp_path_factory.mktemp("rows")
    for seq_len in (SHORT, LONG):
        out = folder / str(seq_len)
        done = pretrain("prepare", "--source", f"ref={docs}", "--seq-len", seq_len, "--workers", 1, "--out", out)
        assert done.exit_code == 0, done.stderr
    return {seq_len: folder / str(seq_len) for seq_len in (SHORT, LONG)}


@pytest.fixture(scope="module")
def base(rows: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of ours, from scratch."""
    out = tmp_path_factory.mktemp("base") / "tiny"
    config = ROOT / "recipes/tiny-llama.json"
    done = pretrain("scratch", "--config", config, "--data", rows[SHORT], *QUICK, "--out", out)
    assert done.exit_code == 0, done.stderr
    return out


def family(name: str, folder: Path) -> Path:
    """A tiny model with the shipped tokenizer."""
    make_tiny(name, folder, vocab_size=VOCABULARY)
    PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), eos_token="</s>").save_pretrained(folder)
    return folder


def test_scratch_then_continue_with_another_base(base: Path, rows: dict[int, Path], tmp_path: Path) -> None:
    out = tmp_path / "long"
    command = ("continue", "--base", base, "--data", rows[LONG], "--rope", "abf:500000", *QUICK, "--out", out)
    done = pretrain(*command)
    assert done.exit_code == 0, done.stderr
    config = AutoConfig.from_pretrained(out)
    assert config.rope_parameters["rope_theta"] == 500_000
    assert config.max_position_embeddings >= LONG
    made = json.loads((out / "longreach.json").read_text())
    assert made["base"] == str(base)
    assert made["rope"] == "abf:500000"
    assert made["data"] == {str(rows[LONG]): Rows(rows[LONG]).sha256}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    lengths = next(line["validation"] for line in lines if "validation" in line)[str(LONG)]["by_length"]
    assert list(lengths) == ["64", "128", "256"]
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    weights = (out / "model.safetensors").read_bytes()
    again = pretrain(*command)
    assert again.exit_code == 0
    assert "finished already" in again.stderr
    assert (out / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_goes_on_and_loads_with_the_new_positions(
    name: str, rows: dict[int, Path], tmp_path: Path
) -> None:
    made = family(name, tmp_path / name)
    out = tmp_path / "out"
    done = pretrain("continue", "--base", made, "--data", rows[LONG], *QUICK, "--out", out)
    assert done.exit_code == 0, done.stderr
    model = AutoModelForCausalLM.from_pretrained(out)
    bases = {
        float(buffer[0] / buffer[1]) ** (2 * len(buffer) / 2)
        for key, buffer in model.named_buffers()
        if key.endswith("inv_freq") and "original" not in key
    }
    assert any(abs(each / 500_000 - 1) < 1e-3 for each in bases), bases
    assert len(bases) == (2 if name == "gemma3_text" else 1)  # its local layers keep their own
    assert torch.isfinite(model(torch.arange(3, 203)[None]).logits).all()


def test_an_adapter_is_trained_and_knows_its_positions(base: Path, rows: dict[int, Path], tmp_path: Path) -> None:
    done = pretrain("continue", "--base", base, "--data", rows[LONG], "--lora", 4, *QUICK, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "out/adapter_model.safetensors").exists()
    assert json.loads((tmp_path / "out/longreach.json").read_text())["rope"] == "abf:500000"


def test_a_curriculum_in_two_lengths(rows: dict[int, Path], tmp_path: Path) -> None:
    stages = f"{SHORT}:0.5:none,{LONG}:0.5:abf:500000"
    data = ("--data", rows[SHORT], "--data", rows[LONG])
    config = ("--config", ROOT / "recipes/tiny-llama.json")
    steps = ("--steps", "4", "--batch-tokens", "512", "--validate-every", "4", "--save-every", "4")
    done = pretrain("scratch", *config, *data, "--stages", stages, *steps, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert AutoConfig.from_pretrained(tmp_path / "out").rope_parameters["rope_theta"] == 500_000
    made = json.loads((tmp_path / "out/longreach.json").read_text())
    assert [stage["seq_len"] for stage in made["stages"]] == [SHORT, LONG]
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    tokens = [line["tokens"] for line in lines if "loss" in line]
    assert all(after - before > 400 for before, after in zip([0, *tokens], tokens, strict=False))


@pytest.fixture(scope="module")
def long_rows(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("long") / "rows"
    source = ("--source", f"ref={docs}", "--seq-len", "32768", "--validation", "0", "--workers", "1")
    assert pretrain("prepare", *source, "--out", out).exit_code == 0
    return out


@pytest.mark.parametrize(
    ("alias", "seq_len", "rate"),
    [("llama2-7b", 32_768, 2e-5), ("llama2-13b", 32_768, 2e-5), ("llama2-70b", 16_384, 1e-5)],
)
def test_an_alias_brings_the_papers_settings_with_their_origin(
    alias: str, seq_len: int, rate: float, long_rows: Path
) -> None:
    done = pretrain("continue", "--base", alias, "--data", long_rows, "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    settings = shown["settings"]
    assert shown["stages"][0]["seq_len"] == seq_len
    assert settings["learning_rate"] == {"value": rate, "origin": "paper, Sec. 2.1"}
    assert settings["rope"]["value"] == "abf:500000"
    assert (settings["warmup_steps"]["value"], settings["steps"]["value"]) == (2_000, 100_000)
    assert settings["batch_tokens"]["value"] == 4_194_304
    for name in ("weight_decay", "clip", "betas", "epsilon"):
        assert settings[name]["origin"].startswith("ours"), name
    given = pretrain("continue", "--base", alias, "--data", long_rows, "--learning-rate", "1e-4", "--dry-run", "--json")
    assert json.loads(given.stdout)["settings"]["learning_rate"] == {"value": 1e-4, "origin": "given"}


@pytest.mark.parametrize(("switch", "flops"), [(0.0, 3.783e22), (0.2, 3.405e22), (0.4, 3.026e22), (0.8, 2.270e22)])
def test_the_papers_curricula_cost_what_it_says(switch: float, flops: float, long_rows: Path) -> None:
    stages = ("--stages", f"4096:{switch},32768:{1 - switch:.1f}") if switch else ("--seq-len", "32768")
    steps = ("--steps", "100000", "--batch-tokens", "4194304")
    done = pretrain("scratch", "--config", "llama2-7b", "--data", long_rows, *stages, *steps, "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    assert round(json.loads(done.stdout)["flops"]["paper"] / 1e22, 3) == round(flops / 1e22, 3)


def other_tokenizer(folder: Path) -> Path:
    """A model whose tokenizer is not the rows'."""
    made = family("llama", folder)
    path = made / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    first, second = [word for word, number in words.items() if number in (3000, 3001)]
    words[first], words[second] = words[second], words[first]
    content["model"]["merges"] = content["model"]["merges"][:4000]
    path.write_text(json.dumps(content))
    return made


def small_vocabulary(folder: Path) -> Path:
    """A model whose tokenizer knows more words than it does."""
    make_tiny("llama", folder, vocab_size=1_000)
    PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), eos_token="</s>").save_pretrained(folder)
    return folder


def without_rope(folder: Path) -> Path:
    GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), eos_token="</s>").save_pretrained(folder)
    return folder


def no_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing")
    return folder


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (other_tokenizer, "another tokenizer"),
        (small_vocabulary, "1000"),
        (without_rope, "gpt2"),
        (no_model, "no config.json"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(make: Any, problem: str, rows: dict[int, Path], tmp_path: Path) -> None:
    done = pretrain(
        "continue", "--base", make(tmp_path / "base"), "--data", rows[LONG], *QUICK, "--out", tmp_path / "out"
    )
    assert done.exit_code == 1, done.stdout
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out/model.safetensors").exists()


CASES: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "give --base"),
    (("--base", "{base}"), "give --data"),
    (("--base", "{base}", "--data", "missing/rows"), "holds no rows"),
    (("--base", "lama2-7b", "--data", "{rows}"), "did you mean 'llama2-7b'"),
    (("--base", "{base}/config.json", "--data", "{rows}"), "is a file: a base is the folder"),
    (("--base", "{base}", "--data", "{rows}", "--seq-len", "4096"), "longer than the rows"),
    (("--base", "{base}", "--data", "{rows}", "--seq-len", "100"), "nor of a multiple"),
    (("--base", "{base}", "--data", "{rows}", "--rope", "abs:5"), "--rope"),
    (("--base", "{base}", "--data", "{rows}", "--stages", "64:0.5"), "sum to 0.5"),
    (("--base", "{base}", "--data", "{rows}", "--batch-tokens", "1000"), "no whole number of rows"),
    (("--base", "{base}", "--data", "{rows}", "--batch-tokens", "1000", "--dry-run"), "no whole number of rows"),
    (("--base", "{base}", "--data", "{rows}", "--micro-batch", "1.5"), "--micro-batch"),
    (("--base", "{base}", "--data", "{rows}", "--learning-rate", "-1"), "--learning-rate"),
)


@pytest.mark.parametrize(("arguments", "problem"), CASES)
def test_a_mistake_gives_one_message(
    arguments: tuple[str, ...], problem: str, base: Path, rows: dict[int, Path], tmp_path: Path
) -> None:
    words = [each.format(base=base, rows=rows[LONG]) for each in arguments]
    done = pretrain("continue", *words, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_other_settings_is_left_alone(base: Path, rows: dict[int, Path]) -> None:
    config = ROOT / "recipes/tiny-llama.json"
    weights = (base / "model.safetensors").read_bytes()
    done = pretrain("scratch", "--config", config, "--data", rows[LONG], *QUICK, "--out", base)
    assert done.exit_code == 1
    assert "made with other settings" in done.stderr
    assert (base / "model.safetensors").read_bytes() == weights
