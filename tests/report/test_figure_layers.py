from __future__ import annotations

import numpy as np
import pytest

from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.report.figures.drawing import NothingToDrawError, draw_kind
from bnbench.report.figures.registry import FIGURES
from bnbench.report.page import TEXT
from bnbench.report.style import slot_colours
from support.figure_runs import SEEDS, SLOTS, STEPS, VARIANTS, affine, run
from support.synthetic_store import build_store


def draw(results, kind: str):
    return draw_kind(results, FIGURES.get(kind), comparisons(results.records), TEXT)


def activity(variant: str, slot: str, parameter: str) -> np.ndarray:
    """[seeds, snapshots] mean distance from neutral, as the store has the values."""
    neutral = {"gamma": 1.0, "beta": 0.0}[parameter]
    tables = [np.asarray(affine(variant, seed)[slot, parameter][1], np.float32) for seed in SEEDS]
    return np.array([np.abs(table.astype(float) - neutral).mean(axis=1) for table in tables])


def test_activity_is_the_mean_distance_from_neutral_over_channels_and_seeds(three_seeds):
    (drawing,) = draw(three_seeds, "activity")
    panels = {axes.get_title(): axes for axes in drawing.figure.axes}
    assert list(panels) == ["BN$_{γ}$, γ", "BN$_{γ,β}$, γ", "BN$_{β}$, β", "BN$_{γ,β}$, β"]
    for title, variant, parameter in (("BN$_{γ}$, γ", "bn_gamma", "gamma"), ("BN$_{γ,β}$, β", "bn_gamma_beta", "beta")):
        lines = {line.get_label(): line for line in panels[title].lines}
        assert list(lines) == list(SLOTS)
        for slot, line in lines.items():
            expected = activity(variant, slot, parameter)
            np.testing.assert_allclose(line.get_xdata(), np.array(STEPS) / 10, err_msg="ten updates an epoch")
            np.testing.assert_allclose(line.get_ydata(), expected.mean(axis=0), rtol=1e-6)
            assert line.get_color() == slot_colours(SLOTS)[slot]
    assert drawing.figure.axes[0].get_ylabel() == "mean |γ − 1|\n[dimensionless]"
    assert {axes.get_xlabel() for axes in drawing.figure.axes} == {"epoch"}


def test_the_heat_map_has_a_row_per_layer_and_one_scale_per_parameter(three_seeds):
    (drawing,) = draw(three_seeds, "heatmap")
    images = {axes.get_title(): axes.images[0] for axes in drawing.figure.axes if axes.images}
    picture = images["BN$_{γ}$, γ"]
    expected = np.array([activity("bn_gamma", slot, "gamma").mean(axis=0) for slot in SLOTS])
    np.testing.assert_allclose(picture.get_array(), expected, rtol=1e-6)
    assert picture.norm is images["BN$_{γ,β}$, γ"].norm
    assert picture.norm is not images["BN$_{β}$, β"].norm
    assert picture.norm.vmin == 0
    assert [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()] == list(SLOTS)


def test_sparsity_is_drawn_from_the_probe_for_every_variant(tmp_path):
    shares = {"conv1": [0.5, 0.6, 0.7, 0.7, 0.8], "dense2": [0.4, 0.4, 0.3, 0.3, 0.2]}
    results = open_results(
        build_store(tmp_path, [run(name, seed, zeroed=shares, affine={}) for name in VARIANTS for seed in (42, 43)])
    )
    (drawing,) = draw(results, "sparsity")
    shown = [axes for axes in drawing.figure.axes if axes.get_visible()]
    assert len(shown) == 5
    for axes in shown:
        assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == shares
        assert axes.get_ylim()[0] == 0
    assert shown[0].get_ylabel() == "zeroed activations [%]"


@pytest.mark.parametrize("kind", ["activity", "heatmap", "gamma", "beta", "sparsity"])
def test_what_was_not_recorded_cannot_be_drawn(tmp_path, kind):
    results = open_results(
        build_store(tmp_path, [run("vanilla", 42), run("bn", 42, overrides={"probes.sparsity": False})][1:])
    )
    with pytest.raises(NothingToDrawError, match="it needs"):
        draw(results, kind)
