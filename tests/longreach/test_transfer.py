"""A folder in a store is whole or not there: killed, cut and mixed up as stores and people do it."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner, Result

from longreach import transfer
from longreach.doctor.cli import main
from longreach.errors import UserError
from longreach.stores import Store
from longreach.transfer import ARRIVED, DONE, Moved, download, upload

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run, with what does not belong to it."""
    path = tmp_path / "rows"
    for name in ("validation", ".tokens", "shards/0"):
        (path / name).mkdir(parents=True)
    for number in range(4):
        (path / f"tokens-{number:05d}.bin").write_bytes(bytes([number]) * (1000 + number))
    (path / "validation/manifest.json").write_text("{}")
    (path / "manifest.json").write_text('{"rows": 4}')
    (path / "run.json").write_text('{"status": "finished"}')
    (path / "empty.jsonl").write_bytes(b"")
    for name in (".lock", ".tokens/0.tokens", "documents.jsonl.partial", "shards/0/run.json", "shards/0/x.bin"):
        (path / name).write_text("not of the folder")
    return path


OURS = ["empty.jsonl", *(f"tokens-{number:05d}.bin" for number in range(4)), "validation/manifest.json", "manifest.json", "run.json"]  # fmt: skip


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield f"file://{tmp_path}/store/rows" if request.param == "file" else "memory://bucket/rows"
    if request.param == "memory" and fsspec.filesystem("memory").exists("/bucket"):
        fsspec.filesystem("memory").rm("/bucket", recursive=True)


def there(url: str) -> dict[str, bytes]:
    store = Store.at(url)
    return {name: store.read(name) for name, _ in store.files()} if store.info() else {}


