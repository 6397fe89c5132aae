"""What a user gets wrong: one message with a hint on stderr, exit status 1, nothing left behind that hinders the next."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evaluation.cli import main
from evaluation.results import PREDICTIONS, RESULTS
from faultserver import FaultServer
from tinyllama import make_tiny_llama

DOCUMENTS = Path(__file__).parents[1] / "data/heldout_documents.jsonl"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and texts, good and bad; relative paths of the tests are in it."""
    folder = tmp_path_factory.mktemp("place")
    make_tiny_llama(folder / "model", window=512, layers=1, chat_template=None)
    for name in ("no-weights", "no-tokenizer", "bad-config"):
        copytree(folder / "model", folder / name)
    (folder / "no-weights/model.safetensors").unlink()
    for file in (folder / "no-tokenizer").glob("tokenizer*"):
        file.unlink()
    (folder / "bad-config/config.json").write_text("{")
    (folder / "adapter").mkdir()
    (folder / "adapter/adapter_config.json").write_text("{}")
    (folder / "nothing").mkdir()
    (folder / "empty.txt").touch()
    (folder / "binary.txt").write_bytes(bytes(range(128, 256)) * 50)
    (folder / "no-rows.jsonl").touch()
    (folder / "texts.jsonl").write_text('{"text": "a"}\n{"text": "b"}\nbroken\n')
    (folder / "prompts.jsonl").write_text('{"prompt": "p"}\n{"area": "a"}\n[1]\nbroken\n')
    (folder / "unknown.toml").write_text('modle = "m"\n')
    (folder / "broken.toml").write_text("model = \n")
    return folder


