"""Which methods are compared on which model, and which bases are listed."""

import numpy as np
import pytest

from longreach.model.aliases import aliases
from pretrain.rope.analysis import analyse, methods
from pretrain.rope.rotary import Rotary, rotary_of


def shown(name: str, seq_len: int, advised: float) -> list[str]:
    return [str(rope) for rope in methods(rotary_of(name, aliases()[name].config), seq_len, advised)]


@pytest.mark.parametrize(
    ("name", "seq_len", "advised", "expected"),
    [
        ("llama2-7b", 32_768, 5e5, ["none", "pi:8", "ntk:8", "yarn:8", "abf:500000", "xpos-abf:500000"]),
        ("llama2-7b", 65_536, 8.1e6, ["none", "pi:16", "ntk:16", "yarn:16", "abf:500000", "abf:8100000"]),  # no xPos
        ("llama2-7b", 10_000, 5e5, ["none", "pi:2.45", "ntk:2.45", "yarn:2.45", "abf:500000", "xpos-abf:500000"]),
        ("mistral-7b", 65_536, 8.1e6, ["none", "pi:2", "ntk:2", "yarn:2", "abf:500000", "abf:8100000"]),
        ("gemma2-9b", 16_384, 5e5, ["none", "pi:2", "ntk:2", "yarn:2", "abf:500000"]),  # xPos is Llama's alone
        ("qwen3-8b", 65_536, 8.1e6, ["none", "pi:2", "ntk:2", "yarn:2", "abf:8100000"]),  # 500,000 would lower its base
        ("qwen3-8b", 16_384, 1e6, ["none"]),
        ("llama3.1-8b", 262_144, 5e5, ["none"]),  # scaled: nothing can be set on it
    ],
)
def test_methods(name: str, seq_len: int, advised: float, expected: list[str]) -> None:
    assert shown(name, seq_len, advised) == expected


def test_an_analysis_of_a_small_model() -> None:
    rotary = Rotary("m", "llama", 32, 256, {"rope_type": "default", "rope_theta": 5e6})
    found = analyse(rotary, 1_024)
    assert found.distances.tolist() == list(range(1_025))
    assert all(method.curve.shape == (1_025,) and method.relative[0] == 1 for method in found.methods)
    assert [entry.base for entry in found.bases] == sorted({entry.base for entry in found.bases})
    own = next(entry for entry in found.bases if entry.base == 5e6)
    assert "Qwen2.5-1M" in own.source and "of m" in own.source and own.length == 131_072


def test_long_curves_are_sampled_evenly() -> None:
    rotary = Rotary("m", "llama", 16, 1 << 20, {"rope_type": "default", "rope_theta": 1e4})
    steps = np.diff(analyse(rotary, 100_000).distances)
    assert steps.min() >= 3 and steps.max() <= 4
