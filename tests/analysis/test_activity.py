"""Activity: frames over made-up stores."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest

from bnbench.analysis.activity import (
    MEASURES,
    activity_over_training,
    activity_summary,
    average_over_seeds,
    sparsity_summary,
)
from bnbench.analysis.frames import open_results
from bnbench.analysis.trajectory import (
    measure_trajectory,
)
from bnbench.components.variants import VARIANTS, Affine, AffineRule, Variant
from bnbench.errors import UserError
from support.figure_runs import run
from support.synthetic_store import SyntheticRun, build_store

STEPS = [0, 5, 10, 15, 20]


def ramp(final, neutral=0.0):
    """Straight from neutral to the final values: [snapshots, channels]."""
    return np.linspace(0, 1, len(STEPS))[:, None] * (np.asarray(final) - neutral) + neutral


def trajectories(gamma, beta):
    return {
        ("conv1", "gamma"): (STEPS, ramp(gamma, 1.0)),
        ("conv1", "beta"): (STEPS, ramp(beta)),
        ("dense1", "gamma"): (STEPS, ramp([1.0, 3.0], 1.0)),
        ("dense1", "beta"): (STEPS, ramp([-1.0, -3.0])),
    }


CURVE = [0.1, 0.5, 0.9]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    odd = Variant(
        "bn_gamma",
        "BN_γ",
        "learned in the last hidden slot only",
        "batch",
        gamma=AffineRule(Affine.LEARNED, 1.0, learned_in="dense2"),
        beta=AffineRule(Affine.FIXED, 0.0),
    )
    probe = {"probes.sparsity": True}
    two = [
        SyntheticRun(
            "digits_3c3d",
            "bn_gamma_beta",
            seed,
            CURVE,
            affine=trajectories(gamma, [0.5, -0.25, 0.25]),
            zeroed={"conv1": zeroed, "dense1": [0.5, 0.5, 0.5]},
            overrides=probe,
        )
        for seed, gamma, zeroed in ((43, [1.5, 2.0, 0.5], [0.5, 0.2, 0.4]), (42, [1.5, 4.0, 0.5], [0.5, 0.3, 0.6]))
    ]
    runs = [
        *two,
        SyntheticRun("digits_3c3d", "bn", 42, CURVE, affine=trajectories([1, 1, 1], [0, 0, 0]), overrides=probe),
        SyntheticRun(
            "digits_3c3d",
            "vanilla",
            42,
            CURVE,
            affine={("dense3", "bias"): (STEPS, ramp([1.0]))},
            zeroed={"conv1": [0.1, 0.2, 0.3]},
            overrides=probe,
        ),
        SyntheticRun(
            "digits_3c3d",
            "bn_beta",
            42,
            CURVE[:2],
            epochs=2,
            affine={("conv1", "beta"): ([0, 5], [[0.0, 0.0], [2.0, math.nan]])},
            diverged_at_step=7,
            overrides=probe,
        ),
        SyntheticRun("digits_3c3d", "bn_beta", 43, CURVE, affine=trajectories([1] * 3, [1] * 3), overrides=probe),
        SyntheticRun("digits_3c3d", odd, 42, CURVE, affine=trajectories([1] * 3, [0] * 3), overrides=probe),
        SyntheticRun("digits_mlp", "bn", 42, CURVE, error="boom"),
    ]
    return open_results(build_store(tmp_path_factory.mktemp("results"), runs))


def test_a_summary_has_a_row_per_run_slot_and_learned_parameter_in_the_networks_order(results):
    frame = activity_summary(results, variant="bn_gamma_beta")
    rows = list(zip(frame["seed"], frame["parameter"], frame["slot"], frame["position"], strict=True))
    expected = [("gamma", "conv1", 0), ("gamma", "dense1", 3), ("beta", "conv1", 0), ("beta", "dense1", 3)]
    by_run = {str(run) for run in frame["run_id"]}
    assert len(by_run) == 2
    for seed in (42, 43):
        assert [row[1:] for row in rows if row[0] == seed] == expected
    own = frame[(frame["seed"] == 43) & (frame["parameter"] == "gamma") & (frame["slot"] == "conv1")].iloc[0]
    wanted = measure_trajectory(results.trajectory(own["run_id"], "conv1", "gamma"), "gamma")
    for name in MEASURES:
        assert own[name] == pytest.approx(getattr(wanted, name), nan_ok=True), name
    assert own["magnitude"] == pytest.approx(2.0 / 3)


def test_what_a_variant_keeps_fixed_is_left_out_unless_it_is_asked_for(results):
    assert len(activity_summary(results, variant="bn")) == 0
    everything = activity_summary(results, variant="bn", learned_only=False)
    assert not everything["learned"].any()
    assert len(everything) == 4
    # γ is learned in dense2 alone, of which nothing was recorded here.
    assert len(activity_summary(results, variant="bn_gamma")) == 0
    assert set(activity_summary(results, variant="bn_beta", seed=43)["parameter"]) == {"beta"}
    assert list(activity_summary(results, variant="vanilla")["parameter"]) == ["bias"]


def test_filters_and_mistakes(results):
    assert len(activity_summary(results, slot="conv1", parameter=["gamma", "beta"], seed=42)) == 3
    assert len(activity_summary(results, problem="digits_mlp")) == 0
    assert list(activity_summary(results, problem="digits_mlp").columns[-1:]) == ["settled_step"]
    with pytest.raises(UserError, match=r"unknown parameter 'gama'\. Did you mean 'gamma'"):
        activity_summary(results, parameter="gama")
    with pytest.raises(UserError, match="unknown filter 'sede'"):
        activity_summary(results, sede=42)


def test_a_diverged_run_has_what_there_was(results):
    (row,) = activity_summary(results, variant="bn_beta", seed=42).to_dict("records")
    assert (row["status"], row["snapshots"], row["last_step"]) == ("diverged", 1, 0)


def test_over_training_has_a_row_per_snapshot(results):
    frame = activity_over_training(results, variant="bn_gamma_beta", seed=43, slot="conv1", parameter="gamma")
    assert list(frame["step"]) == STEPS
    assert frame["magnitude"].to_list() == pytest.approx([2 / 3 * share for share in (0, 0.25, 0.5, 0.75, 1)])
    assert frame["maximum"].to_list() == pytest.approx([1, 1.25, 1.5, 1.75, 2])
    assert set(frame["variant"]) == {"bn_gamma_beta"}
    thinned = activity_over_training(results, at_most=3, variant="bn_gamma_beta")
    assert len(thinned) == 2 * 4 * 3
    assert sorted(set(thinned["step"])) == [0, 10, 20]
    assert len(activity_over_training(results, at_most=None)) == 2 * 4 * 5 + 1 + 5 * 2 + 5
    nothing = activity_over_training(results, problem="digits_mlp")
    assert list(nothing.columns) == list(frame.columns)
    with pytest.raises(ValueError, match="at_most"):
        activity_over_training(results, at_most=1)


def test_means_over_seeds_and_divergence_in_their_place(results):
    means = average_over_seeds(activity_summary(results))
    order = list(dict.fromkeys(zip(means["variant"], means["parameter"], means["slot"], strict=True)))
    assert order == [
        ("bn_beta", "beta", "conv1"),
        ("bn_beta", "beta", "dense1"),
        ("bn_gamma_beta", "gamma", "conv1"),
        ("bn_gamma_beta", "gamma", "dense1"),
        ("bn_gamma_beta", "beta", "conv1"),
        ("bn_gamma_beta", "beta", "dense1"),
        ("vanilla", "bias", "dense3"),  # of the placement "none"
    ]
    rows = {(row["variant"], row["parameter"], row["slot"]): row for row in means.to_dict("records")}
    gamma = rows["bn_gamma_beta", "gamma", "conv1"]
    assert (gamma["seeds"], gamma["diverged"], gamma["problems"]) == ((42, 43), 0, ("digits_3c3d",))
    # Magnitudes (0.5 + 3 + 0.5) / 3 and 2 / 3.
    assert gamma["magnitude"] == pytest.approx(1.0)
    assert gamma["magnitude_deviation"] == pytest.approx(math.sqrt(2) / 3)
    diverged = rows["bn_beta", "beta", "conv1"]
    assert (diverged["seeds"], diverged["diverged"]) == ((42, 43), 1)
    assert math.isnan(diverged["magnitude"])
    assert math.isnan(rows["vanilla", "bias", "dense3"]["magnitude_deviation"])
    assert len(average_over_seeds(activity_summary(results, problem="digits_mlp"))) == 0


def test_one_name_with_two_definitions_is_two_variants(results, tmp_path):
    odd = Variant(
        "bn_beta",
        "BN_β",
        "a start away from 0",
        "batch",
        gamma=AffineRule(Affine.FIXED, 1.0),
        beta=AffineRule(Affine.LEARNED, 0.5),
    )
    runs = [
        SyntheticRun("digits_3c3d", variant, seed, CURVE, affine=trajectories([1] * 3, [1] * 3))
        for variant, seed in (("bn_beta", 42), (odd, 43))
    ]
    means = average_over_seeds(activity_summary(open_results(build_store(tmp_path, runs))))
    assert sorted(set(means["variant"])) == ["bn_beta#1", "bn_beta#2"]


def test_the_scale_and_the_bias_of_weight_norm_are_learned_where_gamma_and_beta_are(tmp_path):
    scale = (STEPS, 2.0 * ramp([0.5, 2.0], 1.0))
    bias = {("conv1", "bias"): (STEPS, ramp([0.5, 0.5])), ("dense3", "bias"): (STEPS, ramp([0.5, 0.5]))}
    frozen_but_output = dataclasses.replace(
        VARIANTS.get("vanilla"), name="output", symbol="o", train_weights=False, weights_in="output"
    )
    runs = [
        SyntheticRun("digits_3c3d", VARIANTS.get(name), 42, CURVE, affine={("conv1", "scale"): scale, **bias})
        for name in ("wn_beta", "wn_gamma_beta")
    ]
    runs.append(SyntheticRun("digits_3c3d", frozen_but_output, 42, CURVE, affine=bias))
    frame = activity_summary(open_results(build_store(tmp_path, runs)))
    learned = set(zip(frame["variant"], frame["parameter"], frame["slot"], strict=True))
    assert learned == {
        ("wn_beta", "bias", "conv1"), ("wn_beta", "bias", "dense3"), ("wn_gamma_beta", "bias", "conv1"),
        ("wn_gamma_beta", "bias", "dense3"), ("wn_gamma_beta", "scale", "conv1"), ("output", "bias", "dense3"),
    }  # fmt: skip
    own = frame[frame["parameter"] == "scale"].iloc[0]
    assert (own["minimum"], own["maximum"]) == (0.5, 2.0)


def test_sparsity_per_run_and_slot(results):
    frame = sparsity_summary(results, variant="bn_gamma_beta", seed=42)
    assert list(zip(frame["slot"], frame["initial"], frame["final"], frame["least"], frame["most"], strict=True)) == [
        ("conv1", 0.5, 0.6, 0.3, 0.6),
        ("dense1", 0.5, 0.5, 0.5, 0.5),
    ]
    means = average_over_seeds(sparsity_summary(results), ["initial", "final"])
    own = means[(means["variant"] == "bn_gamma_beta") & (means["slot"] == "conv1")].iloc[0]
    assert own["final"] == pytest.approx(0.5)
    assert set(means["variant"]) == {"vanilla", "bn_gamma_beta"}
    assert len(sparsity_summary(results, problem="digits_mlp")) == 0


def test_one_trajectory_is_in_memory_at_a_time(tmp_path):
    """Ten slots cost no more than one."""
    shape = (2000, 64)
    values = np.random.default_rng(1).normal(size=shape).cumsum(axis=0)

    def peak(slots):
        affine = {(slot, "gamma"): (np.arange(shape[0]) * 5, values) for slot in slots}
        run = SyntheticRun("digits_allcnnc", "bn_gamma_beta", 42, CURVE, affine=affine)
        opened = open_results(build_store(tmp_path / str(len(slots)), [run]))
        tracemalloc.start()
        frame = activity_summary(opened)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(frame) == len(slots)
        return found

    one = peak(["conv1"])
    assert peak([f"conv{number}" for number in range(1, 9)]) < 1.3 * one


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"slot": "typo"}, "unknown slot 'typo'"),
        ({"slot": ["dense1", "dens2"]}, "Did you mean 'dense2'?"),
        ({"variant": "bn_gama"}, "Did you mean 'bn_gamma'?"),
        ({"parameter": "gama"}, "Did you mean 'gamma'?"),
        ({"slots": "dense1"}, "unknown filter 'slots'. Did you mean 'slot'?"),
    ],
    ids=str,
)
def test_a_filter_that_finds_nothing_because_there_is_no_such_thing_is_a_mistake(tmp_path, filters, said):
    results = open_results(build_store(tmp_path, [run(variant, 42) for variant in ("bn", "bn_gamma")]))
    with pytest.raises(UserError) as caught:
        activity_summary(results, **filters)
    assert said in str(caught.value)
