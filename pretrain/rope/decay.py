"""How a RoPE weighs distance: the score of two equal vectors as they move apart, and how finely it tells positions.

Pure, numpy only. Fig. 4 of the paper takes queries and keys of ones; the score at distance m is then
2 sum_j cos(m theta_j). App. B measures the angle between neighbouring positions, on average over the pairs.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longreach.model.rope import Frequencies

CHUNK = 16_384  # distances at once: 64 pairs of them are 8 MB
XPOS_GAMMA, XPOS_DISTANCE = 0.4, 512  # of the xPos paper, as in longreach.model.xpos, which needs torch


def scores(rope: Frequencies, distances: ArrayLike, *, xpos: bool = False) -> NDArray[np.float64]:
    """The score before the softmax at each distance, for queries and keys of ones; with xPos's decay on request."""
    wanted = np.atleast_1d(np.asarray(distances, dtype=np.float64))
    parts = np.array_split(wanted, max(1, len(wanted) // CHUNK))
    return 2 * rope.attention**2 * np.concatenate([_cosine_sums(rope, part[:, None], xpos) for part in parts])


def _cosine_sums(rope: Frequencies, distances: NDArray[np.float64], xpos: bool) -> NDArray[np.float64]:
    cosines = np.cos(distances * np.asarray(rope.inverse))
    if xpos:
        cosines *= xpos_decay(len(rope.inverse)) ** (distances / XPOS_DISTANCE)
    return np.asarray(cosines.sum(axis=1))


def xpos_decay(pairs: int) -> NDArray[np.float64]:
    """What is left of each pair's share after XPOS_DISTANCE tokens, fastest pair first."""
    return (np.arange(pairs) / pairs + XPOS_GAMMA) / (1 + XPOS_GAMMA)


def granularity(rope: Frequencies) -> float:
    """(2/d) sum_j sin(theta_j): the sine of the angle between neighbours, of a vector whose pairs weigh the same."""
    return float(np.sin(rope.inverse).mean())


def smoothed(values: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    """The means of equal parts: the fastest pairs oscillate within a few tokens."""
    return np.array([part.mean() for part in np.array_split(values, min(parts, len(values)))])
