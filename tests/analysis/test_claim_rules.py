"""The rules on which claims are decided, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bnbench.analysis.claims import curve_rules as curves
from bnbench.analysis.claims import parameter_rules as parameters
from bnbench.analysis.claims import probe_rules as probes
from bnbench.analysis.claims.parameter_rules import pooled
from bnbench.analysis.claims.verdict import Verdict, combined
from bnbench.claim import Quantity, Ratio, Run, Share

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
    assert number(SLOTS[:1], "gamma", "others", "activity") is None


def number(channels, parameter, slots, statistic, start=(), level=None, shortcuts=()):
    """A statistic of some channels, as a claim names it."""
    who = {"problem": "p", "variant": "v", "parameter": parameter}
    quantity = Quantity(**who, slots=slots, statistic=statistic, level=level)
    return parameters.statistic(pooled(channels, slots, shortcuts), pooled(start, slots) if start else None, quantity)


def portion(channels, slots, condition, band=0.0, level=None, parameter="gamma", shortcuts=()):
    """The share of some channels that meets a condition, as a claim names it."""
    run = Run(problem="p", variant="v")
    part = {"run": run, "parameter": parameter, "slots": slots, "condition": condition, "band": band, "level": level}
    counted, every = pooled(channels, slots, shortcuts), pooled(channels, "all", shortcuts)
    return parameters.share(counted, every, Share(rule="share", **part, at_least=0.5))


def test_slots_in_shortcuts_belong_to_all_and_are_neither_first_nor_last_nor_between():
    shortcuts = [np.array([-9.0, 9.0], np.float32)]
    for which in ("first", "intermediate", "last", "others"):
        assert list(parameters.pooled(SLOTS, which, shortcuts)) == list(parameters.pooled(SLOTS, which))
    assert list(parameters.pooled(SLOTS, "all", shortcuts))[-2:] == [-9.0, 9.0]
    assert number(SLOTS, "gamma", "all", "range", shortcuts=shortcuts) == 18.0
    assert number(SLOTS, "gamma", "last", "range", shortcuts=shortcuts) == 1.0
    assert portion(SLOTS, "last", "> +band", 0.3) == 1.0
    assert portion(SLOTS, "last", "> +band", 0.3, shortcuts=shortcuts) == 0.5  # the band is a share of the largest, 9


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
    assert number(SLOTS, parameter, "all", which) == pytest.approx(expected)


def test_what_is_not_finite_has_no_number():
    broken = [SLOTS[0], np.array([1.0, math.nan], np.float32)]
    assert number(broken, "gamma", "all", "activity") is None
    assert number(broken, "gamma", "first", "activity") == 0.5
    assert portion(broken, "first", "> 1", 0.0) is None


def test_extremes_of_both_signs():
    beta = [np.array([-0.5, 0.25], np.float32)]
    assert number(beta, "beta", "all", "negative extreme") == 0.5
    assert number(beta, "beta", "all", "positive extreme") == 0.25
    assert number([-np.abs(beta[0])], "beta", "all", "positive extreme") == 0.0


def test_shares_and_the_band_of_the_whole_run():
    beta = [np.array([0.06, -0.06, 0.04, -0.04], np.float32), np.array([-1.0, 0.5], np.float32)]
    assert portion(beta, "first", "> +band", 0.05) == 0.25  # the band is 0.05 · 1.0
    assert portion(beta, "first", "< -band", 0.05) == 0.25
    assert portion(beta, "first", "<= +band", 0.05) == 0.75
    assert portion(beta, "first", "> 0", 0.0) == 0.5
    assert portion(SLOTS, "last", "> 1", 0.0) == 1.0
    assert portion(beta[:1], "last", "> 0", 0.0) == 0.5
    assert portion(beta[:1], "others", "> 0", 0.0) is None


def test_moved_is_measured_from_the_first_snapshot():
    start = [np.array([0.1, 0.1], np.float32), np.array([0.1], np.float32)]
    end = [np.array([0.3, 0.0], np.float32), np.array([0.5], np.float32)]
    assert number(end, "gamma", "all", "moved", start) == pytest.approx((0.2 + 0.1 + 0.4) / 3)
    assert number(end, "gamma", "last", "moved", start) == pytest.approx(0.4)
    assert number(end, "gamma", "all", "moved", [np.array([np.nan, 0.1], np.float32)]) is None


def test_shares_by_a_level():
    gamma = [np.array([0.005, -0.009, 0.011, 1.2], np.float32)]
    assert number(gamma, "gamma", "all", "share below", level=0.01) == 0.5
    assert portion(gamma, "all", "|value| < level", level=0.01) == 0.5
    assert portion(gamma, "all", "|value - neutral| < level", level=0.25) == 0.25
    assert portion(gamma, "all", "|value - neutral| < level", level=0.25, parameter="beta") == 0.75


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


# --- levels, two problems, probes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "spread", "expected"),
    [(0.5, 0.05, HOLDS), (0.5, 0.11, UNDECIDED), (0.7, 0.09, REFUTED), (0.3, 0.09, REFUTED), (0.65, 0.1, UNDECIDED)],
)
def test_a_level_is_decided_by_the_interval_of_the_mean(mean, spread, expected):
    decision = curves.level(around(mean, spread), 0.4, 0.6)
    assert decision.verdict is expected
    assert (decision.interval.low, decision.interval.high) == pytest.approx((mean - spread, mean + spread))
    assert decision.effect == pytest.approx(mean)


def test_a_level_without_all_its_seeds_decides_nothing():
    assert curves.level({1: 0.5, 2: 0.5, 3: None}, 0.4, 0.6).says == "1 of 3 diverged"
    assert curves.level({1: 0.5, 2: 0.5}, 0.4, 0.6).verdict is UNDECIDED
    assert curves.level(around(0.5, 0.05), 0.4, None).verdict is HOLDS
    assert curves.level(around(0.5, 0.05), None, 0.4).verdict is REFUTED


def test_two_problems_are_compared_by_welchs_interval():
    a, b = {1: 0.50, 2: 0.52, 3: 0.54}, {7: 0.40, 8: 0.41, 9: 0.42, 10: 0.43}
    decision = curves.greater(a, b, 0.01, paired=False)
    # By hand: s²ₐ/3 = 4e-4/3, s²_b/4 = (5e-4/3)/4; the freedom after Satterthwaite; t from a table of that freedom.
    va, vb = 4e-4 / 3, 5e-4 / 12
    freedom = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 3)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(va + vb)
    assert (decision.verdict, decision.effect) == (HOLDS, pytest.approx(0.105))
    assert (decision.interval.low, decision.interval.high) == pytest.approx((0.105 - half, 0.105 + half))
    assert curves.greater(b, a, 0.01, paired=False).verdict is REFUTED
    assert curves.greater({1: 0.5, 2: 0.5}, b, 0.01, paired=False).verdict is UNDECIDED
    assert curves.greater({1: None, 2: 0.5, 3: 0.5}, b, 0.01, paired=False).verdict is REFUTED


def test_the_sources_own_test_is_printed_beside_and_decides_nothing():
    a, b = {1: 0.52, 2: 0.53, 3: 0.56}, ZERO
    decision = curves.with_one_sided_test(curves.greater(a, b, 0.01), a, b)
    expected = stats.ttest_1samp(list(a.values()), 0, alternative="greater").pvalue
    assert decision.says == f"one-sided paired t test: p = {expected:.2g}"
    assert decision.verdict is HOLDS


STEPS = [0, *range(100, 2001, 100)]


def series(value):
    return {step: value(step) for step in STEPS}


def test_the_reading_of_a_seed_is_the_median_of_the_logarithms_after_the_first_tenth():
    a = series(lambda step: 1e9 if step <= 200 else 2.0 * (1 + step / 1e5))
    b = series(lambda step: 4.0 * (1 + step / 1e5))
    assert probes.log_ratio(a, b).value == pytest.approx(math.log(0.5))


def test_steps_that_could_not_be_measured_do_not_count():
    a = series(lambda step: math.nan if step in {300, 400} else 0.0 if step == 500 else 3.0)
    assert probes.log_ratio(a, series(lambda _: 1.0)).value == pytest.approx(math.log(3))
    few = series(lambda step: math.inf if step < 1100 else 3.0)
    reading = probes.log_ratio(few, series(lambda _: 1.0))
    assert (reading.value, reading.measured) == (pytest.approx(math.log(3)), True)
    fewer = series(lambda step: math.inf if step < 1200 else 3.0)
    assert probes.log_ratio(fewer, series(lambda _: 1.0)).measured is False
    short = dict.fromkeys((0, 10, 20, 30), 1.0)
    assert probes.log_ratio(short, short) == probes.Reading(
        None, "3 probed steps after the first tenth, 10 are needed", measured=False
    )


def test_fewer_than_half_of_the_steps_leave_a_seed_missing():
    steps = range(0, 10001, 100)
    a = {step: 2.0 if step > 8000 else math.nan for step in steps}
    reading = probes.log_ratio(a, dict.fromkeys(steps, 1.0))
    assert reading == probes.Reading(None, "20 of 90 probed steps count", measured=True)


def test_moments():
    a = {0: 1.0, 250: 2.0, 500: 3.0, 1000: 4.0}
    b = {0: 10.0, 250: 10.0, 500: math.nan, 1000: 10.0}
    assert probes.log_ratio(a, b, 0.25).value == pytest.approx(math.log(0.2))
    assert probes.log_ratio(a, a, 0.25, 0.0).value == pytest.approx(math.log(2))
    assert probes.log_ratio(a, b, 0.5).measured is True
    assert probes.log_ratio(a, b, 0.75).measured is False
    assert probes.log_ratio(a, {}).measured is False


@pytest.mark.parametrize(
    ("mean", "spread", "bounds", "expected"),
    [
        (math.log(0.4), 0.1, (None, 0.5), HOLDS),
        (math.log(0.4), 0.3, (None, 0.5), UNDECIDED),
        (math.log(0.6), 0.1, (None, 0.5), REFUTED),
        (math.log(1.3), 0.1, (1.0, None), HOLDS),
        (math.log(0.8), 0.1, (1.0, None), REFUTED),
        (0.0, 0.1, (0.5, 2.0), HOLDS),
        (math.log(3), 0.1, (0.5, 2.0), REFUTED),
        (math.log(2), 0.1, (0.5, 2.0), UNDECIDED),
    ],
)
def test_a_ratio_of_probes_is_decided_by_the_interval_of_its_logarithm(mean, spread, bounds, expected):
    readings = {seed: probes.Reading(value) for seed, value in around(mean, spread).items()}
    decision = probes.probe_ratio(readings, *bounds)
    assert decision.verdict is expected
    assert decision.effect == pytest.approx(math.exp(mean))
    assert decision.interval.low == pytest.approx(math.exp(mean - spread))


def test_seeds_without_a_reading():
    gone = probes.Reading(None, "diverged")
    readings = {1: probes.Reading(0.0), 2: probes.Reading(0.0), 3: gone}
    decision = probes.probe_ratio(readings, None, 2.0)
    assert (decision.verdict, decision.says) == (UNDECIDED, "seed 3: diverged; 2 seeds: a decision needs 3")
    never = probes.Reading(None, "the probe did not run", measured=False)
    assert probes.probe_ratio(dict.fromkeys((1, 2, 3), never), None, 2.0).verdict is NO_DATA
    assert probes.probe_ratio({**dict.fromkeys((1, 2), never), 3: gone}, None, 2.0).verdict is UNDECIDED
