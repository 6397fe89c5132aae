"""How large the counterparts of the paper's experiments are: everything that a size decides, in one place.

The paper goes from 4,096 to 32,768 tokens with a base of 10,000 and takes 500,000, 50 times as much. Here the rows grow
by the same factor of 8, and the base is scaled with the window, 10,000 x short / 4,096: with 10,000 a short window
would hardly turn most pairs of a head, and would not need another base to reach eight times as far.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from longreach.model.flops import flops_per_token, shape_of

PAPER_BASE, PAPER_WINDOW, ABF_FACTOR = 10_000, 4_096, 50  # Sec. 2.1, 4.1
MEDIUM = "medium"  # the size of every experiment but Fig. 1
HEAD = 32  # elements of a head, the same in all sizes, so that RoPE turns alike in all of them


@dataclass(frozen=True)
class Model:
    """A Llama; the embeddings are the head."""

    layers: int
    width: int

    def config(self, scale: "Scale") -> dict[str, Any]:
        """Its config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": scale.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": 3 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.width // HEAD,
            "num_key_value_heads": self.width // HEAD,
            "max_position_embeddings": scale.short,
            "rope_parameters": {"rope_type": "default", "rope_theta": scale.rope_base},
            "rms_norm_eps": 1e-05,
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 2,
            "initializer_range": 0.02,
            "dtype": "float32",
        }


@dataclass(frozen=True)
class Training:
    """One training run."""

    steps: int
    batch_tokens: int
    learning_rate: float
    warmup_steps: int

    @property
    def tokens(self) -> int:
        """That it reads, padding too."""
        return self.steps * self.batch_tokens

    @property
    def options(self) -> tuple[str, ...]:
        """For the command."""
        return (
            f"--steps={self.steps}",
            f"--batch-tokens={self.batch_tokens}",
            f"--learning-rate={self.learning_rate}",
            f"--warmup-steps={self.warmup_steps}",
        )


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes, lengths, budgets and samples of all experiments."""

    name: str
    models: Mapping[str, Model]  # by size, MEDIUM among them
    vocabulary: int
    short: int  # tokens of a row of the base
    long: int  # of the rows it goes on with
    base: Training
    arms: Training  # of RoPE and of data, from the base on
    scratch: Training  # of the curricula, from nothing
    instruct: Training
    characters: int  # of each source of text that are read, at most
    chats: int
    windows: int  # of text that the loss is of
    targets: int  # tokens at the end of each
    samples: int  # first sentences asked for at each length
    questions: int  # on held-out documents
    validate_every: int  # steps
    dtype: str
    lanes: int  # jobs at once
    rate: float  # tokens/s that a lane trains the medium model at, documents apart: for estimates alone

    @property
    def rope_base(self) -> float:
        """Of the base model."""
        return PAPER_BASE * self.short / PAPER_WINDOW

    @property
    def abf_base(self) -> float:
        """Adjusted as the paper adjusts it."""
        return ABF_FACTOR * self.rope_base

    @property
    def contexts(self) -> tuple[int, ...]:
        """Lengths at which the loss is measured: powers of two from a quarter of the short rows to twice the long."""
        return tuple(self.short // 4 << power for power in range((8 * self.long // self.short).bit_length()))

    @property
    def lengths(self) -> tuple[int, ...]:
        """At which retrieval is asked for, to twice the long rows (App. C)."""
        between = (self.long // 2, 3 * self.long // 4, self.long, 3 * self.long // 2, 2 * self.long)
        return (self.short, 2 * self.short, *between)

    def cost(self, size: str, row: int) -> float:
        """What a token of a document as long as a row costs, of what one costs the medium model at short rows."""
        one, other = (shape_of(self.models[each].config(self)) for each in (size, MEDIUM))
        return float(flops_per_token(one, row).total / flops_per_token(other, self.short).total)


LAPTOP = Scale(
    name="laptop",
    models={"small": Model(2, 64), MEDIUM: Model(4, 96), "large": Model(4, 128)},
    vocabulary=640,
    short=64,
    long=512,
    base=Training(1_500, 2_048, 5e-3, 100),
    arms=Training(300, 4_096, 3e-3, 20),
    scratch=Training(256, 4_096, 5e-3, 20),
    instruct=Training(250, 2_048, 2e-3, 15),
    characters=4_000_000,
    chats=12_000,
    windows=100,
    targets=8,
    samples=48,
    questions=150,
    validate_every=0,
    dtype="float32",
    lanes=2,
    rate=8_000,
)
GPU = replace(
    LAPTOP,
    name="gpu",
    models={"small": Model(4, 256), MEDIUM: Model(6, 384), "large": Model(10, 512)},
    vocabulary=4_096,
    short=256,
    long=2_048,
    base=Training(1_500, 32_768, 2e-3, 100),
    arms=Training(300, 32_768, 1e-3, 20),
    scratch=Training(600, 32_768, 2e-3, 50),
    instruct=Training(400, 16_384, 5e-4, 20),
    characters=40_000_000,
    chats=40_000,
    windows=200,
    targets=32,
    samples=96,
    questions=400,
    dtype="bfloat16",
    lanes=4,
    rate=150_000,
)
QUICK = replace(
    LAPTOP,
    name="quick",
    models={"small": Model(1, 32), MEDIUM: Model(1, 64), "large": Model(2, 64)},
    base=Training(4, 512, 4e-3, 1),
    arms=Training(2, 1_024, 2e-3, 1),
    scratch=Training(5, 1_024, 4e-3, 1),
    instruct=Training(2, 1_024, 2e-3, 1),
    characters=150_000,
    chats=60,
    windows=3,
    samples=3,
    questions=6,
    lanes=1,
)
SCALES = {scale.name: scale for scale in (LAPTOP, GPU, QUICK)}
