"""Prompts that are too long, cut as text: a document at its end, what is asked of it kept, or a prompt on its left.

Only as much of a text is tokenized as may be kept: a book costs no more than a prompt. What is kept is counted once
more, since pieces of a text may have other tokens than they had within it.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from transformers import PreTrainedTokenizerFast

from longreach.errors import UserError
from longreach.model.load import own_tokenizer
from longreach.text.tokenize import SHIPPED

WINDOW_CHARS = 8  # of text looked at for each token to keep: more than most texts have
AROUND_TURN = 8  # tokens that a chat template sets around a turn, about

Turn = dict[str, str]  # role, content


@cache
def counting_tokenizer(name: str) -> Any:
    """That of a folder or hub id; the small one that ships with longreach for an empty name or a folder without."""
    return (own_tokenizer(name) if name else None) or PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED))


def spans(text: str, tokenizer: Any) -> Sequence[tuple[int, int]]:
    """Where each token of a text begins and ends."""
    found: Sequence[tuple[int, int]] = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)[
        "offset_mapping"
    ]
    return found


def count(text: str, tokenizer: Any) -> int:
    """Tokens of a text on its own."""
    return len(spans(text, tokenizer))


def fits(text: str, tokens: int, tokenizer: Any) -> bool:
    """Whether a text has at most so many `tokens`."""
    return not any(count(text[:chars], tokenizer) > tokens for chars in _growing(tokens, len(text)))


def beginning(text: str, tokens: int, tokenizer: Any) -> str:
    """The first `tokens` of a text."""
    for chars in _growing(tokens, len(text)):
        if len(found := spans(text[:chars], tokenizer)) > tokens:
            return text[: found[tokens - 1][1]] if tokens > 0 else ""
    return text


def end(text: str, tokens: int, tokenizer: Any) -> str:
    """The last `tokens` of a text."""
    for chars in _growing(tokens, len(text)):
        if len(found := spans(text[-chars:], tokenizer)) > tokens:
            return text[-chars:][found[-tokens][0] :] if tokens > 0 else ""
    return text


def _growing(tokens: int, chars: int) -> list[int]:
    """Ever more characters of a text, at last all; none where so few cannot be too many tokens."""
    if chars <= tokens:
        return []
    sizes = [WINDOW_CHARS * max(1, tokens)]
    while sizes[-1] < chars:
        sizes.append(2 * sizes[-1])
    return sizes


def cut_left(text: str, tokens: int, tokenizer: Any) -> str:
    """The end of a text that is too long."""
    return _within(lambda room: end(text, room, tokenizer), text, tokens, tokenizer)


def cut_middle(text: str, tokens: int, tokenizer: Any) -> str:
    """Both ends of a text that is too long."""
    return _within(
        lambda room: beginning(text, room // 2, tokenizer) + end(text, room - room // 2, tokenizer),
        text,
        tokens,
        tokenizer,
    )


def fitted(write: Callable[[str], str], document: str, tokens: int, tokenizer: Any) -> str:
    """The prompt that `write` makes of a document, whose end is left out as far as `tokens` demand (0: not at all)."""
    whole = write(document)
    if not tokens or fits(whole, tokens, tokenizer):
        return whole
    around = count(write(""), tokenizer)
    if around >= tokens:
        raise UserError(f"what is asked takes more than the {tokens:,} tokens of a prompt", "a larger --prompt-tokens")
    return _within(lambda room: write(beginning(document, room - around, tokenizer)), whole, tokens, tokenizer)


def _within(cut: Callable[[int], str], whole: str, tokens: int, tokenizer: Any) -> str:
    """What `cut` leaves of a text for as much room as keeps it within `tokens`; the whole where that fits."""
    if fits(whole, tokens, tokenizer):
        return whole
    room = tokens
    while room > 0:
        text = cut(room)
        if (over := count(text, tokenizer) - tokens) <= 0:
            return text
        room -= over
    return ""


def last_turns(turns: Sequence[Turn], tokens: int, tokenizer: Any) -> list[Turn]:
    """A chat of at most so many `tokens`: its end, beginning with what a user says, where the whole is too long."""
    if sum(count(turn["content"], tokenizer) + AROUND_TURN for turn in turns) <= tokens:
        return list(turns)
    kept: list[Turn] = []
    for turn in reversed(turns):
        tokens -= AROUND_TURN
        content = cut_left(turn["content"], max(0, tokens), tokenizer)
        if not content:
            break
        tokens -= count(content, tokenizer)
        kept.insert(0, {**turn, "content": content})
    while len(kept) > 1 and kept[0]["role"] != "user":
        del kept[0]
    return kept
