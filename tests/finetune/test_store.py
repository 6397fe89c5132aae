"""Examples on the disk: what went in comes out, whole or not at all, and damage is one message."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.store import CONTENT, INDEX, MANIFEST, Store, StoreWriter
from longreach.errors import UserError

EXAMPLES = (
    ([5, 6, 7, 8, 9], [0, 0, 1, 1, 1], 11, 1, 0, "a.jsonl, line 1"),
    ([1], [0], 2**64 - 1, 2, 0, ""),
    ([3, 99, 4, 0, 2, 2], [1, 0, 1, 1, 0, 1], 13, 1, 12_345, "ü/日本.json, line 7"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "store")
    return tmp_path / "store"


def write(folder: Path, vocab_size: int = 100) -> None:
    with StoreWriter(folder, vocab_size) as writer:
        for tokens, answer, *rest in EXAMPLES:
            writer.append(np.array(tokens, np.uint32), np.array(answer, bool), *rest)
        assert writer.examples == len(EXAMPLES)
        writer.finish()


@pytest.mark.parametrize(("vocab_size", "dtype"), [(100, np.uint16), (1 << 16, np.uint16), (70_000, np.uint32)])
def test_what_went_in_comes_out(tmp_path: Path, vocab_size: int, dtype: type) -> None:
    write(tmp_path / "long", vocab_size)
    store = Store(tmp_path / "long")
    assert (store.name, len(store), store.vocab_size) == ("long", 3, vocab_size)
    assert store.lengths.tolist() == [5, 1, 6]
    assert store.answers.tolist() == [3, 0, 4]
    assert store.cuts.tolist() == [0, 0, 12_345]
    assert store.keys.tolist() == [11, 2**64 - 1, 13]
    assert store.groups.tolist() == [1, 2, 1]
    assert (store.lengths.dtype, store.keys.dtype) == (np.int64, np.uint64)
    for number, (tokens, answer, *_, place) in enumerate(EXAMPLES):
        item = store[number]
        assert (item.tokens.dtype, item.tokens.tolist()) == (dtype, tokens)
        assert (item.answer.dtype, item.answer.tolist()) == (bool, [bool(each) for each in answer])
        assert (item.lengths.dtype, item.lengths.tolist()) == (np.int32, [len(tokens)])
        assert store.place(number) == place


def test_a_selection_is_the_same_but_for_its_examples(folder: Path) -> None:
    chosen = Store(folder).select([2, 0])
    assert len(chosen) == 2
    assert chosen.lengths.tolist() == [6, 5]
    assert chosen[0].tokens.tolist() == [3, 99, 4, 0, 2, 2]
    assert chosen.place(1) == "a.jsonl, line 1"
    again = chosen.select(np.array([1]))
    assert again.keys.tolist() == [11]
    assert again[0].answer.tolist() == [False, False, True, True, True]
    assert len(chosen.select([])) == 0
    with pytest.raises(IndexError, match="example 2 of 2"):
        chosen[2]


def test_a_file_name_that_is_no_text_has_a_place_too(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, 10) as writer:
        writer.append(np.array([1]), np.array([True]), 0, 0, 0, "\udcff.jsonl, line 1")
        writer.finish()
    assert Store(tmp_path).place(0) == "?.jsonl, line 1"


def test_no_examples_are_a_store_too(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, 10) as writer:
        writer.finish()
    assert len(Store(tmp_path)) == 0
    assert Store(tmp_path).lengths.tolist() == []


def test_equal_examples_give_an_equal_digest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name)
    with StoreWriter(tmp_path / "other", 100) as writer:
        writer.append(np.array([1, 2]), np.array([False, True]), 1, 1, 0, "")
        writer.finish()
    assert Store(tmp_path / "one").sha256 == Store(tmp_path / "two").sha256 != Store(tmp_path / "other").sha256


@settings(max_examples=60, deadline=None)
@given(masks=st.lists(st.lists(st.booleans(), min_size=1, max_size=40), max_size=5))
def test_any_mask_survives(tmp_path_factory: pytest.TempPathFactory, masks: list[list[bool]]) -> None:
    folder = tmp_path_factory.mktemp("store")
    with StoreWriter(folder, 10) as writer:
        for mask in masks:
            writer.append(np.zeros(len(mask), np.uint32), np.array(mask), 0, 0, 0, "")
        writer.finish()
    store = Store(folder)
    assert [store[number].answer.tolist() for number in range(len(store))] == masks
    assert store.answers.tolist() == [sum(mask) for mask in masks]


@pytest.mark.parametrize("tokens", [[], [1, 2, 3], [1, 100], [-1, 1]])
def test_an_example_that_cannot_be_is_refused_and_named(tmp_path: Path, tokens: list[int]) -> None:
    with StoreWriter(tmp_path, 100) as writer:
        with pytest.raises(ValueError, match="somewhere, line 3: "):
            writer.append(np.array(tokens, np.int64), np.array([True, False]), 0, 0, 0, "somewhere, line 3")
        writer.append(np.array([99, 1]), np.array([True, False]), 0, 0, 0, "")
        writer.finish()
    assert Store(tmp_path)[0].tokens.tolist() == [99, 1]


# Whole or absent


def test_what_was_not_finished_does_not_open(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, 100) as writer:
        writer.append(np.array([1]), np.array([True]), 0, 0, 0, "")
    with pytest.raises(UserError, match=r"no finished examples: it has no store\.json"):
        Store(tmp_path)


def test_a_new_writer_takes_back_the_old_store_at_once(folder: Path) -> None:
    StoreWriter(folder, 100)._close()
    with pytest.raises(UserError, match="no finished examples"):
        Store(folder)


def test_nothing_opens_after_a_kill(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; import numpy as np; from pathlib import Path; from finetune.store import StoreWriter\n"
        "writer = StoreWriter(Path(sys.argv[1]), 10)\n"
        "for _ in range(100_000): writer.append(np.ones(50, np.uint32), np.ones(50, bool), 1, 1, 0, 'x')\n"
        "os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)\n"
        "writer.finish()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    assert (tmp_path / CONTENT).stat().st_size > 1e7
    with pytest.raises(UserError, match="no finished examples"):
        Store(tmp_path)


@pytest.mark.parametrize("name", [MANIFEST, INDEX, CONTENT])
@pytest.mark.parametrize("how", ["missing", "shorter", "longer", "empty"])
def test_a_file_that_is_not_whole_is_named(folder: Path, name: str, how: str) -> None:
    path, content = folder / name, (folder / name).read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"shorter": content[:-2], "longer": content + b"zz", "empty": b""}[how])
    with pytest.raises(UserError, match=f"(damaged: {name} |it has no {name})"):
        Store(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '{"examples": "3"}', "null"])
def test_a_manifest_of_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=r"store\.json is not what longreach writes"):
        Store(folder)


def test_a_folder_without_a_store_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(UserError, match="holds no finished examples"):
            Store(path)


def test_a_changed_byte_is_found_wherever_it_is(folder: Path) -> None:
    size = (folder / INDEX).stat().st_size
    for byte in range(0, size, 7):
        flip(folder / INDEX, byte)
        with pytest.raises(UserError, match=r"index\.bin is not what was written"):
            Store(folder)
        flip(folder / INDEX, byte)
    for byte in range((folder / CONTENT).stat().st_size):
        flip(folder / CONTENT, byte)
        store = Store(folder)
        with pytest.raises(UserError, match=r"examples\.bin is not what was written, at byte \d+"):
            for number in range(len(store)):
                store[number]
        flip(folder / CONTENT, byte)
    assert Store(folder)[2].tokens.tolist() == EXAMPLES[2][0]


def flip(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 0x10
    path.write_bytes(content)


# Size


def test_writing_holds_nothing_of_what_it_wrote(tmp_path: Path) -> None:
    """200,000 examples are 30 MB on the disk."""
    tokens, mask = np.arange(40, dtype=np.uint32), np.arange(40) > 20
    with StoreWriter(tmp_path, 100) as writer:
        for number in range(1_000):
            writer.append(tokens, mask, number, number, 0, f"file.jsonl, line {number}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(200_000):
            writer.append(tokens, mask, number, number, 0, f"file.jsonl, line {number}")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_000  # kB
        writer.finish()
    assert Store(tmp_path).lengths.sum() == 40 * 201_000
