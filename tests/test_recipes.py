"""Every line of recipes/*.sh is given to the real commands, which read it and stop there.

bash runs a recipe on a PATH where each program only writes down what it was called with, so loops, functions and
variables are bash's own. A recipe's arguments are the words in capitals of the usage line in its header.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

from evaluation import config as evaluation
from evaluation.cli import main as evaluate
from evaluation.harness.suites import chosen
from finetune.cli import main as finetune
from finetune.config import MergeSettings, MixSettings, SftSettings
from finetune.losses import parse_losses
from finetune.mixspec import check_names, parse_mix
from finetune.sources import PRETRAIN, parse_data
from longreach.config import resolve
from longreach.errors import UserError
from longreach.model.aliases import settings_for, weights_of
from pretrain.cli import main as pretrain
from pretrain.config import ContinueSettings, PrepareSettings, ScratchSettings
from pretrain.job import with_preset
from pretrain.rope.settings import RopeSettings
from selfinstruct.cli import main as selfinstruct
from selfinstruct.config import CheckSettings, GenerateSettings

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.sh"))
PAPER = {"llama2-7b-32k.sh": "llama2-7b", "llama2-70b-16k.sh": "llama2-70b"}

PROGRAMS = {"selfinstruct": selfinstruct, "pretrain": pretrain, "finetune": finetune, "evaluate": evaluate}
LAUNCHERS = ("torchrun", "python", "python3")
PACKAGES = {"evaluation": "evaluate"}  # of a program that is called otherwise
SETTINGS = {
    "selfinstruct generate": GenerateSettings,
    "selfinstruct check": CheckSettings,
    "pretrain prepare": PrepareSettings,
    "pretrain continue": ContinueSettings,
    "pretrain scratch": ScratchSettings,
    "pretrain rope": RopeSettings,
    "finetune mix": MixSettings,
    "finetune sft": SftSettings,
    "finetune merge": MergeSettings,
    "evaluate loss": evaluation.LossSettings,
    "evaluate retrieval": evaluation.RetrievalSettings,
    "evaluate qa": evaluation.QaSettings,
    "evaluate harness": evaluation.HarnessSettings,
    "evaluate panel": evaluation.PanelSettings,
    "evaluate compare": evaluation.CompareSettings,
    "evaluate side-by-side": evaluation.SideBySideSettings,
    "evaluate red-team": evaluation.RedTeamSettings,
}
WITHOUT_SETTINGS = {"selfinstruct inspect", "selfinstruct export", "selfinstruct merge", "pretrain merge"}

NODE = {"NNODES": "32", "NODE_RANK": "0", "MASTER_ADDR": "host"}  # for recipes on many nodes
RECORDER = """#!/bin/sh
printf '%s\\0' "${0##*/}" "$@" >> "$CALLS"
printf '\\n\\0' >> "$CALLS"
"""
SBATCH = """#!/bin/sh
# Runs a job at once, the first task of an array.
for word; do
    case $word in
    --array=0-*) export SLURM_ARRAY_TASK_ID=0 ;;
    --export=ALL,*) export "${word#--export=ALL,}" ;;
    --*) ;;
    *) break ;;
    esac
    shift
done
"$@" >&2 && echo 1234
"""


# What a recipe calls


def called(recipe: Path, folder: Path, **environment: str) -> list[list[str]]:
    """Every call of a recipe with all of its arguments, in order."""
    done, calls = run(recipe, arguments_of(recipe), folder, **environment)
    assert done.returncode == 0, done.stderr
    return calls


def run(
    recipe: Path, arguments: Sequence[str], folder: Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """bash's verdict on a recipe, and what it called."""
    record, programs = folder / "calls", folder / "bin"
    record.write_text("")
    programs.mkdir(exist_ok=True)
    for name in (*PROGRAMS, *LAUNCHERS, "sbatch"):
        (programs / name).write_text(SBATCH if name == "sbatch" else RECORDER)
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(recipe), *arguments],
        cwd=folder,
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "CALLS": str(record), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, [call.split("\0")[:-1] for call in record.read_text().split("\n\0")[:-1]]


def usage_of(recipe: Path) -> str:
    """What follows the name of the recipe in its header; nothing where it takes no arguments."""
    line = re.search(rf"^#\s.*recipes/{re.escape(recipe.name)}(.*)$", recipe.read_text("utf-8"), re.M)
    return line[1] if line else ""


def arguments_of(recipe: Path) -> list[str]:
    return [word.lower() for word in re.findall(r"\b[A-Z][A-Z_]+\b", usage_of(recipe))]


# What the commands make of a call


def read(words: Sequence[str]) -> Any:
    """The settings of a call; click's or our error where an option or a value is wrong. None for what has none."""
    program, *arguments = words
    if program in LAUNCHERS:
        if (of_ours := launched(arguments)) is None:
            return None
        program, *arguments = of_ours
    group = PROGRAMS[program]
    name, command, rest = group.resolve_command(click.Context(group), arguments)
    assert command is not None
    given = command.make_context(name, list(rest)).params
    if f"{program} {name}" in WITHOUT_SETTINGS or given.get("listing"):
        return None
    kind = SETTINGS[f"{program} {name}"]
    file = "settings" if kind is ScratchSettings else "config"
    settings = resolve(kind, {key: given[key] for key in given if key in names(kind)}, given[file])
    FURTHER.get(kind, lambda _: None)(settings)
    return settings


