"""Every task: fits its room, holds what it asks for and once only, and asks the same at every length and depth."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from evaluation.retrieval import TASKS
from evaluation.tasks.haystack import Haystack
from evaluation.tasks.place import Place
from longreach.text.document import Document
from longreach.text.tokenize import Tokenizer

NEEDLES = [name for name, task in TASKS.items() if task.has_depth]
LISTS = ["common-words", "frequent-words"]
DEPTHS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
SEVERAL = ["niah-multikey", "niah-multiquery"]


@pytest.fixture(scope="module")
def hay(tokenizer: Tokenizer, text: str) -> Haystack:
    documents = [Document(f"{n}", f"{n}", f"Volume {n} of the harbour book begins here. {text}") for n in range(4)]
    return Haystack(documents, tokenizer, 0, texts=4, tokens=4_000)


@pytest.fixture(scope="module")
def sampled(hay: Haystack) -> Callable[..., Any]:
    """sampled(task, length, depth, number) -> the forms of a sample."""

    def sample(name: str, length: int = 1_000, depth: float = 0.5, number: int = 0, seed: int = 0) -> Any:
        task = TASKS[name]
        at = depth if task.has_depth else None
        return task.sample(hay, Place(name, length, at, number, length - task.max_tokens, seed, DEPTHS))

    return sample


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("length", [300, 1_000, 4_000])
def test_a_prompt_fills_its_room(name: str, length: int, sampled: Any, tokenizer: Tokenizer) -> None:
    found = sampled(name, length)
    answer = found.get("max_tokens", TASKS[name].max_tokens)
    [message] = found["messages"]
    assert message.role == "user"
    assert found["text"].startswith(message.content)
    for prompt in (message.content, found["text"]):
        assert tokenizer.count(prompt) + answer <= length
    assert tokenizer.count(found["text"]) + answer >= 0.97 * length - 45  # a sentence


@pytest.mark.parametrize("name", TASKS)
def test_what_is_asked_for_stands_in_the_text(name: str, sampled: Any) -> None:
    found = sampled(name)
    assert found["references"]
    for reference in found["references"]:
        times = found["messages"][0].content.count(reference)
        assert times >= 1
        if name in NEEDLES and name != "passkey":
            assert times == 1


@pytest.mark.parametrize("name", TASKS)
def test_the_same_bytes_every_time_and_others_for_another_number_or_seed(name: str, sampled: Any) -> None:
    assert sampled(name) == sampled(name)
    assert sampled(name)["text"] != sampled(name, number=1)["text"]
    depth = 0.5 if name in SEVERAL else 0.1  # there another key stands
    assert sampled(name)["references"] == sampled(name, length=2_000, depth=depth)["references"]
    if name != "first-sentence":
        assert sampled(name)["references"] != sampled(name, seed=1)["references"]


@pytest.mark.parametrize("name", TASKS)
def test_no_room_is_no_sample(name: str, sampled: Any) -> None:
    assert sampled(name, 20) is None


def test_a_short_window_has_room_for_the_first_sentence_and_little_more(sampled: Any, tokenizer: Tokenizer) -> None:
    found = {length: sampled("first-sentence", length) for length in (100, 128, 512, 1_000)}
    assert len({each["references"] for each in found.values()}) == 1
    [first] = found[100]["references"]
    assert found[100]["max_tokens"] == tokenizer.count(first) + 8
    assert found[512]["max_tokens"] == 64
    assert found[1_000]["max_tokens"] == TASKS["first-sentence"].max_tokens


@pytest.mark.parametrize("name", NEEDLES)
def test_the_needle_stands_at_its_depth(name: str, sampled: Any) -> None:
    for depth in (0.0, 0.25, 0.5, 0.75, 1.0):
        content = sampled(name, 4_000, depth)["messages"][0].content
        place = content.index(sampled(name, 4_000, depth)["references"][0])
        assert abs(place / len(content) - depth) < 0.05


@pytest.mark.parametrize(("name", "needles"), [("niah-single", 1), ("niah-multikey", 6), ("niah-multivalue", 4)])
def test_the_needles_are_as_many_as_ruler_has(name: str, needles: int, sampled: Any) -> None:
    content = sampled(name)["messages"][0].content
    told = re.findall(r"The secret number of (\w+) is (\d{7})\.", content)
    assert len(told) == needles
    assert len({number for _, number in told}) == needles
    assert len({key for key, _ in told}) == (needles if name == "niah-multikey" else 1)


def test_one_text_serves_all_questions_for_several_keys(sampled: Any) -> None:
    found = {(name, depth): sampled(name, depth=depth) for name in SEVERAL for depth in DEPTHS}
    assert len({each["text"].rsplit("\n\n", 1)[0] for each in found.values()}) == 1
    numbers = [found["niah-multikey", depth]["references"][0] for depth in DEPTHS]
    assert len(set(numbers)) == len(DEPTHS)
    for place, depth in enumerate(DEPTHS):
        assert found["niah-multiquery", depth]["references"] == tuple((numbers * 2)[place : place + 4])


def test_few_depths_have_four_keys_all_the_same(hay: Haystack) -> None:
    forms = TASKS["niah-multiquery"].sample(hay, Place("niah-multiquery", 1_000, 0.5, 0, 1_000, 0, (0.5,)))
    assert forms and len(set(forms["references"])) == 4


def test_the_chain_leads_from_the_value_to_every_name(sampled: Any) -> None:
    found = sampled("variable-tracking")
    content = found["messages"][0].content
    assert len(set(found["references"])) == 5
    links = dict(re.findall(r"VAR (\w+) = (?:VAR )?(\w+)\.", content))
    assert list(links) == list(found["references"])  # in their order
    for name in found["references"]:
        while name in links:
            name = links[name]
        assert name in found["text"].split("have the value ")[1]


@pytest.mark.parametrize("name", LISTS)
def test_the_words_asked_for_stand_most_often(name: str, sampled: Any) -> None:
    for length in (300, 1_000, 4_000):
        found = sampled(name, length)
        listed = found["messages"][0].content.split("\n\n")[0].split()
        counts = {word: listed.count(word) for word in set(listed)}
        asked = set(found["references"])
        assert min(counts[word] for word in asked) > max(counts[word] for word in counts.keys() - asked)


def test_the_first_sentence_is_that_of_the_text(sampled: Any, hay: Haystack) -> None:
    for number in range(4):
        found = sampled("first-sentence", number=number)
        assert found["references"] == (f"Volume {hay.document(number).id} of the harbour book begins here.",)
        assert found["text"].startswith(found["references"][0])
        assert found["text"].endswith("The first sentence of the text above is:")
