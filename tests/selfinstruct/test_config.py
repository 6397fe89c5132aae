"""The settings of generate: what cannot work is refused before any work, all of it at once."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from longreach.config import resolve, written
from longreach.errors import UserError
from selfinstruct.cli import main
from selfinstruct.config import CHECKS, CheckSettings, GenerateSettings


def problems(**given: Any) -> list[str]:
    with pytest.raises(UserError) as raised:
        GenerateSettings(**{"docs": ("x",), **given})
    return raised.value.problem.splitlines()


def test_the_defaults_work_on_any_document() -> None:
    settings = GenerateSettings(docs=("x",))
    assert settings.folder == Path("runs/selfinstruct")
    assert settings.checks == CHECKS
    assert settings.engine == "auto"
    assert settings.min_score == 7
    assert settings.answer_language == "the language of the document"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"docs": ()}, "no documents: give --docs"),
        ({"tasks": ()}, "--tasks: none given"),
        ({"tasks": ("short_anwser",)}, "--tasks: no task 'short_anwser'; did you mean 'short_answer'?"),
        ({"checks": ("fomr",)}, "--checks: no check 'fomr'; did you mean 'form'?"),
        ({"chunk_tokens": 31}, "--chunk-tokens: at least 32"),
        ({"chunk_tokens": 2_048, "context_tokens": 2_047 + 1_024}, "cannot hold a chunk of 2048 tokens"),
        ({"chunk_tokens": 128, "context_tokens": 255, "question_tokens": 128}, "with 128 for question and answer"),
        ({"question_tokens": 63}, "--question-tokens: the template alone takes up to 64"),
        ({"temperature": 2.1}, "--temperature: 2.1 is out of range"),
        ({"temperature": float("nan")}, "--temperature: nan is out of range"),
        ({"top_p": -0.1}, "--top-p: -0.1 is out of range"),
        ({"near_duplicates": 1.5}, "--near-duplicates: 1.5 is out of range"),
        ({"engine": "http"}, "--engine http needs --base-url"),
        ({"engine": "vllm"}, "--engine vllm needs --model"),
        ({"engine": "transformers"}, "--engine transformers needs --model"),
        ({"max_cost": 5.0}, "--max-cost needs --price-in and --price-out"),
        ({"judge_url": ("u",), "checks": ("form",)}, "--checks leaves critique out"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], problem: str) -> None:
    (said,) = problems(**given)
    assert problem in said


@pytest.mark.parametrize("name", ["price", "price_in", "price_out", "max_cost", "timeout"])
@pytest.mark.parametrize("typed", ["-2", "nan", "inf", "-inf", "much"])
def test_money_and_seconds_are_numbers_of_0_or_more(name: str, typed: str) -> None:
    with pytest.raises(UserError) as raised:
        resolve(GenerateSettings, {"docs": ("x",), name: typed})
    (said,) = raised.value.problem.splitlines()
    assert said.startswith(f"--{name.replace('_', '-')}: ")
    assert said.removeprefix(f"--{name.replace('_', '-')}: ").startswith((typed, repr(typed)))


@pytest.mark.parametrize(
    "given",
    [
        {"chunk_tokens": 32, "context_tokens": 32 + 1_024},
        {"chunk_tokens": 128, "context_tokens": 256, "question_tokens": 128},
        {"temperature": 2.0, "top_p": 1.0, "near_duplicates": 0.0},
        {"engine": "http", "base_url": ("u",)},
        {"max_cost": 5.0, "price_out": 1.0},
        {"judge_url": ("u",), "checks": ("critique",)},
        {"checks": ()},
    ],
)
def test_what_works_at_the_edge_is_taken(given: dict[str, Any]) -> None:
    GenerateSettings(docs=("x",), **given)


def test_all_problems_are_said_at_once() -> None:
    assert len(problems(docs=(), tasks=("x",), chunk_tokens=1, temperature=9.0, engine="vllm", max_cost=1.0)) == 6


@pytest.mark.parametrize(
    ("option", "word", "field", "value"),
    [
        ("chunks_per_doc", "all", "chunks_per_doc", 0),
        ("chunks_per_doc", "12", "chunks_per_doc", 12),
        ("tasks_per_chunk", "ALL", "tasks_per_chunk", 0),
        ("tasks", "short_answer, summary", "tasks", ("short_answer", "summary")),
        ("context_tokens", "32k", "context_tokens", 32_000),
        ("min_score", "8.5", "min_score", 8.5),
    ],
)
def test_options_are_read(option: str, word: str, field: str, value: object) -> None:
    assert getattr(resolve(GenerateSettings, {"docs": ("x",), option: word}), field) == value


@pytest.mark.parametrize("word", ["0", "0.5", "11", "nan", "high", ""])
def test_a_score_is_from_1_to_10(word: str) -> None:
    with pytest.raises(UserError, match="--min-score"):
        resolve(GenerateSettings, {"docs": ("x",), "min_score": word})


def test_a_settings_file_takes_every_setting(tmp_path: Path) -> None:
    settings = GenerateSettings(
        docs=("a", "b"), tasks=("summary",), chunks_per_doc=0, min_score=9.0, structured=True,
        near_duplicates=0.5, model='a "quoted" name', shard="1/2",
    )  # fmt: skip
    lines = []
    for name, value in written(settings).items():
        lines.append(f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}")
    (tmp_path / "run.toml").write_text("\n".join(lines))
    assert resolve(GenerateSettings, {}, tmp_path / "run.toml") == settings


def test_an_engine_that_is_refused_is_so_in_a_settings_file_too(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('docs = ["x"]\nengine = "ray"\n')
    with pytest.raises(UserError, match=r"no engine for Ray Data.*generate_ray"):
        resolve(GenerateSettings, {}, tmp_path / "run.toml")


def test_where_and_how_fast_a_run_is_made_does_not_shape_it() -> None:
    before = written(GenerateSettings(docs=("x",), base_url=("u",)), shaping_only=True)
    after = written(
        GenerateSettings(
            docs=("x",), base_url=("v", "w"), out="elsewhere", concurrency=3, timeout=1.0, api_key_env="KEY",
            max_requests=5, format="parquet", limit=7,
        ),
        shaping_only=True,
    )  # fmt: skip
    assert before == after


@pytest.mark.parametrize(
    "given",
    [{"seed": 1}, {"model": "m"}, {"tasks": ("summary",)}, {"temperature": 0.1}, {"checks": ("form",)},
     {"min_score": 8.0}, {"prompts": "p"}, {"language": "German"}, {"judge_model": "j"}, {"docs": ("y",)}],
)  # fmt: skip
def test_what_is_asked_and_kept_shapes_it(given: dict[str, Any]) -> None:
    settings = GenerateSettings(**{"docs": ("x",), **given})
    assert written(settings, shaping_only=True) != written(GenerateSettings(docs=("x",)), shaping_only=True)


def test_check_changes_what_was_given_and_nothing_else() -> None:
    assert CheckSettings().changes() == {}
    assert resolve(CheckSettings, {"min_score": "8", "checks": "form,critique"}).changes() == {
        "min_score": 8.0,
        "checks": ("form", "critique"),
    }
    assert CheckSettings(judge_url=("u", "v")).changes() == {"judge_url": ("u", "v")}


def test_a_missing_key_variable_is_no_secret_in_the_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTHER_KEY", "hunter2")
    monkeypatch.delenv("MY_KEY", raising=False)
    ended = CliRunner().invoke(
        main, ["generate", "--docs", str(tmp_path), "--base-url", "http://127.0.0.1:9", "--api-key-env", "MY_KEY"]
    )
    assert ended.exit_code == 1
    assert "MY_KEY" in ended.stderr
    assert "hunter2" not in ended.output
