"""Paired statistics, against definitions written out here."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bnbench.analysis.statistics import (
    Interval,
    bootstrap_interval,
    friedman_test,
    hedges_g,
    holm,
    paired_difference,
    sign_flip_test,
    smallest_friedman_p,
    smallest_sign_flip_p,
    t_interval,
    t_test,
)

T_975 = {2: 4.302652729911275, 3: 3.182446305284263, 9: 2.2621571628540993}
"""The 97.5 % quantile of Student's t by degrees of freedom, from tables."""

differences = st.lists(st.integers(-1000, 1000).map(lambda each: each / 1024), min_size=3, max_size=8)


def by_seed(values):
    return dict(enumerate(values))


def test_t_interval_by_hand():
    # Differences 0.01, 0.02, 0.03: mean 0.02, standard deviation 0.01, error 0.01 / √3.
    result = paired_difference(by_seed([0.51, 0.62, 0.73]), by_seed([0.50, 0.60, 0.70]))
    half = T_975[2] * 0.01 / math.sqrt(3)
    assert result.mean == pytest.approx(0.02)
    assert result.deviation == pytest.approx(0.01)
    assert result.t_interval is not None
    assert (result.t_interval.low, result.t_interval.high) == pytest.approx((0.02 - half, 0.02 + half))
    # With two degrees of freedom the t distribution has a closed form: p = 1 - t / √(2 + t²).
    t = 0.02 / (0.01 / math.sqrt(3))
    assert result.t_p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    # d_z = 2; with ν = 2 Hedges' factor is Γ(1) / (√1 Γ(½)) = 1 / √π.
    assert result.hedges_g == pytest.approx(2 / math.sqrt(math.pi))
    assert result.says is None


@pytest.mark.parametrize("seeds", [4, 10])
def test_t_interval_of_more_seeds(seeds):
    values = np.random.default_rng(seeds).normal(0.1, 0.3, seeds)
    half = T_975[seeds - 1] * math.sqrt(sum((v - values.mean()) ** 2 for v in values) / (seeds - 1) / seeds)
    interval = t_interval(values)
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half))


@given(differences)
def test_t_test_and_t_interval_agree(values):
    sample = np.array(values)
    assume(np.ptp(sample) > 0)
    p = t_test(sample)
    interval = t_interval(sample)
    assert p is not None
    assume(abs(p - 0.05) > 1e-9)
    assert (p < 0.05) == (interval.low > 0 or interval.high < 0)


def test_hedges_correction_is_near_the_usual_approximation():
    sample = np.arange(10.0)
    cohen = sample.mean() / sample.std(ddof=1)
    corrected = hedges_g(sample)
    assert corrected is not None
    assert corrected / cohen == pytest.approx(1 - 3 / (4 * 9 - 1), abs=1e-3)


def brute_force_sign_flip(values):
    observed = abs(sum(values))
    flips = itertools.product([1, -1], repeat=len(values))
    extreme = sum(abs(sum(s * v for s, v in zip(signs, values, strict=True))) >= observed - 1e-12 for signs in flips)
    return extreme / 2 ** len(values)


@given(st.lists(st.integers(-1000, 1000), min_size=6, max_size=8))
def test_sign_flip_test_counts_all_assignments(values):
    assert sign_flip_test(np.array(values, np.float64)) == pytest.approx(brute_force_sign_flip(values))


