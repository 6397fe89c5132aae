"""A look at a chat template before any data is read: how it ends a turn, how it begins an answer, and what is odd.

Two exchanges are rendered, or what a template allows of them. A template that has no end token, or leaves out what an
assistant says, can teach no one to answer.
"""

from dataclasses import dataclass

from longreach.errors import UserError
from longreach.text.chat.marks import Marks
from longreach.text.chat.outline import placeholder
from longreach.text.chat.rendering import Rendering, Unfit
from longreach.text.chat.turns import Draft, Habits, drafted

TWO = ("user", "assistant", "user", "assistant")
MEND = "mend the tokenizer's chat_template"
TALKS = (TWO, ("system", *TWO), TWO[:2], ("system", *TWO[:2]))


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, and what is to be said of it."""

    habits: Habits
    notes: list[str]
    roles: list[str]  # of a talk that the template takes


def look(rendering: Rendering, marks: Marks, eos_id: int) -> Look:
    """UserError for a template that cannot be trained with."""
    draft = _rendered(rendering, marks)
    before = draft.messages[:-1]
    plain, prompt = rendering.text(before, None), rendering.text(before, None, prompt=True)
    asked = {token for token, name in marks.names.items() if prompt.count(name) > plain.count(name)}
    ends = _ends(draft, asked)
    header, early = _beginning(draft, plain, prompt)
    notes = []
    if eos_id not in ends:
        names = " or ".join(marks.names[token] for token in sorted(ends))
        notes.append(f"answers end with {names}, not the tokenizer's {marks.names[eos_id]}: generation must stop there")
    if early.strip():
        notes.append(f"the template begins answers with {early!r}, which its generation prompt leaves out: learnt")
    if header.strip():
        notes.append(f"the template has no generation prompt: models have to write {header!r} themselves, untaught")
    if draft.tagged is not None:
        notes += _on_tags(draft, ends, len(early))
    if "strftime_now" in rendering.template(None):
        notes.append("the template writes the date: today's, in every conversation")
    roles = [message["role"] for message in draft.messages]
    return Look(Habits(frozenset(ends), header, bool(early)), notes, roles)


def _rendered(rendering: Rendering, marks: Marks) -> Draft:
    """The first talk that the template takes."""
    problems = []
    for roles in TALKS:
        messages = [{"role": role, "content": placeholder(number)} for number, role in enumerate(roles)]
        try:
            draft = drafted(rendering, marks, messages, None)
        except Unfit as flaw:
            problems.append(flaw.detail)
            continue
        last = len(roles) - 1
        if sum(number == last for _, _, number in draft.slots) != 1:
            raise UserError(
                "the chat template does not write what the assistant says, or more than once",
                MEND,
            )
        return draft
    raise UserError(f"the chat template cannot be rendered: {problems[0]}", MEND)


def _ends(draft: Draft, asked: set[int]) -> set[int]:
    """The special token behind the last answer; behind an earlier one too, if questions end and no turn begins so."""
    behind = [_behind(draft, number) for number in range(len(draft.messages))]
    if behind[-1] is None:
        raise UserError(
            "the chat template puts no special token after an answer: a model would never learn to stop",
            "end the assistant's turns with a token that the tokenizer knows as a special one",
        )
    ends = {behind[-1]}
    if len(behind) >= len(TWO) and behind[-3] is not None and behind[-3] == behind[-2] and behind[-3] not in asked:
        ends.add(behind[-3])
    return ends


def _behind(draft: Draft, message: int) -> int | None:
    """The first special token between a content and the next."""
    after = next((end for _, end, number in draft.slots if number == message), len(draft.text))
    until = min((start for start, _, _ in draft.slots if start >= after), default=len(draft.text))
    return next((token for start, _, token in draft.special if after <= start < until), None)


def _beginning(draft: Draft, plain: str, prompt: str) -> tuple[str, str]:
    """What stands between prompt and answer: a header, if there is no generation prompt, else a part of the answer."""
    if not draft.text.startswith(prompt):
        return "", ""
    between = draft.text[len(prompt) : draft.slots[-1][0]]
    return (between, "") if prompt == plain and between.strip() else ("", between)


def _on_tags(draft: Draft, ends: set[int], early: int) -> list[str]:
    """What the {% generation %} tags leave to be mended."""
    start, after, _ = draft.slots[-1]
    around = next(((begin, end) for begin, end in draft.tagged or () if begin <= start and after <= end), None)
    if around is None:
        raise UserError(
            "the chat template's {% generation %} tags leave out what the assistant says: nothing would be learnt",
            "put them around the content and the end token of the assistant's turns",
        )
    stop = draft.end_of_turn(after, frozenset(ends)) or after
    notes = []
    if around[1] < stop:
        notes.append("the template's {% generation %} tags leave out the end token: it is learnt all the same")
    if draft.text[around[0] : start - early].strip():
        notes.append("the template's {% generation %} tags hold the header of the turn: it is not learnt")
    return notes
