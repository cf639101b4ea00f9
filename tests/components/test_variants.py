"""The table of variants."""

import dataclasses
import json

import pytest

from bnbench.components.variants import STUDIED, VARIANTS, Affine, AffineRule, Variant, expand_variants
from bnbench.errors import UserError
from bnbench.identity import hashed

# The table of the design, typed again: normalises, γ, β.
TABLE = {
    "vanilla": ("none", "absent", "absent"),
    "bn": ("batch", "fixed", "fixed"),
    "bn_beta": ("batch", "fixed", "learned"),
    "bn_gamma": ("batch", "learned", "fixed"),
    "bn_gamma_beta": ("batch", "learned", "learned"),
}


def test_the_five_of_the_study_come_first_and_in_their_order():
    assert tuple(TABLE) == STUDIED
    assert tuple(VARIANTS)[:5] == tuple(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_row_is_what_the_design_says(name):
    row = VARIANTS.get(name)
    assert (row.normaliser, row.gamma.status, row.beta.status) == TABLE[name]
    assert (row.gamma.initial, row.beta.initial) == (1.0, 0.0)
    assert row.train_weights
    assert row.baseline == {"vanilla": "lower", "bn_gamma_beta": "upper"}.get(name)
    assert row.alters_slots is (name != "vanilla")


def test_all_means_the_five_and_repeats_are_dropped():
    assert [row.name for row in expand_variants(("all",))] == list(TABLE)
    assert [row.name for row in expand_variants(("bn_gamma", "all", "bn"))] == [
        "bn_gamma", "vanilla", "bn", "bn_beta", "bn_gamma_beta",
    ]  # fmt: skip
    assert [row.name for row in expand_variants(("bn", "vanilla", "bn"))] == ["bn", "vanilla"]


def test_an_unknown_variant_is_refused_with_the_alternatives():
    with pytest.raises(UserError) as caught:
        expand_variants(("vanilla", "bn_gama"))
    assert "unknown variant 'bn_gama'. Did you mean 'bn_gamma'?" in str(caught.value)
    assert all(name in str(caught.value) for name in TABLE)
    with pytest.raises(UserError, match=r"no variant given\n.*vanilla.*'all'"):
        expand_variants(())


PLAIN = Variant("mine", "M", "a test's own", "batch", AffineRule(Affine.LEARNED, 1.0), AffineRule(Affine.FIXED, 0.0))


@pytest.mark.parametrize("prose", ["symbol", "summary", "baseline"])
def test_prose_is_not_part_of_a_row(prose):
    assert hashed(dataclasses.replace(PLAIN, **{prose: "other words"})) == hashed(PLAIN)


def different_rules(rule):
    return [
        dataclasses.replace(rule, status=Affine.ABSENT),
        dataclasses.replace(rule, initial=0.25),
        dataclasses.replace(rule, learning_rate_factor=10.0),
        dataclasses.replace(rule, learned_in="last:2"),
    ]


def test_everything_else_is_part_of_a_row():
    others = [
        dataclasses.replace(PLAIN, name="other"),
        dataclasses.replace(PLAIN, normaliser="none"),
        dataclasses.replace(PLAIN, train_weights=False),
        *(dataclasses.replace(PLAIN, gamma=rule) for rule in different_rules(PLAIN.gamma)),
        *(dataclasses.replace(PLAIN, beta=rule) for rule in different_rules(PLAIN.beta)),
    ]
    rows = [json.dumps(hashed(each), sort_keys=True) for each in (PLAIN, *others)]
    assert len(set(rows)) == len(rows)


def test_a_row_covers_every_field_there_is():
    # What came later is there where it is not its default.
    prose = {"symbol", "summary", "baseline"}
    later = {"revision", "options", "weights", "weights_options", "weights_in"}
    assert {field.name for field in dataclasses.fields(Variant)} - prose - later == set(hashed(PLAIN))
    later_of_rules = {"initial_until", "initial_in"}
    assert {field.name for field in dataclasses.fields(AffineRule)} - later_of_rules == set(hashed(PLAIN)["gamma"])
    rule = dataclasses.replace(PLAIN.gamma, initial=0.0, initial_until=1.0, initial_in=("output", 0.5))
    grown = dataclasses.replace(PLAIN, revision=2, options={"groups": 4}, weights="standardised", gamma=rule,
                                weights_options={"k": 2}, weights_in="output", train_weights=False)  # fmt: skip
    assert set(hashed(grown)) == set(hashed(PLAIN)) | later
    assert set(hashed(grown)["gamma"]) == set(hashed(PLAIN)["gamma"]) | later_of_rules
    assert hashed(PLAIN) == {
        "name": "mine",
        "normaliser": "batch",
        "gamma": {"status": "learned", "initial": 1.0, "learning_rate_factor": 1.0, "learned_in": None},
        "beta": {"status": "fixed", "initial": 0.0, "learning_rate_factor": 1.0, "learned_in": None},
        "train_weights": True,
    }


@pytest.mark.parametrize(
    ("normaliser", "gamma", "beta", "alters"),
    [("none", "absent", "absent", False), ("batch", "absent", "absent", True),
     ("none", "learned", "absent", True), ("none", "absent", "fixed", True)],
)  # fmt: skip
def test_a_variant_alters_slots_if_it_puts_anything_there(normaliser, gamma, beta, alters):
    row = dataclasses.replace(
        PLAIN,
        normaliser=normaliser,
        gamma=AffineRule(Affine(gamma), 1.0),
        beta=AffineRule(Affine(beta), 0.0),
    )
    assert row.alters_slots is alters
