"""Loading and saving models: the RoPE in effect, what is refused, and that half a checkpoint is none."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForSequenceClassification, LlamaModel

from longreach.errors import UserError
from longreach.model import checkpoint
from longreach.model.checkpoint import is_whole, read_provenance, save_model, write_checkpoint
from longreach.model.load import load_model, new_model, read_config
from longreach.model.rope import parse_rope
from longreach.model.rotary import rotaries
from tinyllama import make_tiny_llama
from tinymodels import make_tiny, tokens

WINDOW, LONG = 128, 1024


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("base"), window=WINDOW)


def load(model: Path | str, rope: str = "abf:500000", dtype: str = "float32", **options: Any) -> tuple[Any, Any]:
    return load_model(str(model), parse_rope(rope), LONG, dtype=dtype, attention="sdpa", **options)


# Loading


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_has_the_rope_and_the_length(base: Path, dtype: str) -> None:
    model, tokenizer = load(base, dtype=dtype)
    (rotary,) = rotaries(model)
    assert rotary.inverse[1] == pytest.approx(500_000 ** (-2 / 64), rel=1e-6)
    assert (model.dtype, rotary.inverse.dtype) == (getattr(torch, dtype), torch.float32)
    assert model.config.max_position_embeddings == LONG
    assert tokenizer.decode(tokenizer("ka lo mi")["input_ids"]) == "ka lo mi"


def test_the_weights_are_those_of_the_base(base: Path) -> None:
    ours, theirs = load(base, "none")[0], AutoModelForCausalLM.from_pretrained(base)
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_positions_past_the_window_are_allowed_and_said(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, _ = load(base, "none")
    assert model.config.max_position_embeddings == LONG
    assert f"at {LONG} tokens the positions go past the {WINDOW}" in caplog.text


def test_a_model_may_have_no_tokenizer(tmp_path: Path) -> None:
    assert load(make_tiny("llama", tmp_path))[1] is None


def test_the_attention_is_the_one_that_was_asked_for(base: Path) -> None:
    model, _ = load_model(str(base), parse_rope("none"), LONG, dtype="float32", attention="eager")
    assert model.config._attn_implementation == "eager"


def test_a_generation_config_that_transformers_would_not_save_costs_no_run(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As that of the first Llama 2 was: a temperature for what is not drawn."""
    own = '{"temperature": 0.6, "eos_token_id": [2, 7], "bos_token_id": 1}'
    model, _ = load(broken(base, tmp_path / "m", generation_config=own))
    assert "generation_config.json" in caplog.text and "temperature" in caplog.text
    save_model(model, None, tmp_path / "saved", {})
    kept = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert (kept["eos_token_id"], kept["bos_token_id"]) == ([2, 7], 1)
    assert "temperature" not in kept
    caplog.clear()
    load(base)
    assert "generation_config" not in caplog.text


# What is refused, each with one message


def broken(base: Path, folder: Path, removed: str = "", **written: str) -> Path:
    """A copy of the base without a file, or with another text in some."""
    shutil.copytree(base, folder, dirs_exist_ok=True)
    if removed:
        (folder / removed).unlink()
    for name, text in written.items():
        (folder / f"{name}.json").write_text(text)
    return folder


def refused(model: Path | str, complaint: str, hint: str = "") -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        load(model)
    assert "\n" not in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["/nowhere/at/all", "nobody/nothing", "no such model"])
def test_a_model_that_is_nowhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(name, f"no model {name}: neither a folder here nor", "check the spelling")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    refused(tmp_path, "is no model: it has no config.json")


def test_a_file_in_place_of_a_folder(base: Path) -> None:
    refused(base / "config.json", "is a file, not the folder of a model")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"model_type": "nonsense"}', "{}", '{"model_type": "llama", "num_attention_heads": "many"}']
)
def test_a_config_that_is_none(base: Path, tmp_path: Path, text: str) -> None:
    refused(broken(base, tmp_path / "m", config=text), "cannot load .*/m: ")


def test_weights_that_could_run_code(base: Path, tmp_path: Path) -> None:
    folder = broken(base, tmp_path / "m", "model.safetensors")
    torch.save(load_file(base / "model.safetensors"), folder / "pytorch_model.bin")
    refused(folder, "has no safetensors: only pytorch_model.bin, which can run code", "save_pretrained")


def test_safetensors_of_another_kind_do_not_let_them_in(base: Path, tmp_path: Path) -> None:
    folder = broken(base, tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "optimizer.safetensors")
    torch.save(load_file(base / "model.safetensors"), folder / "pytorch_model.bin")
    refused(folder, "cannot load .*/m: .*model.safetensors")


