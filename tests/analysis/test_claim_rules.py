"""The rules on which claims are decided, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.analysis.claims import curve_rules as curves
from bnbench.analysis.claims import parameter_rules as parameters
from bnbench.analysis.claims.verdict import Verdict, combined
from bnbench.claim import Ratio

HOLDS, REFUTED, UNDECIDED, NO_DATA = Verdict.HOLDS, Verdict.REFUTED, Verdict.UNDECIDED, Verdict.NO_DATA
T = 4.302652729911275
"""The 97.5 % point of Student's t with two degrees of freedom, from a table."""


def around(mean, spread):
    """Three seeds whose t interval is mean ± spread."""
    step = spread * math.sqrt(3) / T
    return {1: mean - step, 2: mean, 3: mean + step}


ZERO = dict.fromkeys((1, 2, 3), 0.0)


@pytest.mark.parametrize(
    ("mean", "spread", "expected"),
    [
        (0.02, 0.019, HOLDS),
        (0.02, 0.021, UNDECIDED),
        (0.005, 0.004, HOLDS),  # above 0 counts first, even where all of it lies below δ
        (0.000, 0.009, REFUTED),
        (0.000, 0.011, UNDECIDED),
        (-0.500, 0.4, REFUTED),
    ],
)
def test_greater(mean, spread, expected):
    decision = curves.greater(around(mean, spread), ZERO, 0.01)
    assert decision.verdict is expected
    assert (decision.interval.low, decision.interval.high) == pytest.approx((mean - spread, mean + spread))
    assert decision.effect == pytest.approx(mean)
    opposite = {HOLDS: REFUTED, REFUTED: HOLDS, UNDECIDED: UNDECIDED}
    assert curves.not_greater(around(mean, spread), ZERO, 0.01).verdict is opposite[expected]


@pytest.mark.parametrize(
    ("mean", "spread", "expected"),
    [
        (0.000, 0.009, HOLDS),
        (0.005, 0.004, HOLDS),
        (0.005, 0.006, UNDECIDED),
        (0.03, 0.019, REFUTED),
        (-0.03, 0.019, REFUTED),
        (-0.03, 0.021, UNDECIDED),
        (0.000, 0.5, UNDECIDED),
    ],
)
def test_similar(mean, spread, expected):
    assert curves.similar(around(mean, spread), ZERO, 0.01).verdict is expected
    assert curves.similar(ZERO, around(mean, spread), 0.01).verdict is expected


@pytest.mark.parametrize("rule", [curves.greater, curves.not_greater, curves.similar])
@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_fewer_than_three_seeds_decide_nothing(rule, seeds):
    few = dict.fromkeys(range(seeds), 0.9)
    decision = rule(few, ZERO | dict.fromkeys(few, 0.1), 0.01)
    assert decision.verdict is UNDECIDED
    assert decision.interval is None
    assert decision.says


def test_only_seeds_of_both_sides_are_paired():
    a = {1: 0.5, 2: 0.6, 3: 0.7, 9: 0.0}
    b = {1: 0.4, 2: 0.5, 3: 0.6, 8: 1.0}
    decision = curves.greater(a, b, 0.01)
    assert decision.verdict is HOLDS
    assert decision.effect == pytest.approx(0.1)


DIVERGED = {1: 0.9, 2: None, 3: 0.9}


def test_a_diverged_side_loses():
    fine = dict.fromkeys((1, 2, 3), 0.1)
    assert curves.greater(fine, DIVERGED, 0.01).verdict is HOLDS
    assert curves.greater(DIVERGED, fine, 0.01).verdict is REFUTED
    assert curves.not_greater(DIVERGED, fine, 0.01).verdict is HOLDS
    assert curves.similar(fine, DIVERGED, 0.01).verdict is REFUTED
    assert curves.similar(DIVERGED, fine, 0.01).verdict is REFUTED
    assert curves.greater(DIVERGED, fine, 0.01).says == "the first: 1 of 3 diverged"


def test_where_both_sides_diverged_nothing_is_decided():
    for rule in (curves.greater, curves.not_greater, curves.similar):
        decision = rule(DIVERGED, DIVERGED, 0.01)
        assert (decision.verdict, decision.effect) == (UNDECIDED, None)
        assert "the first: 1 of 3 diverged; the second: 1 of 3 diverged" in decision.says


def test_divergence_decides_nothing_with_two_seeds():
    for rule in (curves.greater, curves.similar):
        assert rule({1: 0.5, 2: 0.5}, {1: None, 2: None}, 0.01).verdict is UNDECIDED


ACCURACIES = st.integers(0, 1000).map(lambda count: count / 1000)


@given(st.lists(st.tuples(ACCURACIES, ACCURACIES), min_size=3, max_size=6))
def test_greater_one_way_excludes_greater_the_other_way(pairs):
    a, b = ({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1))
    forward, backward = (curves.greater(*sides, 0.01).verdict for sides in ((a, b), (b, a)))
    assert (forward is HOLDS) <= (backward is REFUTED)
    if forward is REFUTED and backward is REFUTED:
        assert curves.similar(a, b, 0.01).verdict is HOLDS


