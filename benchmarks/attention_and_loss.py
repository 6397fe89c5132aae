"""The loss beside full logits, and attention by documents beside stock sdpa: processor time and memory added.

    python benchmarks/attention_and_loss.py [--quick] [--hidden 512]

Each case runs in a process of its own and on one thread, one after the other, forward and backward. Memory is the peak
over what stood before (weights, hidden states, queries, keys and values): it includes the gradients, which every way
has to give. Time is of the processor, of the fastest of up to three rounds. A case that would not fit into the memory
that is free is left out and says so.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

VOCABULARY = 32_000
HEADS, KEY_HEADS, HEAD_SIZE, DOCUMENTS = 8, 2, 64, 8
ANSWER = 128  # tokens at the end of a row
LOSSES = ("ours", "ours, of an answer alone", "full logits", "torch's linear_cross_entropy")
ATTENTIONS = ("ours", "stock sdpa, unmasked", "stock sdpa, dense mask")
ROUNDS, ENOUGH = 3, 30.0  # no further round after so many seconds

Step = Callable[[], object]


def main() -> None:
    """Print both tables, or in a child the figures of one case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="an eighth of the tokens and a quarter of the width")
    parser.add_argument("--hidden", type=int, default=512, help="width of the hidden states")
    parser.add_argument("--case", nargs=4, metavar=("WHAT", "HOW", "TOKENS", "DTYPE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        what, how, tokens, dtype = given.case
        print(
            json.dumps(measure(prepare_loss if what == "loss" else prepare_attention, how, int(tokens), dtype, given))
        )
        return
    if given.quick:
        given.hidden //= 4
    print(f"loss: vocabulary {VOCABULARY:,}, hidden size {given.hidden}; added memory should stay under 1,000 MB")
    for dtype in ("float32", "bfloat16"):
        for tokens in (2_048, 4_096) if given.quick else (16_384, 32_768):
            table("loss", LOSSES, tokens, dtype, given.hidden)
    print(f"attention: {DOCUMENTS} documents, {HEADS} heads on {KEY_HEADS} of {HEAD_SIZE}")
    table("attention", ATTENTIONS, 2_048 if given.quick else 16_384, "float32", given.hidden)


def table(what: str, ways: tuple[str, ...], tokens: int, dtype: str, hidden: int) -> None:
    """One line a way; ratios are to ours, the first."""
    first: dict[str, float] = {}
    for how in ways:
        needed = full_memory(how, tokens)
        if needed > 0.8 * free_memory():
            print(f"  {tokens:6,} {dtype:8} {how:29} left out: needs some {needed / 1e9:.0f} GB")
            continue
        command = [sys.executable, __file__, "--hidden", str(hidden), "--case", what, how, str(tokens), dtype]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or found
        both = found["forward"] + found["backward"]
        print(
            f"  {tokens:6,} {dtype:8} {how:28}"
            f" added {found['added'] / 1e6:6,.0f} MB ({found['added'] / first['added']:4.1f}x)"
            f"   forward {found['forward']:6.2f} s, backward {found['backward']:6.2f} s"
            f" ({both / (first['forward'] + first['backward']):4.1f}x)   result {found['result']:.6g}",
            flush=True,
        )


def full_memory(how: str, tokens: int) -> float:
    """Bytes that a way needs which holds everything at once."""
    if how == "full logits":
        return 12.5 * tokens * VOCABULARY
    return 5.0 * tokens * tokens if how == "stock sdpa, dense mask" else 0.0


def free_memory() -> int:
    """Bytes that could be had without swapping."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def measure(
    prepare: Callable[..., Step], how: str, tokens: int, dtype: str, given: argparse.Namespace
) -> dict[str, float]:
    """Seconds of the processor, bytes added at the peak, and the loss or a sum of what attention gave."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    forward = prepare(how, tokens, getattr(torch, dtype), given.hidden)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the preparation
    rounds, added = [], 0
    while len(rounds) < ROUNDS and sum(map(sum, rounds)) < ENOUGH:
        start = time.process_time()
        result = forward()
        middle = time.process_time()
        result.backward()
        rounds.append((middle - start, time.process_time() - middle))
        added = added or resident("VmHWM") - before  # of the first round: then the gradients stand already
    seconds = min(rounds, key=sum)
    return {"added": added, "forward": seconds[0], "backward": seconds[1], "result": result.item()}


def resident(field: str) -> int:
    """Bytes of this process by one field of its status."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[field].split()[0]) * 1024


def prepare_loss(how: str, tokens: int, dtype: object, hidden: int) -> Step:
    """Head and loss on one row."""
    import torch
    from torch import nn
    from torch.nn import functional

    from longreach.model.loss import losses

    states = torch.randn(1, tokens, hidden, dtype=dtype).requires_grad_()
    head = (torch.randn(VOCABULARY, hidden, dtype=dtype) * hidden**-0.5).requires_grad_()
    words = torch.randint(0, VOCABULARY, (1, tokens))
    weights = torch.ones(1, tokens)
    weights[:, : tokens - ANSWER if how == "ours, of an answer alone" else 1] = 0
    told, targets = states[0, :-1], words[0, 1:]
    if how.startswith("ours"):
        return lambda: losses(states, head, words, weights)[0]
    if how == "full logits":
        return lambda: functional.cross_entropy((told @ head.T).float(), targets, reduction="sum")
    options = nn.LinearCrossEntropyOptions()
    return lambda: functional.linear_cross_entropy(told, head, targets, reduction="sum", options=options)


def prepare_attention(how: str, tokens: int, dtype: object, hidden: int) -> Step:
    """One layer's attention on one row of equal documents."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from longreach.model.attention import attention, whole_rows

    query, key, value = (
        torch.randn(1, tokens, heads, HEAD_SIZE, dtype=dtype).requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    length = tokens // DOCUMENTS
    positions = (torch.arange(tokens) % length)[None]
    numbers = torch.arange(tokens) // length
    turned = [x.transpose(1, 2) for x in (query, key, value)]
    layer = torch.nn.Identity()
    if how == "ours":
        return lambda: attention(layer, *turned, whole_rows(None), position_ids=positions)[0].square().sum()

    def stock() -> torch.Tensor:
        """As transformers does, the mask is made in each forward pass."""
        mask = None
        if how == "stock sdpa, dense mask":
            mask = (numbers[:, None] == numbers) & torch.ones(tokens, tokens, dtype=torch.bool).tril_()
        found = scaled_dot_product_attention(*turned, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return found.square().sum()

    return stock


if __name__ == "__main__":
    main()
