"""What is committed survives, what is not is cut away, and nothing of another corpus is gone on with."""

import resource
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from longreach.errors import UserError
from pretrain import gathered, tokenstore
from pretrain.encode import chained
from pretrain.gathered import Gathered
from pretrain.tokenstore import DOCUMENTS, SKIPPED, Batch, TokenFiles, TokenStore

MADE_FROM = {"tokenizer": "a", "sources": ["x"]}


def store(folder: Path, made_from: dict[str, object] = MADE_FROM) -> TokenStore:
    return TokenStore(folder, 2, np.dtype("<u2"), made_from)


def batch(*documents: list[int], skipped: bytes = b"") -> Batch:
    return Batch(
        items=np.array([0] * len(documents) + [~0] * bool(skipped), np.int32),
        chain="ab",
        tokens=np.array([token for each in documents for token in each], np.uint32),
        lengths=np.array([len(each) for each in documents], np.int64),
        digests=np.frombuffer(b"".join(bytes([number] * 32) for number in range(len(documents))), "V32"),
        quality=np.full(len(documents), 0.5, np.float32),
        documents=b"{}\n" * len(documents),
        skipped=skipped,
    )


def tokens_of(of: TokenStore, number: int) -> TokenFiles:
    return TokenFiles([of.token_file(number)], of.dtype)


def test_what_was_committed_is_there_and_what_was_not_is_cut_away(tmp_path: Path) -> None:
    first = store(tmp_path)
    assert not first.open()
    first.append(0, batch([1, 2, 3], [4]))
    first.commit()
    first.append(0, batch([9, 9], skipped=b"{}\n"))
    first.append(1, batch([8]))
    first.close()  # as a kill would: written, not committed
    again = store(tmp_path)
    assert not again.open()
    assert (again.progress[0].documents, again.progress[0].tokens, again.progress[1].items) == (2, 4, 0)
    assert tokens_of(again, 0).read(0, 9).tolist() == [1, 2, 3, 4]
    assert tokens_of(again, 0).read(1, 2).tolist() == [2, 3]
    assert again.column(0, "lengths").tolist() == [3, 1]
    assert not len(tokens_of(again, 1))
    assert (tmp_path / SKIPPED).read_bytes() == b""
    assert (tmp_path / DOCUMENTS).read_bytes() == b"{}\n{}\n"


def test_the_same_bytes_however_often_it_was_cut(tmp_path: Path) -> None:
    batches = [batch([number] * (number + 1)) for number in range(8)]
    whole, broken = store(tmp_path / "whole"), store(tmp_path / "broken")
    whole.open()
    for each in batches:
        whole.append(1, each)
    whole.finish(1)
    broken.open()
    for each in batches:
        broken.append(1, each)
        broken.commit()
        broken.append(1, each)
        broken.close()
        broken = store(tmp_path / "broken")
        broken.open()
    broken.finish(1)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "broken").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes(), name


