"""What --dry-run says of GPU hours: computed from the model's shape, or why not and what would help."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from longreach.model.aliases import aliases
from selfinstruct.cli import main

SERVED = ("--base-url", "http://127.0.0.1:9/v1")


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory, text: str) -> Path:
    path = tmp_path_factory.mktemp("docs") / "harbour.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def dry_run(docs: Path, tmp_path: Path) -> Any:
    def run(*arguments: object) -> Result:
        words = ["generate", "--docs", docs, "--out", tmp_path / "run", "--chunk-tokens", 512, "--context-tokens", "4k"]
        done = CliRunner().invoke(main, [*map(str, words), "--dry-run", *map(str, arguments)])
        assert not (tmp_path / "run").exists()
        return done

    return run


def figures(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_hours_with_the_prefix_cached_and_without(dry_run: Any) -> None:
    found = figures(dry_run(*SERVED, "--model", "llama3.1-8b", "--gpus", 4, "--price", 2, "--json"))
    needs, cached, uncached = found["needs"], found["needs"]["cached"], found["needs"]["uncached"]
    assert (needs["gpu"], needs["gpus"], needs["servers"], needs["gpus_per_server"]) == ("h100", 4, 4, 1)
    assert uncached["prompt_tokens"] == found["prompt_tokens"]
    assert uncached["prompt_tokens"] - cached["prompt_tokens"] == found["prompt_tokens_cached"] > 0
    assert uncached["gpu_hours_reading"] > cached["gpu_hours_reading"]
    assert uncached["gpu_hours_writing"] == cached["gpu_hours_writing"]
    for column in (cached, uncached):
        assert column["gpu_hours"] == pytest.approx(column["gpu_hours_reading"] + column["gpu_hours_writing"])
        assert column["hours"] == pytest.approx(column["gpu_hours"] / 4)
        assert column["cost"] == pytest.approx(column["gpu_hours"] * 2)
        low, high = column["gpu_hours_range"]
        assert low < column["gpu_hours"] < high
    assert found["hours"] == round(cached["hours"], 3)


def test_the_table_names_gpus_hours_and_cost(dry_run: Any) -> None:
    shown = dry_run(*SERVED, "--model", "llama3.1-8b", "--gpus", 4, "--price", 2)
    assert "llama3.1-8b: 8,030,261,248 parameters, 4 x 1 h100" in shown.stdout
    for row in ("prefix cached", "not cached", "GPU hours", "hours on 4 GPUs", "cost at --price"):
        assert row in shown.stdout
    assert not any(word in dry_run(*SERVED, "--model", "llama3.1-8b").stdout for word in ("--price", "cost"))
    assert "cost by --price-in" in dry_run(*SERVED, "--price-in", 1).stdout


@pytest.mark.parametrize("way", ["folder", "file", "hub id", "shape"])
def test_where_the_shape_may_come_from(way: str, dry_run: Any, tmp_path: Path) -> None:
    config = tmp_path / "model" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(dict(aliases()["qwen3-8b"].config)), encoding="utf-8")
    given = {
        "folder": ("--model", config.parent),
        "file": ("--model", config),
        "hub id": ("--model", "Qwen/Qwen3-8B-Base"),
        "shape": ("--model", "what the server calls it", "--shape", "qwen3-8b"),
    }[way]
    needs = figures(dry_run(*SERVED, *given, "--json"))["needs"]
    assert needs["parameters"] == 8_190_735_360


def test_a_name_that_says_nothing_is_met_with_the_option_that_does(dry_run: Any) -> None:
    found = figures(dry_run(*SERVED, "--model", "Qwen/Qwen3-32B", "--json"))
    assert found["needs"] is None
    assert found["not_planned"].startswith("--model Qwen/Qwen3-32B is no path here and no alias; --shape takes")
    assert "10,000 prompt and 2,000 reply tokens a second" in found["assumed"]
    assert "GPU hours: no --model is given; --shape takes" in dry_run(*SERVED).stdout


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "is no model: it has no config.json"),
        ({"model_type": "gpt2", "n_embd": 8}, "its configuration gives no hidden_size"),
        ({"model_type": "mixtral", "num_local_experts": 8}, "mixtral is a mixture of experts"),
    ],
)
def test_a_model_whose_shape_cannot_be_told_still_has_its_requests_counted(
    config: Any, why: str, dry_run: Any, tmp_path: Path
) -> None:
    """Where a server calls its model as a folder here happens to be called, too; but not where --shape asks for it."""
    folder = tmp_path / "served"
    folder.mkdir()
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    found = figures(dry_run(*SERVED, "--model", folder, "--json"))
    assert found["requests"] and found["needs"] is None
    assert why in found["not_planned"]
    assert "--shape takes" in found["not_planned"]
    refused = dry_run(*SERVED, "--model", "x", "--shape", folder)
    assert refused.exit_code == 1
    assert why in refused.stderr


def test_engines_that_are_not_planned_for(dry_run: Any) -> None:
    assert "the built-in engine needs none\n" in dry_run("--engine", "extractive").stdout
    unread = dry_run("--engine", "extractive", "--shape", "qwen3-8b", "--price", 2).stdout
    assert "needs none; --shape, --price: for a model, by --engine vllm or --base-url" in unread
    said = dry_run("--engine", "transformers", "--model", "llama3.1-8b").stdout
    assert "--engine vllm" in said and "--base-url" in said


def test_several_servers_and_too_few_gpus(dry_run: Any) -> None:
    two = figures(dry_run(*SERVED, "--base-url", "http://127.0.0.1:8/v1", "--model", "llama3.1-8b", "--json"))["needs"]
    assert (two["servers"], two["gpus"]) == (2, 2)
    odd = figures(dry_run(*SERVED, "--model", "llama3.1-70b", "--gpus", 9, "--json"))["needs"]
    assert odd["gpus"] < 9 and any("of --gpus 9 left over" in note for note in odd["notes"])
    few = figures(dry_run(*SERVED, "--model", "llama3.1-70b", "--gpus", 1, "--json"))
    assert few["not_planned"].startswith("one server takes ")
    alone = ("--engine", "vllm", "--model", "llama3.1-70b", "--engine-args", '{"tensor_parallel_size": 1}')
    assert "the weights do not fit" in dry_run(*alone).stdout


def test_the_size_of_a_server_of_vllm_here(dry_run: Any) -> None:
    command = ("--engine", "vllm", "--model", "llama3.1-70b", "--json")
    advised = figures(dry_run(*command))["needs"]
    size = advised["gpus_per_server"]
    assert size > 1 and any(f'{{"tensor_parallel_size": {size}}}' in note for note in advised["notes"])
    asked = figures(dry_run(*command, "--engine-args", '{"tensor_parallel_size": 8}'))["needs"]
    assert asked["gpus_per_server"] == 8 and not any("tensor_parallel" in note for note in asked["notes"])


def test_another_models_critique_is_not_counted(dry_run: Any) -> None:
    command = (*SERVED, "--model", "llama3.1-8b", "--json")
    own, judged = figures(dry_run(*command)), figures(dry_run(*command, "--judge-model", "llama3.1-70b"))
    assert judged["requests"] == own["requests"]
    assert judged["prompt_tokens"] == own["prompt_tokens"]
    assert judged["needs"]["uncached"]["gpu_hours"] < own["needs"]["uncached"]["gpu_hours"]
    assert any("the judge's" in note for note in judged["needs"]["notes"])


def test_an_unknown_gpu_is_one_message(dry_run: Any) -> None:
    done = dry_run(*SERVED, "--model", "llama3.1-8b", "--gpu", "h10")
    assert done.exit_code == 1
    assert "did you mean 'h100'" in done.stderr


def test_a_document_of_one_chunk_is_checked_against_its_text_one_of_many_against_summaries(
    text: str, tmp_path: Path, dry_run: Any
) -> None:
    only_summaries = (*SERVED, "--tasks", "summary", "--checks", "critique", "--json")
    many = figures(dry_run(*only_summaries))
    assert many["requests"]["merged summary"] > 0 and many["prompt_tokens_cached"] == 0
    short = tmp_path / "short.txt"
    short.write_text(text[:800], encoding="utf-8")
    command = ["generate", "--docs", str(short), "--dry-run", *only_summaries]
    one = figures(CliRunner().invoke(main, command))
    assert one["requests"] == {"summary of a part": 1, "check: critique": 1}
    assert one["prompt_tokens_cached"] == one["tokens"]


def test_a_part_that_was_asked_about_is_cached_when_its_summary_is_written(dry_run: Any) -> None:
    command = (*SERVED, "--tasks", "short_answer,summary", "--checks", "form", "--json")
    every = figures(dry_run(*command, "--chunks-per-doc", "all"))
    assert every["chunks"] > 1
    assert every["prompt_tokens_cached"] == every["tokens"]
    assert 0 < figures(dry_run(*command, "--chunks-per-doc", 1))["prompt_tokens_cached"] < every["tokens"]
