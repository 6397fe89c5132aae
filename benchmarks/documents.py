"""Reading documents: speed by format beside the peers that are installed, and peak memory at 1x and 10x the corpus.

    python benchmarks/documents.py [--mb 20]

The text is Python's own language reference, as this installation holds it, its paragraphs shuffled anew for each
document. Each reading runs in a process of its own, after a first one that loads what is to be loaded. MB are of text
delivered.
"""

import argparse
import collections
import gzip
import html
import importlib.util
import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

FORMATS = ("txt", "html", "jsonl", "jsonl.gz", "json", "csv", "parquet")
PARAGRAPHS = "\n\n".join(topics.values()).split("\n\n")
PARAGRAPHS_EACH = 50  # some 10,000 characters


def texts(mb: float) -> Iterator[str]:
    """Texts until there are enough, no two alike."""
    draw = random.Random(0)
    left = mb * 1e6
    while left > 0:
        text = "\n\n".join(draw.sample(PARAGRAPHS, PARAGRAPHS_EACH))
        left -= len(text)
        yield text


def write(folder: Path, kind: str, mb: float) -> None:
    """The corpus in one format: one file, or for formats of one text a file for each."""
    folder.mkdir()
    if kind in ("txt", "html"):
        for number, text in enumerate(texts(mb)):
            paragraphs = "".join(f"<p>{html.escape(part)}</p>\n" for part in text.split("\n\n"))
            (folder / f"{number:06d}.{kind}").write_text(f"<html><body>{paragraphs}" if kind == "html" else text)
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(folder / "rows.parquet", pa.schema([("text", pa.string())])) as writer:
            batch = texts(mb)
            while part := list(itertools.islice(batch, 200)):
                writer.write_table(pa.table({"text": part}))
    else:
        pack = gzip.open if kind.endswith("gz") else open
        with pack(folder / f"rows.{kind}", "wt") as file:
            before, between, after = {"json": ("[", ",\n", "]"), "csv": ("text\n", "\n", "\n")}.get(
                kind, ("", "\n", "\n")
            )
            file.write(before)
            for number, text in enumerate(texts(mb)):
                quoted = '"' + text.replace('"', '""') + '"' if kind == "csv" else json.dumps({"text": text})
                file.write((between if number else "") + quoted)
            file.write(after)


def ours(folder: Path, kind: str) -> Iterator[str]:
    from longreach.text.corpus import Corpus
    from longreach.text.document import Document

    for item in Corpus([str(folder)]):
        if isinstance(item, Document):
            yield item.text


def with_distinct(folder: Path, kind: str) -> Iterator[str]:
    from longreach.text.corpus import Corpus
    from longreach.text.distinct import distinct

    for item in distinct(Corpus([str(folder)])):
        yield getattr(item, "text", "")


def peer_datasets(folder: Path, kind: str) -> Iterator[str]:
    import datasets

    builder = {"txt": "text", "csv": "csv", "parquet": "parquet"}.get(kind, "json")
    files = sorted(map(str, folder.iterdir()))
    options = {"sample_by": "document"} if kind == "txt" else {}
    for row in datasets.load_dataset(builder, data_files=files, split="train", streaming=True, **options):
        yield row["text"]


def peer_trafilatura(folder: Path, kind: str) -> Iterator[str]:
    import trafilatura

    for path in sorted(folder.iterdir()):
        yield trafilatura.extract(path.read_text()) or ""


READERS: dict[str, Callable[[Path, str], Iterator[str]]] = {
    "ours": ours,
    "with_distinct": with_distinct,
    "datasets": peer_datasets,
    "trafilatura": peer_trafilatura,
}


def measure(reader: str, folder: Path, kind: str) -> tuple[float, float]:
    """MB of text a CPU-second, and peak memory in MB."""
    call = [sys.executable, __file__, "--read", reader, str(folder), kind]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    speed, peak = map(float, done.stdout.split())
    return speed, peak


def read(reader: str, folder: Path, kind: str) -> None:
    """What the child process does."""
    collections.deque(READERS[reader](folder.parent / "warm", kind), maxlen=0)
    start = time.process_time()
    chars = sum(map(len, READERS[reader](folder, kind)))
    seconds = time.process_time() - start
    print(chars / 1e6 / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def row(folder: Path, kind: str, mb: float) -> str:
    for name, share in (("warm", 0.001), ("small", 0.1), ("large", 1)):
        write(folder / name, kind, mb * share)
    speed, after = measure("ours", folder / "large", kind)
    cells = [f"{speed:.0f}"]
    for peer in ("datasets", "trafilatura"):
        applies = (peer == "trafilatura") == (kind == "html") and importlib.util.find_spec(peer)
        cells.append(f"{measure(peer, folder / 'large', kind)[0]:.1f}" if applies else "-")
    cells.append(f"{measure('ours', folder / 'small', kind)[1]:.0f} / {after:.0f}")
    cells.append(" / ".join(f"{measure('with_distinct', folder / part, kind)[1]:.0f}" for part in ("small", "large")))
    return f"| {kind} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=20, help="of text, the ten times corpus")
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        reader, folder, kind = options.read
        return read(reader, Path(folder), kind)
    print("| format | ours, MB/CPU-s | datasets | trafilatura | peak MB 1x / 10x | and with `distinct` 1x / 10x |")
    print("|---|---|---|---|---|---|")
    for kind in FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            print(row(Path(folder), kind, options.mb), flush=True)
    return None


if __name__ == "__main__":
    main()
