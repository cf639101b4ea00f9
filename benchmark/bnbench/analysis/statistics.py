"""Paired differences between two variants, seed by seed: what may be said, and what may not.

Variants share initial weights, batches and masks for each seed, so a difference is taken inside a seed and the
spread is that of the differences. What is computed depends on how many seeds there are:

- one: the difference, and that nothing can be said about noise;
- three or more: Student's t interval, the paired t test and an effect size;
- six or more: the exact sign-flip permutation test (below that no p under 0.05 is possible; its smallest possible p,
  2 / 2ⁿ, is stated instead);
- ten or more: a bootstrap interval (bias-corrected and accelerated; Efron 1987).

At three seeds a t interval covers 95 %, a percentile bootstrap 76 %: hence the order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from bnbench.analysis.interval import Interval

CONFIDENCE = 0.95
SEEDS_FOR_INTERVAL = 3
SEEDS_FOR_SIGN_FLIP = 6
SEEDS_FOR_BOOTSTRAP = 10

_EXACT_UP_TO = 16
"""Seeds up to which all 2ⁿ sign flips are tried; beyond, the p is estimated from random ones."""
_RANDOM_FLIPS = 99_999
_BOOTSTRAP_RESAMPLES = 9_999
_NO_SPREAD = 1e-12
"""Differences that vary by less than this, relative to the largest, vary by rounding only."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairedDifference:
    """The difference a - b, paired by seed. What the number of seeds does not allow is None."""

    seeds: tuple[int, ...]
    """The seeds that both sides have, ascending."""
    unusable: int
    """How many of these have no finite value on one side (diverged); if any, no number is given."""
    mean: float | None
    deviation: float | None
    """Sample standard deviation of the differences, from two seeds."""
    t_interval: Interval | None
    t_p: float | None
    """Two-sided p of the paired t test, from three seeds."""
    hedges_g: float | None
    """Effect size: the mean difference over the standard deviation of the differences (Cohen's d_z), with Hedges' exact
    small-sample correction Γ(ν/2) / (√(ν/2) Γ((ν - 1)/2)), ν = n - 1. None where the differences do not vary."""
    sign_flip_p: float | None
    """Two-sided p of the sign-flip permutation test, from six seeds; exact up to 16."""
    sign_flip_smallest_p: float | None
    """The smallest p that the exact sign-flip test can give with this many seeds."""
    bootstrap_interval: Interval | None

    @property
    def says(self) -> str | None:
        """Why there is no interval, in words; None where there is one."""
        if not self.seeds:
            return "no seed in common"
        if self.unusable:
            return f"{self.unusable} of {len(self.seeds)} seeds without a value on both sides"
        if len(self.seeds) == 1:
            return "one seed: nothing can be said about noise"
        if len(self.seeds) < SEEDS_FOR_INTERVAL:
            return f"{len(self.seeds)} seeds: an interval needs {SEEDS_FOR_INTERVAL}"
        return None


def paired_difference(a: Mapping[int, float | None], b: Mapping[int, float | None]) -> PairedDifference:
    """Compare two variants seed by seed.

    Args:
        a: seed to value; None where the run diverged.
        b: the other side; seeds that only one side has are left out.
    """
    seeds = tuple(sorted(a.keys() & b.keys()))
    pairs = [(a[seed], b[seed]) for seed in seeds]
    usable = [x - y for x, y in pairs if x is not None and y is not None and math.isfinite(x) and math.isfinite(y)]
    unusable = len(seeds) - len(usable)
    if unusable or not seeds:
        return PairedDifference(seeds, unusable, None, None, None, None, None, None, None, None)
    differences = np.asarray(usable, dtype=np.float64)
    n = len(differences)
    enough = n >= SEEDS_FOR_INTERVAL
    return PairedDifference(
        seeds=seeds,
        unusable=0,
        mean=float(differences.mean()),
        deviation=float(differences.std(ddof=1)) if n > 1 else None,
        t_interval=t_interval(differences) if enough else None,
        t_p=t_test(differences) if enough else None,
        hedges_g=hedges_g(differences) if enough else None,
        sign_flip_p=sign_flip_test(differences) if n >= SEEDS_FOR_SIGN_FLIP else None,
        sign_flip_smallest_p=smallest_sign_flip_p(n),
        bootstrap_interval=bootstrap_interval(differences) if n >= SEEDS_FOR_BOOTSTRAP else None,
    )


