"""sources -> token store: every document read and tokenized once, going on where a kill left off."""

import sys
from collections.abc import Iterable, Iterator, Sequence

from longreach.errors import UserError
from longreach.progress import ProgressLine
from longreach.text.corpus import Corpus
from longreach.text.document import Document, Skipped
from longreach.text.formats import reasons
from pretrain.config import PrepareSettings
from pretrain.encode import Item, as_batch, chained, encoded
from pretrain.sources import SourceSpec
from pretrain.tokenstore import TokenStore, total

COMMIT_BATCHES = 16  # between two states that survive a kill


def corpora_of(specs: Sequence[SourceSpec], settings: PrepareSettings) -> list[Corpus]:
    """The files of every source, of which the settings may give this job a shard."""
    return [
        Corpus(
            spec.paths,
            text_field=settings.text_field,
            min_chars=settings.min_chars,
            quality_field=settings.quality_field,
            shard=settings.part,
        )
        for spec in specs
    ]


def tokenize(
    store: TokenStore,
    specs: Sequence[SourceSpec],
    corpora: Sequence[Corpus],
    settings: PrepareSettings,
    *,
    fast: bool = True,
) -> None:
    """Fill the store from where it stands to the end of every source; `TokenizerMismatch`: begin again, not `fast`."""
    with ProgressLine("tokenize", sum(corpus.total_bytes for corpus in corpora)) as line:
        read = 0
        for number, (spec, corpus) in enumerate(zip(specs, corpora, strict=True)):
            if not store.progress[number].done:
                for _ in _fill(store, number, spec, _rated(corpus, settings.min_quality), settings, fast):
                    counts = total(store.progress)
                    line.update(read + corpus.read_bytes, f"{counts.documents:,} documents, {counts.tokens:,} tokens")
            read += corpus.total_bytes
    store.close()


def _rated(corpus: Corpus, least: float) -> Iterator[Item]:
    """Documents of enough quality, the others as notes."""
    for file, item in corpus.numbered():
        if isinstance(item, Document) and item.quality is not None and item.quality < least:
            yield file, Skipped(item.path, reasons.LOW_QUALITY, f"{item.quality:g} is less than {least:g}: {item.id}")
        else:
            yield file, item


def _fill(
    store: TokenStore,
    number: int,
    spec: SourceSpec,
    corpus: Iterator[Item],
    settings: PrepareSettings,
    fast: bool,
) -> Iterator[None]:
    """One source, a step for each batch."""
    _pass_over(store, number, spec, corpus)
    batches = encoded(corpus, settings.tokenizer, settings.processes, fast=fast)
    for count, (items, tokens) in enumerate(batches, 1):
        store.append(number, as_batch(spec.name, items, tokens, store.progress[number].chain))
        if count % COMMIT_BATCHES == 0:
            store.commit()
        yield
    store.finish(number)


def _pass_over(store: TokenStore, number: int, spec: SourceSpec, corpus: Iterable[Item]) -> None:
    """Read past what the store has, and make sure that it is still the same."""
    progress = store.progress[number]
    if not progress.items:
        return
    sys.stderr.write(f"{spec.name}: going on after {progress.documents:,} documents\n")
    chain = ""
    for count, (_, item) in enumerate(corpus, 1):
        if isinstance(item, Document):
            chain = chained(chain, bytes.fromhex(item.sha256))
        if count == progress.items:
            break
    if chain != progress.chain:
        raise UserError(
            f"the documents of {spec.name} are not those that an earlier try has read",
            f"remove {store.folder} to read them again from the start",
        )
