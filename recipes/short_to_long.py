"""The paper's first step, small: a Llama trained on short rows goes on at 8 times the length, with and without ABF.

    python recipes/short_to_long.py --docs FILE.jsonl.gz --out runs/short-to-long

A Llama of 0.7 million parameters (recipes/short-to-long.json) is trained from nothing on rows of 64 tokens, then three
times on the same rows of 512 tokens in the same order: with its positions unchanged, interpolated (PI), and with a
larger base (ABF). Nine documents in ten end by asking for their own first sentence. Measured on text that no training
has seen: the loss by how much stands before a token, the loss of the same tokens given more and more text before them
(`evaluate loss`), and how well the first sentence is given back, by the length of the document. The model has to look
back over the whole document for it, so it shows how far its positions reach.

The base is scaled with the window. Llama 2 has 10,000 at 4,096 tokens: its slowest pair of 128 turns a little within
the window. A window of 64 with 10,000 would hardly use most of its pairs, and would not need another base to reach 512.
So the base is 10,000 x 64 / 4,096 = 156.25, and ABF takes 50 times as much, as the paper does (500,000 for 10,000).

Without --docs the text is what every Python installation holds. Every tenth document of it is held out whole. Killed
and started again, the same command goes on where it was. On two cores that have nothing else to do: see
docs/experiments.md.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from chain import Clock, Stage, command, cores, start, texts_of
from first_sentence import SPECIAL, Document, Source, train_tokenizer
from short_to_long_picture import draw

from longreach.jsonl import LineWriter, write_json
from longreach.run import RunFolder
from longreach.tables import print_table

MODEL = Path(__file__).with_name("short-to-long.json")
CONFIG: dict[str, Any] = json.loads(MODEL.read_text(encoding="utf-8"))
SHORT = CONFIG["max_position_embeddings"]
LONG = 8 * SHORT
ABF_FACTOR = 50  # the paper's 500,000 for 10,000
ARMS = {
    "none": "none",
    "PI": f"pi:{LONG // SHORT}",
    "ABF": f"abf:{ABF_FACTOR * CONFIG['rope_parameters']['rope_theta']}",
}
HELD_OUT_EVERY = 10  # documents
LENGTHS = (SHORT // 2, SHORT, 3 * SHORT // 2, 2 * SHORT, 4 * SHORT, 6 * SHORT, LONG)  # of the questions' documents
CONTEXTS = tuple(SHORT // 4 * 2**power for power in range(7))  # to twice what the arms are trained at
TARGETS = SHORT // 8  # tokens that the loss by context is of


@dataclass(frozen=True)
class Size:
    """How much is trained and measured."""

    base: Stage
    arms: Stage
    held_out: int  # tokens to measure the loss on
    questions: int  # of each length
    windows: int  # of text, for the loss by context


FULL = Size(Stage(2_000, 2_048, 4e-3, 100), Stage(400, 4_096, 2e-3, 20), held_out=50_000, questions=100, windows=200)
QUICK = Size(Stage(6, 512, 4e-3, 1), Stage(2, 1_024, 2e-3, 1), held_out=4_000, questions=2, windows=4)


def main(docs: Sequence[str], out: Path, seed: int, size: Size) -> dict[str, Any]:
    """text -> documents -> rows -> base -> three continuations -> what they can."""
    with RunFolder(out) as folder:
        claimed = {"docs": list(docs), "seed": seed, "size": asdict(size), "config": CONFIG}
        folder.claim(claimed)
        folder.write_manifest({"shaping": claimed})
        texts, clock = texts_of(docs, out), Clock()
        with clock("documents"):
            questions = write_documents(texts, out, seed, size)
        with clock("rows"):
            prepare(out)
        with clock("base"):
            train(["scratch", f"--config={MODEL}"], out / "base", SHORT, size.base, seed, threads=cores())
        with clock("arms"), ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda arm: continue_base(arm, out, size.arms, seed), ARMS))
        with clock("contexts"):
            contexts = losses_by_context(out, seed, size)
        with clock("questions"):
            scores = ask(out, questions)
        found = {"loss": losses(out), "context": contexts, **scores}
        result = {"seed": seed, "ropes": ARMS, **found, "seconds": clock.seconds}
        write_json(out / "result.json", result)
        draw(result, SHORT, out / "result.png")
    show(result)
    return result


# Text


def write_documents(texts: Sequence[str], out: Path, seed: int, size: Size) -> list[list[Document]]:
    """The tokenizer, and the documents to train on and to measure the loss on; returns the questions of each length."""
    seen = [text for number, text in enumerate(texts) if number % HELD_OUT_EVERY]
    tokenizer = train_tokenizer(seen, CONFIG["vocab_size"])
    (out / "tokenizer").mkdir(exist_ok=True)
    tokenizer.save(str(out / "tokenizer" / "tokenizer.json"))
    names = dict(zip(("bos_token", "eos_token", "pad_token"), SPECIAL, strict=True))
    write_json(out / "tokenizer" / "tokenizer_config.json", {**names, "add_bos_token": True})

    source = Source(seen, tokenizer, seed)
    held_out = Source(texts[::HELD_OUT_EVERY], tokenizer, seed, unlike=source)
    for row, tokens in ((SHORT, size.base.tokens), (LONG, size.arms.tokens)):
        write(out / f"documents-{row}.jsonl", source.documents(row), tokens)
        write(out / f"held-out-{row}.jsonl", held_out.documents(row), size.held_out)
    with LineWriter(out / "held-out-text.jsonl") as file:
        for text in texts[::HELD_OUT_EVERY]:
            file.write({"text": " ".join(text.split())})  # as the documents have it
        file.publish()
    return [list(islice(held_out.questions(length), size.questions)) for length in LENGTHS]


def write(path: Path, documents: Iterable[Document], tokens: int) -> None:
    """So many tokens of documents, one a line."""
    with LineWriter(path) as file:
        for each in documents:
            file.write({"text": str(each)})
            tokens -= each.tokens
            if tokens < 0:
                break
        file.publish()


# The commands


def prepare(out: Path) -> None:
    """Rows of both lengths. Those held out are of other texts, not of some documents of the same: prepared apart."""
    for row in (SHORT, LONG):
        rows = out / f"rows-{row}"
        for name, folder in ((f"documents-{row}", rows), (f"held-out-{row}", rows / "validation")):
            source = [f"--source={name}={out / name}.jsonl", f"--tokenizer={out / 'tokenizer'}"]
            command(["pretrain", "prepare", *source, f"--seq-len={row}", "--validation=0", "--json"], folder, cores())


def continue_base(arm: str, out: Path, stage: Stage, seed: int) -> None:
    """The base at the new length, its positions as this arm has them."""
    train(["continue", f"--base={out / 'base'}", f"--rope={ARMS[arm]}"], out / arm, LONG, stage, seed, threads=1)


def train(words: Sequence[str], folder: Path, row: int, stage: Stage, seed: int, *, threads: int) -> None:
    """One training run, all rows of a step at once."""
    options = [f"--data={folder.parent / f'rows-{row}'}", f"--micro-batch={stage.batch_tokens // row}"]
    command(["pretrain", *words, *options, *stage.options(), f"--seed={seed}", "--json"], folder, threads)


# What came out


def losses(out: Path) -> dict[str, dict[str, float]]:
    """The loss on held-out text by how much stands before a token; the base's is that of an arm before its step 1."""
    first, last = {}, {}
    for arm in ARMS:
        lines = [orjson.loads(line) for line in (out / arm / "metrics.jsonl").read_bytes().splitlines()]
        measured = [line["validation"][f"rows-{LONG}"]["by_length"] for line in lines if "validation" in line]
        first[arm], last[arm] = measured[0], measured[-1]
    return {"base": first["none"], **last}


