"""Text for a tiny model to be trained on, made from real documents by rule.

    python -m recipes.drills DOCUMENTS... --held-out HELD_OUT --rows 64=2.5M --rows 512=1.7M --out FOLDER

A model of half a million parameters learns within minutes to look back over its text only where the text makes it:

- *Asking.* A stretch of a document that ends by asking for its first sentence, in the words of `evaluate retrieval`,
  and the sentence again. It is cut at any word, so that there are more first sentences than could be learnt by heart.
- *Hiding.* A stretch with a pass key in it that ends by asking for it, in the words of `evaluate retrieval`.
- *Repeating.* A stretch, and runs of its own words, each on a line of its own. One stretch in seven has no runs.
- *Short chats*, in place of preference data: complete a sentence, name the word after two others, say it all again;
  each with an answer to prefer (`chosen`) and another of the same text (`rejected`).

FOLDER gets a tokenizer/, a JSON lines file for each length of rows, chats.jsonl, and passages.jsonl: stretches of
held-out documents to ask for first sentences in. The tokenizer is a byte-level BPE of few words, in which what is
asked again and again is one word: thirty would fill half of a row of 64. As Llama 2's it puts a blank before a text, so
that a first word is the same token wherever it stands.
"""

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import click
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, processors

from evaluation.tasks import first_sentence, passkey
from longreach.config import size
from longreach.jsonl import LineWriter, write_json
from longreach.text import document
from longreach.text.corpus import Corpus
from recipes.passages import passages
from recipes.tokenizer import train

FIRST_SENTENCE, PASS_KEY = (f"\n\n{task.ASKED}\n{task.OPENING}" for task in (first_sentence, passkey))
COMPLETE = "\n\nWhich word or words of the document come next:"
FRAMES = (FIRST_SENTENCE, PASS_KEY, COMPLETE, "[INST]", "[/INST]", "\n\nAnswer:")  # one token each
SPECIAL = ["<s>", "</s>", "<pad>"]
STOPS = ".!?"
SAMPLE_WORDS, SAMPLE_EVERY = 80, 160  # what the tokenizer is trained on: half of the text

PLAIN = 0.15  # of the documents that repeat themselves: those that do not
SHORTEST = 16  # tokens
TRIES = 20  # to make a document of the kind that was drawn: not every place has a sentence of the right length
FIRST_WORDS, FIRST_TOKENS = (2, 24), range(4, 65)
RUN_WORDS = (4, 25)
CHAT_WORDS = (8, 30)
PASSAGES = 400
MARKS = 4  # tokens of begin, end, question and the blank that a cut may cost


