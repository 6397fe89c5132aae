"""The whole chain on real text: documents in, a model that answers questions about other documents out.

    python recipes/long_chat.py --docs FILE.jsonl.gz --out runs/long-chat

    documents -> records        selfinstruct generate, with the extractive engine: cloze questions, continuations
    documents -> base model     pretrain prepare, scratch on rows of 128 tokens, continue on rows of 512 with ABF
    records + short chats       finetune sft, twice on the same data in the same order: with the loss on answers alone,
                                and on all of a long example, too (the paper's)
    held-out documents          questions about them, asked of the base and of both

A Llama of 1.1 million parameters (recipes/long-chat.json). Every tenth document is held out of everything: tokenizer,
base, records and chats; and so is every question whose sentence stands in a document that is not. What the texts and
the short chats are is in long_chat_text.py, how is asked in held_out_questions.py.

Without --docs the text is what every Python installation holds. Killed and started again, the same command goes on
where it was. What comes out, and what it costs: docs/experiments.md.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chain import Clock, Stage, command, cores, start, texts_of
from long_chat_text import SPECIAL, Words, base_texts, pieces, short_chats, train_tokenizer
from tokenizers import Tokenizer

from longreach.jsonl import LineWriter, write_json
from longreach.run import RunFolder
from longreach.tables import print_table

MODEL = Path(__file__).with_name("long-chat.json")
CONFIG: dict[str, Any] = json.loads(MODEL.read_text(encoding="utf-8"))
SHORT = CONFIG["max_position_embeddings"]
LONG = 4 * SHORT
ABF_FACTOR = 50  # the paper's 500,000 for 10,000
ROPE = f"abf:{ABF_FACTOR * CONFIG['rope_parameters']['rope_theta']:.0f}"
ARMS = {
    "answer": "long=answer,short=answer",
    "all": "long=all,short=answer",
}
MIX = "long:short=0.4:0.6"
HELD_OUT_EVERY = 10  # documents
QUESTION_TOKENS = 1_024  # that generate wants beside a piece; what is longer than the window, sft cuts or leaves out
TASKS = ("short_answer", "long_answer")
PROMPT = "{{ document }}\n\n{{ question }}\n"  # in place of the shipped one, whose words fill a fifth of a short window


@dataclass(frozen=True)
class Size:
    """How much is trained and measured."""

    base: Stage
    longer: Stage
    arms: Stage
    documents: int  # read; 0: all
    validation: int  # tokens of base text to measure the loss on
    chats: int
    questions: int  # of each kind, at most


FULL = Size(
    base=Stage(2_400, 2_048, 4e-3, 100),
    longer=Stage(350, 4_096, 2e-3, 20),
    arms=Stage(2_000, 2_048, 2e-3, 50),
    documents=0,
    validation=50_000,
    chats=24_000,
    questions=400,
)
QUICK = Size(
    base=Stage(4, 1_024, 4e-3, 1),
    longer=Stage(2, 1_024, 2e-3, 1),
    arms=Stage(2, 1_024, 2e-3, 1),
    documents=20,
    validation=2_000,
    chats=100,
    questions=2,
)


def main(docs: Sequence[str], out: Path, seed: int, size: Size) -> dict[str, Any]:
    """documents -> records and base -> two chat models -> what they can."""
    with RunFolder(out) as folder:
        claimed = {"docs": list(docs), "seed": seed, "size": asdict(size), "config": CONFIG}
        folder.claim(claimed)
        folder.write_manifest({"shaping": claimed})
        clock = Clock()
        with clock("texts"):
            seen, held_out = divided(texts_of(docs, out)[: size.documents or None])
            write_texts(seen, held_out, out, seed, size)
        with clock("records"):
            for name in ("records", "questions"):
                generate(out, name, seed)
        with clock("rows"):
            prepare(out)
        with clock("base"):
            train(["pretrain", "scratch", f"--config={MODEL}"], out / "base-short", SHORT, size.base, seed)
            words = ["pretrain", "continue", f"--base={out / 'base-short'}", f"--rope={ROPE}"]
            train(words, out / "base", LONG, size.longer, seed)
        with clock("arms"), ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda arm: finetune(arm, out, size.arms, seed), ARMS))
        with clock("questions"):
            scores = ask(out, "\n".join(seen), size.questions)
        result = {"seed": seed, "losses": ARMS, "mix": MIX, "scores": scores, "seconds": clock.seconds}
        write_json(out / "result.json", result)
    show(result)
    return result


# Texts


def divided(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those to train on and those held out; words one space apart."""
    plain = [" ".join(text.split()) for text in texts]
    return [text for number, text in enumerate(plain) if number % HELD_OUT_EVERY], plain[::HELD_OUT_EVERY]


