"""γ and β in the report, against the trajectories themselves and the analysis of activity."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bnbench.analysis.activity import activity_summary, average_over_seeds, sparsity_summary
from bnbench.analysis.frames import Trajectory, open_results
from bnbench.analysis.ranking import rank
from bnbench.report.webpage.affine_section import zeroed_table
from bnbench.report.webpage.sections import sections
from bnbench.report.webpage.trajectories import COLUMNS, MISSING, ROWS, affine_of, extent_of, panel_of, quantised
from support.synthetic_store import SyntheticRun, build_store

from .conftest import SEEDS, SLOTS, affine


@pytest.fixture(scope="module")
def results(store):
    return open_results(store)


@pytest.fixture(scope="module")
def hidden(results):
    """The comparison with every variant, and its γ and β."""
    (each,) = [each for each in sections(rank(results)) if len(each.group.rows) == 5]
    return each, affine_of(results, each)


def unpacked(text, columns):
    return np.frombuffer(base64.b64decode(text), np.int8).reshape(-1, columns)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-3, 3, width=32)),
    st.sampled_from([0.0, 1.0]),
)
def test_a_byte_is_as_near_as_a_byte_can_be(values, centre):
    extent = extent_of(values, centre)
    bytes_ = unpacked(quantised(values, centre, extent), values.shape[1])
    assert bytes_.min() > MISSING
    back = centre + bytes_.astype(np.float64) / 127 * extent
    assert np.abs(back - values).max() <= extent / 254 * (1 + 1e-6)
    # The sign of what is farther from the centre than half a step is kept.
    far = np.abs(values.astype(np.float64) - centre) > extent / 200
    assert (np.sign(bytes_[far]) == np.sign(values[far] - centre)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_missing(value):
    values = np.array([[0.5, value, -0.5]], np.float32)
    assert extent_of(values, 0.0) == 0.5
    assert unpacked(quantised(values, 0.0, 0.5), 3).tolist() == [[127, MISSING, -127]]


def test_a_parameter_that_is_nowhere_finite_has_a_scale_too():
    assert 0 < extent_of(np.full((2, 2), np.nan, np.float32), 1.0) < 1e-3


@given(st.integers(1, 300), st.integers(1, 200))
def test_a_panel_is_small_and_holds_recorded_values_only(snapshots, channels):
    generator = np.random.default_rng([snapshots, channels])
    values = generator.normal(size=(snapshots, channels)).astype(np.float32)
    panel = panel_of("conv1", Trajectory(np.arange(snapshots, dtype=np.int64) * 5, values))
    assert panel.values.shape == (len(panel.steps), len(panel.channels))
    assert len(panel.steps) <= ROWS
    assert len(panel.channels) <= COLUMNS
    assert panel.steps[0] == 0
    assert panel.steps[-1] == 5 * (snapshots - 1)
    assert panel.channels[0] == 1
    assert panel.channels[-1] == channels
    # Sorted by the final value, the smallest and the largest channel among them.
    final = np.sort(values[-1])
    assert (panel.values[-1] == final[np.array(panel.channels) - 1]).all()
    assert np.isin(panel.values, values).all()


def test_every_learned_parameter_has_a_figure_the_full_batchnorm_first(hidden):
    _, found = hidden
    assert [figure.name for figure in found.figures] == [
        "beta bn_gamma_beta",
        "beta bn_beta",
        "gamma bn_gamma_beta",
        "gamma bn_gamma",
    ]
    assert found.seeds == SEEDS
    for figure in found.figures:
        assert [panel.slot for panel in figure.maps[42].panels] == list(SLOTS)
        assert all(slot in figure.description for slot in SLOTS)


def test_the_summary_is_that_of_the_analysis(hidden, results):
    each, found = hidden
    ids = [run.run.run_id for row in each.group.rows for run in row.runs]
    expected = average_over_seeds(activity_summary(results, run_id=ids, parameter=["gamma", "beta"]))
    pd.testing.assert_frame_equal(found.summary, expected, check_dtype=False, check_categorical=False)
    assert len(expected) == 4 * len(SLOTS)


def test_activity_over_training_is_the_mean_distance_from_doing_nothing(hidden, results):
    each, found = hidden
    figure = next(one for one in found.figures if one.name == "gamma bn_gamma")
    runs = next(row for row in each.group.rows if row.variant == "bn_gamma").runs
    own = [results.trajectory(run.run.run_id, "conv2", "gamma") for run in runs]
    expected = np.mean([np.abs(one.values.astype(np.float64) - 1).mean(axis=1) for one in own], axis=0)
    steps, magnitude = figure.activity["conv2"]
    assert steps == own[0].steps.tolist()
    assert magnitude == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_diverged_run_is_drawn_as_far_as_it_went_and_in_no_mean(tmp_path):
    exploded = {
        key: (steps, [*values[:-1], np.full(12, np.inf)]) for key, (steps, values) in affine("bn_gamma", 42).items()
    }
    build_store(
        tmp_path,
        [
            SyntheticRun("digits_3c3d", "bn_gamma", 42, [0.1, 0.3], epochs=20, affine=exploded, diverged_at_step=145),
            SyntheticRun("digits_3c3d", "bn_gamma", 43, [0.1] * 21, affine=affine("bn_gamma", 43)),
        ],
    )
    results = open_results(tmp_path)
    (each,) = sections(rank(results))
    found = affine_of(results, each)
    (figure,) = found.figures
    assert np.isinf(figure.maps[42].panels[0].values[-1]).all()
    assert np.isfinite(figure.maps[42].panels[0].values[:-1]).all()
    assert np.isfinite(figure.maps[42].extent)
    assert found.summary["magnitude"].isna().all()
    alone = results.trajectory(each.group.rows[0].runs[1].run.run_id, "conv1", "gamma")
    _, magnitude = figure.activity["conv1"]
    assert magnitude[-1] == pytest.approx(np.abs(alone.values[-1].astype(np.float64) - 1).mean(), rel=1e-5)


def test_each_run_is_announced(results):
    seen = []
    each = sections(rank(results))[0]
    affine_of(results, each, lambda: seen.append(1))
    assert len(seen) == sum(len(row.runs) for row in each.group.rows)


def test_the_table_of_zeroed_activations_has_the_variants_in_the_studys_order(tmp_path):
    probe = {"probes.sparsity": True}
    runs = [
        SyntheticRun(
            "digits_3c3d", variant, 42, [0.1, 0.5, 0.9],
            zeroed={"conv1": [0.5, 0.4, first], "dense1": [0.5, 0.6, 0.75]},
            overrides=probe,
        )
        for variant, first in (("bn_gamma_beta", 0.25), ("vanilla", 0.625), ("bn", 0.375))
    ]  # fmt: skip
    results = open_results(build_store(tmp_path, [*runs, SyntheticRun("digits_mlp", "bn", 42, [0.1, 0.5])]))
    every = {each.group.problems: each for each in sections(rank(results))}
    summary = sparsity_summary(results)
    table = zeroed_table(every["digits_3c3d",], summary)
    assert [column.name for column in table.columns] == ["slot", "vanilla", "bn", "bn_gamma_beta"]
    assert [list(row.values()) for row in table.records()] == [
        ["conv1", 0.625, 0.375, 0.25],
        ["dense1", 0.75, 0.75, 0.75],
    ]
    assert zeroed_table(every["digits_mlp",], summary) is None