def test_most_of_the_gain():
    none = {1: 0.30, 2: 0.31, 3: 0.32}
    whole = {1: 0.60, 2: 0.61, 3: 0.62}
    for share, expected in ((0.9, HOLDS), (0.1, REFUTED)):
        part = {seed: none[seed] + share * 0.3 for seed in none}
        decision = curves.most_of_the_gain(none, part, whole, 0.01)
        assert decision.verdict is expected
        assert decision.effect == pytest.approx(share * 0.3 - (1 - share) * 0.3)
    noisy = {1: 0.32, 2: 0.46, 3: 0.60}
    assert curves.most_of_the_gain(none, noisy, whole, 0.01).verdict is UNDECIDED


def test_most_of_the_gain_with_divergence():
    fine, lost = dict.fromkeys((1, 2, 3), 0.5), {1: 0.5, 2: None, 3: 0.5}
    expected = {
        (True, False, False): HOLDS,
        (False, True, False): REFUTED,
        (True, True, False): REFUTED,
        (False, False, True): UNDECIDED,
        (False, True, True): UNDECIDED,
        (True, True, True): UNDECIDED,
    }
    for diverged, verdict in expected.items():
        sides = [lost if each else fine for each in diverged]
        assert curves.most_of_the_gain(*sides, 0.01).verdict is verdict, diverged
    assert curves.most_of_the_gain({1: None}, {1: 0.5}, {1: 0.6}, 0.01).verdict is UNDECIDED


def test_failing_is_below_twice_chance_or_diverged_in_every_seed():
    assert curves.fails_to_train({1: 0.019, 2: None, 3: 0.01}, 100).verdict is HOLDS
    assert curves.fails_to_train({1: 0.02, 2: None, 3: 0.01}, 100).verdict is REFUTED  # not below
    assert curves.fails_to_train({1: 0.19, 2: 0.19, 3: 0.19}, 10).verdict is HOLDS
    assert curves.fails_to_train({1: None, 2: None}, 100).verdict is UNDECIDED
    assert curves.fails_to_train({1: 0.019, 2: None, 3: 0.01}, 100).says == "3 of 3 seeds fail, 1 of them by divergence"


def test_training_well_is_failing_in_no_seed():
    assert curves.trains({1: 0.5, 2: 0.02, 3: 0.5}, 100).verdict is HOLDS
    assert curves.trains({1: 0.5, 2: None, 3: 0.5}, 100).verdict is UNDECIDED
    assert curves.trains({1: None, 2: 0.01, 3: None}, 100).verdict is REFUTED
    assert curves.trains({1: 0.5, 2: 0.5}, 100).verdict is UNDECIDED


# --- γ and β ----------------------------------------------------------------------------------------------------

SLOTS = [np.array(each, np.float32) for each in ([1.5, 0.5], [1.0, 1.0, 1.25, 1.25], [2.0, 3.0])]


def test_slots():
    pooled = {which: parameters.pooled(SLOTS, which) for which in ("all", "first", "intermediate", "last", "others")}
    assert list(pooled["all"]) == [1.5, 0.5, 1.0, 1.0, 1.25, 1.25, 2.0, 3.0]
    assert list(pooled["first"]) == [1.5, 0.5]
    assert list(pooled["intermediate"]) == [1.0, 1.0, 1.25, 1.25]
    assert list(pooled["last"]) == [2.0, 3.0]
    assert list(pooled["others"]) == [1.5, 0.5, 1.0, 1.0, 1.25, 1.25]
    assert parameters.pooled(SLOTS[:1], "intermediate") is None
    assert parameters.statistic(SLOTS[:1], "gamma", "others", "activity") is None


def test_slots_in_shortcuts_belong_to_all_and_are_neither_first_nor_last_nor_between():
    shortcuts = [np.array([-9.0, 9.0], np.float32)]
    for which in ("first", "intermediate", "last", "others"):
        assert list(parameters.pooled(SLOTS, which, shortcuts)) == list(parameters.pooled(SLOTS, which))
    assert list(parameters.pooled(SLOTS, "all", shortcuts))[-2:] == [-9.0, 9.0]


@pytest.mark.parametrize(
    ("which", "parameter", "expected"),
    [
        ("activity", "gamma", (0.5 + 0.5 + 0 + 0 + 0.25 + 0.25 + 1 + 2) / 8),
        ("activity", "beta", (1.5 + 0.5 + 1 + 1 + 1.25 + 1.25 + 2 + 3) / 8),
        ("range", "gamma", 2.5),
        ("mid-range", "gamma", 1.75),
        ("positive extreme", "beta", 3.0),
        ("negative extreme", "beta", 0.0),
    ],
)
def test_statistics(which, parameter, expected):
    assert parameters.statistic(SLOTS, parameter, "all", which) == pytest.approx(expected)