def names(kind: Any) -> set[str]:
    return {entry.name for entry in fields(kind)}


def launched(arguments: Sequence[str]) -> list[str] | None:
    """The command of ours that a launcher starts; None for another module or a script, which has to exist."""
    if "-m" in arguments:
        module, *rest = arguments[arguments.index("-m") + 1 :]
        if (program := PACKAGES.get(module, module)) in PROGRAMS:
            return [program, *rest]
        assert find_spec(module), f"no module {module}"
    else:
        assert all((ROOT / word).is_file() for word in arguments if word.endswith(".py")), arguments
    return None


def mix_and_losses(settings: Any) -> None:
    """As the run does before it reads anything."""
    known = parse_data(settings).names
    if settings.mix:
        check_names(parse_mix(settings.mix), known)
    default = next(entry.default for entry in fields(settings) if entry.name == "loss")
    if settings.loss != default:
        parse_losses(settings.loss, [name for name in known if name != PRETRAIN])


def tasks(settings: Any) -> None:
    from evaluation.retrieval import ALL, TASKS  # loads torch

    if unknown := set(settings.task) - {ALL, *TASKS}:
        raise UserError(f"no task {unknown}")


FURTHER: dict[Any, Callable[[Any], Any]] = {  # what settings do not check by themselves
    PrepareSettings: with_preset,
    ContinueSettings: lambda settings: weights_of(settings.base),
    MixSettings: mix_and_losses,
    SftSettings: mix_and_losses,
    evaluation.RetrievalSettings: tasks,
    evaluation.HarnessSettings: lambda settings: chosen(settings.suite),
    evaluation.PanelSettings: lambda settings: chosen(settings.suite),
}


