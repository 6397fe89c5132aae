"""The settings of finetune's commands: defaults, help, TOML keys and options in one place."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from longreach.config import factor, ratio, setting, share
from longreach.errors import UserError
from longreach.model.options import MODEL, RUN, TRAINING, TrainingOptions, rope_text
from longreach.plan.layout import SHARDING
from longreach.plan.options import PlanOptions

By = Literal["tokens", "examples", "answer-tokens"]
Average = Literal["tokens", "examples"]
MIN_SEQ_LEN = 16
PACK_LEN = 16_384  # short examples share rows of this length (paper, Sec. 2.2)
BATCH_TOKENS = 262_144  # 64 rows of 4,096, as Llama 2 Chat

_DATA, _MIX, _LOSS, _ROWS = "Data", "Mix", "Loss", "Rows"


@dataclass(frozen=True, kw_only=True)
class MixSettings(TrainingOptions):
    """What one run of mix is made from: all that sft takes, so that one settings file serves both."""

    base: str = setting("", "Folder, hub id, or an alias: llama2-7b, llama2-70b, ...", group=MODEL, metavar="M")
    long: tuple[str, ...] = setting(
        (), "Long examples: records of generate (their folder will do), or any form below.", group=_DATA, metavar="F..."
    )
    short: tuple[str, ...] = setting(
        (),
        "Short chats: messages, sharegpt, alpaca, prompt and completion, chosen and rejected.",
        group=_DATA,
        metavar="F...",
    )
    pretrain: str = setting("", "Packed rows of `pretrain prepare`, trained on whole.", group=_DATA, metavar="ROWS")
    data: tuple[str, ...] = setting((), "Examples under another name.", group=_DATA, metavar="NAME=F...")
    strict: bool = setting(
        False, "Stop at the first row that cannot be used, instead of listing it.", group=_DATA, shapes_output=False
    )
    validation: float = setting(
        0.02,
        "Share of each source held out to measure the loss on; 0: none. Documents stay on one side.",
        group=_DATA,
        metavar="F",
        parse=share,
    )
    validation_data: tuple[str, ...] = setting(
        (), "Examples to measure the loss on, instead of --validation.", group=_DATA, metavar="NAME=F..."
    )

    mix: str = setting(
        "", "Shares of the sources, as long:short=0.2:0.8; by default all as they are.", group=_MIX, metavar="SPEC"
    )
    by: By = setting("tokens", "What the shares are of.", group=_MIX, choices=get_args(By))
    epochs: float = setting(
        2.0,
        "So many passes over all data together, which the mix then shares out.",
        group=_MIX,
        metavar="F",
        parse=factor,
    )
    steps: int = setting(0, "Optimizer steps, instead of --epochs.", group=_MIX, metavar="N")
    batch_size: int = setting(0, "Examples of an optimizer step, instead of --batch-tokens.", group=_MIX, metavar="N")

    seq_len: int = setting(
        0,
        "Tokens of the longest example; longer ones lose context. 0: 16,384, or the window of a base that has less.",
        group=_ROWS,
        metavar="N",
    )
    pack_all: bool = setting(False, "Let long examples share rows, too; the loss is the same.", group=_ROWS)

    loss: str = setting(
        "long=all,short=answer",
        "What each source is trained on: all, answer, or all:W for a prompt of weight W.",
        group=_LOSS,
        metavar="NAME=LOSS,...",
    )
    average: Average = setting(
        "tokens",
        "What the loss is the mean of: all tokens, or the means of examples (LongAlign).",
        group=_LOSS,
        choices=get_args(Average),
    )

    rope: str = setting(
        "none", "Positions: none as the base is, abf:BASE, pi:N, ...", group=MODEL, metavar="ROPE", parse=rope_text
    )
    lora: int = setting(0, "Rank of an adapter to train instead of all weights.", group=MODEL, metavar="R")
    lora_alpha: float = setting(0.0, "Weight of the adapter; 0: twice its rank.", group=MODEL, metavar="F", parse=ratio)
    qlora: bool = setting(False, "Hold the base in 4 bits under the adapter.", group=MODEL)
    micro_batch_tokens: int = setting(
        0,
        "Tokens that go through the model at once; 0: 8,192, or the longest example.",
        group=TRAINING,
        metavar="N",
        shapes_output=False,
    )
    samples: int = setting(
        3, "Held-out questions to answer at each validation.", group=RUN, metavar="N", shapes_output=False
    )
    out: str = setting("runs/finetuned", "Folder of the checkpoint.", group=RUN, metavar="CKPT", shapes_output=False)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise UserError("\n".join(problems), "finetune sft --help")

    def _problems(self) -> Iterator[str]:
        """What is wrong with the settings by themselves."""
        if not (self.long or self.short or self.pretrain or self.data):
            yield "no data: give --long, --short or --data NAME=F"
        if 0 < self.seq_len < MIN_SEQ_LEN:
            yield f"--seq-len: an example has at least {MIN_SEQ_LEN} tokens"
        if self.validation > 0.5:
            yield f"--validation {self.validation} would hold out more than half"
        if self.batch_size and self.batch_tokens:
            yield "--batch-size and --batch-tokens both set the batch: give one"
        if self.qlora and not self.lora:
            yield "--qlora trains an adapter: give its rank by --lora"
        if self.lora_alpha and not self.lora:
            yield "--lora-alpha is of an adapter: give its rank by --lora"
        if not self.out:
            yield "--out: the path is empty"

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return Path(self.out)


@dataclass(frozen=True, kw_only=True)
class SftSettings(MixSettings):
    """What one run of sft is made from."""

    def _problems(self) -> Iterator[str]:
        if not self.base:
            yield "no base model: give --base"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class MergeSettings:
    """What one merge is made from."""

    adapter: str = setting("", "Folder of the adapter.", group=MODEL, metavar="A")
    base: str = setting("", "Its base; by default the one it was trained on.", group=MODEL, metavar="M")
    dtype: str = setting(
        "auto",
        "Of the weights written; auto: as the base has them.",
        group=MODEL,
        choices=("auto", "float32", "bfloat16"),
    )
    out: str = setting("runs/merged", "Folder of the model.", group=RUN, metavar="M")

    def __post_init__(self) -> None:
        if not self.adapter:
            raise UserError("no adapter: give --adapter", "finetune merge --help")
        if not self.out:
            raise UserError("--out: the path is empty", "finetune merge --help")


@dataclass(frozen=True, kw_only=True)
class PlanSettings(PlanOptions):
    """What one plan of sft is made from."""

    qlora: bool = setting(False, "Hold the base in 4 bits under the adapter.", group=MODEL)

    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        if not (self.tokens or self.steps):
            yield "how long is the run? give --tokens or --steps; `finetune mix` counts the tokens of your data"
        if self.qlora and self.mode in SHARDING:
            yield f"--qlora is not sharded: leave out --mode {self.mode}"
        if self.qlora and not self.lora:
            yield "--qlora trains an adapter: give its rank by --lora"
