from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.analysis.ranking import rank
from bnbench.problem import RunsSource, Target
from bnbench.report.figures import profile, ranks, sensitivity
from bnbench.report.figures.curves import curve_group
from bnbench.report.figures.difference import epoch_differences
from bnbench.report.figures.drawing import draw_kind
from bnbench.report.figures.registry import FIGURES
from bnbench.report.page import TEXT
from bnbench.report.style import LOOKS
from support.figure_runs import SEEDS, VARIANTS, accuracy, run
from support.synthetic_store import build_store, grid


def labelled(axes) -> dict:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def draw(results, kind: str, **options):
    return draw_kind(results, FIGURES.get(kind), comparisons(results.records), TEXT, **options)


def test_differences_are_paired_by_seed_with_a_t_interval_at_each_epoch(three_seeds):
    (group,) = comparisons(three_seeds.records)
    found = epoch_differences(curve_group(three_seeds, group), "bn_gamma")
    table = np.array([np.subtract(accuracy("bn_gamma", seed), accuracy("vanilla", seed)) for seed in SEEDS])
    np.testing.assert_allclose(found.mean, table.mean(axis=0), atol=1e-12)
    half = stats.t.ppf(0.975, 2) * table.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found.high, table.mean(axis=0) + half, atol=1e-9)
    np.testing.assert_allclose(found.low, table.mean(axis=0) - half, atol=1e-9)


def test_the_difference_figure_shows_the_epochs_and_the_ranking_of_the_end(three_seeds):
    (drawing,) = draw(three_seeds, "difference")
    left, right = drawing.figure.axes
    (group,) = rank(three_seeds).groups
    for row in group.rows:
        if row.variant == "vanilla":
            continue
        over = labelled(left)[row.variant]
        paired = np.mean([np.subtract(accuracy(row.variant, s), accuracy("vanilla", s)) for s in SEEDS], axis=0)
        np.testing.assert_allclose(over.get_ydata(), 100 * paired, atol=1e-9)
        point = labelled(right)[row.variant]
        assert point.get_xdata()[0] == pytest.approx(100 * row.difference.mean)
        assert point.get_color() == LOOKS[row.variant].colour
    assert "[% points]" in left.get_ylabel()
    assert "[% points]" in right.get_xlabel()
    assert "vanilla" not in labelled(left)


def test_a_difference_with_a_diverged_seed_is_said_in_words(patchy):
    (drawing,) = draw(patchy, "difference")
    left, right = drawing.figure.axes
    said = [text.get_text() for text in right.texts]
    assert said == ["no value in 1 of 2 seeds", "no value in 1 of 1 seeds"]
    assert not labelled(right)
    (line,) = (labelled(left)[name] for name in ["bn"])
    assert list(line.get_xdata()) == [0, 1], "as far as both seeds have it"
    assert any(mark.get_marker() == "x" for mark in left.lines)


def test_the_learning_rate_figure_has_the_mean_the_range_and_a_cross_for_divergence():
    rows = [
        ("bn", seed, rate, value + 0.01 * seed)
        for seed in (1, 2)
        for rate, value in ((0.01, 0.5), (0.1, 0.8), (1.0, 0.7))
    ]
    rows += [("vanilla", 1, 0.01, 0.4), ("vanilla", 1, 0.1, 0.6), ("vanilla", 1, 1.0, np.nan)]
    frame = pd.DataFrame(rows, columns=["series", "seed", "x", "y"]).assign(panel="problem")
    (axes,) = sensitivity.draw(frame).axes
    np.testing.assert_allclose(labelled(axes)["bn"].get_ydata(), [0.515, 0.815, 0.715])
    np.testing.assert_allclose(np.log10(labelled(axes)["bn"].get_xdata()), [-2, -1, 0], atol=0.1)
    np.testing.assert_array_equal(labelled(axes)["vanilla"].get_ydata(), [0.4, 0.6, np.nan])
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert (cross.get_color(), list(cross.get_ydata())) == (LOOKS["vanilla"].colour, [0.0])
    assert axes.get_xscale() == "log"
    segments = axes.collections[1].get_segments()
    np.testing.assert_allclose([sorted(each[:, 1]) for each in segments], [[0.51, 0.52], [0.81, 0.82], [0.71, 0.72]])


