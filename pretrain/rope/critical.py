"""Another bound on the context of a RoPE base: "Scaling laws of RoPE-based extrapolation" (arXiv:2310.05209).

Pairs that turned fully within the old window have been trained on every angle; the first that has not sets the limit.
"""

import math


def critical_dimension(dim: int, base: float, window: int) -> int:
    """How many of `dim` elements belong to pairs that turn fully within the window."""
    return min(dim, 2 * math.ceil(dim / 2 * math.log(max(window, 7) / (2 * math.pi), base)))


def extrapolation_limit(dim: int, critical: int, base: float) -> float:
    """The length up to which a model with this critical dimension can be extended by a larger base."""
    return float(2 * math.pi * base ** (critical / dim))


def least_base(dim: int, critical: int, length: int) -> float:
    """The base whose limit is `length`."""
    return float((length / (2 * math.pi)) ** (dim / critical))
