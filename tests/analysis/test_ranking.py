"""Rankings against tables computed by hand: infinite, tied, all missed, diverged, a single seed."""

import itertools
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnbench.analysis.frames import open_results
from bnbench.analysis.overall_ranking import score, time_ratios
from bnbench.analysis.ranked_group import Absence
from bnbench.analysis.ranking import rank, rank_measures
from bnbench.components.variants import STUDIED
from bnbench.problem import find_problem
from support.measured_runs import HARDER, MISSED, TARGET, golden, run, several, trio
from support.synthetic_store import SyntheticRun, build_store, grid


def only_group(measures):
    (group,) = rank_measures(measures).groups
    return group


def rows_of(group):
    return {row.variant: row for row in group.rows}


# --- one group --------------------------------------------------------------------------------------------------


def test_golden_table():
    group = only_group(golden())
    # Means 0.9, 0.72, 0.72, 0.6; 0.72 is tied; one seed of BN_γ diverged, so it is last in spite of 0.9.
    assert [(row.rank, row.variant) for row in group.rows] == [
        (1, "bn_gamma_beta"),
        (2, "bn"),
        (2, "bn_beta"),
        (4, "vanilla"),
        (5, "bn_gamma"),
    ]
    rows = rows_of(group)
    assert rows["bn"].final_train_accuracy.mean == pytest.approx(0.72)
    assert rows["bn"].final_train_accuracy.deviation == pytest.approx(0.12)
    assert rows["bn_gamma"].diverged == 1
    assert rows["bn_gamma"].final_train_accuracy.mean is None
    assert rows["bn_gamma"].best_train_accuracy.absence is Absence.DIVERGED
    assert [rows[v].baseline for v in STUDIED] == ["lower", None, None, None, "upper"]
    assert all(row.seeds == (1, 2, 3) for row in group.rows)
    assert group.notes == ()


def test_a_target_that_everybody_missed_is_said_in_words():
    runs = trio((0.5, 0.6, 0.7), (MISSED,) * 3)
    assert "no variant reached test accuracy ≥ 0.8 in any seed" in only_group(runs).notes
    # One seed of one variant got there.
    got_there = [run("vanilla", 1, 0.5, steps=100), *runs[1:]]
    assert not any("no variant" in note for note in only_group(got_there).notes)


def test_golden_times():
    times = {name: row.targets[0] for name, row in rows_of(only_group(golden())).items()}
    # (median steps, seeds that reached it, DeepOBS's speed with 20 epochs: a miss is 21)
    want = {
        "vanilla": (MISSED, 1, (21 + 21 + 10) / 3),
        "bn": (50, 3, 5),
        "bn_beta": (100, 3, 10),
        "bn_gamma": (20, 2, (2 + 21 + 2) / 3),
        "bn_gamma_beta": (MISSED, 0, 21),
    }
    for name, (steps, reached, speed) in want.items():
        assert (times[name].steps, times[name].reached) == (steps, reached)
        assert times[name].epochs == steps / 10
        assert times[name].speed == pytest.approx(speed)


def test_golden_differences_to_vanilla():
    rows = rows_of(only_group(golden()))
    assert rows["vanilla"].difference is None
    bn = rows["bn"].difference  # 0.10, 0.12, 0.14
    assert bn.mean == pytest.approx(0.12)
    half = 4.302652729911275 * 0.02 / math.sqrt(3)
    assert (bn.t_interval.low, bn.t_interval.high) == pytest.approx((0.12 - half, 0.12 + half))
    assert rows["bn_gamma_beta"].difference.mean == pytest.approx(0.3)
    diverged = rows["bn_gamma"].difference
    assert (diverged.mean, diverged.unusable) == (None, 1)
    # Holm over the differences that have a p: BN (t = 6√3) and BN_β (0.22, 0.12, 0.02: t = 1.2√3); p = 1 - t/√(2+t²).
    p = {name: 1 - t / math.sqrt(2 + t * t) for name, t in (("bn", 6 * math.sqrt(3)), ("bn_beta", 1.2 * math.sqrt(3)))}
    assert rows["bn"].holm_t_p == pytest.approx(2 * p["bn"])
    assert rows["bn_beta"].holm_t_p == pytest.approx(p["bn_beta"])
    assert rows["bn_gamma_beta"].holm_t_p is None  # equal in every seed
    assert rows["bn"].holm_sign_flip_p is None


