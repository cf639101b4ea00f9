from __future__ import annotations

import numpy as np
import pytest

from bnbench.analysis.wanted import Wanted, find_wanted
from bnbench.report.figures.curves import curve_group, loss_ceiling, training_curves
from bnbench.report.page import COLUMN, PAGES, SLIDE, TEXT
from bnbench.report.style import LOOKS
from support.figure_runs import SEEDS, VARIANTS, accuracy


def group_of(results, lr_factor: float = 1.0):
    (group,) = find_wanted(results.records, [Wanted("cifar10_3c3d", VARIANTS, lr_factor=lr_factor)], "full")
    return curve_group(results, group)


def lines(axes) -> dict[str, list]:
    """The curves by variant; crosses and triangles have no label."""
    found: dict[str, list] = {}
    for line in axes.lines:
        if not line.get_label().startswith("_"):
            found.setdefault(line.get_label(), []).append(line)
    return found


def marks(axes, marker: str) -> list:
    """The unlabelled marks of one kind: crosses, triangles."""
    return [line for line in axes.lines if line.get_label().startswith("_") and line.get_marker() == marker]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_lines_are_the_means_of_the_frame_and_bands_its_range(three_seeds, page):
    loss, accuracies = training_curves([group_of(three_seeds)], page).axes
    expected = {name: np.array([accuracy(name, seed) for seed in SEEDS]) for name in VARIANTS}
    drawn = lines(accuracies)
    assert list(drawn) == list(VARIANTS)
    for (name, (line,)), band in zip(drawn.items(), accuracies.collections, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), range(5))
        np.testing.assert_allclose(line.get_ydata(), expected[name].mean(axis=0), rtol=1e-12)
        corners = band.get_paths()[0].vertices
        for epoch in range(5):
            heights = corners[corners[:, 0] == epoch][:, 1]
            assert heights.min() == pytest.approx(expected[name][:, epoch].min())
            assert heights.max() == pytest.approx(expected[name][:, epoch].max())
    assert all(line.get_ydata()[0] == 2.3 for (line,) in lines(loss).values())


def test_variants_have_their_colours_dashes_and_markers_in_both_axes_and_in_the_legend(three_seeds):
    figure = training_curves([group_of(three_seeds)])
    for axes in figure.axes:
        for name, (line,) in lines(axes).items():
            assert (line.get_color(), line.get_marker()) == (LOOKS[name].colour, LOOKS[name].marker)
    (legend,) = figure.legends
    assert [handle.get_color() for handle in legend.legend_handles] == [LOOKS[name].colour for name in VARIANTS]
    dashes = {str(line._dash_pattern) for line in lines(figure.axes[0])["bn"]}
    assert dashes != {str(line._dash_pattern) for line in lines(figure.axes[0])["vanilla"]}


def test_every_axis_says_what_it_shows_and_in_which_unit(three_seeds):
    group = group_of(three_seeds)
    for page in (COLUMN, TEXT):
        loss, accuracies = training_curves([group], page).axes
        assert loss.get_xlabel() == accuracies.get_xlabel() == "epoch"
        assert (loss.get_ylabel(), accuracies.get_ylabel()) == ("training loss [nats]", "training accuracy [%]")
    above, below = training_curves([group], SLIDE).axes
    assert above.get_ylabel() == "training loss [nats]"
    assert below.get_xlabel() == "epoch"


def test_groups_stand_below_each_other_on_paper_and_side_by_side_on_a_slide(three_seeds):
    groups = [group_of(three_seeds)] * 3
    for page, across in ((TEXT, 2), (SLIDE, 3)):
        figure = training_curves(groups, page)
        assert figure.axes[0].get_gridspec().ncols == across


def test_a_diverged_run_is_drawn_to_a_cross_where_it_stopped_and_has_no_mean(patchy):
    group = group_of(patchy, 10.0)
    loss, accuracies = training_curves([group]).axes
    assert len(lines(accuracies)["vanilla"]) == 2, "a line for each seed"
    (cross,) = marks(accuracies, "x")
    assert cross.get_xdata()[0] == pytest.approx(17 / 10), "ten updates an epoch"
    assert cross.get_ydata()[0] == 0.2
    assert cross.get_color() == LOOKS["vanilla"].colour
    assert accuracies.get_xlim()[1] > 4, "the axis goes as far as was planned"
    (heading,) = [text.get_text() for text in loss.texts]
    assert "diverged: vanilla 1 of 2" in heading


def test_what_is_above_the_axis_or_not_finite_is_marked_at_its_edge(patchy):
    loss, _ = training_curves([group_of(patchy, 10.0)]).axes
    top = loss.get_ylim()[1]
    assert top == pytest.approx(1.5 * 2.3), "a loss of 92 does not flatten the others"
    triangles = {line.get_color(): line for line in marks(loss, "^")}
    over = triangles[LOOKS["bn_gamma_beta"].colour]
    np.testing.assert_array_equal(over.get_xdata(), [1, 4])
    np.testing.assert_array_equal(over.get_ydata(), [top, top])


def test_the_loss_axis_holds_everything_that_is_of_the_usual_size(three_seeds):
    rows = group_of(three_seeds).training()
    assert loss_ceiling(rows) == pytest.approx(1.05 * rows["loss"].max())
    assert loss_ceiling(rows.assign(loss=float("inf"))) == 1.0


def test_curves_of_different_settings_cannot_be_averaged_by_mistake(three_seeds):
    group = group_of(three_seeds)
    doubled = group.curves.loc[group.curves.index.repeat(2)]
    with pytest.raises(ValueError, match="duplicate"):
        training_curves([type(group)(group.title, doubled, {}, 4)])
