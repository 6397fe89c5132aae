"""The planted set through the checks that need no model; run as a script it prints every mistake.

python tests/selfinstruct/checks/planted.py
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from longreach.record import Verdict
from selfinstruct.checks.duplicates import Duplicates
from selfinstruct.checks.evidence import Source, check_evidence
from selfinstruct.checks.form import check_form, check_leak_in_question
from selfinstruct.parse import Pair
from selfinstruct.tasks import TASKS

DATA = Path(__file__).parents[2] / "data"
NAMES = {"summary": "section_summary"}  # the set's summaries are of the text that the pair was written from


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def verdicts(name: str) -> list[tuple[dict[str, Any], str, Verdict]]:
    """(line, check that rejected it or "", its verdict) for every planted pair."""
    sources = {row["id"]: Source(row["text"]) for row in lines(f"{name}_documents.jsonl")}
    duplicates: dict[str, Duplicates] = {}
    found = []
    for row in lines(f"{name}.jsonl"):
        known = duplicates.setdefault(row["document"], Duplicates())
        found.append((row, *judged(row, sources[row["document"]], known)))
    return found


def judged(row: dict[str, Any], source: Source, known: Duplicates) -> tuple[str, Verdict]:
    """As the pipeline does it: form, evidence, leak in the question, duplicates; the first failure counts."""
    task = TASKS[NAMES.get(row["task"], row["task"])]
    pair = Pair(row["question"], row["answer"], row["evidence"], row["finish_reason"] == "length")
    for name, verdict in (
        ("form", check_form(pair, task)),
        ("evidence", check_evidence(pair, task, source)[0]),
        ("leak", check_leak_in_question(pair, task)),
    ):
        if not verdict.passed:
            return name, verdict
    verdict = known.check(pair, task, row["document"])
    return ("" if verdict.passed else "duplicates"), verdict


def summary(found: list[tuple[dict[str, Any], str, Verdict]]) -> tuple[Counter[str], Counter[str]]:
    """(as they should be, all) by kind: "good", or the defect and whether a deterministic check can see it."""
    right, total = Counter[str](), Counter[str]()
    for row, check, _ in found:
        total[kind(row)] += 1
        right[kind(row)] += is_right(row, check)
    return right, total


def kind(row: dict[str, Any]) -> str:
    if row["label"] == "good":
        return "good"
    return f"{row['defect']} ({'visible' if row['visible'] else 'not visible'})"


def is_right(row: dict[str, Any], check: str) -> bool:
    """Kept if good; rejected by the expected family of checks if bad."""
    return check == ("" if row["label"] == "good" else row["expect"])


def rates(right: Counter[str], total: Counter[str]) -> tuple[float, float]:
    """(share of the visible bad ones that the right check rejects, share of the good ones that any rejects)."""
    seen = [name for name in total if "(visible)" in name]
    caught = sum(right[name] for name in seen) / sum(total[name] for name in seen)
    return caught, 1 - right["good"] / total["good"]


def main(name: str) -> None:
    """The table, then each mistake."""
    found = verdicts(name)
    right, total = summary(found)
    for each, number in sorted(total.items()):
        print(f"{each:36} {right[each]:4} of {number:4} as they should be")
    caught, lost = rates(right, total)
    print(f"visible bad ones rejected by the right check: {caught:.1%}; good ones rejected: {lost:.1%}")
    for row, check, verdict in found:
        if not is_right(row, check) and (row["label"] == "good" or row["visible"]):
            print(f"\n{kind(row)} {row['id']} -> {check or 'kept'}: {verdict.reason}")
            print(f"  Q {row['question']}\n  A {row['answer']}\n  E {row['evidence'][:200]}\n  {row.get('note')}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "planted")
