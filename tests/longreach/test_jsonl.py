"""Files that are whole or absent: rows, small files, and what a full disk or a kill leaves."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longreach.errors import UserError
from longreach.jsonl import LineWriter, read_lines, write_json, write_whole

characters = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | characters,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(characters, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30)
@given(rows=st.lists(st.dictionaries(characters, values, max_size=4), max_size=5))
def test_rows_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "records.jsonl"
    with LineWriter(path) as file:
        for row in rows:
            file.write(row)
        file.publish()
    assert list(read_lines(path)) == rows
    assert file.rows == len(rows)
    assert path.read_bytes().count(b"\n") == len(rows)  # one line a row, whatever the text holds


def test_nothing_has_the_final_name_before_publish(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"old": 1}\n')
    with LineWriter(path) as file:
        file.write({"new": 1})
        assert list(read_lines(path)) == [{"old": 1}]
        file.publish()
    assert list(read_lines(path)) == [{"new": 1}]
    assert [each.name for each in tmp_path.iterdir()] == ["records.jsonl"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"old": 1}\n')
    with pytest.raises(ZeroDivisionError), LineWriter(path) as file:
        file.write({"new": 1})
        raise ZeroDivisionError
    assert list(read_lines(path)) == [{"old": 1}]


def test_what_an_earlier_try_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl.partial").write_text('{"stale": 1}\n' * 3)
    with LineWriter(tmp_path / "records.jsonl") as file:
        file.write({"new": 1})
        file.publish()
    assert list(read_lines(tmp_path / "records.jsonl")) == [{"new": 1}]


def small_disk() -> None:
    """As a full disk: no file of the process grows over 64 KB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.parametrize(
    "body",
    [
        """
with LineWriter(path) as file:
    for _ in range(10_000):
        file.write({"new": "x" * 100})
    file.publish()
""",
        """
with LineWriter(path) as file:
    file.write({"new": "x" * 65_600})  # fails as late as it can
    file.publish()
""",
        "write_whole(path, b'x' * 100_000)",
        "write_json(path, ['x' * 100_000])",
    ],
)
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path, body: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"old": 1}\n')
    script = f"""
from pathlib import Path
from longreach.jsonl import LineWriter, write_json, write_whole
path = Path({str(path)!r})
{body}
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], preexec_fn=small_disk, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "File too large" in ended.stderr.splitlines()[-1]
    assert list(read_lines(path)) == [{"old": 1}]


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"old": 1}\n')
    script = f"""
import os, signal
from pathlib import Path
from longreach.jsonl import LineWriter
with LineWriter(Path({str(path)!r})) as file:
    for _ in range(10_000):
        file.write({{"new": "x" * 100}})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "records.jsonl.partial").exists()
    assert list(read_lines(path)) == [{"old": 1}]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"id": 1}\n{"id": 2\n')
    rows = read_lines(path)
    assert next(rows) == {"id": 1}
    with pytest.raises(UserError, match=r"records\.jsonl, line 2: "):
        next(rows)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(UserError, match="line 1"):
        list(read_lines(tmp_path / "records.jsonl"))


def test_a_missing_file_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file: .*none\.jsonl"):
        list(read_lines(tmp_path / "none.jsonl"))


def test_lines_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"id": 1}\nbroken\n')
    assert next(read_lines(path)) == {"id": 1}  # the second is not looked at


def test_json_is_indented_and_ends_its_line(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"status": "finished"})
    assert (tmp_path / "run.json").read_text() == '{\n  "status": "finished"\n}\n'
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "card", b"a longer text")
    write_whole(tmp_path / "card", b"short")
    assert (tmp_path / "card").read_bytes() == b"short"