def t_interval(differences: Floats) -> Interval:
    """Student's t interval for the mean: m ± t · s / √n, with n - 1 degrees of freedom.

    Args:
        differences: two or more, one per seed.
    """
    mean = float(differences.mean())
    if not _varies(differences):
        return Interval(mean, mean)
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    low, high = stats.t.interval(CONFIDENCE, len(differences) - 1, loc=mean, scale=error)
    return Interval(float(low), float(high))


def welch_interval(a: Floats, b: Floats) -> Interval:
    """Welch's interval for mean(a) - mean(b) of two independent samples (Welch 1947; Satterthwaite's freedom).

    Args:
        a: two or more values.
        b: two or more values.
    """
    difference = float(a.mean() - b.mean())
    if not (_varies(a) or _varies(b)):
        return Interval(difference, difference)
    found = stats.ttest_ind(a, b, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(float(found.low), float(found.high))


def one_sided_t_test(differences: Floats) -> float | None:
    """P of the paired t test against a mean difference of 0 or less; None where the differences do not vary."""
    if not _varies(differences):
        return None
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return float(stats.t.sf(float(differences.mean()) / error, len(differences) - 1))


def t_test(differences: Floats) -> float | None:
    """Two-sided p of the t test that the mean difference is 0; None where the differences do not vary."""
    if not _varies(differences):
        return None
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return float(2 * stats.t.sf(abs(float(differences.mean())) / error, len(differences) - 1))


def hedges_g(differences: Floats) -> float | None:
    """Cohen's d_z with Hedges' correction (Hedges 1981); None where the differences do not vary.

    Args:
        differences: three or more, one per seed.
    """
    if not _varies(differences):
        return None
    freedom = len(differences) - 1
    correction = math.exp(special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return correction * float(differences.mean()) / float(differences.std(ddof=1))


def sign_flip_test(differences: Floats) -> float:
    """Two-sided p of the sign-flip permutation test: exchangeable variants give each sign with probability ½.

    Exact up to 16 seeds (all 2ⁿ assignments); beyond that estimated from 99,999 random ones, always the same.
    """
    n = len(differences)
    result = stats.permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**n if n <= _EXACT_UP_TO else _RANDOM_FLIPS,
        batch=4096,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def smallest_sign_flip_p(seeds: int) -> float:
    """The p of the sign-flip test when every difference has the same sign: 2 of the 2ⁿ assignments are as extreme."""
    return min(1.0, 2.0 / 2.0**seeds)


def bootstrap_interval(differences: Floats) -> Interval:
    """Bias-corrected and accelerated bootstrap interval of the mean difference; the same resamples every time."""
    mean = float(differences.mean())
    if not _varies(differences):
        return Interval(mean, mean)
    result = stats.bootstrap(
        (differences,),
        _mean,
        n_resamples=_BOOTSTRAP_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(0),
    )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979), in the order given.

    The i-th smallest of m values is multiplied by m - i + 1, made monotonic from the smallest up, and cut at 1.
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = running
    return adjusted


@dataclass(frozen=True)
class FriedmanTest:
    """Whether the variants differ over the problems at all (Friedman 1937, with the correction for ties)."""

    chi_square: float
    p: float
    problems: int
    variants: int

    @property
    def smallest_p(self) -> float:
        """The p that it gives when every problem ranks the variants alike."""
        return smallest_friedman_p(self.problems, self.variants)


def friedman_test(values: Sequence[Sequence[float]]) -> FriedmanTest | None:
    """The Friedman test over problems; None with fewer than three variants or two problems, or all tied throughout.

    Args:
        values: one row per problem, one finite number per variant in each.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 3 or bool((table == table[:, :1]).all()):
        return None
    result = stats.friedmanchisquare(*table.T)
    return FriedmanTest(float(result.statistic), float(result.pvalue), *table.shape)


def smallest_friedman_p(problems: int, variants: int) -> float:
    """The p of the Friedman test at the largest χ² that there is, n (k - 1): the same ranks in each of n problems.

    By the χ² distribution with k - 1 degrees of freedom, as every p of the test here.
    """
    return float(stats.chi2.sf(problems * (variants - 1), variants - 1))


def _mean(sample: Floats, axis: int = -1) -> Floats:
    return np.asarray(np.mean(sample, axis=axis))


def _varies(differences: Floats) -> bool:
    return float(np.ptp(differences)) > _NO_SPREAD * float(np.abs(differences).max())
