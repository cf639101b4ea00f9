from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.text import Text

from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import Trajectory, open_results
from bnbench.analysis.ranking import rank
from bnbench.analysis.wanted import Wanted, find_wanted
from bnbench.components.variants import VARIANTS as TABLE
from bnbench.components.variants import Affine, AffineRule
from bnbench.report.figures.contours import (
    ModelTrajectories,
    affine_contours,
    contour_models,
    resolution,
    sort_channels,
)
from bnbench.report.figures.drawing import draw_kind
from bnbench.report.figures.registry import FIGURES
from bnbench.report.page import PAGES, TEXT
from bnbench.report.webpage.sections import Section
from bnbench.report.webpage.trajectories import affine_of
from support.figure_runs import SLOTS, STEPS, affine, run
from support.synthetic_store import build_store

PANELS = len(SLOTS)


def models_of(results, parameter: str, page=TEXT):
    learned = ("bn_gamma_beta", f"bn_{parameter}")
    (group,) = find_wanted(results.records, [Wanted("cifar10_3c3d", learned)], "full")
    models, _ = contour_models(
        results, [(group, [("A", group.row(learned[0])), ("B", group.row(learned[1]))])], parameter, page, None
    )
    return models


def images(figure) -> list[list]:
    """The images of each model, layer by layer; colour bars have none."""
    found = []
    for part in figure.subfigs:
        found.append([axes.images[0] for axes in part.axes if axes.images])
    return found


@pytest.mark.parametrize(("parameter", "centre"), [("gamma", 1.0), ("beta", 0.0)])
@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_panel_is_the_recorded_trajectory_with_its_channels_sorted_by_the_final_value(
    three_seeds, parameter, centre, page
):
    figure = affine_contours(models_of(three_seeds, parameter, page), parameter, page)
    drawn = images(figure)
    assert [len(row) for row in drawn] == [PANELS, PANELS], "two models, a panel per BatchNorm layer"
    for variant, row in zip(("bn_gamma_beta", f"bn_{parameter}"), drawn, strict=True):
        for slot, image in zip(SLOTS, row, strict=True):
            recorded = np.asarray(affine(variant, 4842821)[slot, parameter][1], np.float32)
            order = np.argsort(recorded[-1], kind="stable")
            np.testing.assert_array_equal(image.get_array(), recorded[:, order])
            final = image.get_array()[-1]
            assert (np.diff(final) >= 0).all()
            assert image.origin == "lower", "training goes up"
            left, right, bottom, top = image.get_extent()
            assert (left, right) == (0.5, recorded.shape[1] + 0.5)
            assert (bottom, top) == pytest.approx((-2.5, STEPS[-1] + 2.5)), "a snapshot is as high as the steps to it"
            assert image.norm.vcenter == centre


def test_the_layers_of_a_model_share_a_scale_centred_at_the_neutral_value_and_models_do_not(three_seeds):
    models = models_of(three_seeds, "gamma")
    figure = affine_contours(models, "gamma")
    scales = []
    for model, row in zip(models, images(figure), strict=True):
        (scale,) = {image.norm for image in row}
        assert isinstance(scale, CenteredNorm)
        farthest = max(float(np.abs(t.values.astype(float) - 1).max()) for t in model.slots.values())
        assert scale.halfrange == pytest.approx(farthest)
        assert scale.vmax - 1 == pytest.approx(1 - scale.vmin)
        scales.append(scale)
    assert scales[0].halfrange != scales[1].halfrange
    for part in figure.subfigs:
        assert sum(not axes.images for axes in part.axes) == 1, "one colour bar per model"


def test_labels_have_units(three_seeds):
    figure = affine_contours(models_of(three_seeds, "beta"), "beta")
    for part in figure.subfigs:
        *panels, bar = part.axes
        assert panels[0].get_ylabel() == "step [updates]"
        assert [axes.get_title() for axes in panels] == list(SLOTS)
        assert sum(axes.get_xlabel() == "channel, sorted by final value" for axes in panels) == 1
        assert bar.get_ylabel() == "shift β [dimensionless]"