def test_no_weights(base: Path, tmp_path: Path) -> None:
    refused(broken(base, tmp_path / "m", "model.safetensors"), "has no safetensors: no weights at all")


def test_a_shard_that_is_missing(base: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(tmp_path / "m", max_shard_size="200KB")
    shards = sorted((tmp_path / "m").glob("*.safetensors"))
    assert len(shards) > 1
    shards[0].unlink()
    refused(tmp_path / "m", f"cannot load .*{shards[0].name}")


def test_a_file_of_weights_that_breaks_off(base: Path, tmp_path: Path) -> None:
    folder = broken(base, tmp_path / "m")
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size // 2)
    refused(folder, "cannot load .*/m: ")


def test_weights_that_are_left_out(base: Path, tmp_path: Path) -> None:
    folder = broken(base, tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    refused(folder, "lacks 1 weights of its model: model.layers.1.mlp.up_proj.weight")


def test_weights_of_another_shape(base: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    folder = broken(base, tmp_path / "m", config=json.dumps(config | {"vocab_size": 600}))
    refused(folder, "holds weights of another shape than its config.json says: lm_head.weight, model.embed_tokens")


@pytest.mark.parametrize("kind", [LlamaModel, LlamaForSequenceClassification])
def test_a_model_without_a_language_head(base: Path, tmp_path: Path, kind: Any) -> None:
    kind.from_pretrained(base).save_pretrained(tmp_path / "m")
    refused(tmp_path / "m", "lacks 1 weights of its model: lm_head.weight", "without its head")


def test_a_model_that_is_no_causal_one(tmp_path: Path, base: Path) -> None:
    config = {"model_type": "modernbert", "num_hidden_layers": 1}
    refused(
        broken(base, tmp_path / "m", config=json.dumps(config)), "cannot load .*/m: Unrecognized configuration class"
    )


def test_an_adapter_in_place_of_a_model(base: Path, tmp_path: Path) -> None:
    folder = broken(base, tmp_path / "m", adapter_config="{}")
    refused(folder, "is a LoRA adapter", f"finetune merge --adapter {folder}")


def test_a_damaged_tokenizer(base: Path, tmp_path: Path) -> None:
    refused(broken(base, tmp_path / "m", tokenizer="{"), "cannot load .*/m: ")


def test_code_that_comes_with_a_model_is_not_run(base: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    folder = broken(base, tmp_path / "m", config=json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    refused(folder, "cannot load .*/m: ")
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_not_used_are_said(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = broken(base, tmp_path / "m")
    save_file(
        load_file(folder / "model.safetensors") | {"value_head.weight": torch.ones(2)},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    load(folder)
    assert "holds 1 weights that its model does not use: value_head.weight" in caplog.text


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_missing_package_names_the_command_that_installs_it(missing: str) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; import longreach.model.load"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"UserError: training needs {missing}, which is not installed" in ended.stderr
    assert "pip install 'longreach[train]'" in ended.stderr


# A model of nothing


def test_equal_seeds_give_equal_weights(base: Path) -> None:
    config = str(base / "config.json")
    one, again, other = (new_model(config, parse_rope("abf:500000"), LONG, seed, "float32") for seed in (7, 7, 8))
    pairs = zip(one.parameters(), again.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(first, second) for first, second, _ in pairs)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert one.config.rope_parameters["rope_theta"] == 500_000


def test_a_new_model_leaves_the_callers_random_numbers_alone(base: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    new_model(str(base / "config.json"), parse_rope("none"), LONG, 0, "float32")
    assert torch.rand(1) == wanted


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "cannot load"), ("{}", "cannot load"), ('{"model_type": "modernbert"}', "Unrecognized configuration class")],
)
def test_a_config_of_no_causal_model_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(UserError, match=complaint):
        new_model(str(tmp_path / "model.json"), parse_rope("abf:500000"), 64, 0, "float32")


# Saving


def test_a_checkpoint_is_what_transformers_writes_and_its_provenance(base: Path, tmp_path: Path) -> None:
    model, tokenizer = load(base)
    save_model(model, tokenizer, tmp_path / "out", {"run": "r", "rope": "abf:500000", "data_sha256": "abc"})
    provenance = read_provenance(tmp_path / "out")
    assert provenance.pop("versions").keys() >= {"python", "torch", "transformers"}
    assert provenance == {
        "run": "r",
        "rope": "abf:500000",
        "data_sha256": "abc",
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000},
        "max_position_embeddings": LONG,
    }
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(plain(tokens(LONG)).logits, model.eval()(tokens(LONG)).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length == LONG
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("rope", ["abf:500000", "pi:8", "yarn:8", "none"])
def test_transformers_4_finds_its_keys_and_transformers_5_is_not_led_astray(
    base: Path, tmp_path: Path, rope: str
) -> None:
    model, _ = load(base, rope)
    save_model(model, None, tmp_path / "out", {})
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    parameters = dict(model.config.rope_parameters)
    assert written["rope_theta"] == parameters["rope_theta"] == (500_000 if rope == "abf:500000" else 10_000)
    scaled = parameters["rope_type"] != "default"
    assert ("rope_scaling" in written) == scaled
    assert not scaled or parameters == written["rope_scaling"] | {"rope_theta": 10_000}
    assert read_config(str(tmp_path / "out")).rope_parameters == parameters


def test_a_whole_checkpoint_is_not_overwritten(base: Path, tmp_path: Path) -> None:
    model, _ = load(base)
    save_model(model, None, tmp_path / "out", {"run": "first"})
    with pytest.raises(UserError, match="already holds a checkpoint"):
        save_model(model, None, tmp_path / "out", {"run": "second"})
    assert read_provenance(tmp_path / "out")["run"] == "first"


def test_other_files_of_a_run_stay(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.jsonl").write_text("kept")
    model, _ = load(base)
    save_model(model, None, tmp_path / "out", {})
    assert is_whole(tmp_path / "out")
    assert (tmp_path / "out" / "metrics.jsonl").read_text() == "kept"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.rope_parameters["rope_theta"] == 500_000


@pytest.mark.parametrize("used", [False, True], ids=["new folder", "folder of a run"])
@pytest.mark.parametrize("moment", range(10))
def test_a_kill_at_any_moment_leaves_no_half_checkpoint(tmp_path: Path, moment: int, used: bool) -> None:
    """The writer dies before the given file operation; whatever is there then is whole or not said to be."""
    folder = tmp_path / "out"
    if used:
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("kept")
    script = f"""
import os, pathlib
from longreach.model import checkpoint
left = {moment}
def count(real):
    def operation(*args, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*args, **options)
    return operation
pathlib.Path.replace, os.fsync = count(pathlib.Path.replace), count(os.fsync)
def write(into):
    for name in ("config.json", "model.safetensors"):
        (into / name).write_text(name)
checkpoint.write_checkpoint(pathlib.Path({str(folder)!r}), write, {{}})
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert ended.returncode == 9 or is_whole(folder), ended.stderr
    if is_whole(folder):
        assert names - {"metrics.jsonl"} == {"config.json", "model.safetensors", "longreach.json"}
    write_checkpoint(folder.with_name("other"), lambda into: None, {})
    if not is_whole(folder):
        write_checkpoint(folder, lambda into: (into / "config.json").touch(), {"run": "again"})
        assert read_provenance(folder)["run"] == "again"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def full_disk(into: Path) -> None:
    (into / "model.safetensors").write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no room on the disk for .*out"):
        write_checkpoint(tmp_path / "out", full_disk, {})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_under_safetensors_is_said_too(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files stands in for a disk; the number of the error is put in its place."""
    script = f"""
import resource, signal, torch, errno, os
from pathlib import Path
from safetensors.torch import save_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
from longreach.model import checkpoint
checkpoint.errno.ENOSPC = errno.EFBIG
checkpoint.write_checkpoint(Path({str(tmp_path / "out")!r}), lambda into: save_file({{"a": torch.ones(9999)}}, into / "w"), {{}})
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "UserError: no room on the disk for" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_another_error_is_no_full_disk(tmp_path: Path) -> None:
    def fail(into: Path) -> None:
        raise PermissionError("not yours")

    with pytest.raises(PermissionError):
        write_checkpoint(tmp_path / "out", fail, {})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(None, "is no checkpoint that longreach finished"), ("{", "is no JSON"), ("[]", "is no JSON object")],
)
def test_a_provenance_that_cannot_be_read(tmp_path: Path, text: str | None, complaint: str) -> None:
    if text is not None:
        (tmp_path / checkpoint.PROVENANCE).write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_provenance(tmp_path)


def test_logging_is_the_only_voice(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("longreach").setLevel(logging.CRITICAL)
    try:
        load(base, "none")
    finally:
        logging.getLogger("longreach").setLevel(logging.NOTSET)
    assert capsys.readouterr().out == ""
