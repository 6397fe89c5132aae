"""What `pretrain prepare` holds of up to 100 million documents: peak memory and time of its index and order.

    python -m benchmarks.scale [--documents 1M,10M,100M] [--tokens-each 4000] [--mix all,upsampled]
                                [--shards 8 [--whole-files]]
    python -m benchmarks.scale --command [--documents 100k,400k]    the whole command, on short made-up texts

The first is a simulation: lengths are drawn from a log-normal distribution (sigma 1.5) into the real token store, whose
tokens are a hole in a file, or, with --shards, into as many, as `pretrain merge` finds them: they took turns at files
of a million documents, or, with --whole-files, each had its own of a hundred. Then the command's own functions run on
it, in a process of its own for each line: stores gathered, those of shards checked first; held-out documents and the
plan of the mix, the passes and their packing as a run meets them that was killed when all but its last 1,000 rows were
written, the histogram, and the order of all rows in one epoch of training. What is left out is flat in the number of
documents: reading, tokenizing, and writing the lists and the other rows. Sources are web, code and books, 90, 9 and 1 %
of the documents, books 20 times as long. The mix `all` takes 99 % of the tokens, so that every document is drawn for
and nearly all are packed in one pass; `upsampled` is the preset of the recipes. Memory is the peak of all resident
pages, those of mapped files included. The bar: 100 million documents in 8 GB.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.attention_and_loss import resident
from longreach.config import size
from longreach.rows.order import RowOrder
from longreach.rows.rows import Rows
from longreach.rows.shards import RowWriter
from pretrain.config import PrepareSettings
from pretrain.divide import Divided, divide_documents
from pretrain.fill import Filled, Int64s, Pass, fill_rows
from pretrain.gathered import Gathered
from pretrain.histogram import histogram
from pretrain.job import with_preset
from pretrain.splits import VALIDATION
from pretrain.tokenstore import COLUMNS, DIGEST_BYTES, Batch, TokenStore, total

BAR_GB = 8
ROOT = Path(__file__).parents[1]
SEQ_LEN, DTYPE = 32_768, np.dtype("<u2")
SOURCES = {"web": (0.9, 1.0), "code": (0.09, 1.0), "books": (0.01, 20.0)}  # part of the documents, relative length
SIGMA, SHORTEST, LONGEST = 1.5, 16, 10_000_000  # of the lengths, in tokens
BLOCK, SMALL_FILE, WRITTEN = 1 << 20, 100, 1_000
MIXES = ("all", "upsampled")
STAGES = ("gather", "plan", "rows", "lengths", "order")


@dataclass
class Stages:
    """Seconds and peak memory of each stage of one process."""

    found: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """One stage; the peak that came before it is forgotten."""
        Path("/proc/self/clear_refs").write_text("5")
        begun = time.perf_counter()
        yield
        self.found[name] = {"seconds": time.perf_counter() - begun, "peak": resident("VmHWM")}


def main() -> None:
    """Print the table, or in a child the figures of one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", default="")
    parser.add_argument("--tokens-each", type=size, default=4_000, help="of a document, in the mean")
    parser.add_argument("--mix", default=",".join(MIXES))
    parser.add_argument("--shards", type=int, default=1, help="stores that are merged")
    parser.add_argument("--whole-files", action="store_true", help="small files that are one shard's each")
    parser.add_argument("--pack", default="best-fit", choices=("best-fit", "concat"))
    parser.add_argument("--command", action="store_true", help="the whole command instead")
    parser.add_argument("--folder", help="where the columns lie for the while: 49 bytes a document")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(simulate(given)))
    elif given.command:
        whole_command([size(each) for each in (given.documents or "100k,400k").split(",")], given.folder)
    else:
        sys.exit(not simulated(given))


def simulated(given: argparse.Namespace) -> bool:
    """Print the table of the simulation; whether every line keeps to the bar."""
    stages = " | ".join(f"{name}, GB | s" for name in STAGES)
    print(f"| documents | tokens | mix | passes | rows | {stages} | peak, GB | bytes a document |")
    print("|---:|---:|---|---:|---:|" + "---:|---:|" * len(STAGES) + "---:|---:|")
    documents = (given.documents or "1M,10M").split(",")
    peaks = [line(each, mix, given) for each in documents for mix in given.mix.split(",")]
    print(f"\nlargest peak: {max(peaks):.2f} GB, the bar is {BAR_GB} GB at 100,000,000 documents")
    return max(peaks) <= BAR_GB