def losses_by_context(out: Path, seed: int, size: Size) -> dict[str, dict[str, float]]:
    """The loss of the same held-out tokens, given more and more of their text."""
    found = {}
    for model in ("base", *ARMS):
        lengths = ",".join(map(str, CONTEXTS))
        how = [f"--lengths={lengths}", f"--targets={TARGETS}", f"--samples={size.windows}", f"--seed={seed}", "--join"]
        what = [f"--model={out / model}", f"--docs={out / 'held-out-text.jsonl'}"]
        command(["evaluation", "loss", *what, *how, "--json"], out / "loss" / model, cores())
        scores = orjson.loads((out / "loss" / model / "results.json").read_bytes())["scores"]
        found[model] = {str(each["length"]): each["value"] for each in scores if each["metric"] == "loss"}
    return found


def ask(out: Path, questions: Sequence[Sequence[Document]]) -> dict[str, dict[str, dict[str, float]]]:
    """ROUGE-L and the share of exact answers of every model at every length."""
    from retrieval import retrieval

    found = {model: retrieval(out / model, questions) for model in ("base", *ARMS)}
    return {
        measure: {
            model: {
                str(length): round(getattr(score, measure), 4) for length, score in zip(LENGTHS, scores, strict=True)
            }
            for model, scores in found.items()
        }
        for measure in ("rouge_l", "exact")
    }


def show(result: Mapping[str, Any]) -> None:
    """The tables, and whether ABF beats none wherever the base has not been."""
    titles = {"loss": "loss, tokens up to", "context": "loss, context of", "rouge_l": "ROUGE-L at", "exact": "exact at"}
    for measure, title in titles.items():
        table = result[measure]
        print_table(
            (title, *table["base"]),
            [(name, *(f"{value:.3f}" for value in values.values())) for name, values in table.items()],
        )
    for measure, sign in (("loss", -1), ("rouge_l", 1)):
        none, abf = result[measure]["none"], result[measure]["ABF"]
        behind = [length for length in none if int(length) > SHORT and sign * (abf[length] - none[length]) <= 0]
        verdict = f"not better at {', '.join(behind)}" if behind else f"better at every length past {SHORT}"
        print(f"{measure}: ABF against none is {verdict}")
    for model in ("base", "ABF"):
        best, at_long = min(result["context"][model].values()), result["context"][model][str(LONG)]
        print(f"context of {LONG}: the loss of {model} is {at_long - best:+.3f} nats against its best length")


if __name__ == "__main__":
    start(main, __doc__, "runs/short-to-long", FULL, QUICK)
