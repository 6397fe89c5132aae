"""The settings of pretrain's commands: defaults, help, TOML keys and options in one place."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from longreach.config import factor, setting, share
from longreach.errors import UserError
from longreach.model.options import MODEL, RUN, TRAINING, TrainingOptions, rope_text
from longreach.plan.options import PlanOptions
from longreach.text.shard import Shard, shard_text

SOURCE, CORPUS = SCOPES = ("source", "corpus")
PACKINGS = ("best-fit", "concat")
MIN_SEQ_LEN = 16

_SOURCES, _MIX, _ROWS, _DATA = "Sources", "Mix", "Rows", "Data"


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """What one run of prepare is made from. Fields that do not shape its output may change between tries."""

    source: tuple[str, ...] = setting(
        (),
        "Documents of a source: files, a folder, a glob, a URL or a Hugging Face dataset, and its share of the tokens.",
        group=_SOURCES,
        metavar="NAME=PATH[@SHARE]...",
    )
    text_field: str = setting("text", "Field that holds the text of a row.", group=_SOURCES, metavar="NAME")
    min_chars: int = setting(1, "Shorter documents are skipped.", group=_SOURCES, metavar="N")
    quality_field: str = setting("", "Field that holds a row's quality, a number.", group=_SOURCES, metavar="NAME")
    min_quality: float = setting(0.0, "Documents of lower quality are skipped.", group=_SOURCES, metavar="F")
    quality_weight: bool = setting(False, "Take documents as often as their quality says.", group=_SOURCES)
    tokenizer: str = setting("", "Folder or hub id; by default the small one that ships.", group=_SOURCES, metavar="T")

    tokens: int = setting(0, "Budget in tokens; 0: one pass through the sources.", group=_MIX, metavar="N")
    preset: str = setting("", "Shares as published: llama2-long, fu, prolong, olmo3.", group=_MIX, metavar="NAME")
    long_tokens: int = setting(
        0, "Documents from this length on are long; 0: a quarter of a row.", group=_MIX, metavar="N"
    )
    long_share: float | None = setting(
        None, "Share of the tokens that long documents get.", group=_MIX, metavar="F", parse=share
    )
    upsample_long: float | None = setting(
        None, "Take long documents this many times as often.", group=_MIX, metavar="F", parse=factor
    )
    upsample_over: str | None = setting(
        None,
        "Upsample within each source, whose share stays (the default), or over the corpus.",
        group=_MIX,
        choices=SCOPES,
    )
    max_epochs: float = setting(
        4.0, "No document is taken more often than this.", group=_MIX, metavar="F", parse=factor
    )
    seed: int = setting(0, "Of which documents are taken, and how often.", group=_MIX, metavar="N")

    seq_len: int = setting(32_768, "Tokens of a row.", group=_ROWS, metavar="N")
    pack: str = setting(
        "best-fit", "Cut only what is longer than a row, or concatenate and cut.", group=_ROWS, choices=PACKINGS
    )
    validation: float = setting(
        0.01, "Share of each source held out to measure the loss on; 0: none.", group=_ROWS, metavar="F", parse=share
    )
    shard_tokens: int = setting(256_000_000, "Tokens of a file of rows.", group=_ROWS, metavar="N")

    out: str = setting("runs/rows", "Folder of the rows.", group=RUN, metavar="DIR", shapes_output=False)
    workers: int = setting(0, "Processes that tokenize; 0: one per core.", group=RUN, metavar="N", shapes_output=False)
    shard: str = setting(
        "",
        "Only tokenize part I, from 0, of the documents divided into N; merge makes the rows.",
        group=RUN,
        metavar="I/N",
        parse=shard_text,
        shapes_output=False,
    )

    def __post_init__(self) -> None:
        problems = [] if self.source else ["no documents: give --source NAME=PATH"]
        if self.seq_len < MIN_SEQ_LEN:
            problems.append(f"--seq-len: a row holds at least {MIN_SEQ_LEN} tokens")
        if self.shard_tokens < self.seq_len:
            problems.append(f"--shard-tokens {self.shard_tokens} is less than a row of {self.seq_len}")
        if self.long_share is not None and self.upsample_long is not None:
            problems.append("--long-share and --upsample-long both set how much long text there is: give one")
        if (self.quality_weight or self.min_quality) and not self.quality_field:
            problems.append("--quality-weight and --min-quality need --quality-field")
        if self.validation > 0.5:
            problems.append(f"--validation {self.validation} would hold out more than half")
        if self.max_epochs < 1:
            problems.append("--max-epochs: at least 1, since a document is taken whole")
        if problems:
            raise UserError("\n".join(problems), "pretrain prepare --help")

    @property
    def folder(self) -> Path:
        """Where the rows go."""
        return Path(self.out)

    @property
    def part(self) -> Shard:
        """The documents that this run reads."""
        return Shard.of(self.shard) if self.shard else Shard()

    @property
    def long_from(self) -> int:
        """The length in tokens from which a document is long."""
        return self.long_tokens or self.seq_len // 4

    @property
    def processes(self) -> int:
        """How many processes tokenize."""
        return self.workers or os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(TrainingOptions):
    """What continue and scratch share. None and 0 mean: derived, and printed with the reason."""

    data: tuple[str, ...] = setting(
        (), "Rows of prepare; for --stages, one folder per length or longer rows.", group=_DATA, metavar="ROWS..."
    )
    seq_len: int = setting(0, "Tokens of a row; 0: as the rows are.", group=_DATA, metavar="N")
    stages: str = setting(
        "", "Curriculum: length, share of the tokens and RoPE of each stage.", group=_DATA, metavar="N:SHARE[:ROPE],..."
    )
    attend_across_documents: bool = setting(
        False, "Let a document see those before it in its row, as in plain concatenation.", group=_DATA
    )

    steps: int = setting(0, "Optimizer steps; 0: one pass through the rows.", group=TRAINING, metavar="N")
    micro_batch: int = setting(
        0,
        "Rows that go through the model at once; 0: as many as hold 8,192 tokens.",
        group=TRAINING,
        metavar="N",
        shapes_output=False,
    )

    def problems(self) -> list[str]:
        """What is wrong with the settings by themselves."""
        problems = [] if self.data else ["no rows: give --data"]
        if self.seq_len and self.stages:
            problems.append("--seq-len and --stages both set the length: give one")
        return problems


@dataclass(frozen=True, kw_only=True)
class ContinueSettings(TrainingSettings):
    """What one run of continue is made from."""

    base: str = setting("", "Folder, hub id, or an alias: llama2-7b, llama2-70b, ...", group=MODEL, metavar="M")
    rope: str = setting(
        "abf:500000",
        "Positions: abf:BASE, pi:N, ntk:N, yarn:N, xpos-abf:BASE, none.",
        group=MODEL,
        metavar="ROPE",
        parse=rope_text,
    )
    lora: int = setting(0, "Rank of an adapter to train instead of all weights.", group=MODEL, metavar="R")
    out: str = setting("runs/continued", "Folder of the checkpoint.", group=RUN, metavar="CKPT", shapes_output=False)

    def __post_init__(self) -> None:
        problems = [*([] if self.base else ["no base model: give --base"]), *self.problems()]
        if problems:
            raise UserError("\n".join(problems), "pretrain continue --help")


@dataclass(frozen=True, kw_only=True)
class ScratchSettings(TrainingSettings):
    """What one run of scratch is made from."""

    config: str = setting("", "Configuration of the model, as its config.json.", group=MODEL, metavar="MODEL.json")
    rope: str = setting("none", "As of continue.", group=MODEL, metavar="ROPE", parse=rope_text)
    out: str = setting("runs/scratch", "Folder of the checkpoint.", group=RUN, metavar="CKPT", shapes_output=False)

    def __post_init__(self) -> None:
        problems = [*([] if self.config else ["no model: give --config, as recipes/tiny-llama.json"]), *self.problems()]
        if problems:
            raise UserError("\n".join(problems), "pretrain scratch --help")


@dataclass(frozen=True, kw_only=True)
class PlanSettings(PlanOptions):
    """What one plan of continue is made from."""

    stages: str = setting("", "Curriculum, as of continue.", group=TRAINING, metavar="N:SHARE,...")

    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        if self.seq_len and self.stages:
            yield "--seq-len and --stages both set the length: give one"
