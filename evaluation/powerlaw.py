"""The power law of context: L(c) = (alpha/c)^beta + gamma, fitted to losses at lengths, with 95 % intervals.

Fitted is L = exp(u - e^v ln(c/c0)) + e^w in relative residuals, c0 the geometric mean of the lengths: about c0 the
three unknowns are nearly independent (a condition number of some 100 rather than 2,000), and none can change its sign.
The start is the best of a grid of betas, each with the two other terms by non-negative least squares. The intervals are
Student's t on u, v and w and go over to alpha by the delta method: they say how closely the points lie on a curve, not
how other text would move it. Where points do not tell a power law, there is none, and it is said why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import LEVEL, Interval
from longreach.errors import missing_extra

try:
    from scipy import stats
    from scipy.optimize import least_squares, nnls
except ModuleNotFoundError as error:
    raise missing_extra("scipy", "evaluate", "evaluate") from error

Floats = NDArray[np.float64]

FORM = "(alpha/c)^beta + gamma"
FEWEST = 4  # points: three would lie on a curve, whatever they are
BETAS = np.geomspace(0.02, 4, 60)  # to start from
SINGULAR = 1e7  # condition number from which on the points leave a direction open
LOOSE = 3.0  # a parameter known only up to e^3, a factor of 20, is not known


class NoFit(NamedTuple):
    """Why points have no power law."""

    reason: str


@dataclass(frozen=True)
class PowerLaw:
    """A fitted curve, its parameters with their intervals."""

    alpha: Interval
    beta: Interval
    gamma: Interval  # the loss at any length
    correlation: float  # of ln alpha and beta
    condition: float  # number of the fit
    scatter: float  # of the points about the curve, as a share of the loss
    estimate: Floats  # u, v, w
    covariance: Floats
    centre: float  # c0
    quantile: float  # of Student's t

    def at(self, length: float) -> Interval:
        """The loss at a length, also at one that was not measured."""
        x = np.log([length / self.centre])
        slope = _slopes(self.estimate, x)[0]
        value = float(_curve(self.estimate, x)[0])
        half = self.quantile * math.sqrt(slope @ self.covariance @ slope)
        return Interval(value, value - half, value + half)

    @property
    def note(self) -> str:
        """What is to be kept in mind when parameters are compared."""
        if abs(self.correlation) < 0.9:
            return ""
        return (
            f"ln alpha and beta are correlated ({self.correlation:.2f}): compare the losses of two curves, "
            "not their alphas"
        )

    def as_json(self) -> dict[str, Any]:
        """As `fit` of results.json."""
        found = {name: getattr(self, name) for name in ("alpha", "beta", "gamma")}
        values = {name: interval.value for name, interval in found.items()}
        intervals = {name: [interval.low, interval.high] for name, interval in found.items()}
        diagnosis = {name: getattr(self, name) for name in ("correlation", "condition", "scatter", "note")}
        return {"form": FORM, **values, "intervals": intervals, **diagnosis}


def fit(lengths: Sequence[float], losses: Sequence[float]) -> PowerLaw | NoFit:
    """The power law of losses at these lengths."""
    if len(lengths) < FEWEST:
        return NoFit(f"its three parameters need at least {FEWEST} lengths, here is {len(lengths)}")
    found, centre = np.asarray(losses, np.float64), math.exp(np.mean(np.log(lengths)))
    x = np.log(np.asarray(lengths, np.float64) / centre)
    start = _start(x, found)
    if start is None:
        return NoFit("the loss does not fall with the length")
    solved = _least_squares(start, x, found)
    if not _falls_beyond_scatter(2 * solved.cost, found):
        return NoFit("what the loss falls by with the length is no more than its scatter")
    return _law(solved, centre)


def _least_squares(start: Floats, x: Floats, losses: Floats) -> Any:
    """Of the relative residuals."""
    with np.errstate(over="ignore", invalid="ignore"):  # on the way through points that lie on no power law
        return least_squares(
            lambda at: _curve(at, x) / losses - 1,
            start,
            jac=lambda at: _slopes(at, x) / losses[:, None],
            method="lm",
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )


def _law(solved: Any, centre: float) -> PowerLaw | NoFit:
    """The curve of the least squares, unless the points leave a parameter open."""
    estimate: Floats = solved.x
    condition = float(np.linalg.cond(solved.jac)) if np.isfinite(solved.jac).all() else math.inf
    if not condition < SINGULAR:
        return NoFit("the points leave the parameters open: they would lie on many power laws as well")
    freedom = len(solved.fun) - len(estimate)
    covariance = np.linalg.inv(solved.jac.T @ solved.jac) * 2 * solved.cost / freedom
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    u, v, w = estimate
    beta = math.exp(v)
    of_alpha = np.array([1 / beta, -u / beta, 0])  # slope of ln alpha = ln c0 + u / beta
    logarithms = {
        "alpha": (math.log(centre) + u / beta, math.sqrt(of_alpha @ covariance @ of_alpha)),
        "beta": (v, math.sqrt(covariance[1, 1])),
        "gamma": (w, math.sqrt(covariance[2, 2])),
    }
    for name, (_, deviation) in logarithms.items():
        if not quantile * deviation < LOOSE:
            return NoFit(f"the points leave {name} open: more lengths or more text would tell it")
    of_both = float(of_alpha @ covariance[:, 1])
    spread = logarithms["alpha"][1] * logarithms["beta"][1]
    return PowerLaw(
        **{name: _from_logarithm(*each, quantile) for name, each in logarithms.items()},
        correlation=of_both / spread if spread else 0.0,
        condition=condition,
        scatter=math.sqrt(2 * solved.cost / freedom),
        estimate=estimate,
        covariance=covariance,
        centre=centre,
        quantile=quantile,
    )


def _from_logarithm(value: float, deviation: float, quantile: float) -> Interval:
    return Interval(*(math.exp(value + side * quantile * deviation) for side in (0, -1, 1)))


def _curve(at: Floats, x: Floats) -> Floats:
    """The loss where ln(c/c0) is x."""
    loss: Floats = np.exp(at[0] - np.exp(at[1]) * x) + np.exp(at[2])
    return loss


def _slopes(at: Floats, x: Floats) -> Floats:
    """[points, 3]: what the loss changes with u, v and w."""
    falling = np.exp(at[0] - np.exp(at[1]) * x)
    return np.stack([falling, -falling * np.exp(at[1]) * x, np.full_like(x, np.exp(at[2]))], axis=1)


def _start(x: Floats, losses: Floats) -> Floats | None:
    """u, v and w to start from; None where every curve fits best without its falling part."""
    best, start = math.inf, None
    for beta in BETAS:
        terms = np.stack([np.exp(-beta * x), np.ones_like(x)], axis=1) / losses[:, None]
        (falling, rest), distance = nnls(terms, np.ones_like(losses))
        if distance < best:
            best, start = distance, (falling, beta, rest)
    if start is None or start[0] <= 1e-9 * losses.mean():
        return None
    return np.log([start[0], start[1], max(start[2], 1e-3 * losses.min())])


def _falls_beyond_scatter(squares: float, losses: Floats) -> bool:
    """Whether the curve is nearer to the points than a constant by more than chance would make it (F test)."""
    level = 1 / np.mean(1 / losses**2) * np.mean(1 / losses)  # the constant of least relative squares
    gained = float(np.sum((level / losses - 1) ** 2)) - squares
    freedom = len(losses) - 3
    return bool(gained > stats.f.ppf(LEVEL, 2, freedom) * squares / freedom)