class Text:
    """A document in words, each with the blank or line break before it, and what each costs in tokens."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.words = re.findall(r"\s*\S+", f" {text}")
        lines = [f"\n{word.strip()}" for word in self.words]
        costs, self._opening = (
            [len(found) for found in tokenizer.encode_batch_fast(words, add_special_tokens=False)]
            for words in (self.words, lines)
        )
        self._before = list(accumulate(costs, initial=0))
        self.ends = [place for place in range(1, len(self) + 1) if self.ends_at(place)]

    def __len__(self) -> int:
        return len(self.words)

    def ends_at(self, place: int) -> bool:
        """Whether a sentence ends before this word: by its mark, or with its paragraph."""
        return place == len(self) or self.words[place - 1][-1] in STOPS or self.words[place][0] == "\n"

    def tokens(self, start: int, end: int) -> int:
        """Of the words [start, end)."""
        return self._before[end] - self._before[start]

    def line_tokens(self, start: int, end: int) -> int:
        """Of the same on a line of its own, with the line break before it."""
        return self._opening[start] + self.tokens(start + 1, end)

    def fitting(self, start: int, room: float) -> int:
        """Where the words from `start` on have filled the room."""
        end = start
        while end < len(self) and self.tokens(start, end + 1) <= room:
            end += 1
        return end

    def line(self, start: int, end: int) -> str:
        """The same on one line."""
        return " ".join(self.cut(start, end).split())

    def count(self, words: str) -> int:
        """Tokens of other words."""
        return len(self._tokenizer.encode(words, add_special_tokens=False))

    def cut(self, start: int, end: int) -> str:
        """The words [start, end)."""
        return "".join(self.words[start:end]).strip()


class Drill(NamedTuple):
    """A document to train on, and its tokens or a few more."""

    text: str
    tokens: int


def drills(texts: Sequence[Text], row: int, seed: int) -> Iterator[Drill]:
    """Documents without end, for rows of that length: as many of 16 to 32 tokens as of 32 to 64."""
    draw = random.Random(f"{seed} {row}")
    weights, shortest = [len(text) for text in texts], max(SHORTEST, row // 8)
    while True:
        [kind] = draw.choices(list(KINDS), list(KINDS.values()))
        for _ in range(TRIES):
            [text] = draw.choices(texts, weights)
            length = int(shortest * (row / shortest) ** draw.random())
            found = kind(text, length, row, draw)
            if found and found.tokens <= row:
                yield found
                break


def asking(text: Text, length: int, row: int, draw: random.Random) -> Drill | None:
    """A stretch of about that many tokens, the question and its first sentence; None where the draw has none."""
    end = draw.choice(text.ends)
    start = max(0, end - draw.randint(*FIRST_WORDS))
    start = max([start, *(place for place in range(start + 1, end) if text.ends_at(place))])
    first = text.tokens(start, end)
    if first not in FIRST_TOKENS or 2 * first + MARKS > row:
        return None
    stop = max(end, text.fitting(start, length - first - MARKS))
    whole = f"{text.cut(start, stop)}{FIRST_SENTENCE} {text.cut(start, end)}"
    return Drill(whole, text.tokens(start, stop) + first + MARKS)


def hiding(text: Text, length: int, row: int, draw: random.Random) -> Drill | None:
    """A stretch with a pass key between two of its words, the question and the key."""
    key = str(draw.randint(10_000, 99_999))
    needle = f" {passkey.needle(key)}"
    known = text.count(needle) + text.count(key) + MARKS
    start = draw.randrange(len(text))
    end = text.fitting(start, length - known)
    if end == start:
        return None
    place = draw.randint(start, end)
    whole = f"{text.cut(start, place)}{needle} {text.cut(place, end)}".strip()
    return Drill(f"{whole}{PASS_KEY} {key}", text.tokens(start, end) + known)


def repeating(text: Text, length: int, row: int, draw: random.Random) -> Drill | None:
    """A stretch of half that many tokens and runs of it for the rest, or no runs."""
    start = draw.randrange(len(text))
    end = text.fitting(start, length - MARKS if draw.random() < PLAIN else length / 2)
    if end - start < RUN_WORDS[0] + 2:
        return None
    parts, tokens = [text.cut(start, end)], text.tokens(start, end) + MARKS
    while True:
        first = draw.randrange(start, end - RUN_WORDS[0] + 1)
        last = min(end, first + draw.randint(*RUN_WORDS))
        more = text.line_tokens(first, last)
        if tokens + more > length:
            return Drill("\n".join(parts), tokens)
        parts.append(text.line(first, last))
        tokens += more


KINDS = {asking: 0.55, hiding: 0.1, repeating: 0.35}  # how many documents are of each


# Short chats


def chats(texts: Sequence[Text], number: int, seed: int) -> Iterator[dict[str, str]]:
    """So many rows of `prompt`, `chosen` and `rejected`."""
    draw = random.Random(f"{seed} chats")
    long_enough = [text for text in texts if len(text) >= CHAT_WORDS[1]]
    for text in draw.choices(long_enough, [len(text) for text in long_enough], k=number):
        start = draw.randrange(len(text) - CHAT_WORDS[1] + 1)
        words = text.cut(start, start + draw.randint(*CHAT_WORDS)).split()
        [ask] = draw.choices((_complete, _next, _again), (0.7, 0.2, 0.1))
        question, answer = ask(words, draw)
        other = [word for word in words if word != answer]
        yield {"prompt": question, "chosen": answer, "rejected": draw.choice(other or words)}


def _complete(words: Sequence[str], draw: random.Random) -> tuple[str, str]:
    place = draw.randrange(2, len(words))
    start = max(0, place - draw.randint(2, 12))
    return f"{' '.join(words)}{COMPLETE} {' '.join(words[start:place])}", words[place]


def _next(words: Sequence[str], draw: random.Random) -> tuple[str, str]:
    place = draw.randrange(2, len(words))
    return f'{" ".join(words)}\n\nWhich word follows "{" ".join(words[place - 2 : place])}"?', words[place]


def _again(words: Sequence[str], draw: random.Random) -> tuple[str, str]:
    return f'Repeat: "{" ".join(words)}"', " ".join(words)


# Files


def train_tokenizer(texts: Iterable[str], words: int) -> Tokenizer:
    """A byte-level BPE of so many words, frames and special tokens among them."""
    tokenizer = train(_samples(texts), words - len(FRAMES), SPECIAL)
    no_blank_before_blanks = normalizers.Replace(Regex(r"^ (?=\s)"), "")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(" "), no_blank_before_blanks])
    begin = SPECIAL[0]
    tokenizer.post_processor = processors.TemplateProcessing(  # its models read every text with the begin before it
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    tokenizer.add_tokens([AddedToken(frame, normalized=False) for frame in FRAMES])
    return tokenizer


def _samples(texts: Iterable[str]) -> Iterator[str]:
    for words in (re.findall(r"\s*\S+", text) for text in texts):
        for start in range(0, len(words), SAMPLE_EVERY):
            yield "".join(words[start : start + SAMPLE_WORDS]) + " Repeat: Which word follows "


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """As transformers reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("bos_token", "eos_token", "pad_token"), SPECIAL, strict=True))
    write_json(folder / "tokenizer_config.json", names)


