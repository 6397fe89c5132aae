"""Prompts within their bound, of any kind of task."""

from typing import Any, Literal

import pytest

from evaluation.harness.bounded import Bounded
from evaluation.harness.tasks.cutting import count
from tinyllama import tiny_tokenizer

TOKENIZER = tiny_tokenizer(512, 2048)
TEXT = " ".join(f"The {number}th ship left before noon." for number in range(60))
LONG = count(TEXT, TOKENIZER)


class Task:
    """Writes what it is given, through a template if there is one."""

    def fewshot_context(self, doc: Any, chat_template: Any = None, **options: Any) -> Any:
        """The prompt."""
        return chat_template(doc, add_generation_prompt=True) if chat_template else doc


def bounded(doc: Any, cut: Literal["left", "middle"], tokens: int, *, chat: bool = False) -> tuple[Any, int]:
    """The prompt, and how many were cut."""
    task = Task()
    bound = Bounded(task, cut, tokens, TOKENIZER)
    template = (lambda turns, add_generation_prompt: turns) if chat else None
    return task.fewshot_context(doc, chat_template=template, num_fewshot=0), bound.count


@pytest.mark.parametrize("cut", ["left", "middle"])
def test_what_fits_is_left_alone(cut: Literal["left", "middle"]) -> None:
    assert bounded(TEXT, cut, LONG) == (TEXT, 0)
    turns = [{"role": "user", "content": TEXT}]
    assert bounded(turns, cut, LONG + 8, chat=True) == (turns, 0)


def test_the_left_goes_or_the_middle() -> None:
    left, cut = bounded(TEXT, "left", 100)
    assert (TEXT.endswith(left), count(left, TOKENIZER), cut) == (True, 100, 1)
    middle, cut = bounded(TEXT, "middle", 100)
    assert (middle[:20], middle[-20:], cut) == (TEXT[:20], TEXT[-20:], 1)
    assert 97 <= count(middle, TOKENIZER) <= 100


def test_each_of_several_prompts_is_cut_and_the_row_counted_once() -> None:
    prompts, cut = bounded([f"{TEXT} so", "short", f"{TEXT} not"], "left", 100)
    assert [prompt.split()[-1] for prompt in prompts] == ["so", "short", "not"]
    assert all(count(prompt, TOKENIZER) <= 100 for prompt in prompts)
    assert cut == 1


def test_a_chat_loses_its_first_turns_or_the_middle_of_its_only_one() -> None:
    chat = [{"role": role, "content": TEXT} for role in ("system", "user", "assistant", "user")]
    turns, cut = bounded(chat, "left", LONG + 100, chat=True)
    assert [turn["role"] for turn in turns] == ["user"]
    assert cut == 1
    (turn,), cut = bounded([{"role": "user", "content": TEXT}], "middle", 100, chat=True)
    assert (turn["content"][:9], turn["content"][-9:], cut) == (TEXT[:9], TEXT[-9:], 1)
    assert count(turn["content"], TOKENIZER) <= 92
