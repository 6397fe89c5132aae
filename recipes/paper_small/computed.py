"""Fig. 4 and App. B, which need no training: how the score of equal vectors falls with distance, and granularity.

In the paper's own numbers: heads of 128 elements, base 10,000, ABF 500,000, PI by 4 and by 8, 32,768 tokens.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longreach.model.rope import Frequencies, inverse_frequencies, parse_rope
from pretrain.rope.decay import granularity, scores, smoothed
from recipes.paper_small.figures import Figure

DIM, BASE, WINDOW, REACH = 128, 10_000.0, 4_096, 32_768  # Llama 2; Sec. 2.1
METHODS = {"none": "none", "PI 1/4": "pi:4", "PI": "pi:8", "ABF": "abf:500000", "xPos ABF": "xpos-abf:500000"}
PARTS = 64  # of the distances, whose means are drawn
FLOPS_SHAPE = (32, 4_096)  # layers and width of the 7B model (Sec. 4.4)

Floats = NDArray[np.float64]


def frequencies_of(method: str) -> Frequencies:
    """At the paper's size."""
    return inverse_frequencies(parse_rope(METHODS[method]), DIM, BASE, WINDOW)


def decay(method: str) -> Floats:
    """Means of the score over equal parts of the distances to REACH, as shares of that at distance 0."""
    found = scores(frequencies_of(method), np.arange(REACH), xpos=method.startswith("xPos"))
    return smoothed(found / found[0], PARTS)


def computed() -> Iterator[Figure]:
    """Granularity, and the mean score over all distances, of each method."""
    for method in METHODS:
        yield Figure(f"decay/{method}", "granularity", 0, 0, granularity(frequencies_of(method)))
        yield Figure(f"decay/{method}", "mean score", 0, 0, float(decay(method).mean()))


def curves() -> dict[str, Any]:
    """For the picture: by method, the score at the middle of each part."""
    middles = (np.arange(PARTS) + 0.5) * REACH / PARTS
    return {method: list(zip(middles.tolist(), decay(method).tolist(), strict=True)) for method in METHODS}
