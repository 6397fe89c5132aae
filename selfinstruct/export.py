"""Records in the forms that other tools read. Streams; a row in, a row out."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from longreach.errors import missing_extra
from longreach.jsonl import LineWriter, read_lines
from selfinstruct.config import CHECKS

Row = dict[str, Any]
PARQUET_ROWS = 256  # a row group; records are long


def _sharegpt(record: Row) -> Row:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    turns = [{"from": names[turn["role"]], "value": turn["content"]} for turn in record["messages"]]
    return {"id": record["id"], "conversations": turns}


def _alpaca(record: Row) -> Row:
    prompt, answer = _turns(record)
    return {"instruction": prompt, "input": "", "output": answer}


def _prompt_completion(record: Row) -> Row:
    prompt, answer = _turns(record)
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def _turns(record: Row) -> tuple[str, str]:
    prompt, answer = record["messages"]
    return prompt["content"], answer["content"]


FORMS: Mapping[str, Callable[[Row], Row]] = {
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "prompt-completion": _prompt_completion,
}


def export(run: Path, target: str, out: Path) -> int:
    """Write the run's records as `target`; returns how many rows there are."""
    records = read_lines(run / "records.jsonl")
    rows = _preferences(records, run) if target == "dpo" else map(FORMS[target], records)
    out.parent.mkdir(parents=True, exist_ok=True)
    with LineWriter(out) as file:
        for row in rows:
            file.write(row)
        file.publish()
    return file.rows


def _preferences(records: Iterable[Row], run: Path) -> Iterator[Row]:
    """Kept answers against answers that were rejected for the same chunk and task. A rejected answer belongs to another
    question on that chunk, or to none: it is never the better one. Each is used once."""
    rejected: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in read_lines(run / "rejected.jsonl"):
        if row["answer"].strip() and not row["reason"].startswith("duplicates"):
            rejected[_chunk(row)].append(row["answer"])
    for record in records:
        waiting = rejected.get(_chunk(record), [])
        prompt, answer = _turns(record)
        worse = next((other for other in waiting if other != answer), None)
        if worse is not None:
            waiting.remove(worse)
            yield {
                "prompt": [{"role": "user", "content": prompt}],
                "chosen": [{"role": "assistant", "content": answer}],
                "rejected": [{"role": "assistant", "content": worse}],
            }


def _chunk(row: Row) -> tuple[Any, ...]:
    return row["document"]["sha256"], row["chunk"]["start"], row["chunk"]["end"], row["task"]


def write_parquet(source: Path, target: Path) -> None:
    """records.jsonl as Parquet with the same columns, a row group at a time."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise missing_extra("pyarrow", "--format parquet", "documents") from error
    partial = target.with_name(target.name + ".partial")
    rows = read_lines(source)
    schema = _parquet_schema(pa)
    with pq.ParquetWriter(partial, schema) as writer:
        while batch := list(islice(rows, PARQUET_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    partial.replace(target)


def _parquet_schema(pa: Any) -> Any:
    """The record's columns; a check that was not made is null."""
    text, whole = pa.string(), pa.int64()
    span = pa.struct([("start", whole), ("end", whole)])
    verdict = pa.struct([("passed", pa.bool_()), ("score", pa.float64()), ("reason", text)])
    document = [("id", text), ("path", text), ("sha256", text), ("chars", whole), ("source", text), ("license", text)]
    made = [("engine", text), ("model", text), ("prompt", text), ("prompt_sha256", text), ("seed", whole)]
    return pa.schema(
        [
            ("id", text),
            ("messages", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("task", text),
            ("document", pa.struct(document)),
            ("context", span),
            ("chunk", span),
            ("evidence", pa.list_(pa.struct([("start", whole), ("end", whole), ("text", text)]))),
            ("checks", pa.struct([(name, verdict) for name in CHECKS])),
            ("generator", pa.struct(made)),
        ]
    )
