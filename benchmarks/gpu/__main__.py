"""What of longreach only a GPU can show: correct kernels, long positions, the loss, speed, memory and the commands.

    python -m benchmarks.gpu [--out DIR] [--only NAME,...] [--seconds 900] [--tiny]

Every case runs in a process of its own with its own limit of time, so that one that fails does not stop the rest. Those
that are not timed run side by side, then the timed ones one after the other. Without a GPU, --tiny runs every case in a
small form on the CPU: that proves the script, not the numbers. Results go to DIR/results.json, what the cases said to
DIR/log.txt, and the table comes last. What was seen: docs/gpu.md.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """Where a case is, how many seconds it may take, and which case must be over before."""

    place: str
    limit: int
    after: str = ""


TOGETHER = {
    "texts": Case("commands:texts", 90),
    "varlen": Case("kernels:varlen", 90),
    "flex": Case("kernels:flex", 240),
    "flex lengths": Case("kernels:lengths", 150),
    "isolation": Case("kernels:isolation", 90),
    "rope": Case("numerics:rope", 90),
    "loss": Case("numerics:loss_exact", 90),
    "curves": Case("commands:curves", 200, "texts"),
    "resume": Case("commands:resume", 200, "texts"),
    "lora": Case("commands:lora", 300, "texts"),
}
ALONE = {
    "loss speed": Case("numerics:loss_speed", 90),
    "training": Case("training:speed", 240, "texts"),
    "loss sizes": Case("numerics:loss_sizes", 60),
    "training more": Case("training:more", 180, "texts"),
    "DDP": Case("training:whole", 90, "texts"),
    "FSDP": Case("training:fsdp", 90, "texts"),
    "ZeRO 2": Case("training:zero2", 90, "texts"),
    "ZeRO 3": Case("training:zero3", 90, "texts"),
    "offload": Case("training:offload", 120, "texts"),
    "7B": Case("training:seven", 120),
    "reading": Case("reading:loss", 120, "texts"),
    "retrieval": Case("reading:retrieval", 240, "texts"),
    "kernel speed": Case("kernels:speed", 120),
}
CASES = TOGETHER | ALONE
SHOWN = 6_000  # characters of what a failed case said


def main() -> int:
    """All cases and their table, or in a child one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of results.json and log.txt")
    parser.add_argument("--only", help="names of cases, with commas")
    parser.add_argument("--seconds", type=float, default=1_800, help="no case goes on after so many")
    parser.add_argument("--tiny", action="store_true", help="small forms, for a CPU")
    parser.add_argument("--work", type=Path, help="folder for texts, rows and models; else one that goes afterwards")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        child(given)
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    names = given.only.split(",") if given.only else list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        given.work = given.work or Path(folder)
        given.work.mkdir(parents=True, exist_ok=True)
        rows = Run(given, names).go()
    (given.out / "results.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))
    print(table(rows), flush=True)
    return 0


def child(given: argparse.Namespace) -> None:
    """One case in this process."""
    module, name = CASES[given.case].place.split(":")
    work = importlib.import_module(f"benchmarks.gpu.{module}")
    report = importlib.import_module("benchmarks.gpu.place").Report(results_of(given.work, given.case), given.case)
    getattr(work, name)(report, given.work, given.tiny)


def results_of(work: Path, case: str) -> Path:
    return work / f"{case.replace(' ', '-')}.results.jsonl"


class Run:
    """The cases that are wanted, until the time is over."""

    def __init__(self, given: argparse.Namespace, names: list[str]) -> None:
        self._given, self._names = given, names
        self._end = time.monotonic() + given.seconds
        self._over: dict[str, Future[None]] = {}
        self._log = (given.out / "log.txt").open("w", encoding="utf-8")
        self._rows: list[dict[str, object]] = []

    def go(self) -> list[dict[str, object]]:
        """Those side by side, then those alone."""
        with ThreadPoolExecutor(max(2, (os.cpu_count() or 2) - 2)) as pool:
            for name in TOGETHER:
                if name in self._names:
                    self._over[name] = pool.submit(self._one, name)
        for name in ALONE:
            if name in self._names:
                self._one(name)
        return self._rows

    def _one(self, name: str) -> None:
        """Start it, wait, and take in what it found, also where it was stopped."""
        case = CASES[name]
        if case.after in self._over:
            self._over[case.after].exception()
        limit = min(case.limit, self._end - time.monotonic())
        if limit < 5:
            self._rows.append({"case": name, "what": "left out", "reason": "no time was left"})
            return
        path = results_of(self._given.work, name)
        path.unlink(missing_ok=True)
        begun = time.monotonic()
        status, said = self._process(name, limit)
        took = time.monotonic() - begun
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        outcome = {0: "ended", None: f"stopped after {limit:.0f} s"}.get(status, f"failed with {status}")
        self._rows += [*found, {"case": name, "what": outcome, "took_s": round(took, 1)}]
        self._log.write(f"\n===== {name}: {outcome} after {took:.1f} s\n{said}\n")
        self._log.flush()
        shown = "" if status == 0 else said[-SHOWN:]
        print(f"-- {name}: {outcome}, {took:.1f} s{shown and chr(10)}{shown}", flush=True)

    def _process(self, name: str, limit: float) -> tuple[int | None, str]:
        """Its exit status (None: stopped) and what it said."""
        words = [sys.executable, "-m", "benchmarks.gpu", "--case", name, "--work", str(self._given.work)]
        words += ["--tiny"] * self._given.tiny
        said = self._given.work / f"{name.replace(' ', '-')}.log"
        with said.open("w") as file:
            process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status: int | None = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                status = None
        return status, said.read_text(errors="replace")


def machine() -> dict[str, str]:
    """What all of it ran on."""
    names = ("torch", "triton", "transformers", "trl", "peft", "accelerate", "datasets")
    found = {"python": sys.version.split()[0], **{name: version for name in names if (version := version_of(name))}}
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    if shutil.which("nvidia-smi"):
        found["gpu"] = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return found


def version_of(name: str) -> str:
    """Of an installed distribution; empty where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def table(rows: list[dict[str, object]]) -> str:
    """One line a result, in the order of the cases."""
    from benchmarks.gpu.place import line_of

    order = list(CASES)
    lines = [line_of(row) for row in sorted(rows, key=lambda row: order.index(str(row["case"])))]
    return "\n".join(["", json.dumps(machine()), *lines])


if __name__ == "__main__":
    sys.exit(main())