def write_texts(seen: Sequence[str], held_out: Sequence[str], out: Path, seed: int, size: Size) -> None:
    """Everything that the commands read."""
    if (out / "short.jsonl").exists():
        return  # it is written last
    tokenizer = train_tokenizer(seen, CONFIG["vocab_size"])
    write_settings(out, tokenizer)
    ours, theirs = ([Words(text, tokenizer) for text in texts] for texts in (seen, held_out))
    for row, tokens in ((SHORT, size.base.tokens), (LONG, size.longer.tokens)):
        write(out / f"base-{row}.jsonl", until(base_texts(ours, row, seed), tokenizer, tokens))
        write(out / f"validation-{row}.jsonl", until(base_texts(theirs, row, seed), tokenizer, size.validation))
    for name, documents in (("records", ours), ("questions", theirs)):
        write(out / f"{name}.jsonl", (piece._asdict() for piece in pieces(documents, seed, name)))
    write(out / "short.jsonl", short_chats(ours, seed, size.chats))


def write_settings(out: Path, tokenizer: Tokenizer) -> None:
    """The tokenizer, and the templates of records."""
    for folder in ("tokenizer", "prompts"):
        (out / folder).mkdir(exist_ok=True)
    tokenizer.save(str(out / "tokenizer" / "tokenizer.json"))
    names = dict(zip(("bos_token", "eos_token", "pad_token"), SPECIAL, strict=True))
    write_json(out / "tokenizer" / "tokenizer_config.json", {**names, "add_bos_token": True})
    for task in TASKS:
        (out / "prompts" / f"train_{task}.jinja").write_text(PROMPT, encoding="utf-8")


def until(texts: Iterable[str], tokenizer: Tokenizer, tokens: int) -> Iterator[dict[str, str]]:
    """So many tokens of texts."""
    for text in texts:
        yield {"text": text}
        tokens -= len(tokenizer.encode(text)) + 2  # begin and end
        if tokens < 0:
            return


def write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """One a line."""
    with LineWriter(path) as file:
        for row in rows:
            file.write(dict(row))
        file.publish()


# The commands


def generate(out: Path, name: str, seed: int) -> None:
    """Records of all pieces: every task on each."""
    if (out / name / "records.jsonl").exists():
        return
    words = ["selfinstruct", "generate", "--engine=extractive", f"--docs={out / name}.jsonl", f"--seed={seed}"]
    words += [f"--tasks={','.join(TASKS)}", "--tasks-per-chunk=all", "--chunks-per-doc=1", "--near-duplicates=0"]
    words += [f"--chunk-tokens={LONG}", f"--context-tokens={LONG + QUESTION_TOKENS}", "--min-chars=100"]
    command([*words, f"--tokenizer={out / 'tokenizer'}", f"--prompts={out / 'prompts'}"], out / name)


def prepare(out: Path) -> None:
    """Rows of both lengths. Those held out are of other documents, not of some texts of the same: prepared apart."""
    for row in (SHORT, LONG):
        rows = out / f"rows-{row}"
        for name, folder in (("base", rows), ("validation", rows / "validation")):
            words = ["pretrain", "prepare", f"--source={name}={out / name}-{row}.jsonl", "--validation=0"]
            command([*words, f"--tokenizer={out / 'tokenizer'}", f"--seq-len={row}"], folder, cores())


def train(words: Sequence[str], folder: Path, row: int, stage: Stage, seed: int) -> None:
    """The base, at one of its lengths."""
    rows = [f"--data={folder.parent / f'rows-{row}'}", f"--micro-batch={stage.batch_tokens // row}"]
    command([*words, *rows, *stage.options(), f"--seed={seed}"], folder, cores())


def finetune(arm: str, out: Path, stage: Stage, seed: int) -> None:
    """The base on records and short chats, with this arm's loss."""
    words = ["finetune", "sft", f"--base={out / 'base'}", f"--long={out / 'records'}", f"--short={out / 'short.jsonl'}"]
    words += [f"--mix={MIX}", f"--loss={ARMS[arm]}", f"--seq-len={LONG}", *stage.options(), f"--seed={seed}"]
    command(words, out / arm)


# What came out


def ask(out: Path, known: str, most: int) -> dict[str, dict[str, Any]]:
    """How many questions of each kind every model answers, and how many sentences it can go on with."""
    from held_out_questions import Asked, read_questions, scores

    questions = read_questions(out / "questions" / "records.jsonl", known, most)
    return {name: scores(Asked(out / name), questions) for name in ("base", *ARMS)}


def show(result: Mapping[str, Any]) -> None:
    """One table: exact answers with their intervals."""
    scores = result["scores"]
    rows = [
        (kind, *("{value:.1%} ({low:.0%}-{high:.0%})".format(**scores[name][kind]) for name in scores))
        for kind in scores["base"]
    ]
    print_table(("exact, 95 % interval", *scores), rows)


if __name__ == "__main__":
    start(main, __doc__, "runs/long-chat", FULL, QUICK)
