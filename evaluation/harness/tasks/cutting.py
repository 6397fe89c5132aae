"""Prompts that are too long, cut as text: a document at its end, what is asked of it kept, or a prompt on its left.

Only as much of a text is tokenized as may be kept: a book costs no more than a prompt.
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


def fitted(write: Callable[[str], str], document: str, tokens: int, tokenizer: Any) -> str:
    """The prompt that `write` makes of a document, whose end is left out as far as `tokens` demand (0: not at all)."""
    whole = write(document)
    if not tokens or len(end(whole, tokens, tokenizer)) == len(whole):
        return whole
    room = tokens - len(spans(write(""), tokenizer))
    while room > 0:
        prompt = write(beginning(document, room, tokenizer))
        over = len(spans(prompt, tokenizer)) - tokens
        if over <= 0:
            return prompt
        room -= over  # the pieces have a token more together than each for itself
    raise UserError(f"what is asked takes more than the {tokens:,} tokens of a prompt", "a larger --prompt-tokens")


def last_turns(turns: Sequence[Turn], tokens: int, tokenizer: Any) -> list[Turn]:
    """The end of a chat, beginning with what a user says, of at most so many `tokens`."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        tokens -= AROUND_TURN
        content = end(turn["content"], max(0, tokens), tokenizer)
        if not content:
            break
        tokens -= len(spans(content, tokenizer))
        kept.insert(0, {**turn, "content": content})
    while len(kept) > 1 and kept[0]["role"] != "user":
        del kept[0]
    return kept