def test_a_store_of_another_corpus_is_begun_anew_and_says_so(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.open()
    first.append(0, batch([1, 2]))
    first.finish(0)
    other = store(tmp_path, {"tokenizer": "b"})
    assert other.open()
    assert not other.progress[0].done
    assert not len(tokens_of(other, 0))


def test_a_file_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.open()
    first.append(0, batch([1, 2, 3]))
    first.finish(0)
    (tmp_path / "0.tokens").write_bytes(b"\1\0")
    with pytest.raises(UserError, match="shorter"):
        store(tmp_path).open()


def test_many_files_are_read_as_one(tmp_path: Path) -> None:
    """Empty ones among them, and more than may be open at once."""
    paths = [tmp_path / str(number) for number in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(np.full(number % 3, number, "<u2").tobytes())
    files = TokenFiles(paths, np.dtype("<u2"), most_open=2)
    assert len(files) == 6
    for _ in range(2):
        assert [files.read(start, 1).tolist() for start in range(6)] == [[1], [2], [2], [4], [5], [5]]
    assert files.read(1, 2).tolist() == [2, 2]


@pytest.fixture
def few_files() -> Iterator[None]:
    """Twenty more than are open now: the limit is on a file's number, and free numbers may lie between taken ones."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(each.name) for each in Path("/proc/self/fd").iterdir()}
    free = (number for number in count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(free, 20, None)), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))


@pytest.mark.usefixtures("few_files")
def test_more_shards_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They took turns at one file; lists and digests are read in pieces that end within a line."""
    monkeypatch.setattr(gathered, "OPEN_FILES", 8)
    monkeypatch.setattr(tokenstore, "BLOCK_BYTES", 64)
    stores = []
    for shard in range(40):
        each = store(tmp_path / str(shard))
        each.open()
        each.append(0, batch([shard], [shard, 99], skipped=f'{{"shard": {shard}}}\n'.encode()))
        each.finish(0)
        each.finish(1)
        each.close()
        stores.append(each)
    found = Gathered.of(stores)
    assert [found.texts.piece(0, document, 0, 1)[0] for document in range(80)] == [*range(40), *range(40)]
    assert list(found.lines(SKIPPED)) == [f'{{"shard": {shard}}}\n'.encode() for shard in range(40)]
    assert list(found.lines(DOCUMENTS)) == [b"{}\n"] * 80
    digests = b"".join(bytes([number] * 32) for number in (0, 1) for _ in range(40))
    assert found.progress[0].chain == chained("", digests)


def test_a_finished_store_is_read_and_not_changed(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.open()
    first.append(0, batch([1, 2, 3], skipped=b"{}\n"))
    first.finish(0)
    with pytest.raises(UserError, match="does not hold all tokens"):
        TokenStore.finished(tmp_path, 2, np.dtype("<u2"))
    first.finish(1)
    again = TokenStore.finished(tmp_path, 2, np.dtype("<u2"))
    assert (again.made_from, again.items(0).tolist()) == (MADE_FROM, [0, ~0])
    (tmp_path / "0.lengths").write_bytes(b"")
    with pytest.raises(UserError, match=r"0\.lengths has 0 bytes of 8"):
        TokenStore.finished(tmp_path, 2, np.dtype("<u2"))
    assert not (tmp_path / "0.lengths").read_bytes()
    with pytest.raises(UserError, match="does not hold all tokens"):
        TokenStore.finished(tmp_path / "nothing", 2, np.dtype("<u2"))


def filled(folder: Path) -> Path:
    """A store of two sources, all of it there."""
    first = store(folder)
    first.open()
    first.append(0, batch([1, 2, 3], [4], skipped=b"{}\n"))
    first.append(1, batch([5, 6]))
    first.finish(0)
    first.finish(1)
    return folder


@pytest.mark.parametrize(
    "content", [b"", b'{"made_from": {', b"[]", b"{}", b'{"made_from": {}, "progress": [1], "sizes": {}}']
)
def test_a_damaged_state_is_the_users_to_mend(tmp_path: Path, content: bytes) -> None:
    (filled(tmp_path) / tokenstore.STATE).write_bytes(content)
    for reading in (store(tmp_path).open, lambda: TokenStore.finished(tmp_path, 2, np.dtype("<u2"))):
        with pytest.raises(UserError, match=r"state\.json is not what longreach writes"):
            reading()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("0.items", lambda whole: bytes(len(whole))),
        ("0.lengths", lambda whole: bytes(len(whole))),
        ("1.lengths", lambda whole: b"\xff" * len(whole)),
        ("documents.jsonl", lambda whole: bytes(len(whole))),
        ("skipped.jsonl", lambda whole: bytes(len(whole))),
    ],
)
def test_a_file_of_the_right_size_that_is_another(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    path = filled(tmp_path) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"{name} is damaged"):
        TokenStore.finished(tmp_path, 2, np.dtype("<u2"))


def test_an_empty_file_that_was_left_behind_is_missing(tmp_path: Path) -> None:
    """As by a copy that leaves out what is empty."""
    first = store(tmp_path)
    first.open()
    first.append(0, batch([1, 2, 3]))
    first.finish(0)
    first.finish(1)
    (tmp_path / "skipped.jsonl").unlink()
    with pytest.raises(UserError, match=r"skipped\.jsonl is missing"):
        TokenStore.finished(tmp_path, 2, np.dtype("<u2"))
