"""What the figures of probes, of disabled features and of families say, each number by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.components.placements import SlotPlace
from bnbench.errors import UserError
from bnbench.report.figures.disabled import groups_of
from bnbench.report.figures.drawing import draw_kind
from bnbench.report.figures.families import families_of
from bnbench.report.figures.kind import Request, labels_of
from bnbench.report.figures.registry import FIGURES
from bnbench.report.figures.spectrum import FLOOR, highest_of_each
from bnbench.report.page import SLIDE, TEXT
from bnbench.report.style import looks_of
from support.figure_runs import SEEDS, SLOTS, VARIANTS, run
from support.probed_runs import GRADIENT, PROBES, RATE, STEPS, landscape, level, probed
from support.synthetic_store import build_store

FROM_PROBES = ("activations", "landscape", "smoothness", "covariate_shift", "spectrum", "eigenvalues")
SHOWN = ("vanilla", "bn", "bn_gamma_beta")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Three variants, two seeds, every probe."""
    runs = [probed(variant, seed) for variant in SHOWN for seed in SEEDS[:2]]
    return open_results(build_store(tmp_path_factory.mktemp("measured"), runs))


@pytest.fixture(scope="module")
def patchy(tmp_path_factory):
    """A seed of vanilla diverged, one of BN had no probe, BN_γ,β could not measure a step."""
    notes = [(10, "landscape", "the loss is not finite"), (20, "landscape", "the loss is not finite")]
    runs = [
        probed("vanilla", SEEDS[0]),
        probed("vanilla", SEEDS[1], accuracy=[0.1, 0.2], loss=[2.3, 5.0], diverged_at_step=17, epochs=4,
               probed={"landscape": landscape("vanilla", SEEDS[1], STEPS[:2]), "probe_notes": []}),
        probed("bn", SEEDS[0]),
        run("bn", SEEDS[1]),
        probed("bn_gamma_beta", SEEDS[0], probed={
            "landscape": landscape("bn_gamma_beta", SEEDS[0], (0, 30, 40)), "probe_notes": notes}),
    ]  # fmt: skip
    return open_results(build_store(tmp_path_factory.mktemp("patchy"), runs))


def frame_of(results, kind, **wanted):
    return FIGURES.get(kind).data(results, comparisons(results.records), Request(**wanted))


def drawn(results, kind, page=TEXT, **wanted):
    return draw_kind(results, FIGURES.get(kind), comparisons(results.records), page, **wanted)


def mean_level(variant):
    return float(np.mean([level(variant, seed) for seed in SEEDS[:2]]))


def test_the_landscape_has_the_range_of_loss_and_gradient(measured):
    frame = frame_of(measured, "landscape")
    assert list(frame["panel"].unique()) == [
        *("loss, vanilla", "loss, BN", "loss, BN_γ,β"),
        *("gradient distance, vanilla", "gradient distance, BN", "gradient distance, BN_γ,β"),
    ]
    own = frame[frame["panel"] == "loss, BN"]
    height = mean_level("bn")
    assert list(own["x"]) == list(STEPS)
    np.testing.assert_allclose(own[["low", "y", "high"]], [[height, height, 1.4 * height]] * len(STEPS))
    own = frame[frame["panel"] == "gradient distance, BN"]
    np.testing.assert_allclose(own[["low", "y", "high"]], [[height / 2, 4 * height, 4 * height]] * len(STEPS))


def test_smoothness_has_what_claims_are_decided_on(measured):
    frame = frame_of(measured, "smoothness")
    for variant in SHOWN:
        for seed in SEEDS[:2]:
            own = frame[(frame["series"] == variant) & (frame["seed"] == seed)]
            height = level(variant, seed)
            expected = {
                "loss variation": 0.4 * height,
                "gradient change": 4 * height / GRADIENT,
                "smoothness": height / RATE / GRADIENT,
            }
            for panel, value in expected.items():
                np.testing.assert_allclose(own.loc[own["panel"] == panel, "y"], [value] * len(STEPS))


def test_the_shift_has_a_panel_for_each_slot_but_the_first(measured):
    frame = frame_of(measured, "covariate_shift")
    assert list(frame["panel"].unique()) == [*SLOTS[1:], "dense3"]
    own = frame[(frame["panel"] == "conv3") & (frame["series"] == "bn") & (frame["seed"] == SEEDS[1])]
    np.testing.assert_allclose(own["y"], [2 * level("bn", SEEDS[1])] * 4)


