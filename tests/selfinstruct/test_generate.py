"""`selfinstruct generate` from the command line: real text in, a run folder out; and every way it can go wrong."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import datasets
import filelock
import huggingface_hub
import pyarrow.parquet
import pytest

from topicrows import TOPICS, write_topics

ROOT = Path(__file__).parents[2]


def selfinstruct(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfinstruct", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **more,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def one_complaint(done: subprocess.CompletedProcess[str], *words: str, status: int = 1) -> None:
    """One message, no traceback, the right exit status, and what it should speak of."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") + done.stderr.count("Error:") == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_topics(tmp_path_factory.mktemp("docs") / "topics.jsonl", source="reference", license="PSF-2.0")


@pytest.fixture(scope="module")
def run(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the built-in engine over the language reference."""
    out = tmp_path_factory.mktemp("runs") / "first"
    done = selfinstruct("generate", "--docs", docs, "--out", out, "--format", "parquet", "--context-tokens", "4k")
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout
    return out


def test_counts_balance(run: Path) -> None:
    counts = json.loads((run / "run.json").read_text())["counts"]
    documents, requests = counts["documents"], counts["requests"]
    assert documents["found"] == documents["read"] + documents["skipped"] == len(TOPICS)
    rejected = sum(requests["rejected"].values())
    assert requests["planned"] == requests["kept"] + rejected + requests["failed"]
    assert len(lines(run / "records.jsonl")) == requests["kept"]
    assert len(lines(run / "rejected.jsonl")) == rejected
    assert len(lines(run / "skipped.jsonl")) == documents["skipped"]
    assert requests["kept"] >= 0.6 * requests["planned"]


def test_records_hold_their_document_and_evidence(run: Path) -> None:
    for record in lines(run / "records.jsonl"):
        text = topics[record["document"]["id"].rpartition(":")[2]]
        context, chunk = record["context"], record["chunk"]
        prompt, answer = (turn["content"] for turn in record["messages"])
        assert text[context["start"] : context["end"]].strip() in prompt
        assert context["start"] <= chunk["start"] < chunk["end"] <= context["end"]
        assert record["evidence"]
        for span in record["evidence"]:
            assert text[span["start"] : span["end"]] == span["text"]
            assert chunk["start"] <= span["start"] < span["end"] <= chunk["end"]
        assert answer
        assert all(verdict["passed"] for verdict in record["checks"].values())


def test_records_load_elsewhere(run: Path, tmp_path: Path) -> None:
    rows = lines(run / "records.jsonl")
    loaded = datasets.load_dataset(
        "json", data_files=str(run / "records.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert [row["messages"] for row in loaded] == [row["messages"] for row in rows]
    table = pyarrow.parquet.read_table(run / "records.parquet")
    assert table.column("messages").to_pylist() == [row["messages"] for row in rows]
    assert [len(spans) for spans in table.column("evidence").to_pylist()] == [len(row["evidence"]) for row in rows]


def test_card_is_a_dataset_card(run: Path) -> None:
    card = huggingface_hub.DatasetCard.load(run / "README.md")
    assert card.data.license_name == "PSF-2.0"
    assert card.data.configs[0]["data_files"][0]["path"] == "records.jsonl"
    assert "| kept: short_answer |" in card.text
    assert "extractive" in card.text


def test_same_command_again_asks_nothing(run: Path, docs: Path) -> None:
    before = (run / "records.jsonl").read_bytes()
    again = selfinstruct(
        "generate", "--docs", docs, "--out", run, "--format", "parquet", "--context-tokens", "4k", "--json"
    )
    figures = json.loads(again.stdout)
    assert figures["usage"]["asked"] == 0
    assert figures["usage"]["replayed"] > 0
    assert (run / "records.jsonl").read_bytes() == before


def test_changed_settings_are_refused(run: Path, docs: Path) -> None:
    done = selfinstruct("generate", "--docs", docs, "--out", run, "--context-tokens", "4k", "--seed", 5)
    one_complaint(done, "seed: was 0, now 5", "--out")


def test_a_preview_grows_into_the_run(docs: Path, tmp_path: Path) -> None:
    assert selfinstruct("generate", "--docs", docs, "--out", tmp_path, "--limit", 5).returncode == 0
    preview = lines(tmp_path / "records.jsonl")
    figures = json.loads(selfinstruct("generate", "--docs", docs, "--out", tmp_path, "--limit", 9, "--json").stdout)
    assert figures["usage"]["replayed"] > 0
    assert lines(tmp_path / "records.jsonl")[: len(preview)] == preview


def test_dry_run_asks_and_writes_nothing(docs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["--docs", docs, "--out", out, "--base-url", "http://127.0.0.1:9/v1", "--price-in", 1, "--price-out", 2]
    figures = json.loads(selfinstruct("generate", *arguments, "--dry-run", "--json").stdout)
    assert not out.exists()
    assert figures["documents"]["found"] == len(TOPICS)
    assert figures["requests"]["short_answer"] == figures["requests"]["check: leak"] / 2 > 0
    assert 0 < figures["prompt_tokens_cached"] < figures["prompt_tokens"]
    assert figures["hours"] < figures["hours_without_prefix_cache"]
    assert figures["cost"] > 0


def test_check_again_and_inspect_and_export(docs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert selfinstruct("generate", "--docs", docs, "--out", out, "--limit", 20).returncode == 0
    kept = len(lines(out / "records.jsonl"))
    done = selfinstruct("check", out, "--checks", "evidence", "--json")
    assert done.returncode == 0, done.stderr
    assert len(lines(out / "records.jsonl")) >= kept
    assert all(set(record["checks"]) == {"evidence"} for record in lines(out / "records.jsonl"))
    shown = selfinstruct("inspect", out, "-n", 2)
    assert shown.returncode == 0, shown.stderr
    assert "evidence starts at this share" in shown.stdout
    for form in ("sharegpt", "alpaca", "prompt-completion"):
        assert selfinstruct("export", out, "--to", form).returncode == 0
        assert len(lines(out / f"{form}.jsonl")) == len(lines(out / "records.jsonl"))


def test_one_bad_row_costs_one_row(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "topics.jsonl", 10)
    good = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*good[:4], b'{"text": "cut o\n', *good[4:]]))
    done = selfinstruct("generate", "--docs", path, "--out", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["documents"]["read"] == 10
    (skipped,) = lines(tmp_path / "run/skipped.jsonl")
    assert (skipped["line"], skipped["byte"], skipped["reason"]) == (5, sum(map(len, good[:4])), "broken json")


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--docs", "no/such/folder"], ["no/such/folder"]),
        (["--docs", "{empty}"], ["empty"]),
        (["--docs", "{docs}", "--engine", "transformers", "--model", "no/such-model"], ["no/such-model"]),
        (["--docs", "{docs}", "--base-url", "http://127.0.0.1:9/v1"], ["http://127.0.0.1:9"]),
        (["--docs", "{docs}", "--prompts", "{prompts}"], ["short_answer.jinja", "{{ chunk }}"]),
        (["--docs", "{docs}", "--context-tokens", "2k"], ["--context-tokens", "--chunk-tokens"]),
        (["--docs", "{docs}", "--tasks", "short_anwser"], ["did you mean 'short_answer'"]),
        (["--docs", "{docs}", "--tokenizer", "no/such-tokenizer"], ["no/such-tokenizer"]),
        (["--docs", "{docs}", "--config", "{toml}"], ["chunk_token", "did you mean 'chunk_tokens'"]),
        (
            ["--docs", "{docs}", "--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "NOT_SET_AT_ALL"],
            ["NOT_SET_AT_ALL"],
        ),
        (["--docs", "{docs}", "--min-score", "11"], ["--min-score"]),
        ([], ["--docs"]),
    ],
)
def test_bad_input_gets_one_message(arguments: list[str], words: list[str], docs: Path, tmp_path: Path) -> None:
    places = {"docs": docs, "empty": tmp_path / "empty", "prompts": tmp_path / "prompts", "toml": tmp_path / "run.toml"}
    places["empty"].mkdir()
    places["prompts"].mkdir()
    (places["prompts"] / "short_answer.jinja").write_text("{{ chunk }} {{ language }} {{ structured }}")
    places["toml"].write_text("chunk_token = 512\n")
    filled = [str(places[word[1:-1]]) if word.startswith("{") else word for word in arguments]
    done = selfinstruct("generate", *filled, "--out", tmp_path / "out", env={**os.environ, "HF_HUB_OFFLINE": "1"})
    one_complaint(done, *words)


def test_wrong_usage_exits_2(docs: Path) -> None:
    one_complaint(selfinstruct("generate", "--docs", docs, "--no-such-option"), "--no-such-option", status=2)
    one_complaint(selfinstruct("generate", "--docs", docs, "--engine", "magic"), "magic", status=2)
    ray = selfinstruct("generate", "--docs", docs, "--engine", "ray")
    one_complaint(ray, "recipes/generate_ray.py", "--base-url", status=2)


def test_wrong_key(docs: Path, tmp_path: Path) -> None:
    with chat_server("--key", "right") as server:
        done = selfinstruct(
            *("generate", "--docs", docs, "--base-url", server, "--out", tmp_path / "out", "--api-key-env", "KEY"),
            env={**os.environ, "KEY": "sk-very-secret"},
        )
    one_complaint(done, "key")
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file())
    assert "sk-very-secret" not in done.stderr + done.stdout
    assert b"sk-very-secret" not in written


def test_second_process_is_refused(docs: Path, tmp_path: Path) -> None:
    with filelock.FileLock(tmp_path / ".lock"):
        done = selfinstruct("generate", "--docs", docs, "--out", tmp_path)
    one_complaint(done, "another process")


def test_forbidden_folder(docs: Path) -> None:
    one_complaint(selfinstruct("generate", "--docs", docs, "--out", "/sys/longreach"), "/sys/longreach")


def test_full_disk_tears_nothing_and_resumes(docs: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "run", tmp_path / "clean"
    arguments = ["generate", "--docs", docs, "--limit", 30]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    full = selfinstruct(*arguments, "--out", out, preexec_fn=limited)
    one_complaint(full, "same command")
    assert not (out / "records.jsonl").exists()
    assert selfinstruct(*arguments, "--out", out).returncode == 0
    assert selfinstruct(*arguments, "--out", clean).returncode == 0
    assert (out / "records.jsonl").read_bytes() == (clean / "records.jsonl").read_bytes()


def test_failures_exit_3_and_the_same_command_tries_again(docs: Path, tmp_path: Path) -> None:
    arguments = ["generate", "--docs", docs, "--out", tmp_path / "run", "--limit", 12]
    with chat_server() as server:
        budget = selfinstruct(*arguments, "--base-url", server, "--max-requests", 20)
        assert budget.returncode == 3, budget.stderr
        failed = lines(tmp_path / "run/failed.jsonl")
        assert failed
        assert {row["reason"] for row in failed} == {"budget"}
        again = selfinstruct(*arguments, "--base-url", server)
        assert again.returncode == 0, again.stderr
        assert not lines(tmp_path / "run/failed.jsonl")


def test_faults_on_the_way_change_nothing(docs: Path, tmp_path: Path) -> None:
    """Every request meets two of the faults that pass (429, 500, 503, hangs, resets, garbage ...) before its answer."""
    arguments = ["generate", "--docs", docs, "--limit", 8, "--timeout", 0.5, "--context-tokens", "4k"]
    with chat_server() as sound, chat_server("--faults", 2) as faulty:
        undisturbed = selfinstruct(*arguments, "--out", tmp_path / "a", "--base-url", sound, "--json")
        disturbed = selfinstruct(*arguments, "--out", tmp_path / "b", "--base-url", faulty, "--json")
    assert disturbed.returncode == 0, disturbed.stderr
    assert json.loads(disturbed.stdout)["requests"] == json.loads(undisturbed.stdout)["requests"]
    assert json.loads(disturbed.stdout)["usage"]["asked"] == json.loads(undisturbed.stdout)["usage"]["asked"]
    for name in ("records.jsonl", "rejected.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@contextmanager
def chat_server(*options: object) -> Iterator[str]:
    """The chat server of the tests in a process of its own, that answers with pairs; its URL."""
    command = [sys.executable, str(ROOT / "tests/faultserver.py"), "--answer", "pair", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.terminate()


def test_a_rerun_that_reads_nothing_leaves_the_records(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "topics.jsonl", 5)
    out = tmp_path / "run"
    assert selfinstruct("generate", "--docs", path, "--out", out).returncode == 0
    before = (out / "records.jsonl").read_bytes()
    path.write_bytes(b"")
    one_complaint(selfinstruct("generate", "--docs", path, "--out", out), "no document")
    assert (out / "records.jsonl").read_bytes() == before


def test_check_of_changed_documents_leaves_the_records(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "topics.jsonl", 5)
    out = tmp_path / "run"
    assert selfinstruct("generate", "--docs", path, "--out", out).returncode == 0
    before = (out / "records.jsonl").read_bytes()
    path.write_text(path.read_text().replace("the", "thee"))
    one_complaint(selfinstruct("check", out, "--checks", "form"), "cannot be checked again", "--out")
    assert (out / "records.jsonl").read_bytes() == before


def test_check_with_another_threshold_and_another_judge(docs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with chat_server() as server, chat_server() as judge:
        arguments = ("generate", "--docs", docs, "--limit", 6, "--out", out, "--base-url", server)
        first = json.loads(selfinstruct(*arguments, "--json").stdout)
        stricter = json.loads(selfinstruct("check", out, "--min-score", "10", "--json").stdout)
        assert stricter["usage"]["asked"] == 0
        assert stricter["requests"]["kept"] <= first["requests"]["kept"]
        judged = selfinstruct("check", out, "--min-score", "2", "--judge-url", judge, "--judge-model", "tiny", "--json")
        assert judged.returncode == 0, judged.stderr
        assert json.loads(judged.stdout)["requests"]["planned"] == first["requests"]["planned"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "{gone}"], ["run.json"]),
        (["inspect", "{gone}"], ["run.json"]),
        (["export", "{gone}", "--to", "alpaca"], ["records.jsonl"]),
        (["inspect", "{garbage}"], ["run.json"]),
        (["generate", "--docs", "{docs}", "--out", "{file}"], ["file"]),
        (["generate", "--docs", "{docs}", "--out", "{broken}"], ["journal.sqlite"]),
        (["generate", "--docs", "{docs}", "--limit", "inf"], ["--limit"]),
    ],
)
def test_broken_folders_get_one_message(arguments: list[str], words: list[str], docs: Path, tmp_path: Path) -> None:
    names = ("gone", "garbage", "file", "broken")
    places = {"docs": docs, **{name: tmp_path / name for name in names}}
    places["garbage"].mkdir()
    (places["garbage"] / "run.json").write_text("{}")
    places["file"].write_text("")
    places["broken"].mkdir()
    (places["broken"] / "journal.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 40)
    filled = [str(places[word[1:-1]]) if word.startswith("{") else word for word in arguments]
    one_complaint(selfinstruct(*filled), *words)


def test_a_password_in_a_url_is_written_nowhere(docs: Path, tmp_path: Path) -> None:
    with chat_server() as server:
        url = server.replace("http://", "http://user:hunter2@")
        done = selfinstruct("generate", "--docs", docs, "--limit", 2, "--out", tmp_path / "run", "--base-url", url)
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert all(b"hunter2" not in path.read_bytes() for path in (tmp_path / "run").iterdir())
