"""Which documents are whose: every one is exactly one shard's, whatever the others are."""

import pytest

from longreach.config import resolve
from longreach.errors import UserError
from longreach.text.document import Document, Skipped
from longreach.text.shard import Shard
from selfinstruct.config import GenerateSettings

DOCUMENTS = [Document(f"docs.jsonl#{line}", "docs.jsonl", "the same text") for line in range(1, 401)]
SKIPPED = [Skipped("docs.jsonl", "broken json", line=line) for line in range(1, 401)]
ODD = [
    Document("no\udcffname", "no\udcffname", "x"),
    Skipped("no\udcffname", "empty"),
    Skipped("a", "bad utf-8", byte=7),
]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_input_is_exactly_one_shards(count: int) -> None:
    shards = [Shard(index, count) for index in range(count)]
    for item in (*DOCUMENTS, *SKIPPED, *ODD):
        assert sum(shard.owns(item) for shard in shards) == 1


@pytest.mark.parametrize("items", [DOCUMENTS, SKIPPED])
def test_shards_are_of_much_the_same_size(items: list[Document | Skipped]) -> None:
    sizes = [sum(Shard(index, 4).owns(item) for item in items) for index in range(4)]
    assert sum(sizes) == 400
    assert min(sizes) > 75


def test_the_same_documents_on_every_machine() -> None:
    assert [document.id for document in DOCUMENTS[:12] if Shard(0, 3).owns(document)] == [
        "docs.jsonl#7",
        "docs.jsonl#9",
    ]


@pytest.mark.parametrize("text", ["0/4", "3/4", "0/1", "15/16"])
def test_a_shard_is_written_as_it_is_read(text: str) -> None:
    assert str(Shard.of(text)) == text
    assert str(resolve(GenerateSettings, {"docs": ("x",), "shard": text}).part) == text


def test_without_a_shard_all_documents_are_asked_about() -> None:
    assert GenerateSettings(docs=("x",)).part == Shard(0, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4/4", "there is no 4/4: shards count from 0, the last of 4 is 3/4"),
        ("", "'' is not I/N, like 0/4"),
        ("/4", "'/4' is not I/N"),
        ("1", "'1' is not I/N"),
        ("0/0", "'0/0' is not I/N"),
        ("-1/4", "'-1/4' is not I/N"),
        ("1.0/4", "is not I/N"),
        ("1/4/2", "is not I/N"),
    ],
)
def test_what_is_no_shard_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match="--shard: ") as caught:
        resolve(GenerateSettings, {"docs": ("x",), "shard": text})
    assert said in caught.value.problem
