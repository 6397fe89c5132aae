"""Jobs in children of this process: order, lanes, failures, going on. The work is a toy; real commands are elsewhere."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longreach.errors import UserError
from recipes.paper_small.commands import Setting
from recipes.paper_small.experiments import EXPERIMENTS, jobs_of
from recipes.paper_small.jobs import Job, Plan, needed
from recipes.paper_small.marks import Marks
from recipes.paper_small.runner import Runner, clock
from recipes.paper_small.scales import LAPTOP, QUICK


def job(name: str, *needs: str, seconds: float = 1.0, words: tuple[str, ...] = ("touch",)) -> Job:
    return Job(name, words, needs, seconds=seconds)


def work(job: Job, folder: Path, log: Path) -> None:
    """Says when it was begun and when it ended; `fail` fails, `wait` waits to be stopped."""
    with log.open("a") as file:
        file.write(f"{job.name} has something to say\n")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "order").open("a") as file:
        file.write(f"{job.name}\n")
    if job.words[0] == "fail":
        raise SystemExit(3)
    if job.words[0] == "wait":
        time.sleep(60)


def run(out: Path, jobs: list[Job], lanes: int = 1) -> tuple[int, list[str]]:
    """The status, and the jobs in the order in which they were begun."""
    (out / "order").unlink(missing_ok=True)
    status = Runner(Plan(jobs), Marks(out), lanes, work).run()
    return status, (out / "order").read_text().split() if (out / "order").exists() else []


def test_the_longest_chain_first_each_after_what_it_needs(tmp_path: Path) -> None:
    jobs = [job("a", seconds=5), job("b"), job("c", "b", seconds=9), job("d", "a", "c")]
    assert Plan(jobs).chains == {"a": 6, "b": 11, "c": 10, "d": 1}
    assert run(tmp_path, jobs) == (0, ["b", "c", "a", "d"])
    assert run(tmp_path, jobs) == (0, [])  # all is done
    assert run(tmp_path, [*jobs, job("e", "d")]) == (0, ["e"])
    (tmp_path / "c").rmdir()
    assert run(tmp_path, jobs) == (0, ["c"])  # what was removed by hand is made again


def test_a_failure_stops_what_needs_it_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job("bad", words=("fail",), seconds=9), job("next", "bad"), job("other")]
    status, begun = run(tmp_path, jobs, lanes=2)
    assert (status, sorted(begun)) == (1, ["bad", "other"])
    said = capsys.readouterr().err
    assert "bad failed with 3" in said
    assert str(tmp_path / "logs" / "bad.log") in said
    assert "bad has something to say" in said
    assert "1 jobs need what failed: next" in said
    assert run(tmp_path, jobs)[1] == ["bad"]  # tried again
    mended = [job("bad", words=("touch",)), *jobs[1:]]
    with pytest.raises(UserError, match="bad was made with other settings:\n  was fail\n  now touch"):
        Marks(tmp_path).check(mended)


def test_changed_settings_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    first = job("train", words=("pretrain", "scratch", "--steps=10"))
    marks.check([first])
    marks.begin(first)
    marks.check([first])
    with pytest.raises(UserError, match=r"was --steps=10\n  now --steps=20(.|\n)*choose another --out"):
        marks.check([job("train", words=("pretrain", "scratch", "--steps=20"))])
    assert not marks.finished(first)


def test_wrong_plans_are_bugs() -> None:
    with pytest.raises(ValueError, match="needs nothing-there"):
        Plan([job("a", "nothing-there")])
    with pytest.raises(ValueError, match="a circle"):
        Plan([job("a", "b"), job("b", "a")])
    with pytest.raises(ValueError, match="two jobs are called a"):
        Plan([job("a"), job("a", words=("other",))])
    assert [each.name for each in needed([job("a"), job("b", "a"), job("c")], {"b"})] == ["a", "b"]


STOPPED = """
import sys
from pathlib import Path
from test_paper_small_jobs import job, run
sys.exit(run(Path(sys.argv[1]), [job("quick", seconds=9), job("long", "quick", words=("wait",)), job("later", "long")])[0])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_children(tmp_path: Path, number: signal.Signals) -> None:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parents[1]}"}
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)], stderr=subprocess.PIPE, text=True, env=environment
    )
    wait_for(tmp_path / "long")
    process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number
    assert "1 jobs save and stop" in said
    assert "the same command goes on from here" in said
    assert not running(tmp_path)
    marks = Marks(tmp_path)
    assert marks.finished(job("quick"))
    assert not marks.finished(job("long", words=("wait",)))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere children outlive a parent that is killed")
def test_no_child_outlives_a_kill(tmp_path: Path) -> None:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parents[1]}"}
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)], stderr=subprocess.DEVNULL, env=environment
    )
    wait_for(tmp_path / "long")
    process.kill()
    process.wait()
    for _ in range(100):
        if not running(tmp_path):
            return
        time.sleep(0.1)
    raise AssertionError("a child is still there")


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"no {path}")


def running(folder: Path) -> list[Path]:
    """Processes that were begun with this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in path.read_text():
                found.append(path)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_every_experiment_has_what_it_needs(tmp_path: Path) -> None:
    for scale in (LAPTOP, QUICK):
        setting = Setting(tmp_path, scale, ("library", "code", "reference"))
        plan = Plan(jobs_of(setting, 3, list(EXPERIMENTS)))
        assert len(plan) == len({each.name for each in plan})
        for name in EXPERIMENTS:
            assert {each.name for each in jobs_of(setting, 1, [name])} <= {each.name for each in plan}
    assert jobs_of(setting, 3, ["decay"]) == []


def test_seeds_differ_in_their_trainings_alone(tmp_path: Path) -> None:
    setting = Setting(tmp_path, QUICK, ("library", "code"))
    jobs = {each.name: each for each in jobs_of(setting, 2, ["rope"])}
    first, second = (jobs[f"seed-{seed}/rope/ABF"].words for seed in (0, 1))
    assert [word for word in first if word not in second] == [f"--base={tmp_path}/seed-0/base", "--seed=0"]
    assert not any(word.startswith("--seed") for word in jobs["seed-1/rope/ABF.loss"].words)  # the same text for all


def test_clock() -> None:
    assert [clock(seconds) for seconds in (5, 65, 3_665)] == ["0:05", "1:05", "1:01:05"]