@pytest.fixture
def evaluate(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """Runs a command in that folder."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return lambda words: CliRunner().invoke(main, words.split())


DOCS = f" --docs {DOCUMENTS}"
RETRIEVAL, LOSS = "retrieval --lengths 256 --samples 1 --model ", "loss --lengths 256 --samples 1 --model "
QA, RED_TEAM = "qa --model model --records ", f"red-team{DOCS} --model model "
BAD = (
    (LOSS + "missing" + DOCS, "no model missing"),
    (LOSS + "nothing" + DOCS, "cannot load nothing"),
    (LOSS + "no-weights" + DOCS, "no-weights has no safetensors"),
    (LOSS + "bad-config" + DOCS, "cannot load bad-config"),
    (LOSS + "adapter" + DOCS, "adapter is a LoRA adapter, not a model"),
    (LOSS + "model --samples 0" + DOCS, "--targets, --samples and --batch-tokens are at least 1"),
    (LOSS + "model --targets 256" + DOCS, "a length of 256 has no room for context"),
    (LOSS + "model --lengths 10000000" + DOCS, "no document has the 10,000,000 tokens"),
    (LOSS + "model --docs empty.txt", "no documents were found (1 empty)"),
    (LOSS + "model --docs binary.txt", "no documents were found (1 bad utf-8)"),
    (LOSS + "model --out empty.txt" + DOCS, "a file stands where a folder is needed"),
    (RETRIEVAL + "missing" + DOCS, "no model missing"),
    (RETRIEVAL + "no-tokenizer" + DOCS, "no-tokenizer holds no tokenizer.json"),
    (RETRIEVAL + "bad-config" + DOCS, "cannot load bad-config"),
    (RETRIEVAL + "adapter" + DOCS, "adapter is a LoRA adapter, not a model"),
    (RETRIEVAL + "model --style chat" + DOCS, "model has no chat template"),
    (RETRIEVAL + "model --engine-args [" + DOCS, "--engine-args"),
    (RETRIEVAL + "model --lengths 999" + DOCS, "model reads 512 tokens: 999 are more"),
    (RETRIEVAL + "model --lengths 20" + DOCS, "there is nothing to ask"),
    (RETRIEVAL + "model --samples 0" + DOCS, "--samples is at least 1"),
    (RETRIEVAL + "model --samples -1" + DOCS, "--samples: -1 is below 0"),
    (RETRIEVAL + "model --depths 0,1.5" + DOCS, "--depths: 1.5 is not from 0 to 1"),
    (RETRIEVAL + "model --threshold 100" + DOCS, "--threshold is below 100"),
    (RETRIEVAL + "model --task paskey" + DOCS, "did you mean 'passkey'?"),
    (RETRIEVAL + "model --docs missing.txt", "missing.txt: no such file"),
    (RETRIEVAL + "model --docs empty.txt", "no documents were found to hide things in (1 empty)"),
    (RETRIEVAL + "model --docs nothing", "no file that can be read"),
    (RETRIEVAL + "model --config unknown.toml" + DOCS, "unknown setting 'modle'; did you mean 'model'?"),
    (RETRIEVAL + "model --config broken.toml" + DOCS, "cannot read settings from broken.toml"),
    (RETRIEVAL + "model --base-url nowhere" + DOCS, "'nowhere' is not an http address"),
    (RETRIEVAL + "model --out empty.txt/out" + DOCS, "a file stands where a folder is needed"),
    (QA + "missing.jsonl", "missing.jsonl: no such file"),
    (QA + "no-rows.jsonl", "no questions in no-rows.jsonl"),
    (QA + "texts.jsonl", "2 no record, 1 broken json"),
    (QA + "texts.jsonl --max-tokens 0", "--max-tokens is at least 1"),
    (RED_TEAM + "--prompts prompts.jsonl", "prompts.jsonl, line 1: no area"),
    (RED_TEAM + "--no-injections", "nothing to ask: give --prompts"),
    (RED_TEAM + "--lengths 99999", "the model's window is 512 tokens"),
    (RED_TEAM + "--lengths 100", "36 prompts left out: 100 tokens have no room for a text"),
    (RED_TEAM + "--judge-model j", "--judge-model needs a server"),
    ("compare nothing nothing", "nothing holds no results"),
    ("side-by-side nothing nothing", "nothing holds no results.json"),
)
WITHOUT_HINT = ("is below 0", "not from 0 to 1", "cannot read settings", "cannot load")


@pytest.mark.parametrize(("words", "said"), BAD)
def test_one_message_and_nothing_done(
    evaluate: Callable[[str], Result], place: Path, tmp_path: Path, words: str, said: str
) -> None:
    before = sorted(place.rglob("*"))
    ended = evaluate(words if "--out" in words else f"{words} --out {tmp_path}/out")
    assert (ended.exit_code, type(ended.exception)) == (1, SystemExit), ended.output
    assert ended.stdout == ""
    assert ended.stderr.count("error: ") == 1 and said in ended.stderr
    assert "  hint: " in ended.stderr or any(each in ended.stderr for each in WITHOUT_HINT)
    assert sorted(place.rglob("*")) == before
    assert not [file for file in tmp_path.glob("out/*") if file.stat().st_size and file.suffix in (".jsonl", ".png")]
    assert not (tmp_path / "out" / RESULTS).exists()


def test_what_failed_so_can_be_mended_in_the_same_folder(evaluate: Callable[[str], Result], tmp_path: Path) -> None:
    task = f"{DOCS} --task passkey --depths 0 --out {tmp_path}"
    assert evaluate(f"{RETRIEVAL}model --lengths 20{task}").exit_code == 1
    assert evaluate(f"{RETRIEVAL}model{task}").exit_code == 0
    assert "made with other settings" in evaluate(f"{RETRIEVAL}model --seed 1{task}").stderr


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 3_000, 9_000])
def test_a_full_disk_is_said_and_the_same_command_goes_on(
    evaluate: Callable[[str], Result], server_of: Callable[..., FaultServer], tmp_path: Path, size: int
) -> None:
    server = server_of(lambda asked: "It is 7.")
    words = f"retrieval --docs {DOCUMENTS} --task passkey --lengths 256,300 --samples 3 --depths 0,1 --model tiny "
    words += f"--base-url {server.url} --out "
    with files_of_at_most(size):
        full = evaluate(f"{words}{tmp_path}/full")
    assert (full.exit_code, type(full.exception)) == (1, SystemExit), full.output
    assert "may not grow further" in full.stderr or "disk is full" in full.stderr
    for out in ("full", "whole"):
        assert evaluate(f"{words}{tmp_path}/{out}").exit_code == 0
    assert (tmp_path / "full" / PREDICTIONS).read_bytes() == (tmp_path / "whole" / PREDICTIONS).read_bytes()


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    found = json.loads((folder / RESULTS).read_text())
    change(found)
    (folder / RESULTS).write_text(json.dumps(found))


SPOILT = {
    "is no JSON": lambda folder: (folder / RESULTS).write_text('{"a":'),
    "not what evaluate writes": lambda folder: (folder / RESULTS).write_text("[]"),
    "no figures in": lambda folder: edited(folder, lambda found: found["headline"][0].update(value=None)),
    "is no prediction": lambda folder: (folder / PREDICTIONS).write_text('{"id": "x"}\n'),
    "line 1:": lambda folder: (folder / PREDICTIONS).write_text('{"id": '),
    "no such file": lambda folder: (folder / PREDICTIONS).unlink(),
}


@pytest.mark.parametrize("said", SPOILT)
def test_spoilt_results_are_named(evaluate: Callable[[str], Result], tmp_path: Path, said: str) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    assert evaluate(f"{RETRIEVAL}model{DOCS} --task passkey --depths 0 --out {good}").exit_code == 0
    copytree(good, bad)
    SPOILT[said](bad)
    ended = evaluate(f"compare {good} {bad} --names a,b --out {tmp_path}/page")
    assert (ended.exit_code, type(ended.exception)) == (1, SystemExit), ended.output
    assert said in ended.stderr and "hint: " in ended.stderr
    assert not (tmp_path / "page").exists()


def test_results_without_answers_are_none_to_choose_between(evaluate: Callable[[str], Result], tmp_path: Path) -> None:
    assert evaluate(f"{LOSS}model{DOCS} --targets 32 --out {tmp_path}/loss").exit_code == 0
    ended = evaluate(f"side-by-side {tmp_path}/loss {tmp_path}/loss --out {tmp_path}/page")
    assert ended.exit_code == 1 and "loss leaves no answers to choose between" in ended.stderr
