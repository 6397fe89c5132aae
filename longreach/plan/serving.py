"""What it takes a server such as vLLM to answer requests: GPU hours, from sums over the requests and a model's shape.

Two costs, one after the other, in bfloat16:

- reading prompts is bound by operations: those of `longreach.model.flops`, matrices and attention apart, without the
  tokens that a cached prefix holds, over the GPU's peak and the share of it that is reached;
- writing replies is bound by memory: every step reads all matrices once for the whole batch, and of each sequence the
  keys and values it holds, over the GPU's bandwidth and the share of it that is reached. Where a batch is so large that
  its operations take longer, those count.

A batch holds as many sequences as their keys and values fit, and no more than are asked at once. The shares are ours,
set around what was seen: of the peak 47 to 57 % by a 7B model read by plain PyTorch on an H100 (docs/gpu.md), 69 % by
TensorRT-LLM on an A100 (its docs/source/performance.md); of the bandwidth 56 to 73 % by gpt-fast on one to eight A100
(its README). vLLM spends time beside the GPU as well (scheduling, sampling), so what is taken lies below them.
"""

from dataclasses import dataclass

from longreach.model.flops import Flops, Shape, parameters, reading_flops
from longreach.plan.gpus import Gpu

VALUE_BYTES = 2  # bfloat16, of a weight and of a key or value
VLLM_SHARE = 0.9  # of a GPU's memory that vLLM takes by default (gpu_memory_utilization)
STEP_GB = 2.0  # of it, on each GPU, for activations and CUDA graphs (ours)
WORTH_DOUBLING = 0.8  # of the GPU hours are left: what two GPUs lose by sharing a model, 15 % by gpt-fast's README


@dataclass(frozen=True)
class Reached:
    """Shares of a GPU's peak while prompts are read, and of its bandwidth while replies are written."""

    peak: float
    bandwidth: float


USUAL, WORST, BEST = Reached(0.40, 0.55), Reached(0.25, 0.35), Reached(0.70, 0.80)


@dataclass
class Load:
    """Sums over requests, in tokens; positions are what tokens attend to, summed."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    positions: int = 0  # of prompt tokens, in full squares
    cached_positions: int = 0  # of them, those of cached tokens
    reply_tokens: int = 0
    reply_positions: int = 0  # held while replies are written
    longest: int = 0  # prompt and reply together

    def add(self, prompt: int, cached: int, reply: int) -> None:
        """Count one request."""
        self.requests += 1
        self.prompt_tokens += prompt
        self.cached_tokens += cached
        self.positions += prompt * prompt
        self.cached_positions += cached * prompt
        self.reply_tokens += reply
        self.reply_positions += reply * prompt + reply * reply // 2
        self.longest = max(self.longest, prompt + reply)

    @property
    def held(self) -> float:
        """Tokens that a sequence holds while it is written, averaged over the steps."""
        return self.reply_positions / self.reply_tokens if self.reply_tokens else 0.0


@dataclass(frozen=True)
class Server:
    """The model on so many GPUs: tokens that its cache holds, sequences in a batch."""

    gpus: int
    cache_tokens: int
    batch: int


@dataclass(frozen=True)
class Hours:
    """Of one GPU."""

    reading: float
    writing: float

    @property
    def total(self) -> float:
        """Both."""
        return self.reading + self.writing


def token_bytes(shape: Shape, gpus: int = 1) -> int:
    """Keys and values of a token on all GPUs of a server together: a key head is on at least one of them."""
    return 2 * shape.layers * max(shape.kv_heads, gpus) * shape.head_dim * VALUE_BYTES


def cache_tokens(shape: Shape, gpu: Gpu, gpus: int) -> int:
    """Tokens whose keys and values fit beside the weights; 0 where those do not fit themselves."""
    room = gpus * (VLLM_SHARE * gpu.memory_gb - STEP_GB) * 1e9 - parameters(shape) * VALUE_BYTES
    return max(0, int(room / token_bytes(shape, gpus)))


def server(shape: Shape, gpu: Gpu, gpus: int, load: Load, at_once: int) -> Server | None:
    """The model on exactly so many GPUs; None where the longest request does not fit."""
    room = cache_tokens(shape, gpu, gpus)
    if room < max(1, load.longest):
        return None
    fitting = int(room / load.held) if load.held else at_once
    return Server(gpus, room, max(1, min(at_once, fitting, load.requests)))


def reading(shape: Shape, load: Load, *, cached: bool) -> Flops:
    """Operations on all prompts, with the cached prefixes left out or as if nothing were cached."""
    return reading_flops(
        shape,
        tokens=load.prompt_tokens - (load.cached_tokens if cached else 0),
        positions=load.positions - (load.cached_positions if cached else 0),
        ends=load.requests,
    )


def gpu_hours(shape: Shape, gpu: Gpu, at: Server, load: Load, reached: Reached, *, cached: bool) -> Hours:
    """What all requests take, at those shares of peak and bandwidth."""
    speed, stream = gpu.peak * reached.peak, gpu.bandwidth * reached.bandwidth
    matrices = shape.layers * shape.block_matrices + shape.vocabulary * shape.hidden
    steps = load.reply_tokens / at.batch
    streamed = steps * matrices * VALUE_BYTES + load.reply_positions * token_bytes(shape, at.gpus)
    writing = max(streamed / stream, 2 * matrices * load.reply_tokens / speed)
    return Hours(reading(shape, load, cached=cached).total / speed / 3600, writing / 3600)


def best_server(shape: Shape, gpu: Gpu, most: int, load: Load, at_once: int) -> Server | None:
    """On a power of two of GPUs, `most` at most: the least that fits, or twice as many where that saves GPU hours."""
    best, least = None, 0.0
    for gpus in (1 << power for power in range(most.bit_length())):
        found = server(shape, gpu, gpus, load, at_once)
        hours = gpu_hours(shape, gpu, found, load, USUAL, cached=True).total if found else 0.0
        if found and (best is None or hours < WORTH_DOUBLING * least):
            best, least = found, hours
    return best
