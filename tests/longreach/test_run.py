"""A run folder belongs to one process and one set of settings, and a broken manifest is the user's to mend."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from longreach.errors import UserError
from longreach.run import FINISHED, GENERATE, PREPARE, RUNNING, RunFolder, read_finished, read_manifest, versions

HOLDS = """
import sys
from pathlib import Path
from longreach.run import RunFolder
with RunFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_a_second_process_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(UserError, match="another process is working in"), RunFolder(tmp_path):
        pytest.fail("both hold it")
    assert holder.stdin
    holder.stdin.close()
    assert holder.wait() == 0
    with RunFolder(tmp_path):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunFolder(tmp_path):
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), folder:
        raise ZeroDivisionError
    with RunFolder(tmp_path):
        pass


def test_the_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "runs" / "first") as folder:
        assert folder.path.is_dir()
        assert folder.manifest() == {}


def test_the_same_settings_may_go_on(tmp_path: Path) -> None:
    shaping = {"seed": 0, "tasks": ["short"], "temperature": 0.7, "prompts": {"a": "f00"}, "model": "é"}
    with RunFolder(tmp_path) as folder:
        folder.claim(shaping)  # an empty folder is anyone's
        folder.write_manifest({"status": RUNNING, "shaping": shaping})
        folder.claim(dict(shaping))


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_manifest({"status": FINISHED, "shaping": {"seed": 0, "model": "a", "gone": 1, "same": 5}})
        before = (tmp_path / "run.json").read_bytes()
        with pytest.raises(UserError) as raised:
            folder.claim({"seed": 1, "model": "b", "new": 2, "same": 5})
    assert raised.value.problem.splitlines()[1:] == [
        "  gone: was 1, now None",
        "  model: was 'a', now 'b'",
        "  new: was None, now 2",
        "  seed: was 0, now 1",
    ]
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"{", b"[]", b"5", b"null", b'"text"', b"\xff\xfe", b'{"a": 1} x']
)
def test_a_broken_manifest_is_the_users_to_mend(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json is no JSON"):
        read_manifest(tmp_path)
    with RunFolder(tmp_path) as folder, pytest.raises(UserError):
        folder.claim({"seed": 0})
    assert (tmp_path / "run.json").read_bytes() == content


def test_a_folder_without_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("missing", ["status", "settings", "shaping", "counts"])
def test_a_manifest_that_lacks_a_part_is_the_users_to_mend(tmp_path: Path, missing: str) -> None:
    whole = {"status": FINISHED, "settings": {"docs": []}, "shaping": {}, "counts": {}}
    with RunFolder(tmp_path) as folder:
        folder.write_manifest(whole)
        assert read_finished(tmp_path, GENERATE) == whole
        folder.write_manifest({name: value for name, value in whole.items() if name != missing})
    with pytest.raises(UserError, match="is not what longreach writes"):
        read_finished(tmp_path, GENERATE)


@pytest.mark.parametrize("part", ["settings", "shaping", "counts"])
def test_a_manifest_with_something_else_in_it_is_the_users_to_mend(tmp_path: Path, part: str) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_manifest({"status": FINISHED, "settings": {"docs": []}, "shaping": {}, "counts": {}, part: ["x"]})
    with pytest.raises(UserError, match="is not what longreach writes"):
        read_finished(tmp_path, GENERATE)


def test_a_run_of_another_command_is_refused_by_name(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_manifest({"status": FINISHED, "settings": {"source": []}, "shaping": {}, "counts": {}})
    with pytest.raises(UserError, match="is no run of generate"):
        read_finished(tmp_path, GENERATE)
    assert read_finished(tmp_path, PREPARE)["settings"] == {"source": []}


def test_a_run_that_did_not_end_is_the_users_to_mend(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_manifest({"status": RUNNING, "settings": {"docs": []}, "shaping": {}, "counts": {}})
    with pytest.raises(UserError, match="is not finished"):
        read_finished(tmp_path, GENERATE)


def test_the_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    manifest = {"status": FINISHED, "counts": {"kept": 3}, "notes": ["naïve", "日本"]}
    with RunFolder(tmp_path) as folder:
        folder.write_manifest(manifest)
        assert folder.manifest() == read_manifest(tmp_path) == manifest
    assert orjson.loads((tmp_path / "run.json").read_bytes()) == manifest


def test_versions_name_what_is_installed_and_nothing_else() -> None:
    found = versions("orjson", "no-such-package")
    assert found == {"python": ".".join(map(str, sys.version_info[:3])), "orjson": orjson.__version__}