def here(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_and_back(folder: Path, url: str, tmp_path: Path) -> None:
    total = sum(len((folder / name).read_bytes()) for name in OURS)
    assert upload(folder, url) == Moved(len(OURS), total, 0)
    found = there(url)
    assert found.keys() == {*OURS, DONE}
    assert [
        file["path"] for file in json.loads(found[DONE])["files"]
    ] == OURS  # what tells that all is there comes last
    assert download(url, tmp_path / "back") == Moved(len(OURS), total, 0)
    assert here(tmp_path / "back") == {name: (folder / name).read_bytes() for name in OURS}
    assert download(url, tmp_path / "back").already == upload(folder, url).already == len(OURS)


WRITES = 1 + len(OURS) + len(OURS) // 2 + 2  # with a note of what has arrived at each second file, and the lists around


@pytest.mark.parametrize("after", range(WRITES))
def test_a_store_that_fails_leaves_no_upload_and_the_same_command_goes_on(
    folder: Path, url: str, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of the writes; what was noted as arrived is not sent again."""
    monkeypatch.setattr(transfer, "NOTED_FILES", 2)
    failing_after(after, monkeypatch)
    with pytest.raises(UserError, match="the store is gone"):
        upload(folder, url)
    if after < WRITES - 1:
        with pytest.raises(UserError, match="no finished upload"):
            download(url, tmp_path / "early")
    monkeypatch.undo()
    noted = len(json.loads(there(url)[ARRIVED])["files"]) if after else 0
    assert upload(folder, url).already == (noted if after < WRITES - 1 else len(OURS))
    assert there(url).keys() == {*OURS, DONE}
    download(url, tmp_path / "back")
    assert here(tmp_path / "back") == {name: (folder / name).read_bytes() for name in OURS}


def test_a_full_disk_is_no_matter_of_keys_or_networks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    url = f"file://{tmp_path}/store/rows"
    upload(folder, url)
    monkeypatch.setattr(type(Store.at(url).fs), "get_file", full)
    with pytest.raises(UserError, match=r"hint: free some space; the same command goes on$"):
        download(url, tmp_path / "back")


def failing_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store takes so many files and lists, and no more."""
    left = iter([None] * writes)

    def once(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            try:
                next(left)
            except StopIteration:
                raise UserError("the store is gone") from None
            return real(*arguments)

        return call

    for name in ("put", "write", "remove"):
        monkeypatch.setattr(Store, name, once(getattr(Store, name)))


def test_a_folder_that_changed_is_sent_where_it_did(folder: Path, url: str, tmp_path: Path) -> None:
    """With as many bytes as before, too; and while it is sent there is no upload."""
    upload(folder, url)
    (folder / "tokens-00002.bin").write_bytes(b"x" * 1002)
    assert upload(folder, url).already == len(OURS) - 1
    download(url, tmp_path / "back")
    assert (tmp_path / "back/tokens-00002.bin").read_bytes() == b"x" * 1002


def test_a_change_that_was_cut_off_is_not_taken_for_sent(
    folder: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(folder, url)
    for number in range(4):
        (folder / f"tokens-{number:05d}.bin").write_bytes(b"x" * (1000 + number))
    failing_after(3, monkeypatch)  # the list, the removal of the old one, and a file
    with pytest.raises(UserError, match="the store is gone"):
        upload(folder, url)
    assert DONE not in there(url)
    monkeypatch.undo()
    upload(folder, url)
    download(url, tmp_path / "back")
    assert here(tmp_path / "back") == {name: (folder / name).read_bytes() for name in OURS}


def test_a_file_that_does_not_arrive_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    real = type(memory).put_file

    def short(self: Any, path: str, name: str, **more: Any) -> None:
        real(self, path, name, **more)
        self.pipe_file(name, self.cat_file(name)[:-1])

    monkeypatch.setattr(type(memory), "put_file", short)
    (folder / "empty.jsonl").write_text("7 bytes")
    with pytest.raises(UserError, match="6 bytes of 7 have arrived"):
        upload(folder, "memory://short/rows")
    memory.rm("/short", recursive=True)


def test_a_file_that_changed_in_the_store_is_refused(folder: Path, url: str, tmp_path: Path) -> None:
    upload(folder, url)
    Store.at(url).write("tokens-00001.bin", b"y" * 1001)
    with pytest.raises(UserError, match=r"rows/tokens-00001\.bin is not what was uploaded: its sha256 is"):
        download(url, tmp_path / "back")
    assert not (tmp_path / "back/tokens-00001.bin").exists()
    assert not (tmp_path / "back/manifest.json").exists()


def test_nothing_is_mixed_or_overwritten(folder: Path, url: str, tmp_path: Path) -> None:
    Store.at(url).write("other.bin", b"of somebody")
    with pytest.raises(UserError, match=r"holds other files: other\.bin"):
        upload(folder, url)
    assert there(url) == {"other.bin": b"of somebody"}
    Store.at(url).remove("other.bin")
    upload(folder, url)
    (tmp_path / "back").mkdir()
    (tmp_path / "back/manifest.json").write_text("mine")
    with pytest.raises(UserError, match="is there and is another file"):
        download(url, tmp_path / "back")
    assert here(tmp_path / "back") == {"manifest.json": b"mine"}


def test_another_run_is_not_replaced(folder: Path, url: str, tmp_path: Path) -> None:
    """Its files have the same names; the same run made again may take its place."""
    for shard in ("3/16", "4/16"):
        (folder / "run.json").write_text(json.dumps({"status": "finished", "shaping": {"shard": shard}}))
        if shard == "3/16":
            upload(folder, url)
    before = there(url)
    with pytest.raises(UserError, match="holds another run") as refused:
        upload(folder, url)
    assert "shard: '3/16' there, '4/16' here" in str(refused.value)
    assert there(url) == before
    Store.at(url).write("run.json", before["run.json"][:10])  # the upload of another was cut off
    assert upload(folder, url).already == len(OURS) - 1


def test_what_links_lead_to_is_sent_and_no_link_is_left_out(folder: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/rows.bin").write_text("rows")
    link = folder / "linked"
    link.symlink_to(tmp_path / "beside/rows.bin")
    assert upload(folder, url).files == len(OURS) + 1
    assert there(url)["linked"] == b"rows"
    for target in ("beside", "nowhere"):
        link.unlink()
        link.symlink_to(tmp_path / target)
        with pytest.raises(UserError, match="linked is a link to a folder or to nothing"):
            upload(folder, url)


def test_the_name_of_the_list_is_taken(folder: Path, url: str) -> None:
    (folder / DONE).write_text("mine")
    with pytest.raises(UserError, match="has the name of a list"):
        upload(folder, url)
    assert not there(url)


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "a/../../outside"])
def test_a_list_that_points_outside_is_refused(url: str, tmp_path: Path, path: str) -> None:
    store = Store.at(url)
    store.write("outside", b"x")
    store.write(DONE, json.dumps({"files": [{"path": path, "bytes": 1, "sha256": "0"}]}).encode())
    with pytest.raises(UserError, match="outside its folder"):
        download(url, tmp_path / "back")
    store.write(DONE, b'{"files": [')
    with pytest.raises(UserError, match="not what longreach writes"):
        download(url, tmp_path / "back")


def test_what_is_no_finished_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "run.json").write_text('{"status": "running"}')
    (tmp_path / "empty").mkdir()
    for path, said in ((folder, "is not finished"), (tmp_path / "empty", "no files"), (tmp_path / "none", "no folder")):
        with pytest.raises(UserError, match=said):
            upload(path, "memory://bucket/none")
    assert not fsspec.filesystem("memory").exists("/bucket/none")


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_commands(folder: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store/rows"
    sent = command("upload", folder, url)
    assert (sent.exit_code, sent.stdout) == (0, f"8 files, 4,041 bytes -> {url}; 0 were there\n")
    assert f"{folder / 'shards/0'} is a run of its own and left out" in sent.stderr
    fetched = command("download", url, tmp_path / "back")
    assert (fetched.exit_code, fetched.stdout) == (0, f"8 files, 4,041 bytes -> {tmp_path / 'back'}; 0 were there\n")
    for words in (("upload", folder, tmp_path / "x"), ("download", "", tmp_path / "x")):
        refused = command(*words)
        assert refused.exit_code == 1
        assert "is no URL" in refused.stderr
    refused = command("upload", folder, "https://me:hush@host/x")
    assert refused.exit_code == 1
    assert "hush" not in refused.output


def test_what_does_not_last_is_no_place_for_an_upload(folder: Path, tmp_path: Path) -> None:
    refused = command("upload", folder, "memory://bucket/rows")
    assert refused.exit_code == 1 and "would be gone" in refused.output
    assert not fsspec.filesystem("memory").exists("/bucket/rows")
    refused = command("upload", folder, tmp_path / "elsewhere")
    assert refused.exit_code == 1 and "is no URL" in refused.output


@pytest.mark.parametrize(("moment", "nth"), [("before", 1), ("after", 2), ("before", 6), ("after", 8)])
def test_killed(folder: Path, tmp_path: Path, moment: str, nth: int) -> None:
    url = f"file://{tmp_path}/store/rows"
    killed = [sys.executable, ROOT / "tests/killed.py", "longreach.doctor", moment, "longreach.stores:Store.put", nth]
    words = [str(word) for word in (*killed, "upload", folder, url)]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert DONE not in there(url)
    assert ARRIVED in there(url)
    upload(folder, url)
    download(url, tmp_path / "back")
    assert here(tmp_path / "back") == {name: (folder / name).read_bytes() for name in OURS}