def test_the_density_is_that_of_one_seed_at_each_step(measured):
    frame = frame_of(measured, "spectrum")
    assert list(frame["panel"].unique()) == [f"step {step}" for step in STEPS]
    own = frame[(frame["series"] == "bn") & (frame["panel"] == "step 20")]
    # Two nodes, of 0.9 at 0 and of 0.1 at the level, with a variance of 1e-5 times their distance.
    height = level("bn", SEEDS[0])
    width = math.sqrt(1e-5 * height)
    peaks = own[own["y"] > 1]
    assert own["y"].max() == pytest.approx(0.9 / width / math.sqrt(2 * math.pi), rel=0.02)
    beyond = peaks[peaks["x"] > height / 2]
    assert beyond["y"].max() == pytest.approx(0.1 / width / math.sqrt(2 * math.pi), rel=0.02)
    assert beyond["x"].mean() == pytest.approx(height, abs=width)
    assert own["y"].min() == FLOOR
    other = frame_of(measured, "spectrum", seed=SEEDS[1])
    assert other["x"].max() == pytest.approx(level("bn_gamma_beta", SEEDS[1]), rel=0.02)
    with pytest.raises(UserError, match="no run with seed 7"):
        frame_of(measured, "spectrum", seed=7)


def test_no_peak_of_a_density_is_lost():
    x = np.linspace(-10, 1000, 10_000)
    y = np.zeros(10_000)
    y[[5, 7000, 9999]] = 1, 2, 3
    kept, values = highest_of_each(x, y, 100)
    assert len(kept) <= 100
    assert (np.diff(kept) > 0).all()
    assert {float(x[place]) for place in (5, 7000, 9999)} <= set(kept)
    assert sorted(values)[-3:] == [1, 2, 3]


def test_eigenvalues_come_as_a_ratio_and_as_the_share_of_the_gradient(measured):
    frame = frame_of(measured, "eigenvalues")
    own = frame[(frame["series"] == "bn") & (frame["seed"] == SEEDS[0]) & (frame["x"] == 30)].set_index("panel")["y"]
    assert own["λ₁"] == pytest.approx(12 * level("bn", SEEDS[0]))
    assert own["λ₁ / λ_C"] == pytest.approx(12 / 3), "ten classes: λ₁₀ is three levels"
    assert own["gradient in the top C"] == pytest.approx(0.5)


def test_activations_have_a_row_of_panels_for_each_quantity(measured):
    frame = frame_of(measured, "activations")
    own = frame[(frame["variant"] == "bn") & (frame["seed"] == SEEDS[0]) & (frame["series"] == "conv3")]
    height = level("bn", SEEDS[0])
    values = own.groupby("panel", sort=False)["y"].first().to_dict()
    expected = {"mean": -height, "standard deviation": 3 * height, "kurtosis": 3, "never-positive channels": 0.25}
    assert values == pytest.approx({f"{name}, BN": value for name, value in expected.items()})
    assert "Normalised with batch statistics." in labels_of(frame, FIGURES.get("activations")).caption


def test_a_feature_is_disabled_below_a_hundredth(measured):
    frame = frame_of(measured, "disabled")
    assert set(frame["panel"]) == {"BN_γ,β"}, "the others learn no γ"
    own = frame[(frame["series"] == "conv2") & (frame["seed"] == SEEDS[0])]
    assert list(own["y"]) == [0, 0.25, 0.5, 0, 0]
    assert list(own["x"]) == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"it needs a learned γ that comes below 0\.01"):
        drawn(measured_without_gamma(measured), "disabled")


def measured_without_gamma(results):
    """The same results, of which every γ that is learned is out of the way."""
    results = open_results(results.path)
    results.records = tuple(each for each in results.records if each.identity.variant != "bn_gamma_beta")
    return results


def test_of_many_layers_those_of_a_stage_are_one_line():
    stem, head = SlotPlace("conv1", "stem"), SlotPlace("dense", "output")
    blocks = [SlotPlace(f"s{s}b{b}c1", "bn1", s, f"s{s}b{b}") for s in (1, 2) for b in range(7)]
    places = (stem, *blocks, head)
    found = groups_of(places, [each.name for each in places])
    assert list(found) == ["conv1", "stage 1", "stage 2", "dense"]
    assert found["stage 2"] == [f"s2b{b}c1" for b in range(7)]
    few = groups_of(places, ["conv1", "s1b0c1"])
    assert few == {"conv1": ["conv1"], "s1b0c1": ["s1b0c1"]}