def test_among_the_diverged_fewer_is_better_and_equal_is_tied():
    measures = [
        *(run("bn", seed, None) for seed in (1, 2)),
        *(run("bn_beta", seed, None if seed == 1 else 0.9) for seed in (1, 2)),
        *(run("bn_gamma", seed, None if seed == 2 else 0.1) for seed in (1, 2)),
        *(run("vanilla", seed, 0.01) for seed in (1, 2)),
    ]
    ranks = {row.variant: row.rank for row in only_group(measures).rows}
    assert ranks == {"vanilla": 1, "bn_beta": 2, "bn_gamma": 2, "bn": 4}


def test_a_single_seed_says_nothing_about_noise():
    group = only_group([run("vanilla", 1, 0.5), run("bn", 1, 0.6)])
    assert "one seed: nothing can be said about noise" in group.notes
    bn = rows_of(group)["bn"]
    assert bn.difference.mean == pytest.approx(0.1)
    assert (bn.difference.t_interval, bn.difference.t_p, bn.holm_t_p) == (None, None, None)
    assert bn.final_train_accuracy.deviation is None


def test_an_accuracy_that_is_not_finite_ranks_before_the_diverged_only():
    measures = [run("bn", 1, math.nan), run("vanilla", 1, 0.1), run("bn_beta", 1, None)]
    group = only_group(measures)
    assert [row.variant for row in group.rows] == ["vanilla", "bn", "bn_beta"]
    assert rows_of(group)["bn"].final_train_accuracy.absence is Absence.NOT_FINITE


def test_a_loss_that_is_not_finite_has_no_mean():
    row = only_group([run("bn", 1, 0.5, loss=math.inf), run("bn", 2, 0.5)]).rows[0]
    assert row.final_train_loss.absence is Absence.NOT_FINITE
    assert row.final_train_accuracy.mean == 0.5


def test_settings_rates_and_placements_are_never_mixed():
    measures = [
        *(run(v, 1, 0.5) for v in ("vanilla", "bn")),
        *(run(v, 1, 0.9, setting="s2") for v in ("vanilla", "bn")),
        *(run(v, 1, 0.7, rate=1.0) for v in ("vanilla", "bn")),
        run("bn", 1, 0.3, placement="every"),
    ]
    groups = {(g.setting_id, g.learning_rate, g.placement): rows_of(g) for g in rank_measures(measures).groups}
    assert set(groups) == {("s1", 0.1, "hidden"), ("s1", 0.1, "every"), ("s1", 1.0, "hidden"), ("s2", 0.1, "hidden")}
    got = {key: [rows[v].final_train_accuracy.mean for v in ("vanilla", "bn")] for key, rows in groups.items()}
    assert got == {
        ("s1", 0.1, "hidden"): [0.5, 0.5],
        ("s1", 0.1, "every"): [0.5, 0.3],  # vanilla has no BatchNorm anywhere and serves every placement
        ("s1", 1.0, "hidden"): [0.7, 0.7],
        ("s2", 0.1, "hidden"): [0.9, 0.9],
    }


def test_vanilla_alone_is_a_group_of_its_own():
    assert only_group([run("vanilla", 1, 0.5)]).placement == "none"


def test_a_mixed_group_says_so():
    measures = [
        run("vanilla", 1, 0.5, fingerprint="aaaa"),
        run("bn", 1, 0.5, fingerprint="bbbb", device="NVIDIA H200"),
        run("bn", 2, 0.5, fingerprint="bbbb", device="NVIDIA H200"),
    ]
    notes = only_group(measures).notes
    assert "mixes kinds of device: NVIDIA H200, cpu" in notes
    assert "mixes data of different fingerprints: aaaa, bbbb" in notes
    assert any(note.startswith("the variants have different seeds") for note in notes)


def test_a_variant_that_was_redefined_is_two():
    group = only_group([run("bn", 1, 0.5, row="old"), run("bn", 1, 0.9, row="new"), run("vanilla", 1, 0.1)])
    assert [(row.symbol, row.final_train_accuracy.mean) for row in group.rows[:2]] == [("BN#1", 0.9), ("BN#2", 0.5)]
    assert any("'bn' was defined differently" in note for note in group.notes)


