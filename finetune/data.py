"""All data of a run: tokenized once into OUT/data, then the same examples for mix, sft and every process of it.

What was read before is used again as long as files, tokenizer, chat template and length are the same; a run that was
killed while reading reads again. Each row of a file ends as an example or as a line of skipped.jsonl, and the counts
balance.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from glob import has_magic
from pathlib import Path
from typing import Any

import orjson

from finetune.config import MixSettings
from finetune.divide import HELD_OUT, TRAIN, Data, divide
from finetune.reading import Example, Reader, as_line
from finetune.sources import SourceSpec, Specs
from finetune.store import MANIFEST, Store, StoreWriter
from longreach.errors import UserError
from longreach.jsonl import LineWriter, write_json
from longreach.model.processes import say
from longreach.progress import ProgressLine
from longreach.ranks import rank
from longreach.text.chat.template import ChatTemplate
from longreach.text.formats.inputs import find
from longreach.text.formats.remote import versions_at
from longreach.text.formats.source import Source as File
from longreach.text.formats.source import as_text
from longreach.text.values import Values
from longreach.urls import is_url

DATA, FACTS, SKIPPED = "data", "data.json", "skipped.jsonl"
POLL = 0.5  # seconds between two looks of the processes that wait for the first one


def open_data(specs: Specs, settings: MixSettings, chat: ChatTemplate, seq_len: int) -> Data:
    """Read what is not read yet (the first process does, the others wait), and divide it."""
    folder = settings.folder / DATA
    made_from = fingerprint(specs, chat, seq_len)
    if rank() == 0 and not is_ready(folder, made_from, settings.strict):
        read_all(specs, folder, Reader(chat, seq_len, settings.strict), made_from)
    while not is_ready(folder, made_from, settings.strict):
        time.sleep(POLL)
    facts = orjson.loads((folder / FACTS).read_bytes())["facts"]
    return divide(specs, settings, seq_len, folder, facts)


def fingerprint(specs: Specs, chat: ChatTemplate, seq_len: int) -> dict[str, Any]:
    """What decides the examples. A dataset has its name alone."""
    tokenizer = chat.tokenizer.backend_tokenizer.to_str() + str(chat.tokenizer.chat_template)
    return {
        "seq_len": seq_len,
        "tokenizer": hashlib.sha256(tokenizer.encode()).hexdigest(),
        **{
            kind: [[spec.name, *map(_seen, spec.files)] for spec in each]
            for kind, each in ((TRAIN, specs.train), (HELD_OUT, specs.held_out))
        },
    }


def _seen(path: str) -> list[Any]:
    """A path, glob or URL with what changes when the content of its files does."""
    if is_url(path):
        return [path, versions_at(path)]
    given = Path(path).expanduser()
    is_glob = has_magic(path) and not given.exists()
    named = [Path(each.path) for each in find([path]) if isinstance(each, File)] if is_glob else [given]
    found = sorted(file for each in named for file in (each, *each.rglob("*")) if file.is_file())
    return [path, [[as_text(str(each)), each.stat().st_size, each.stat().st_mtime_ns] for each in found]]


def is_ready(folder: Path, made_from: Mapping[str, Any], strict: bool) -> bool:
    """Whether everything was read, from just this, and is there; a `strict` reading would have stopped at any flaw."""
    try:
        said = orjson.loads((folder / FACTS).read_bytes())
        before, facts = said["made_from"], said["facts"]
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return False
    if before != orjson.loads(orjson.dumps(made_from)):
        return False
    return all(
        (folder / kind / name / MANIFEST).is_file() and not (strict and each["skipped"])
        for kind, named in facts.items()
        for name, each in named.items()
    )


def read_all(specs: Specs, folder: Path, reader: Reader, made_from: Mapping[str, Any]) -> None:
    """Every source into its store, and what became of its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    facts: dict[str, dict[str, Any]] = {}
    with LineWriter(folder.parent / SKIPPED) as skipped:
        for kind, each in ((TRAIN, specs.train), (HELD_OUT, specs.held_out)):
            facts[kind] = {spec.name: read_source(spec, folder / kind / spec.name, reader, skipped) for spec in each}
        skipped.publish()
    write_json(folder / FACTS, {"made_from": made_from, "facts": facts})


def read_source(spec: SourceSpec, folder: Path, reader: Reader, skipped: LineWriter) -> dict[str, Any]:
    """One source into its store; UserError where nothing of it can be trained on."""
    values = Values(spec.files)
    reasons: Counter[str] = Counter()
    reader.forms.clear()
    with (
        StoreWriter(folder, len(reader.chat.tokenizer)) as store,
        ProgressLine(f"reading {spec.name}", values.total_bytes) as progress,
    ):
        for item in reader.examples(values):
            if isinstance(item, Example):
                tokens = item.encoded
                store.append(tokens.ids, tokens.answer, item.key, item.group, item.cut, item.place)
            else:
                reasons[item.reason] += 1
                skipped.write(as_line(item, spec.name))
            progress.update(values.read_bytes, f"{store.examples:,} examples, {reasons.total():,} skipped")
        if not store.examples:
            raise UserError(
                f"{spec.name}: no example in {', '.join(spec.files)}: {_counted(reasons) or 'no rows'}",
                "docs/finetune.md shows the forms; `--strict` stops at the first row that fits none",
            )
        store.finish()
    forms = _counted(reader.forms)
    say(f"{spec.name}: {store.examples:,} examples ({forms})" + (f", skipped {_counted(reasons)}" if reasons else ""))
    return {
        "examples": store.examples,
        "forms": dict(reader.forms),
        "skipped": dict(reasons),
        "files": list(_files(values)),
        "runs": [{"folder": run, "sha256": _sha256(Path(run) / "run.json")} for run in spec.runs],
        "sha256": Store(folder).sha256,
    }


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.most_common())


def _files(values: Values) -> Iterator[dict[str, str]]:
    """The files that were read, with their hashes; a dataset has none."""
    for file in values.files.found:
        if isinstance(file, File):
            yield {"path": file.name, "sha256": _sha256(Path(file.path)) if Path(file.path).is_file() else ""}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