def test_long_training_counts_in_thousands():
    steps = np.arange(0, 30_001, 1000, dtype=np.int64)
    model = ModelTrajectories("(A)", {"conv1": Trajectory(steps, np.ones((31, 2), np.float32))})
    (part,) = affine_contours([model], "gamma").subfigs
    assert part.axes[0].get_ylabel() == "step [10³ updates]"
    assert part.axes[0].images[0].get_extent()[3] == pytest.approx(30.5)


def test_a_parameter_that_never_moved_is_drawn_at_the_centre():
    model = ModelTrajectories("(A)", {"conv1": Trajectory(np.array([0, 5]), np.ones((2, 3), np.float32))})
    (part,) = affine_contours([model], "gamma").subfigs
    image = part.axes[0].images[0]
    np.testing.assert_allclose(image.norm(image.get_array()), 0.5)


def test_what_is_not_finite_is_grey_and_channels_are_sorted_by_the_last_finite_values():
    values = np.array([[0, 0], [3, 1], [np.nan, np.inf]], np.float32)
    np.testing.assert_array_equal(sort_channels(values)[1], [1, 3])
    model = ModelTrajectories("(A)", {"conv1": Trajectory(np.array([0, 5, 10]), values)})
    (part,) = affine_contours([model], "beta").subfigs
    drawn = part.axes[0].images[0]
    np.testing.assert_array_equal(drawn.get_array().mask, [[False] * 2, [False] * 2, [True] * 2])
    assert drawn.norm.halfrange == 3
    bad = drawn.cmap.get_bad()
    assert bad[0] == bad[1] == bad[2]


def test_models_of_few_layers_stand_side_by_side():
    def model(layers: int) -> ModelTrajectories:
        one = Trajectory(np.array([0, 5]), np.array([[0, 0], [1, 2]], np.float32))
        return ModelTrajectories("model", {f"conv{index}": one for index in range(layers)})

    for layers, across in ((3, 2), (4, 1)):
        figure = affine_contours([model(layers)] * 4, "beta")
        tops = {round(part.bbox.y1) for part in figure.subfigs}
        assert len(tops) == 4 // across


def test_no_panel_has_more_steps_than_its_page_has_dots(three_seeds, monkeypatch):
    long = Trajectory(np.arange(0, 50_000, 5, dtype=np.int64), np.zeros((10_000, 2), np.float32))
    monkeypatch.setattr(type(three_seeds), "trajectory", lambda *_: long)
    for page in PAGES.values():
        models = models_of(three_seeds, "gamma", page)
        most = resolution(page, 2, PANELS)
        assert most < 2500
        for model in models:
            assert {len(trajectory.steps) for trajectory in model.slots.values()} == {most}


def test_a_parameter_that_starts_elsewhere_is_drawn_around_its_start(tmp_path):
    low = replace(TABLE.get("bn_gamma"), name="low_start", symbol="low start", gamma=AffineRule(Affine.LEARNED, 0.1))
    steps = list(range(0, 45, 5))
    slots = {
        (slot, "gamma"): (steps, [[0.1 - 0.001 * step, 0.1 + 0.002 * step] for step in steps])
        for slot in ("conv1", "conv2", "conv3", "dense1", "dense2")
    }
    results = open_results(
        build_store(tmp_path, [run("bn_gamma", 42), replace(run("bn_gamma", 42), variant=low, affine=slots)])
    )
    (drawing,) = draw_kind(results, FIGURES.get("gamma"), comparisons(results.records), TEXT)
    norms = [axes.images[0].norm for axes in drawing.figure.findobj(Axes) if axes.images]
    assert sorted({norm.vcenter for norm in norms}) == [0.1, 1.0]
    scale = next(norm for norm in norms if norm.vcenter == 0.1)
    assert scale.halfrange == pytest.approx(0.08, rel=1e-5), "the drift fills the scale: it was one solid blue"
    said = [text.get_text() for text in drawing.figure.findobj(Text)]
    assert any("from γ = 0.1" in each for each in said)
    assert "centred at the value that γ started from" in drawing.caption
    (compared,) = rank(results).groups
    maps = affine_of(results, Section("c1", compared))
    by_name = {figure.variant: figure for figure in maps.figures}
    assert (by_name["low_start"].maps[42].centre, by_name["bn_gamma"].maps[42].centre) == (0.1, 1.0)
    assert by_name["low_start"].centre_in_words == "at the value that γ started from, 0.1"
