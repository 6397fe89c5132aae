"""What a model weighs and what training it takes, from its configuration alone: no weights, no torch.

One formula serves all: a matrix costs 6 operations per parameter and token (2 forward, 4 backward), attention
12 x layers x width of the heads x positions attended. Attention counts the full square of positions, as the paper and
most reports of MFU do; a causal kernel does half of that. Recomputed activations, norms and the softmax are left out.

The paper's own figures (Sec. 4.4: 3.783e22 at 32,768 tokens) come from the same formula on a plain Transformer block of
12 h^2 parameters without a head, which gives 72 L h^2 (1 + s / 6h) a token: `paper_shape`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from longreach.errors import UserError

NORMS_PER_BLOCK = {"gemma2": 4}  # other families: 2
BIASED_QKV = frozenset({"qwen2"})  # whatever attention_bias says
NORMED_HEADS = frozenset({"qwen3"})  # one norm of head_dim for queries, one for keys
TIED_BY_DEFAULT = frozenset({"gemma", "gemma2"})
EXACT = frozenset({"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"})  # checked to the last parameter


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a dense decoder. `vectors` are the elements of norms and biases in one block.

    `norms` are those as wide as the model in one block; `head_norms` tells whether queries and keys have their own.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    gated: bool = True
    tied: bool = False
    vectors: int = 0
    norms: int = 2
    head_norms: bool = False

    @property
    def attended(self) -> int:
        """The width of all heads together."""
        return self.heads * self.head_dim

    @property
    def block_matrices(self) -> int:
        """Parameters of one block that multiply a token."""
        attention = 2 * self.hidden * (self.attended + self.kv_heads * self.head_dim)
        return attention + (3 if self.gated else 2) * self.hidden * self.intermediate


@dataclass(frozen=True)
class Flops:
    """Operations of training: what grows with tokens alone, and what grows with their distances."""

    dense: float
    attention: float

    @property
    def total(self) -> float:
        """Both."""
        return self.dense + self.attention

    def __add__(self, other: Self) -> "Flops":
        return Flops(self.dense + other.dense, self.attention + other.attention)

    def __mul__(self, times: float) -> "Flops":
        return Flops(self.dense * times, self.attention * times)


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a config.json describes; families outside EXACT are counted as Llama's, norms and biases apart."""
    kind = str(config.get("model_type", ""))
    if any(config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts")):
        raise UserError(f"{kind or 'this model'} is a mixture of experts", "parameters and FLOPs are for dense models")
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or hidden // heads)
    intermediate = _number(config, "intermediate_size")
    return Shape(
        layers=_number(config, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=intermediate,
        vocabulary=_number(config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", kind in TIED_BY_DEFAULT)),
        vectors=hidden * NORMS_PER_BLOCK.get(kind, 2) + _extras(config, kind, heads, kv_heads, head_dim),
        norms=NORMS_PER_BLOCK.get(kind, 2),
        head_norms=kind in NORMED_HEADS,
    )


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value <= 0:
        raise UserError(f"its configuration gives no {key}", "a decoder-only language model's config.json is needed")
    return value


def _extras(config: Mapping[str, Any], kind: str, heads: int, kv_heads: int, head_dim: int) -> int:
    """Elements of a block's biases and of the norms inside its heads."""
    qkv, found = (heads + 2 * kv_heads) * head_dim, 0
    if kind in BIASED_QKV:
        found += qkv
    elif config.get("attention_bias"):
        found += qkv + config["hidden_size"]
    if config.get("mlp_bias"):
        found += 2 * config["intermediate_size"] + config["hidden_size"]
    return found + (2 * head_dim if kind in NORMED_HEADS else 0)


def paper_shape(layers: int, hidden: int) -> Shape:
    """The block that the paper's FLOPs count: a plain Transformer's, 4 h^2 of attention and 8 h^2 of MLP, no head."""
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=1,
        kv_heads=1,
        head_dim=hidden,
        intermediate=4 * hidden,
        vocabulary=0,
        gated=False,
    )


def parameters(shape: Shape) -> int:
    """Every parameter: embeddings, blocks, last norm, and the head where it is not the embeddings again."""
    embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return embeddings + shape.layers * (shape.block_matrices + shape.vectors) + shape.hidden


def flops_per_token(shape: Shape, seq_len: int) -> Flops:
    """Training one token of a row of `seq_len`; the head counts whether tied or not, looking up embeddings is free."""
    matrices = shape.layers * shape.block_matrices + shape.vocabulary * shape.hidden
    return Flops(6 * matrices, 12 * shape.layers * shape.attended * seq_len)


def reading_flops(shape: Shape, *, tokens: int, positions: int, ends: int) -> Flops:
    """Reading prompts without learning, a third of training: `tokens` that attend to `positions` in all, full rows of
    the square; the head is asked at the `ends` of the prompts alone."""
    matrices = shape.layers * shape.block_matrices * tokens + shape.vocabulary * shape.hidden * ends
    return Flops(2 * matrices, 4 * shape.layers * shape.attended * positions)


def stage_flops(shape: Shape, stages: Iterable[tuple[int, int]]) -> Flops:
    """Training through (sequence length, tokens) stages."""
    return sum((flops_per_token(shape, seq_len) * tokens for seq_len, tokens in stages), Flops(0, 0))


def document_flops(shape: Shape, lengths: Iterable[int]) -> Flops:
    """Training on documents that do not attend to each other, however they are packed: each is a row of its own."""
    return stage_flops(shape, ((int(length), int(length)) for length in lengths))


def attention_threshold(shape: Shape) -> float:
    """The sequence length from which attention costs more than the matrices of the blocks.

    6h for the paper's block (Sec. 2.1: 49,152 for the 70B model); more where MLPs are wider than 4h.
    """
    return shape.block_matrices / (2 * shape.attended)
