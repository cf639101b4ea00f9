"""Which runs are compared, in which order, and under which names: one answer for everybody."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bnbench.analysis.activity import activity_summary, average_over_seeds
from bnbench.analysis.comparison import (
    ComparisonKey,
    by_placement,
    by_setting,
    circumstances_of,
    comparison_keys,
    comparisons,
    seed_order,
)
from bnbench.analysis.frames import open_results
from bnbench.analysis.narrowing import narrowed
from bnbench.analysis.ranking import rank
from bnbench.analysis.variant_labels import variant_labels
from support.figure_runs import SEEDS, affine
from support.figure_runs import run as figure_run
from support.measured_runs import run
from support.synthetic_store import build_store


def record(variant, seed, **fields):
    return run(variant, seed, 0.5, **fields).record


def names(found):
    return [(each.problem, each.size, each.setting_id, each.learning_rate, each.placement) for each in found]


ORDERED = [
    ("p1", "full", "s1", 0.01, "hidden"),
    ("p1", "full", "s1", 0.1, "hidden"),
    ("p1", "full", "s1", 0.1, "every"),
    ("p1", "full", "s1", 0.1, "conv2"),
    ("p1", "full", "s1", 0.1, "first:2"),
    ("p1", "full", "s1", 0.1, "last:3"),
    ("p1", "full", "a-setting-with-overrides", 0.1, "hidden"),
    ("p1", "tiny", "a-tiny-setting", 0.1, "hidden"),
    ("p2", "full", "a-setting", 0.1, "hidden"),
]


def test_comparisons_come_in_the_one_order_whatever_the_order_of_the_runs():
    records = [
        record(
            variant, 1, problem=problem, size=size, setting=setting, rate=rate, placement=place,
            overrides=("training.epochs = 2",) if "overrides" in setting else (),
        )
        for problem, size, setting, rate, place in ORDERED
        for variant in ("bn", "vanilla")
    ]  # fmt: skip
    for seed in range(5):
        random.Random(seed).shuffle(records)
        found = comparisons(records)
        assert names(found) == ORDERED
        assert {tuple(each.variants) for each in found} == {("vanilla", "bn")}
    assert [len(each) for each in by_setting(found)] == [6, 1, 1, 1]
    assert [len(each) for each in by_placement(found)] == [2, 1, 1, 1, 1, 1, 1, 1]


def test_variants_come_in_the_order_of_the_catalogue_and_strangers_behind():
    given = ("zz_gone", "bn_gamma_beta", "aa_gone", "bn", "vanilla", "bn_beta")
    (compared,) = comparisons([record(variant, 1) for variant in given])
    assert compared.variants == ["vanilla", "bn", "bn_beta", "bn_gamma_beta", "aa_gone", "zz_gone"]
    assert [row.symbol for row in compared.rows] == ["vanilla", "BN", "BN_β", "BN_γ,β", "aa_gone", "zz_gone"]
    assert [row.baseline for row in compared.rows] == ["lower", None, None, "upper", None, None]


def test_seeds_come_in_the_order_of_the_problem():
    assert seed_order([44, 7, 4842821, 42], "digits_mlp", "tiny") == [4842821, 42, 44, 7]
    (compared,) = comparisons([record("bn", seed, problem="digits_mlp", size="tiny") for seed in (7, 42, 4842821)])
    assert compared.seeds == compared.rows[0].seeds == (4842821, 42, 7)


def test_runs_without_a_batchnorm_belong_to_every_placement_and_are_alone_where_there_is_none():
    bare, hidden, every = (record(v, 1, placement=p) for v, p in (("vanilla", "x"), ("bn", "hidden"), ("bn", "every")))
    two = comparisons([every, bare, hidden])
    assert [(each.placement, each.variants) for each in two] == [
        ("hidden", ["vanilla", "bn"]),
        ("every", ["vanilla", "bn"]),
    ]
    (alone,) = comparisons([bare])
    assert (alone.placement, alone.mask) == ("none", "000000")
    keys = comparison_keys(circumstances_of(each.identity) for each in (bare, hidden, every))
    assert keys == [ComparisonKey("s1", 0.1, "hidden"), ComparisonKey("s1", 0.1, "every")]
    assert all(key.holds(circumstances_of(bare.identity)) for key in keys)
    assert not keys[0].holds(circumstances_of(every.identity))
    assert not keys[0].holds(("s1", 1.0, "hidden"))


def test_a_definition_keeps_its_name_whatever_part_of_the_runs_is_compared():
    old, new = record("bn", 1, row="a"), record("bn", 2, row="b")
    elsewhere = record("bn", 1, setting="s2", row="b")
    both = [new, elsewhere, old]
    assert set(variant_labels(both).values()) == {"bn", "bn#1", "bn#2"}
    assert [each.variants for each in comparisons(both)] == [["bn#1", "bn#2"], ["bn"]]
    (alone,) = comparisons([new], among=both)
    assert alone.variants == ["bn#2"]
    assert alone.cautions == ("the variant 'bn' was defined differently in some of these runs: shown apart",)
    failed = replace(old, readable=False)
    assert comparisons([failed, new])[0].variants == ["bn"], "what was never trained is no definition"


def test_a_training_counts_once():
    one = record("bn", 1)
    again = replace(one, identity=replace(one.identity, run_id="z-with-a-probe"))
    (compared,) = comparisons([one, again])
    assert compared.run_ids == [one.identity.run_id]


def test_what_is_left_of_a_comparison():
    records = [record(variant, seed) for variant in ("vanilla", "bn") for seed in (1, 2)]
    (compared,) = comparisons(records)
    assert compared.only([]) is None
    left = compared.only(records[1:])
    assert [(row.variant, row.seeds) for row in left.rows] == [("vanilla", (2,)), ("bn", (1, 2))]


def test_narrowing_keeps_the_order(tmp_path):
    runs = [figure_run("bn", 42, placement=place, affine={}) for place in ("first", "every", "hidden")]
    runs += [figure_run("bn", 42, lr_factor=factor) for factor in (10.0, 0.1)]
    found = comparisons(open_results(build_store(tmp_path, runs)).records)
    assert [(each.lr_factor, each.placement) for each in narrowed(found, "full")] == [
        (0.1, "hidden"), (1.0, "hidden"), (1.0, "every"), (1.0, "first"), (10.0, "hidden"),
    ]  # fmt: skip
    assert [each.placement for each in narrowed(found, "full", placements=["first:1", "every"])] == ["every", "first"]
    assert [each.lr_factor for each in narrowed(found, "full", factors=[10.0, 0.1])] == [0.1, 10.0]
    assert narrowed(found, "tiny") == []


def test_ranking_figures_and_activity_agree_on_order(tmp_path):
    runs = [
        figure_run(variant, seed, placement=place, lr_factor=factor, affine=affine("bn_gamma", seed))
        for variant in ("bn_gamma", "bn_beta")
        for seed in SEEDS[:2]
        for place in ("first", "every", "hidden")
        for factor in (10.0, 0.1)
    ]
    results = open_results(build_store(tmp_path, runs))
    expected = [(each.learning_rate, each.placement) for each in comparisons(results.records)]
    assert len(expected) == 6
    assert [(each.learning_rate, each.placement) for each in rank(results).groups] == expected
    means = average_over_seeds(activity_summary(results))
    assert list(dict.fromkeys(zip(means["learning_rate"], means["placement"], strict=True))) == expected


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_the_factor_is_that_of_the_learning_rate_over_the_problems_own(tmp_path, factor):
    (compared,) = comparisons(open_results(build_store(tmp_path, [figure_run("bn", 42, lr_factor=factor)])).records)
    assert compared.lr_factor == factor
    assert compared.rows[0].learning_rate == compared.learning_rate
    assert comparisons([record("bn", 1)])[0].lr_factor is None