def line(documents: str, mix: str, given: argparse.Namespace) -> float:
    """Print one line of the table; its peak in GB."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", "--documents", documents, "--mix", mix]
    more = ["--tokens-each", str(given.tokens_each), "--shards", str(given.shards), "--pack", given.pack]
    more += ["--folder", given.folder] if given.folder else []
    more += ["--whole-files"] if given.whole_files else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *more], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    stages = [found["stages"][name] for name in STAGES]
    peak = max(stage["peak"] for stage in stages)
    cells = " | ".join(f"{stage['peak'] / 1e9:.2f} | {stage['seconds']:,.0f}" for stage in stages)
    counts = f"{found['documents']:,} | {found['tokens'] / 1e9:,.0f}B | {mix} | {found['passes']} | {found['rows']:,}"
    each = (peak - found["before"]) / found["documents"]
    print(f"| {counts} | {cells} | {peak / 1e9:.2f} | {each:.0f} |", flush=True)
    return float(peak / 1e9)


def simulate(given: argparse.Namespace) -> dict[str, Any]:
    """The command's own work on made-up lengths, stage by stage."""
    stages, documents = Stages(), size(given.documents)
    with TemporaryDirectory(dir=given.folder) as folder:
        stores = made_up(Path(folder), documents, given)
        before = resident("VmRSS")
        with stages.measured("gather"):
            gathered = Gathered.of(stores if given.shards == 1 else [read_again(store) for store in stores])
        tokens = total(gathered.progress).tokens
        settings, specs, _ = with_preset(settings_of(given.mix, tokens, given.pack))
        with stages.measured("plan"):
            divided = divide_documents(gathered, specs, settings)
        with stages.measured("rows"):
            filled = last_rows(divided, Path(folder) / "rows", given.pack)
        with stages.measured("lengths"):
            histogram(divided.stocks, divided.plan)
        with stages.measured("order"):
            in_order(filled.rows)
    counts = {"documents": documents, "tokens": tokens, "passes": divided.plan.passes, "rows": filled.rows}
    return counts | {"before": before, "stages": stages.found}


def settings_of(mix: str, tokens: int, pack: str) -> PrepareSettings:
    """As of the command line; `tokens` are all that there are."""
    common = {
        "source": tuple(f"{name}={name}" for name in SOURCES),
        "seq_len": SEQ_LEN,
        "validation": 0.0001,
        "pack": pack,
    }
    if mix == "upsampled":
        return PrepareSettings(**common, preset="llama2-long")
    return PrepareSettings(**common, tokens=int(0.99 * tokens))


def made_up(folder: Path, documents: int, given: argparse.Namespace) -> list[TokenStore]:
    """Token stores of that many documents, as the reading of three sources leaves them, but for the tokens."""
    stores = [TokenStore(folder / str(shard), len(SOURCES), DTYPE, {}) for shard in range(given.shards)]
    for store in stores:
        store.open()
    random = np.random.default_rng(0)
    mean = given.tokens_each / sum(part * relative for part, relative in SOURCES.values())
    for number, (part, relative) in enumerate(SOURCES.values()):
        count = round(part * documents)
        for begin in range(0, count, BLOCK):
            places = np.arange(begin, min(begin + BLOCK, count))
            lengths = drawn(random, len(places), mean * relative)
            files, shards = division(places, count, given.shards, whole_files=given.whole_files)
            for shard, store in enumerate(stores):
                mine = shards == shard
                store.append(number, batch_of(lengths[mine], files[mine], random))
                store.progress[number].tokens += int(lengths[mine].sum())
        for store in stores:
            store.finish(number)
            os.truncate(store.token_file(number), store.progress[number].tokens * DTYPE.itemsize)  # a hole
    for store in stores:
        store.close()
    return stores