# The tests


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The recipes where a run harms nothing."""
    return Path(shutil.copytree(ROOT / "recipes", tmp_path / "recipes"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_line_is_one_that_the_commands_take(recipe: Path, copy: Path) -> None:
    assert subprocess.run(["bash", "-n", recipe], check=False).returncode == 0
    assert os.access(recipe, os.X_OK)
    calls = called(copy / recipe.name, copy.parent, **NODE)
    for words in calls:
        read(words)
    assert set(written_in(recipe)) == {command for words in calls if (command := command_of(words))}


def written_in(recipe: Path) -> Iterator[str]:
    """The commands that stand in the text, also in branches not taken."""
    text = re.sub(r"^\s*#.*$| # .*$", "", recipe.read_text("utf-8"), flags=re.M).replace("\\\n", " ")
    for program, name in re.findall(r"\b(selfinstruct|pretrain|finetune|evaluate|evaluation) +([a-z-]+)\b", text):
        if name in PROGRAMS[PACKAGES.get(program, program)].commands:
            yield f"{PACKAGES.get(program, program)} {name}"


def command_of(words: Sequence[str]) -> str:
    of_ours = launched(words[1:]) if words[0] in LAUNCHERS else words
    return " ".join(of_ours[:2]) if of_ours else ""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("--rope abf:500000", "--rope abg:500000", "no RoPE method 'abg'"),
        ("--mix long", "--mx long", "No such option"),
        ("--mix long:short", "--mix long:shrt", "--mix names shrt"),
        ("--mix long:short=0.2:0.8", "--mix long:short=0.2", "2 names, but 1 number"),
        ("long=all,short", "log=all,short", "'log' is no source here"),
        ("--preset llama2-long", "--preset llama-long", "no preset 'llama-long'"),
        ("--preset llama2-long", "--long-share 0.6 --upsample-long 5", "give one"),
        ("--learning-rate 2e-5", "--learning-rate 2e-5x", "--learning-rate"),
        ("--engine vllm", "--engine vlm", "'vlm' is not one of"),
        ("--context-tokens 32768", "--context-tokens 2048", "cannot hold a chunk"),
        ("short,paper-long", "short,paper-lng", "there is no suite or task paper-lng"),
        ("first-sentence,passkey", "first-sentence,pass-key", "no task {'pass-key'}"),
        ("-m finetune sft", "-m finetune stf", "No such command 'stf'"),
    ],
)
def test_a_spoilt_line_is_refused(right: str, wrong: str, said: str, copy: Path) -> None:
    recipe = copy / "llama2-7b-32k.sh"
    text = recipe.read_text("utf-8")
    assert right in text
    recipe.write_text(text.replace(right, wrong))
    with pytest.raises((click.UsageError, UserError, ValueError), match=re.escape(said)):
        for words in called(recipe, copy.parent):
            read(words)


@pytest.mark.parametrize("name", PAPER)
def test_a_missing_argument_gives_the_usage(name: str, tmp_path: Path) -> None:
    recipe = ROOT / "recipes" / name
    needed = [word for word in arguments_of(recipe) if word != "out"]
    for arguments, environment in ((needed[:-1], NODE), ([], NODE), *([(needed, {})] if "70b" in name else [])):
        done, calls = run(recipe, arguments, tmp_path, **environment)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: ")
        assert usage_of(recipe).strip() in done.stderr
        assert not calls


@pytest.mark.parametrize(("name", "alias"), PAPER.items())
def test_the_numbers_are_the_papers(name: str, alias: str, tmp_path: Path) -> None:
    calls = [read(words) for words in called(ROOT / "recipes" / name, tmp_path, **NODE)]
    training = next(each for each in calls if isinstance(each, ContinueSettings))
    rows = next(each for each in calls if isinstance(each, PrepareSettings))
    tuning = next(each for each in calls if isinstance(each, SftSettings))
    paper = {key: choice.value for key, choice in settings_for(alias).items()}
    for key in ("rope", "learning_rate", "batch_tokens", "steps", "schedule", "weight_decay", "clip", "final_lr_share"):
        assert getattr(training, key) == paper[key], key
    assert rows.seq_len == tuning.seq_len == paper["seq_len"]
    assert rows.tokens == paper["steps"] * paper["batch_tokens"]


def test_nodes_other_than_the_first_only_train(tmp_path: Path) -> None:
    calls = called(ROOT / "recipes/llama2-70b-16k.sh", tmp_path, **{**NODE, "NODE_RANK": "1"})
    assert [command_of(words) for words in calls] == ["pretrain continue", "finetune sft"]


def test_a_slurm_array_asks_about_each_shard_and_is_merged(tmp_path: Path) -> None:
    generate, merge = called(ROOT / "recipes/generate-slurm.sh", tmp_path, SHARDS="8")
    settings = read(generate)
    assert settings.shard == "0/8"
    assert settings.folder == Path("out/shards/0")
    assert merge == ["selfinstruct", "merge", "out", "out/shards/*"]


def test_a_slurm_array_tokenizes_each_shard_and_makes_the_rows(tmp_path: Path) -> None:
    prepare, merge = called(ROOT / "recipes/prepare-slurm.sh", tmp_path, SHARDS="8", CPUS="4", SEQ_LEN="1024")
    settings = read(prepare)
    assert (settings.shard, settings.workers, settings.seq_len) == ("0/8", 4, 1024)
    assert settings.folder == Path("out/shards/0")
    assert merge == ["pretrain", "merge", "out", "out/shards/*"]


SLURM = {
    "scontrol": '#!/bin/sh\necho "$@" >> "$CALLS"\necho node-a\necho node-b\n',
    # two processes that save when they are told to end, as training does
    "srun": '#!/bin/sh\necho "$@" >> "$CALLS"\ntrap "echo saved >> \\"$CALLS\\"; exit 143" TERM\n'
    'touch started\nwhile [ "$HOLD" ]; do sleep 0.1; done\nexit "${STATUS:-0}"\n',
}


def sbatch_job(folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """The job of recipes/train.sbatch among stand-ins for SLURM's commands."""
    for name, text in SLURM.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7"}
    return subprocess.Popen(
        [
            "bash",
            str(ROOT / "recipes/train.sbatch"),
            "pretrain",
            "continue",
            "--base",
            "runs/base",
            "--data",
            "runs/rows",
        ],
        cwd=folder,
        env={"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(folder / "calls"), **slurm, **environment},
        text=True,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("status", [0, 1])
def test_a_slurm_job_starts_torchrun_on_every_node(tmp_path: Path, status: int) -> None:
    job = sbatch_job(tmp_path, STATUS=str(status))
    assert job.wait(30) == status
    asked, started = (tmp_path / "calls").read_text().splitlines()
    assert asked == "show hostnames node-[a-b]"
    words = shlex.split(started)
    assert words[:4] == ["--kill-on-bad-exit=1", "torchrun", "--nnodes", "2"]
    assert words[words.index("--rdzv-endpoint") + 1] == "node-a:29500"
    settings = read(words[1:])
    assert (settings.base, settings.data) == ("runs/base", ("runs/rows",))


def test_a_slurm_job_that_is_told_to_end_saves_and_is_queued_again(tmp_path: Path) -> None:
    job = sbatch_job(tmp_path, HOLD="1")
    while not (tmp_path / "started").exists():
        assert job.poll() is None, "the job ended by itself"
        time.sleep(0.05)
    job.terminate()
    assert job.wait(30) != 0
    assert (tmp_path / "calls").read_text().splitlines()[-2:] == ["saved", "requeue 7"]


def test_the_ray_recipe_without_ray_says_what_to_install() -> None:
    without = "import runpy, sys; sys.modules['ray'] = None; runpy.run_path('recipes/generate_ray.py')"
    done = subprocess.run([sys.executable, "-c", without], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: Ray is not installed\n  hint: pip install ray\n")