def test_a_variant_whose_package_is_gone_keeps_its_name():
    group = only_group([run("their_norm", 1, 0.9), run("vanilla", 1, 0.5)])
    assert (group.rows[0].symbol, group.rows[0].baseline) == ("their_norm", None)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_runs_makes_no_difference(rng: random.Random):
    measures = golden() + golden(setting="s2", problem="p2") + golden(placement="every")[3:]
    shuffled = list(measures)
    rng.shuffle(shuffled)
    assert rank_measures(shuffled) == rank_measures(measures)


# --- the score --------------------------------------------------------------------------------------------------


def area_under_profile(ratios, largest):
    """The staircase integrated piece by piece between its own steps, over r_max - 1."""
    corners = sorted({1.0, largest, *(r for _, r in ratios if 1.0 < r < largest)})
    total = sum(
        sum(weight for weight, r in ratios if r <= left) * (right - left) for left, right in itertools.pairwise(corners)
    )
    return total / (largest - 1)


@given(
    st.lists(st.one_of(st.floats(1, 8), st.just(math.inf)), min_size=1, max_size=8),
    st.floats(1.5, 10),
)
def test_the_closed_form_is_the_area_under_the_profile(values, largest):
    ratios = [(1 / len(values), value) for value in values]
    assert score(ratios, largest) == pytest.approx(area_under_profile(ratios, largest))


def test_score_by_hand():
    # (4 - 1) / 3 = 1, (4 - 2) / 3 = 2/3, a miss and five times the fastest 0.
    assert score([(0.25, 1.0), (0.25, 2.0), (0.25, math.inf), (0.25, 5.0)]) == pytest.approx(5 / 12)


def test_time_ratios():
    assert time_ratios({"a": 50, "b": 100, "c": MISSED}) == {"a": 1.0, "b": 2.0, "c": MISSED}
    assert time_ratios({"a": MISSED, "b": MISSED}) == {"a": MISSED, "b": MISSED}
    assert time_ratios({"a": 0, "b": 0, "c": 10}) == {"a": 1.0, "b": 1.0, "c": MISSED}


# --- several problems -------------------------------------------------------------------------------------------


def test_golden_ranking_over_several_problems():
    (overall,) = rank_measures(several()).overall
    assert overall.problems == (("p1",), ("p2",), ("p3",))
    assert overall.groups == 4
    assert overall.problems_with_target == 2
    rows = {row.variant: row for row in overall.rows}
    assert rows["vanilla"].mean_rank == pytest.approx((2.5 + 3 + 3) / 3)
    assert rows["bn"].mean_rank == pytest.approx((1 + 1.5 + 2) / 3)
    assert rows["bn_beta"].mean_rank == pytest.approx((2.5 + 1.5 + 1) / 3)
    assert [row.variant for row in overall.rows] == ["bn", "bn_beta", "vanilla"]
    # Ratios in p1: hidden vanilla 4, BN 1, BN_β 2; every: vanilla 80/40 = 2, BN 1, BN_β missed. In p2 all missed.
    assert rows["vanilla"].score == pytest.approx(((0 + 2 / 3) / 2 + 0) / 2)
    assert rows["bn"].score == pytest.approx(((1 + 1) / 2 + 0) / 2)
    assert rows["bn_beta"].score == pytest.approx(((2 / 3 + 0) / 2 + 0) / 2)
    assert [rows["vanilla"].profile(t) for t in (1, 2, 4)] == [0, 0.25, 0.5]
    # Speed in epochs: a miss is 21.
    assert rows["vanilla"].speed == pytest.approx((8 + 21) / 2)
    assert rows["bn"].speed == pytest.approx(((2 + 4) / 2 + 21) / 2)
    assert rows["bn_beta"].speed == pytest.approx(((4 + 21) / 2 + 21) / 2)
    assert any(note.startswith("no variant reached test accuracy ≥ 0.8: p2") for note in overall.notes)


def test_friedman_over_problems_by_hand():
    (overall,) = rank_measures(several()).overall
    # Ranks by problem: p1 (2.5, 1, 2.5), p2 (3, 1.5, 1.5), p3 (3, 2, 1); sums 8.5, 4.5, 5. Correction for ties
    # 1 - Σ(t³ - t) / (n k (k² - 1)) = 1 - 12/72; χ² = (12 / 36 · (8.5² + 4.5² + 5²) - 36) / (5/6) = 3.8.
    assert overall.friedman.chi_square == pytest.approx(3.8)
    assert overall.friedman.p == pytest.approx(math.exp(-1.9))