def read_again(store: TokenStore) -> TokenStore:
    """A shard's store as a merge meets it."""
    return TokenStore.finished(store.folder, store.sources, store.dtype)


def division(places: Int64s, count: int, shards: int, *, whole_files: bool) -> tuple[Int64s, Int64s]:
    """The file and the shard of the documents at these `places` among the `count` of a source: a shard has a stretch
    of the source in small files, or every so many-th document of large ones."""
    if not whole_files:
        return places // BLOCK, places % BLOCK % shards
    files = places // SMALL_FILE
    return files, files * shards // (count // SMALL_FILE + 1)


def drawn(random: np.random.Generator, count: int, mean: float) -> Int64s:
    """Lengths in tokens."""
    lengths = random.lognormal(np.log(mean) - SIGMA**2 / 2, SIGMA, count)
    return lengths.clip(SHORTEST, LONGEST).astype(np.int64)


def batch_of(lengths: Int64s, files: Int64s, random: np.random.Generator) -> Batch:
    """What the store takes of some documents, without tokens, and with empty lines in the list of documents."""
    items, none = files.astype(np.int32), np.empty(0, DTYPE)
    digests = np.frombuffer(random.bytes(len(lengths) * DIGEST_BYTES), COLUMNS["digests"])
    return Batch(items, "", none, lengths, digests, np.ones(len(lengths), np.float32), b"\n" * len(lengths))


def last_rows(divided: Divided, folder: Path, pack: str) -> Filled:
    """The rows held out, then every pass, packed; the rows before the last ones count as written before a kill."""
    with RowWriter(folder / VALIDATION, SEQ_LEN, DTYPE, 0) as writer:
        fill_rows(writer, divided.texts, iter([Pass.of(divided.held_out)]), pack, lambda _: None)
    with RowWriter(folder, SEQ_LEN, DTYPE, 0) as writer:
        writer.rows = max(0, divided.plan.tokens // SEQ_LEN - WRITTEN)
        return fill_rows(writer, divided.texts, divided.passes(), pack, lambda _: None)


def in_order(rows: int) -> None:
    """One epoch of training asks for every row."""
    order = RowOrder(rows, seed=0)
    for begin in range(0, rows, BLOCK):
        order.take(np.arange(begin, min(begin + BLOCK, rows)))


def whole_command(documents: Sequence[int], place: str | None) -> None:
    """Print what the command takes on texts of some 60 tokens; the largest child so far is what the system tells."""
    print("| documents | MB of text | s | peak, MB | lists, bytes a document | index of the rows | Rows opened, MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for count in sorted(documents):
        with TemporaryDirectory(dir=place) as folder:
            docs, out = Path(folder) / "docs.jsonl", Path(folder) / "rows"
            text = written(docs, count)
            begun = time.perf_counter()
            command = [sys.executable, "-m", "pretrain", "prepare", "--source", f"text={docs}", "--seq-len", "2048"]
            subprocess.run([*command, "--workers", "1", "--out", str(out)], cwd=ROOT, check=True, capture_output=True)
            seconds = time.perf_counter() - begun
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
            lists, index = (out / "documents.jsonl").stat().st_size, (out / "segments.npy").stat().st_size
            cells = f"{lists / count:.0f} | {index / count:.0f} | {opened(out) / 1e6:.1f}"
            print(f"| {count:,} | {text / 1e6:,.0f} | {seconds:.0f} | {peak:,.0f} | {cells} |", flush=True)


def written(path: Path, count: int) -> int:
    """Short texts of common words as JSON lines; returns their bytes."""
    words = np.array("the of and to in a is that for it as was with be by on not he his but at are this have".split())
    random, total = np.random.default_rng(0), 0
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = " ".join(random.choice(words, 60))
            total += len(text)
            file.write(json.dumps({"text": f"{number} {text}"}) + "\n")
    return total


def opened(folder: Path) -> int:
    """Bytes of memory that rows take when they are opened and counted."""
    before = resident("VmRSS")
    rows = Rows(folder)
    assert len(rows)
    return resident("VmRSS") - before


if __name__ == "__main__":
    main()