def test_what_is_not_finite_has_no_number():
    broken = [SLOTS[0], np.array([1.0, math.nan], np.float32)]
    assert parameters.statistic(broken, "gamma", "all", "activity") is None
    assert parameters.statistic(broken, "gamma", "first", "activity") == 0.5
    assert parameters.share(broken, "first", "> 1", 0.0) is None


def test_extremes_of_both_signs():
    beta = [np.array([-0.5, 0.25], np.float32)]
    assert parameters.statistic(beta, "beta", "all", "negative extreme") == 0.5
    assert parameters.statistic(beta, "beta", "all", "positive extreme") == 0.25
    assert parameters.statistic([-np.abs(beta[0])], "beta", "all", "positive extreme") == 0.0


def test_shares_and_the_band_of_the_whole_run():
    beta = [np.array([0.06, -0.06, 0.04, -0.04], np.float32), np.array([-1.0, 0.5], np.float32)]
    assert parameters.share(beta, "first", "> +band", 0.05) == 0.25  # the band is 0.05 · 1.0
    assert parameters.share(beta, "first", "< -band", 0.05) == 0.25
    assert parameters.share(beta, "first", "<= +band", 0.05) == 0.75
    assert parameters.share(beta, "first", "> 0", 0.0) == 0.5
    assert parameters.share(SLOTS, "last", "> 1", 0.0) == 1.0
    assert parameters.share(beta[:1], "last", "> 0", 0.0) == 0.5
    assert parameters.share(beta[:1], "others", "> 0", 0.0) is None


def three(value):
    return dict.fromkeys((1, 2, 3), value)


def test_levels():
    assert parameters.at_least_or_below(three(0.75), 0.75, None).verdict is HOLDS
    assert parameters.at_least_or_below(three(0.74), 0.75, None).verdict is REFUTED
    assert parameters.at_least_or_below(three(0.95), None, 0.95).verdict is REFUTED
    assert parameters.at_least_or_below({1: 0.2, 2: 0.9, 3: 1.0}, 0.7, None).effect == pytest.approx(0.7)
    assert parameters.more_than(three(0.5), 0.5).verdict is REFUTED
    assert parameters.more_than(three(0.51), 0.5).verdict is HOLDS
    assert parameters.exceeds(three(0.2), three(0.1)).verdict is HOLDS
    assert parameters.exceeds(three(0.1), three(0.1)).verdict is REFUTED


QUANTITY = {"problem": "p", "variant": "bn", "parameter": "gamma", "statistic": "activity"}


def bounds(**levels):
    return Ratio.model_validate({"rule": "ratio", "numerator": QUANTITY, "denominator": QUANTITY, **levels})


def test_ratio_of_the_means():
    numerator, denominator = {1: 1.0, 2: 2.0, 3: 3.0}, {1: 1.0, 2: 1.0, 3: 2.0}
    decision = parameters.ratio(numerator, denominator, bounds(at_least=1.5, at_most=1.5))
    assert (decision.verdict, decision.effect) == (HOLDS, 1.5)
    assert parameters.ratio(numerator, denominator, bounds(below=1.5)).verdict is REFUTED
    assert parameters.ratio(numerator, denominator, bounds(at_least=1.51)).verdict is REFUTED
    assert parameters.ratio(numerator, denominator, bounds(at_most=1.49)).verdict is REFUTED
    nothing = parameters.ratio(numerator, three(0.0), bounds(at_least=0.5))
    assert (nothing.verdict, nothing.effect) == (UNDECIDED, None)
    assert "denominator" in nothing.says


def test_too_few_or_diverged_seeds_decide_nothing_about_parameters():
    two, lost = {1: 0.9, 2: 0.9}, {1: 0.9, 2: None, 3: 0.9}
    for decide in (
        lambda values: parameters.at_least_or_below(values, 0.5, None),
        lambda values: parameters.more_than(values, 0.5),
        lambda values: parameters.exceeds(values, three(0.1)),
        lambda values: parameters.ratio(values, three(0.1), bounds(at_least=1)),
        lambda values: parameters.ratio(three(0.1), values, bounds(at_least=1)),
    ):
        assert decide(two).verdict is UNDECIDED
        assert decide(two).effect is not None
        assert "2 seeds" in decide(two).says
        assert decide(lost).verdict is UNDECIDED
        assert "1 of 3 seeds" in decide(lost).says
        assert decide({}).verdict is UNDECIDED


# --- parts together ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], NO_DATA),
        ([NO_DATA, NO_DATA], NO_DATA),
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([HOLDS, NO_DATA], UNDECIDED),
        ([HOLDS, REFUTED, UNDECIDED, NO_DATA], REFUTED),
    ],
)
def test_all_must_hold_and_one_refuted_refutes(parts, expected):
    assert combined(parts) is expected