def test_rank_differences_are_paired_by_seed():
    measures = [
        *(run("vanilla", seed, 0.5, setting=s, problem=s) for seed in (1, 2, 3) for s in ("s1", "s2")),
        *(run("bn", seed, final, setting="s1", problem="s1") for seed, final in ((1, 0.6), (2, 0.6), (3, 0.4))),
        *(run("bn", seed, final, setting="s2", problem="s2") for seed, final in ((1, 0.6), (2, 0.4), (3, 0.4))),
    ]
    (overall,) = rank_measures(measures).overall
    rows = {row.variant: row for row in overall.rows}
    # BN's mean rank by seed: 1, 1.5, 2; vanilla's 2, 1.5, 1; differences -1, 0, 1.
    assert rows["bn"].mean_rank == pytest.approx(1.5)
    difference = rows["bn"].rank_difference
    half = 4.302652729911275 / math.sqrt(3)
    assert difference.mean == pytest.approx(0)
    assert (difference.t_interval.low, difference.t_interval.high) == pytest.approx((-half, half))
    assert overall.seeds == (1, 2, 3)
    assert rows["vanilla"].rank_difference is None
    assert overall.friedman is None


def test_a_variant_that_diverged_once_is_last_in_every_seed():
    measures = [
        each
        for name in ("s1", "s2")
        for seed in (1, 2, 3)
        for each in (
            run("vanilla", seed, 0.5, setting=name, problem=name),
            run("bn_beta", seed, 0.4, setting=name, problem=name),
            run("bn", seed, None if (name, seed) == ("s1", 2) else 0.9, setting=name, problem=name),
        )
    ]
    (overall,) = rank_measures(measures).overall
    # s1: vanilla 1, BN_β 2, BN 3; s2: BN 1, vanilla 2, BN_β 3.
    assert {row.variant: row.mean_rank for row in overall.rows} == {"vanilla": 1.5, "bn": 2.0, "bn_beta": 2.5}


def test_one_setting_under_two_names_is_one_problem():
    twice = [
        *trio((0.5, 0.9, 0.7), (None,) * 3, seeds=(1, 2)),
        *trio((0.5, 0.9, 0.7), (None,) * 3, seeds=(3,), problem="alias"),
    ]
    ranking = rank_measures(twice)
    assert [group.problems for group in ranking.groups] == [("alias", "p1")]
    assert ranking.overall == ()
    (overall,) = rank_measures([*twice, *trio((0.9, 0.5, 0.4), (None,) * 3, setting="s2", problem="p2")]).overall
    assert overall.problems == (("alias", "p1"), ("p2",))
    assert {row.variant: row.mean_rank for row in overall.rows} == {"bn": 1.5, "bn_beta": 2.5, "vanilla": 2.0}


def test_several_settings_of_one_problem_are_one_problem():
    measures = [
        *trio((0.5, 0.9, 0.7), (None,) * 3, setting="s1"),
        *trio((0.5, 0.9, 0.7), (None,) * 3, setting="s2", rate=1.0),
    ]
    assert rank_measures(measures).overall == ()


def test_overridden_runs_do_not_stand_beside_the_problems_own():
    measures = [
        *trio((0.5, 0.9, 0.7), (None,) * 3, setting="s1"),
        *trio((0.9, 0.5, 0.6), (None,) * 3, setting="short", overrides=("training.epochs = 2",)),
        *trio((0.5, 0.9, 0.7), (None,) * 3, setting="s2", problem="p2", overrides=("width = 0.5",)),
    ]
    ranking = rank_measures(measures)
    assert len(ranking.groups) == 3
    (overall,) = ranking.overall
    assert overall.groups == 2
    assert {row.variant: row.mean_rank for row in overall.rows} == {"bn": 1, "bn_beta": 2, "vanilla": 3}
    assert "left out, overridden: p1 with training.epochs = 2" in overall.notes


def test_sizes_are_ranked_apart():
    measures = several() + [
        each
        for name in ("p1", "p2")
        for each in trio((0.9, 0.5, 0.6), (None,) * 3, setting=f"tiny-{name}", problem=name, size="tiny")
    ]
    full, tiny = rank_measures(measures).overall
    assert (full.size, len(full.problems)) == ("full", 3)
    assert (tiny.size, len(tiny.problems)) == ("tiny", 2)
    assert tiny.rows[0].variant == "vanilla"
    assert tiny.rows[0].score is None


