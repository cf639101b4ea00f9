"""How far a result may lie from the reference seeds before chance is no longer an explanation.

A few seeds say little about how much seeds differ: with five, a band that has to hold in hundreds of comparisons at
once would be thirty standard deviations wide. So each variance is *moderated* (Smyth 2004, as in limma): averaged with
what is typical of the problem's other curves, the weight of the typical value being estimated from how much the
variances differ among themselves, and at most that of the own seeds. (Without that limit the curves of one run, which
move together, make the estimate too confident: in simulation with correlated curves the family-wise false-alarm rate
was up to five times the stated one; with it, never above. `tests/analysis/test_reference_spread.py` repeats that.)

Losses are compared as logarithms and accuracies as arcsine square roots: on these scales the spread hardly depends on
the level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from bnbench.problem import Metric

FALSE_ALARM_RATE = 0.01
"""The chance that a whole check is red though nothing is wrong, at most: half of it for the bands, half for the tests,
each shared equally among all comparisons of its kind (Bonferroni)."""
SEEDS_FOR_SPREAD = 3
"""Reference seeds below which nothing is said about spread."""

_SMALLEST_LOSS = 1e-12
_ZERO_VARIANCE = 1e-5
"""Of the median: what a variance is taken for at least when the typical one is estimated (as limma does)."""
_LEAST_VARIANCE = 1e-12
"""Values that differ in the sixth digit only do not differ."""

Floats = npt.NDArray[np.float64]


def to_scale(metric: Metric, values: npt.ArrayLike) -> Floats:
    """Losses as logarithms, accuracies as arcsine square roots."""
    given = np.asarray(values, dtype=np.float64)
    match metric:
        case "loss":
            return np.asarray(np.log(np.maximum(given, _SMALLEST_LOSS)))
        case "accuracy":
            return np.asarray(np.arcsin(np.sqrt(np.clip(given, 0.0, 1.0))))
        case other:
            assert_never(other)


def from_scale(metric: Metric, value: float) -> float:
    """The loss or accuracy at a place on its scale; places beyond accuracy 0 and 1 are these."""
    match metric:
        case "loss":
            return math.exp(min(value, 700.0))
        case "accuracy":
            return math.sin(min(max(value, 0.0), math.pi / 2)) ** 2
        case other:
            assert_never(other)


@dataclass(frozen=True)
class Spread:
    """Where the seeds of one point of a curve lie, on the metric's scale."""

    metric: Metric
    mean: float
    variance: float
    """Between seeds, moderated."""
    freedom: float
    """Degrees of freedom of the variance."""
    seeds: int

    @property
    def level(self) -> float:
        """The loss or accuracy in the middle of the seeds."""
        return from_scale(self.metric, self.mean)

    def centre(self, values: Sequence[float]) -> float:
        """The middle of some losses or accuracies, averaged on the metric's scale."""
        return from_scale(self.metric, float(to_scale(self.metric, values).mean()))

    def band(self, level: float) -> tuple[float, float]:
        """(low, high) that the value of another seed leaves with the given probability, as loss or accuracy."""
        reach = -float(special.stdtrit(self.freedom, level / 2)) * math.sqrt(self.variance * (1 + 1 / self.seeds))
        return from_scale(self.metric, self.mean - reach), from_scale(self.metric, self.mean + reach)

    def contains(self, value: float, level: float) -> bool:
        """Whether a finite loss or accuracy is inside the band."""
        return self.p([value]) >= level

    def p(self, values: Sequence[float]) -> float:
        """Two-sided p of Student's two-sample t test: the given seeds against the reference seeds.

        The variance is pooled over both samples, the reference's moderated. One value makes it the test behind the
        band.

        Args:
            values: finite losses or accuracies, one per seed.
        """
        given = to_scale(self.metric, values)
        n = len(given)
        freedom = self.freedom + n - 1
        squares = self.variance * self.freedom + float(((given - given.mean()) ** 2).sum())
        error = math.sqrt(squares / freedom * (1 / n + 1 / self.seeds))
        return 2 * float(special.stdtr(freedom, -abs(float(given.mean()) - self.mean) / error))


def spreads(metric: Metric, table: npt.ArrayLike) -> list[Spread]:
    """The spread of each point, moderated over all of them.

    Args:
        metric: what the values are.
        table: [points, seeds] finite losses or accuracies of one problem: all variants, splits and epochs.

    Raises:
        ValueError: there are fewer than `SEEDS_FOR_SPREAD` seeds.
    """
    values = to_scale(metric, table)
    points, seeds = values.shape
    if seeds < SEEDS_FOR_SPREAD:
        raise ValueError(f"{seeds} seeds say nothing about spread")
    own = values.var(axis=1, ddof=1)
    freedom = float(seeds - 1)
    typical, weight = typical_variance(own, freedom) if points > 1 else (0.0, 0.0)
    weight = min(weight, freedom)
    moderated = np.maximum((weight * typical + freedom * own) / (weight + freedom), _LEAST_VARIANCE)
    return [
        Spread(metric, float(mean), float(variance), freedom + weight, seeds)
        for mean, variance in zip(values.mean(axis=1), moderated, strict=True)
    ]


def typical_variance(variances: Floats, freedom: float) -> tuple[float, float]:
    """The typical variance of several, and how many degrees of freedom knowing it is worth (Smyth 2004, section 6.2).

    The variances are taken as scaled F: s² ~ s₀² · F(d, d₀). Moments of log s² give s₀² and d₀; d₀ is infinite where
    they differ no more than chance would have it.

    Args:
        variances: two or more sample variances.
        freedom: d, the degrees of freedom of each.

    Returns:
        (s₀², d₀); (0, 0) where all variances are zero.
    """
    middle = float(np.median(variances[variances > 0])) if np.any(variances > 0) else 0.0
    if middle == 0.0:
        return 0.0, 0.0
    logs = np.log(np.maximum(variances, _ZERO_VARIANCE * middle))
    centred = logs - special.digamma(freedom / 2) + math.log(freedom / 2)
    excess = float(centred.var(ddof=1)) - float(special.polygamma(1, freedom / 2))
    if excess <= _trigamma(_LARGE):
        return math.exp(float(centred.mean())), math.inf
    half = float(optimize.brentq(lambda x: _trigamma(x) - excess, _SMALL, _LARGE))
    typical = math.exp(float(centred.mean()) + float(special.digamma(half)) - math.log(half))
    return typical, 2 * half


_SMALL, _LARGE = 1e-6, 1e6
"""Between these half degrees of freedom the trigamma function is inverted."""


def _trigamma(x: float) -> float:
    return float(special.polygamma(1, x))