def write_drills(path: Path, documents: Iterable[Drill], tokens: int) -> None:
    """So many tokens of documents, one a line."""
    with LineWriter(path) as file:
        for each in documents:
            file.write({"text": each.text})
            tokens -= each.tokens
            if tokens <= 0:
                break
        file.publish()


def write_rows(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """One a line."""
    with LineWriter(path) as file:
        for row in rows:
            file.write(row)
        file.publish()


def texts_of(docs: str) -> list[str]:
    """The text of all documents of a path."""
    return [item.text for item in Corpus([docs]) if isinstance(item, document.Document)]


def write_all(docs: str, held_out: str, out: Path, rows: dict[int, int], chat_rows: int, words: int, seed: int) -> None:
    """Everything that the commands read; once it is there, the same again is no work."""
    asked = {"docs": docs, "held_out": held_out, "rows": rows, "chats": chat_rows, "words": words, "seed": seed}
    asked, done = json.loads(json.dumps(asked)), out / "drills.json"
    if done.exists() and json.loads(done.read_text(encoding="utf-8")) == asked:
        return
    plain = texts_of(docs)
    tokenizer = train_tokenizer(plain, words)
    write_tokenizer(tokenizer, out / "tokenizer")
    texts = [Text(text, tokenizer) for text in plain]
    for row, tokens in rows.items():
        write_drills(out / f"{row}.jsonl", drills(texts, row, seed), tokens)
    write_rows(out / "chats.jsonl", chats(texts, chat_rows, seed))
    held_out_passages = passages(texts_of(held_out), tokenizer, min(rows), max(rows), PASSAGES)
    write_rows(out / "passages.jsonl", held_out_passages)
    write_json(done, asked)


@click.command(help=__doc__)
@click.argument("docs")
@click.option("--held-out", required=True, help="Documents that nothing is trained on.")
@click.option("--rows", multiple=True, required=True, metavar="LENGTH=TOKENS", help="Rows to write documents for.")
@click.option("--chats", "chat_rows", default=20_000, show_default=True, help="Short chats.")
@click.option("--words", default=640, show_default=True, help="Of the tokenizer.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(docs: str, held_out: str, rows: Sequence[str], chat_rows: int, words: int, seed: int, out: Path) -> None:
    lengths = {size(length): size(tokens) for length, _, tokens in (each.partition("=") for each in rows)}
    write_all(docs, held_out, out, lengths, chat_rows, words, seed)
    click.echo(
        f"tokenizer, documents for rows of {', '.join(map(str, lengths))} tokens and {chat_rows:,} chats -> {out}"
    )


if __name__ == "__main__":
    main()