def test_a_place_without_a_group_stays_empty():
    rows = [("bn", 1, rate, 0.5, name) for name in "abc" for rate in (0.1, 1.0)]
    figure = sensitivity.draw(pd.DataFrame(rows, columns=["series", "seed", "x", "y", "panel"]))
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]


def test_ranks_are_those_of_the_ranking_with_ties_between_their_places(three_seeds):
    (group,) = rank(three_seeds).groups
    rows = ranks.rank_rows(0, "problem", "hidden", group)
    assert {row["series"]: row["x"] for row in rows} == {name: float(5 - place) for place, name in enumerate(VARIANTS)}
    tied = [("vanilla", 3.0, True), ("bn", 1.5, False), ("bn_beta", 1.5, False)]
    rows += [
        {"x": place, "y": "tied", "series": name, "panel": "problem", "row": 1, "diverged": gone}
        for name, place, gone in tied
    ]
    frame = pd.DataFrame(rows)
    (axes,) = ranks.draw(frame.assign(mean=frame["series"].map({"bn": 2.25}))).axes
    bn, beta = labelled(axes)["bn"], labelled(axes)["bn_beta"]
    np.testing.assert_array_equal(bn.get_xdata(), [4.0, 1.5])
    np.testing.assert_array_equal(beta.get_xdata(), [3.0, 1.5])
    assert bn.get_ydata()[1] < beta.get_ydata()[1], "above each other, so that both are seen"
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[3.0]]
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert legend[1] == "BN  2.25"
    assert axes.get_xlabel() == "rank by final training accuracy [1 is best]"


def test_the_profile_is_the_rankings_share_of_problems(tmp_path):
    def curve(problem: str, variant: str, seed: int) -> list[float]:
        slow = {"vanilla": 4, "bn": 2, "bn_beta": 1}[variant] + (problem == "digits_mlp")
        return [0.0, *(min(1.0, epoch / slow) for epoch in range(1, 9))]

    results = open_results(
        build_store(tmp_path, grid(["digits_3c3d", "digits_mlp"], ["vanilla", "bn", "bn_beta"], [42], curve))
    )
    source = RunsSource(run_ids=("run",), commit="0123456", statistic="made up")
    target = Target(metric="accuracy", split="train_eval", level=1.0, source=source)
    (overall,) = rank(results, targets=lambda problem, size: (target,)).overall
    (axes,) = profile.draw(profile.profile_frame(overall)).axes
    # Epochs to the target: 4, 2, 1 and 5, 3, 2. Ratios: vanilla 4 and 2.5, BN 2 and 1.5, BN_β 1 and 1.
    expected = {"vanilla": {1: 0, 2.5: 0.5, 4: 1}, "bn": {1: 0, 1.5: 0.5, 2: 1, 4: 1}, "bn_beta": {1: 1, 4: 1}}
    for row in overall.rows:
        line = labelled(axes)[row.variant]
        assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == expected[row.variant]
        assert line.get_drawstyle() == "steps-post"


def test_without_a_target_there_is_no_profile(three_seeds):
    with pytest.raises(Exception, match="two problems, one of them with a target"):
        draw(three_seeds, "profile")


def test_sensitivity_takes_what_was_run_at_several_rates(tmp_path):
    runs = [
        run(variant, 42, lr_factor=factor, affine={}) for variant in ("vanilla", "bn") for factor in (0.1, 1.0, 10.0)
    ]
    runs.append(run("bn", 42, placement="first", affine={}))
    results = open_results(build_store(tmp_path, runs))
    (drawing,) = draw(results, "sensitivity")
    (axes,) = drawing.figure.axes
    assert len(labelled(axes)["bn"].get_xdata()) == 3
    assert axes.get_ylabel() == "final training accuracy [%]"
