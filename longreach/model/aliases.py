"""Short names of base models: where their weights are, what shape they have, how the paper would train them.

aliases.json holds each configuration as its makers published it, so that plans and RoPE figures need no network. Every
setting comes with its origin, since the paper (arXiv:2309.16039) leaves some out and speaks of Llama 2 alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from longreach.config import did_you_mean
from longreach.errors import UserError
from longreach.model.flops import parameters, shape_of

FILE = Path(__file__).with_name("aliases.json")

LONG, SHORT = 32_768, 16_384  # Sec. 2.1: 7B and 13B, 34B and 70B
LARGE = 20_000_000_000  # parameters: where the line between the two is drawn for other models
LEARNING_RATE, LARGE_LEARNING_RATE = 2e-5, 1e-5  # Sec. 2.1
WARMUP_STEPS = 2_000  # Sec. 2.1
STEPS = 100_000  # Sec. 2.1: 400B tokens
BATCH_TOKENS = 4_194_304  # Sec. 2.1: Llama 2's 4M; 2^22 is what the FLOPs of Sec. 4.4 count
ABF = "abf:500000"  # Sec. 2.1


@dataclass(frozen=True)
class Alias:
    """A base model. `hub` is empty where its weights were never released; `note` says what is odd about it."""

    name: str
    hub: str
    config: Mapping[str, Any]
    note: str = ""


class Choice(NamedTuple):
    """The value of a setting and where it comes from."""

    value: Any
    origin: str


@cache
def aliases() -> Mapping[str, Alias]:
    """All of them by name."""
    table = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: Alias(name, **entry) for name, entry in table.items()}


def find_alias(base: str) -> Alias | None:
    """The alias of that name, unless a file or folder here is called so."""
    return None if Path(base).exists() else aliases().get(base.lower())


def weights_of(base: str) -> str:
    """The folder or hub id to load: that of the alias, or what was given."""
    alias = find_alias(base)
    if alias is None:
        if Path(base).is_file():
            raise UserError(
                f"{base} is a file: a base is the folder that holds its weights, too",
                "a configuration alone serves `plan`, `rope` and `pretrain scratch --config`",
            )
        if "/" not in base and not Path(base).exists():
            raise unknown(base)
        return base
    if not alias.hub:
        raise UserError(f"{alias.name} has no weights to load: {alias.note}", "it serves `rope` and `plan` only")
    return alias.hub


def unknown(base: str) -> UserError:
    """The error for a name that is neither a path, nor an alias, nor a hub id."""
    return UserError(
        f"no model {base}: neither a path here, nor an alias, nor a hub id{did_you_mean(base.lower(), aliases())}",
        f"aliases: {', '.join(aliases())}",
    )


def settings_for(name: str) -> Mapping[str, Choice]:
    """How the paper would continue this alias: setting -> (value, origin). No `rope` for others than Llama 2."""
    alias = aliases()[name]
    large = parameters(shape_of(alias.config)) >= LARGE
    llama2 = name.startswith("llama2-")
    paper = "paper, Sec. 2.1" if llama2 else f"paper, Sec. 2.1, of Llama 2 {'34B and 70B' if large else '7B and 13B'}"
    window = alias.config["max_position_embeddings"]
    longer = f"; the model's own window is {window:,}" if window >= (SHORT if large else LONG) else ""
    found = {
        "seq_len": Choice(SHORT if large else LONG, paper + longer),
        "learning_rate": Choice(LARGE_LEARNING_RATE if large else LEARNING_RATE, paper),
        "schedule": Choice("cosine", f"{paper} (said of 7B and 13B)" if large and llama2 else paper),
        "warmup_steps": Choice(WARMUP_STEPS, f"{paper} (said of 7B and 13B)" if large and llama2 else paper),
        "steps": Choice(STEPS, f"{paper}: 400B tokens"),
        "batch_tokens": Choice(BATCH_TOKENS, f"{paper}: as Llama 2, 4M; 2^22 by the FLOPs of Sec. 4.4"),
    }
    if llama2:
        found["rope"] = Choice(ABF, paper)
    return found | _ours()


def _ours() -> dict[str, Choice]:
    """What the paper does not say."""
    origin = "ours: the paper does not say; Llama 2's"
    return {
        "optimizer": Choice("AdamW", origin),
        "betas": Choice((0.9, 0.95), origin),
        "epsilon": Choice(1e-5, origin),
        "weight_decay": Choice(0.1, origin),
        "clip": Choice(1.0, origin),
        "final_lr_share": Choice(0.1, origin),
    }
