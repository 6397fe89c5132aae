"""Bytes that one token keeps in memory between forward and backward, counted tensor by tensor.

The method is that of Korthikanti et al. (arXiv:2205.05198, Sec. 4.1); the block is that of Llama, Mistral, Qwen and
Gemma with attention that never holds its scores (their 5as/h term), without dropout, and in three widths of numbers.
The counts are those of the tensors that autograd saves in transformers' models, to the byte (the tests count them);
only Gemma's norms keep 2 bytes an element more in bfloat16.
"""

from dataclasses import dataclass

from longreach.model.flops import Shape

FP32 = 4  # bytes; norms compute in it whatever the rest does
LINEARS = 7  # of a gated block: q, k, v, o, gate, up, down


@dataclass(frozen=True)
class Numbers:
    """Bytes of what matrices multiply and of the stream between blocks; whether each matrix rounds its own copy."""

    compute: int
    stream: int
    copies: bool = False


FLOAT32 = Numbers(4, 4)
AUTOCAST = Numbers(2, 4, copies=True)  # ours on a GPU: weights float32, products bfloat16
BFLOAT16 = Numbers(2, 2)


def block_bytes(shape: Shape, numbers: Numbers, lora: int = 0, sequence_parallel: int = 1) -> int:
    """What one block keeps of a token for its backward pass."""
    return (
        norm_bytes(shape, numbers)
        + attention_bytes(shape, numbers, sequence_parallel)
        + mlp_bytes(shape, numbers)
        + lora_bytes(shape, numbers, lora)
    )


def norm_bytes(shape: Shape, numbers: Numbers) -> int:
    """Norms keep their input in float32, what they made of it before their weight, and a float32 factor."""
    wide = shape.norms * (shape.hidden * (FP32 + numbers.stream) + FP32)
    heads = shape.heads + shape.kv_heads
    return wide + shape.head_norms * heads * (shape.head_dim * (FP32 + numbers.compute) + FP32)


def attention_bytes(shape: Shape, numbers: Numbers, sequence_parallel: int = 1) -> int:
    """The input of the three projections, queries, keys, values, the output, and its softmax's float32 sum a head.

    GPUs that share a row have the output twice: as attention left it, and as it went to the tokens' own GPUs.
    """
    inputs = 3 * numbers.compute if numbers.copies else numbers.stream
    sent = shape.attended if sequence_parallel > 1 else 0
    kept = 2 * (shape.attended + keys(shape, sequence_parallel)) + sent
    return shape.hidden * inputs + numbers.compute * kept + FP32 * shape.heads


def mlp_bytes(shape: Shape, numbers: Numbers) -> int:
    """The input of the MLP; gate, its activation, up and their product (without a gate: before and after it)."""
    gates = 2 if shape.gated else 1
    inputs = gates * numbers.compute if numbers.copies else numbers.stream
    return shape.hidden * inputs + numbers.compute * 2 * gates * shape.intermediate


def lora_bytes(shape: Shape, numbers: Numbers, rank: int) -> int:
    """What goes from one factor of each adapter to the other; autocast rounds the attention's output once more."""
    if not rank:
        return 0
    return numbers.compute * (LINEARS * rank + numbers.copies * shape.attended)


def keys(shape: Shape, sequence_parallel: int = 1) -> int:
    """Width of all keys; GPUs that share a sequence by heads (Ulysses) have at least one of them each."""
    return max(shape.kv_heads, sequence_parallel) * shape.head_dim


def mlp_in_flight(shape: Shape, numbers: Numbers, tiles: int = 1) -> int:
    """Beyond what is kept, where the product of gate and up is undone: three gradients for the product freed, and the
    gradient of the stream with its rounded copy. An MLP in tiles has all of itself there, of one tile at a time."""
    wide = 2 if tiles == 1 else 6 / tiles
    return int(wide * numbers.compute * shape.intermediate) + shape.hidden * (numbers.stream + numbers.compute)


def attention_in_flight(shape: Shape, numbers: Numbers, sequence_parallel: int = 1) -> int:
    """Beyond what is kept, in the backward pass of attention: the gradients of output, queries, keys and values.

    In half precision also what the kernels of flash-attn add up in: queries' gradients in float32 and, where heads
    share keys, those of keys and values a head. GPUs that share a row exchange all four, so each is there twice.
    """
    gradients = numbers.compute * 2 * (shape.attended + keys(shape, sequence_parallel))
    sums = FP32 * shape.attended if numbers.compute < FP32 else 0
    if shape.kv_heads < shape.heads and numbers.compute < FP32:
        sums += 2 * numbers.compute * shape.attended
    times = 2 if sequence_parallel > 1 else 1
    return times * gradients + sums + shape.hidden * numbers.stream
