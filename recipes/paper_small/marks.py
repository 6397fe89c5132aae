"""What is known of the jobs of a run, on disk: with which words each was begun, whether it ended, how long it took."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from longreach.errors import UserError
from longreach.jsonl import write_json
from recipes.paper_small.jobs import Job, changed

TAIL = 4_096  # bytes of metrics.jsonl that hold its last line


@dataclass(frozen=True)
class Marks:
    """OUT/jobs/NAME.json, one a job; OUT/logs/NAME.log; OUT/NAME is the folder that the job fills."""

    out: Path

    def folder(self, job: Job) -> Path:
        """Of the command."""
        return self.out / job.name

    def log(self, job: Job) -> Path:
        """What the command said, of all tries."""
        path = self.out / "logs" / f"{job.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def begin(self, job: Job) -> None:
        """Before anything is done: from here on its words are these."""
        self.folder(job).parent.mkdir(parents=True, exist_ok=True)
        self._write(job, {"words": list(job.words), "finished": False, "seconds": self._known(job).get("seconds", 0.0)})

    def end(self, job: Job, seconds: float, *, finished: bool) -> None:
        """The seconds of all tries are added up."""
        spent = self._known(job).get("seconds", 0.0) + seconds
        self._write(job, {"words": list(job.words), "finished": finished, "seconds": round(spent, 2)})

    def finished(self, job: Job) -> bool:
        """With these words; what was removed by hand is made again."""
        return bool(self._known(job).get("finished")) and self.folder(job).is_dir()

    def check(self, jobs: Iterable[Job]) -> None:
        """UserError where one was begun with other words."""
        problems = [changed(job, known["words"]) for job in jobs if (known := self._known(job)) and _other(job, known)]
        if problems:
            more = f"\nand {len(problems) - 1} more jobs" if len(problems) > 1 else ""
            raise UserError(f"{problems[0].problem}{more}", problems[0].hint)

    def seconds(self, job: Job) -> float:
        """That it took."""
        return float(self._known(job).get("seconds", 0.0))

    def share_done(self, job: Job) -> float:
        """Of the steps of a training under way, by the last whole line of its metrics; 0 where none is known."""
        try:
            with (self.folder(job) / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - TAIL))
                lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"}\n")]
            return float(orjson.loads(lines[-1])["step"]) / job.steps if lines and job.steps else 0.0
        except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
            return 0.0

    def _known(self, job: Job) -> dict[str, Any]:
        path = self._path(job)
        return dict(orjson.loads(path.read_bytes())) if path.exists() else {}

    def _write(self, job: Job, known: dict[str, Any]) -> None:
        self._path(job).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path(job), known)

    def _path(self, job: Job) -> Path:
        return self.out / "jobs" / f"{job.name}.json"


def _other(job: Job, known: dict[str, Any]) -> bool:
    before: list[str] = known["words"]
    return list(job.words) != before
