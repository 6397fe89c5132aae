"""Records in the forms of other tools."""

import json
from pathlib import Path
from typing import Any

import pytest

from longreach.errors import UserError
from selfinstruct.config import CHECKS, TARGETS
from selfinstruct.export import FORMS, export, write_parquet

VERDICT = {"passed": True, "score": 1.0, "reason": ""}


def record(name: str, answer: str = "212 m", start: int = 0, sha256: str = "f00") -> dict[str, Any]:
    return {
        "id": name,
        "messages": [{"role": "user", "content": f"A document.\n\n{name}?"}, {"role": "assistant", "content": answer}],
        "task": "short_answer",
        "document": {"id": "d", "path": "d.txt", "sha256": sha256, "chars": 900, "source": "web", "license": "MIT"},
        "context": {"start": 0, "end": 900},
        "chunk": {"start": start, "end": start + 300},
        "evidence": [{"start": 5, "end": 9, "text": "pier"}],
        "checks": {"form": VERDICT, "critique": {**VERDICT, "score": None}},
        "generator": {"engine": "e", "model": "m", "prompt": "short_answer", "prompt_sha256": "abc", "seed": 2**31 - 1},
    }


def rejected(answer: str, reason: str = "evidence: x", start: int = 0, sha256: str = "f00") -> dict[str, Any]:
    chunk = {"start": start, "end": start + 300}
    return {"document": {"sha256": sha256}, "chunk": chunk, "task": "short_answer", "reason": reason, "answer": answer}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


def write(run: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (run / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def exported(run: Path, target: str) -> list[dict[str, Any]]:
    out = run / "deep" / "out.jsonl"
    number = export(run, target, out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert number == len(rows)
    return rows


def test_every_target_of_the_command_is_written(run: Path) -> None:
    assert set(TARGETS) == {*FORMS, "dpo"}


@pytest.mark.parametrize(
    ("target", "row"),
    [
        (
            "sharegpt",
            {
                "id": "one",
                "conversations": [
                    {"from": "human", "value": "A document.\n\none?"},
                    {"from": "gpt", "value": "212 m\u2028 é 漢"},
                ],
            },
        ),
        ("alpaca", {"instruction": "A document.\n\none?", "input": "", "output": "212 m\u2028 é 漢"}),
        (
            "prompt-completion",
            {
                "prompt": [{"role": "user", "content": "A document.\n\none?"}],
                "completion": [{"role": "assistant", "content": "212 m\u2028 é 漢"}],
            },
        ),
    ],
)
def test_a_record_has_the_form_asked_for(run: Path, target: str, row: dict[str, Any]) -> None:
    write(run, "records", [record("one", "212 m\u2028 é 漢"), record("two")])
    rows = [json.loads(line) for line in _lines(run, target)]
    assert rows[0] == row
    assert len(rows) == 2


def _lines(run: Path, target: str) -> list[str]:
    export(run, target, run / "out.jsonl")
    return (run / "out.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")


def test_a_preference_sets_a_kept_answer_against_a_rejected_one_of_its_chunk(run: Path) -> None:
    write(run, "records", [record("one"), record("two", start=300), record("three", sha256="bar")])
    write(run, "rejected", [rejected("wrong", start=300), rejected("wrong there", sha256="other")])
    assert exported(run, "dpo") == [
        {
            "prompt": [{"role": "user", "content": "A document.\n\ntwo?"}],
            "chosen": [{"role": "assistant", "content": "212 m"}],
            "rejected": [{"role": "assistant", "content": "wrong"}],
        }
    ]


def test_equal_answers_are_never_set_against_each_other(run: Path) -> None:
    write(run, "records", [record("one", "212 m"), record("two", "a"), record("three", "b")])
    write(run, "rejected", [rejected("212 m"), rejected("212 m"), rejected("a"), rejected("b")])
    rows = exported(run, "dpo")
    assert rows
    assert all(row["chosen"][0]["content"] != row["rejected"][0]["content"] for row in rows)


def test_a_rejected_answer_is_used_once(run: Path) -> None:
    write(run, "records", [record("one"), record("two"), record("three")])
    write(run, "rejected", [rejected("x"), rejected("y")])
    assert [row["rejected"][0]["content"] for row in exported(run, "dpo")] == ["x", "y"]


def test_a_preference_is_of_one_task(run: Path) -> None:
    write(run, "records", [record("one")])
    write(run, "rejected", [{**rejected("A summary."), "task": "section_summary"}])
    assert exported(run, "dpo") == []


def test_what_is_no_worse_answer_is_left_out(run: Path) -> None:
    write(run, "records", [record("one")])
    write(
        run, "rejected", [rejected("good too", "duplicates: asked in this run before"), rejected(""), rejected(" \n")]
    )
    assert exported(run, "dpo") == []


def test_a_folder_without_records_is_the_users_to_mend(run: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        export(run, "alpaca", run / "out.jsonl")
    assert not (run / "out.jsonl").exists()


def test_an_old_export_stays_until_the_new_one_is_whole(run: Path) -> None:
    write(run, "records", [record("one")])
    (run / "out.jsonl").write_text("old\n")
    with (run / "records.jsonl").open("a") as file:
        file.write("broken\n")
    with pytest.raises(UserError, match="line 2"):
        export(run, "alpaca", run / "out.jsonl")
    assert (run / "out.jsonl").read_text() == "old\n"


def test_parquet_holds_the_same_rows(run: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [record(str(number), answer="é 漢" * number) for number in range(600)]
    write(run, "records", rows)
    write_parquet(run / "records.jsonl", run / "records.parquet")
    back = parquet.read_table(run / "records.parquet").to_pylist()
    for row in back:
        assert set(row["checks"]) == set(CHECKS)
        row["checks"] = {name: verdict for name, verdict in row["checks"].items() if verdict is not None}
    assert back == rows
    assert parquet.ParquetFile(run / "records.parquet").num_row_groups == 3
    assert not (run / "records.parquet.partial").exists()


def test_parquet_of_no_records_has_the_columns(run: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write(run, "records", [])
    write_parquet(run / "records.jsonl", run / "records.parquet")
    table = parquet.read_table(run / "records.parquet")
    assert table.num_rows == 0
    assert set(table.column_names) == set(record("one"))