def test_only_variants_that_are_everywhere_are_compared():
    measures = [*several(), *(run("bn_gamma", seed, 1.0, steps=10) for seed in (1, 2, 3))]
    (overall,) = rank_measures(measures).overall
    assert {row.variant for row in overall.rows} == {"vanilla", "bn", "bn_beta"}
    assert "left out, not in every problem and placement: bn_gamma" in overall.notes
    (same,) = rank_measures(several()).overall
    # The ratios depend on who is compared; a variant that is left out changes nothing.
    assert overall.rows == same.rows


def test_two_targets_of_a_problem_count_as_one_problem():
    both = (TARGET, HARDER)
    measures = [
        *trio((0.5, 0.9, 0.7), ((80, MISSED), (20, 50), (40, 100)), targets=both),
        *trio((0.5, 0.9, 0.7), (10, 20, 20), setting="s2", problem="p2"),
    ]
    (overall,) = rank_measures(measures).overall
    rows = {row.variant: row for row in overall.rows}
    # p1: ratios at the two levels; p2: 1, 2, 2.
    assert rows["vanilla"].score == pytest.approx(((0 + 0) / 2 + 1) / 2)
    assert rows["bn"].score == pytest.approx(((1 + 1) / 2 + 2 / 3) / 2)
    assert rows["bn_beta"].score == pytest.approx(((2 / 3 + 2 / 3) / 2 + 2 / 3) / 2)
    assert sum(weight for weight, _ in rows["bn"].ratios) == pytest.approx(1)


# --- from a store -----------------------------------------------------------------------------------------------


def curve(_problem, variant, seed):
    top = {"vanilla": 0.6, "bn": 0.8, "bn_beta": 0.7}[variant] + seed / 1000
    return [0.1, top / 2, top]


def test_ranking_of_a_store(tmp_path):
    variants = ["vanilla", "bn", "bn_beta"]
    runs = [
        *grid(["digits_3c3d", "digits_mlp"], variants, [42, 43, 44], curve),
        *grid(["digits_3c3d"], variants[1:], [42, 43, 44], curve, placement="every"),
        SyntheticRun("digits_3c3d", "bn_gamma", 42, [0.1, 0.2, 0.3], error="Traceback …"),
    ]
    results = open_results(build_store(tmp_path, runs))
    ranking = rank(results)
    assert [(g.problems, g.placement) for g in ranking.groups] == [
        (("digits_3c3d",), "hidden"),
        (("digits_3c3d",), "every"),
        (("digits_mlp",), "hidden"),
    ]
    for group in ranking.groups:
        assert [row.variant for row in group.rows] == ["bn", "bn_beta", "vanilla"]
        assert group.rows[0].difference.mean == pytest.approx(0.2)
        assert group.overrides == ("training.epochs = 2",)
    assert len(ranking.overall) == 1
    assert ["bn_gamma" in run_id for run_id in ranking.failed] == [True]
    only = rank(results, placement="every", problem="digits_3c3d")
    assert [(g.placement, len(g.rows)) for g in only.groups] == [("every", 3)]
    # Vanilla of a problem that was not run with that placement is in no ranking with that placement.
    assert [g.problems for g in rank(results, placement="every").groups] == [("digits_3c3d",)]


def test_targets_come_from_the_lookup(tmp_path):
    results = open_results(build_store(tmp_path, grid(["digits_3c3d"], ["vanilla", "bn"], [42], curve)))
    (group,) = rank(results, targets=lambda problem, size: (TARGET,) if problem == "digits_3c3d" else ()).groups
    assert [(row.variant, row.targets[0].steps) for row in group.rows] == [("bn", 20), ("vanilla", MISSED)]
    (group,) = rank(results).groups
    assert group.targets == find_problem("digits_3c3d").problem().targets


def test_values_are_plain_enough_to_be_compared_and_dumped(tmp_path):
    results = open_results(build_store(tmp_path, grid(["digits_3c3d"], ["vanilla", "bn"], [42], curve)))
    assert rank(results) == rank(results)
    assert json.dumps([row.variant for row in rank(results).groups[0].rows]) == '["bn", "vanilla"]'