def test_the_same_ablation_looks_the_same_in_every_family(tmp_path):
    wanted = [*VARIANTS, "ln", "ln_beta", "ln_gamma_beta", "wn_gamma", "wn_gamma_beta", "affine", "bn_only"]
    results = open_results(build_store(tmp_path, [run(each, 42) for each in wanted]))
    (compared,) = comparisons(results.records)
    families = families_of(compared)
    assert [family.title for family in families] == ["BN", "LN", "WN"]
    assert [list(family.rows) for family in families[1:]] == [
        ["bn", "bn_beta", "bn_gamma_beta"], ["bn_gamma", "bn_gamma_beta"],
    ]  # fmt: skip
    (drawing,) = drawn(results, "families")
    axes = drawing.figure.axes
    assert [each.get_label() for each in axes[2].lines] == ["vanilla", "bn", "bn_beta", "bn_gamma_beta"]
    colours = {each.get_label(): each.get_color() for each in axes[4].lines}
    assert colours == {name: looks_of([name])[name].colour for name in ("vanilla", "bn_gamma", "bn_gamma_beta")}
    assert len({each.get_ylim() for each in axes[::2]}) == 1, "all loss axes are one"
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()][1] == "γ, β fixed"
    assert "Not run: LN with γ learned; WN with γ, β fixed and β learned." in drawing.caption
    assert len(drawn(results, "families", SLIDE)) == 1


def test_a_diverged_seed_is_in_no_mean_and_what_is_missing_is_said(patchy):
    (drawing,) = drawn(patchy, "smoothness")
    lines = [each for each in drawing.figure.axes[0].lines if each.get_label() == "vanilla"]
    mean, alone = sorted(lines, key=lambda line: -len(line.get_xdata()))
    np.testing.assert_allclose(mean.get_ydata(), [0.4 * level("vanilla", SEEDS[0])] * len(STEPS))
    assert list(alone.get_xdata()) == [0, 10]
    crosses = [each for each in drawing.figure.axes[0].lines if each.get_marker() == "x"]
    assert [list(each.get_xdata()) for each in crosses] == [[10]]
    assert f"Without the probe landscape: BN seed {SEEDS[1]}." in drawing.caption
    assert "Could not be measured: BN_γ,β 2 times (the loss is not finite)." in drawing.caption
    (drawing,) = drawn(patchy, "landscape")
    assert f"Without the probe landscape: BN seed {SEEDS[1]}." in drawing.caption


@pytest.mark.parametrize("kind", FROM_PROBES)
def test_part_of_the_runs_is_drawn_and_without_any_the_command_is_told(patchy, three_seeds, kind):
    assert drawn(patchy, kind)
    with pytest.raises(UserError, match="it needs runs with the probe"):
        drawn(three_seeds, kind)


def test_more_variants_than_a_page_holds_are_several_drawings(tmp_path):
    runs = [probed(variant, SEEDS[0]) for variant in VARIANTS]
    results = open_results(build_store(tmp_path, runs))
    first, second = drawn(results, "activations")
    assert (first.name[-2:], second.name[-2:]) == ("-1", "-2")
    titles = [axes.get_title() for part in (first, second) for axes in part.figure.axes]
    shown = [title.removeprefix("kurtosis, ") for title in titles if title.startswith("kurtosis")]
    assert shown == ["vanilla", "BN", "BN$_{β}$", "BN$_{γ}$", "BN$_{γ,β}$"]
    assert len(drawn(results, "spectrum")) == 1


@pytest.mark.parametrize("kind", ("smoothness", "covariate_shift", "eigenvalues"))
def test_variants_keep_their_colours(measured, kind):
    (drawing,) = drawn(measured, kind)
    colours = {line.get_label(): line.get_color() for line in drawing.figure.axes[0].lines}
    assert colours == {name: look.colour for name, look in looks_of(SHOWN).items()}
    assert len(set(colours.values())) == len(SHOWN)


def test_values_that_are_orders_of_magnitude_apart_have_a_logarithmic_axis(measured, tmp_path):
    far = [(step, epoch, how, size, share, loss, norm, 1000 * distance, cosine)
           for step, epoch, how, size, share, loss, norm, distance, cosine in landscape("bn", SEEDS[0])]  # fmt: skip
    runs = [
        probed("vanilla", SEEDS[0]),
        probed("bn", SEEDS[0], probed={"landscape": far, "probe_notes": []}, overrides=PROBES),
    ]
    (drawing,) = drawn(open_results(build_store(tmp_path, runs)), "smoothness")
    assert [axes.get_yscale() for axes in drawing.figure.axes] == ["linear", "log", "log"]
    (drawing,) = drawn(measured, "smoothness")
    assert {axes.get_yscale() for axes in drawing.figure.axes} == {"linear"}