@pytest.mark.parametrize(("seeds", "smallest"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_smallest_p_of_the_sign_flip_test(seeds, smallest):
    assert smallest_sign_flip_p(seeds) == smallest
    assert brute_force_sign_flip([1 + i for i in range(seeds)]) == smallest


def test_with_many_seeds_the_sign_flip_p_is_estimated_and_repeats():
    values = np.random.default_rng(3).normal(0.3, 1, 18)
    exact = brute_force_sign_flip(list(values))
    assert sign_flip_test(values) == sign_flip_test(values)
    assert sign_flip_test(values) == pytest.approx(exact, abs=0.01)


def test_what_the_number_of_seeds_allows():
    rng = np.random.default_rng(1)
    given_by = {}
    for seeds in range(1, 12):
        values = by_seed(rng.normal(0.1, 0.05, seeds))
        result = paired_difference(values, by_seed([0.0] * seeds))
        given_by[seeds] = (
            result.t_interval is not None,
            result.sign_flip_p is not None,
            result.bootstrap_interval is not None,
        )
        assert result.mean is not None
        assert result.sign_flip_smallest_p == 2 / 2**seeds
    for seeds, what in given_by.items():
        assert what == (seeds >= 3, seeds >= 6, seeds >= 10), seeds


def test_few_seeds_in_words():
    assert paired_difference({1: 0.5}, {1: 0.4}).says == "one seed: nothing can be said about noise"
    assert paired_difference({1: 0.5, 2: 0.4}, {1: 0.4, 2: 0.4}).says == "2 seeds: an interval needs 3"
    assert paired_difference({1: 0.5}, {2: 0.4}).says == "no seed in common"


def test_only_shared_seeds_are_paired():
    result = paired_difference({3: 0.5, 1: 0.7, 9: 0.0}, {1: 0.5, 3: 0.4, 8: 1.0})
    assert result.seeds == (1, 3)
    assert result.mean == pytest.approx(0.15)


@pytest.mark.parametrize("absent", [None, math.nan, math.inf])
def test_a_diverged_seed_is_not_dropped(absent):
    result = paired_difference({1: 0.5, 2: absent, 3: 0.5, 4: 0.5}, {1: 0.4, 2: 0.4, 3: 0.4, 4: 0.3})
    assert result.mean is None
    assert result.t_interval is None
    assert result.unusable == 1
    assert result.says == "1 of 4 seeds without a value on both sides"


def test_differences_that_do_not_vary():
    result = paired_difference(by_seed([0.5] * 10), by_seed([0.25] * 10))
    assert result.t_interval == Interval(0.25, 0.25) == result.bootstrap_interval
    assert result.t_p is None
    assert result.hedges_g is None
    assert result.sign_flip_p == 2 / 2**10
    # Differences that vary in the last bit only are the same case, and nothing warns.
    almost = paired_difference(by_seed([0.1 + 0.1 * i for i in range(10)]), by_seed([0.1 * i for i in range(10)]))
    assert almost.t_p is None


def test_bootstrap_interval_is_near_the_t_interval_for_a_normal_sample():
    sample = np.random.default_rng(5).normal(1.0, 0.2, 40)
    t, bootstrap = t_interval(sample), bootstrap_interval(sample)
    assert bootstrap == bootstrap_interval(sample)
    assert (bootstrap.low, bootstrap.high) == pytest.approx((t.low, t.high), abs=0.01)


def closed_testing(p_values):
    """Holm's correction is the closed test with Bonferroni: the worst of all families an hypothesis belongs to."""
    indices = range(len(p_values))
    families = [f for size in range(1, len(p_values) + 1) for f in itertools.combinations(indices, size)]
    return [max(min(1.0, len(f) * min(p_values[j] for j in f)) for f in families if i in f) for i in indices]


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_closed_testing(p_values):
    assert holm(p_values) == pytest.approx(closed_testing(p_values))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_friedman_by_hand():
    # Ranks by row: (1, 2, 3), (1, 3, 2), (1, 2, 3), (2, 1, 3); sums 5, 8, 11.
    # χ² = 12 / (4 · 3 · 4) · (25 + 64 + 121) - 3 · 4 · 4 = 4.5; with two degrees of freedom p = exp(-χ² / 2).
    result = friedman_test([[0.1, 0.2, 0.3], [1.0, 3.0, 2.0], [5.0, 6.0, 7.0], [2.0, 1.0, 3.0]])
    assert result is not None
    assert result.chi_square == pytest.approx(4.5)
    assert result.p == pytest.approx(math.exp(-2.25))
    assert (result.problems, result.variants) == (4, 3)


def test_the_smallest_p_of_friedman_is_that_of_problems_which_all_agree():
    # χ² = 2 · 4 = 8 with four degrees of freedom: p = exp(-4) (1 + 4).
    assert smallest_friedman_p(2, 5) == pytest.approx(5 * math.exp(-4)) == pytest.approx(0.0916, abs=1e-4)
    for rows, variants in ((2, 5), (3, 3), (6, 4)):
        agreed = friedman_test([list(range(variants))] * rows)
        assert agreed.p == pytest.approx(agreed.smallest_p)
    tied = friedman_test([[1.0, 1.0, 2.0]] * 4)
    assert tied.p == pytest.approx(tied.smallest_p)


@pytest.mark.parametrize("values", [[[1.0, 2.0, 3.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0] * 3, [2.0] * 3]])
def test_friedman_needs_three_variants_two_problems_and_a_difference(values):
    assert friedman_test(values) is None
