"""What is made of the probes' numbers, on values whose answers are known."""

import math

import numpy as np
import pytest

from bnbench.analysis.probes import density, density_curve, disabled_share, landscape, spectrum

STEPS = np.array([0.0, 0.05, 0.1, 0.2])


def test_of_a_quadratic_the_smoothness_is_the_same_at_every_distance():
    matrix, point = np.diag([1.0, 5.0]), np.array([2.0, 1.0])
    gradient = matrix @ point
    at = [point - step * gradient for step in STEPS]
    losses = np.array([0.5 * x @ matrix @ x for x in at])
    norms = np.array([np.linalg.norm(matrix @ x) for x in at])
    distances = np.array([np.linalg.norm(matrix @ x - gradient) for x in at])
    found = landscape(STEPS, losses, norms, distances)
    assert found.smoothness == pytest.approx(np.linalg.norm(matrix @ gradient) / np.linalg.norm(gradient))
    assert found.loss_variation == pytest.approx(losses.max() - losses.min())
    assert found.relative_loss_variation == pytest.approx(found.loss_variation / losses[0])
    assert (found.least_gradient_distance, found.largest_gradient_distance) == (distances[1], distances[3])
    assert found.relative_gradient_distance == pytest.approx(distances[3] / norms[0])


def test_the_order_of_the_rows_does_not_matter_and_what_is_not_finite_is_nan():
    loss, norm, distance = np.array([2.0, 1.5, 1.0, 3.0]), np.array([4.0, 1, 1, 1]), np.array([0.0, 1, 2, 8])
    found = landscape(STEPS, loss, norm, distance)
    turned = np.array([2, 0, 3, 1])
    assert landscape(STEPS[turned], loss[turned], norm[turned], distance[turned]) == found
    assert (found.loss_variation, found.smoothness) == (2.0, 10.0)
    loss[3] = math.inf
    distance[3] = math.nan
    found = landscape(STEPS, loss, norm, distance)
    assert math.isnan(found.loss_variation)
    assert math.isnan(found.smoothness)
    with pytest.raises(ValueError, match="one step of size 0"):
        landscape(STEPS[1:], loss[1:], norm[1:], distance[1:])
    with pytest.raises(ValueError, match="one step of size 0"):
        landscape(STEPS[:1], loss[:1], norm[:1], distance[:1])


def test_the_ratio_of_outliers_is_that_of_the_classes():
    values, shares, residuals = np.array([10.0, 4.0, 2.0, 1.0]), np.array([0.5, 0.25, 0.125, 0.1]), np.zeros(4)
    found = spectrum(values, shares, residuals, classes=3, learning_rate=0.1)
    assert (found.outlier_ratio, found.gradient_share, found.sharpness) == (5.0, 0.875, 0.5)
    below = spectrum(np.array([10.0, 4.0, -2.0]), shares[:3], residuals[:3], classes=3, learning_rate=0.1)
    assert math.isnan(below.outlier_ratio)
    assert below.gradient_share == 0.875
    poor = spectrum(values, shares, np.array([0, 0.011, 0, 0]), classes=3, learning_rate=0.1)
    assert math.isnan(poor.gradient_share)
    fine = spectrum(values, shares, np.array([0, 0.009, 0, 5.0]), classes=3, learning_rate=0.1)
    assert fine == found
    with pytest.raises(ValueError, match="2 eigenvalues, but 3 classes"):
        spectrum(values[:2], shares[:2], residuals[:2], classes=3, learning_rate=0.1)


def test_moments_and_negative_mass_are_means_over_draws():
    draw = np.array([0, 0, 1, 1])
    node, weight = np.array([-1.0, 3.0, 0.0, 2.0]), np.array([0.25, 0.75, 0.5, 0.5])
    found = density(draw, node, weight)
    assert found.mean == (2.0 + 1.0) / 2
    assert found.mean_square == (7.0 + 2.0) / 2
    assert found.negative_mass == 0.125
    assert found.outlier_gap(9.0) == pytest.approx(9 / math.sqrt(4.5))


def test_the_curve_has_the_mass_where_the_nodes_are():
    draw, node = np.array([0, 0, 1, 1]), np.array([-1.0, 3.0, -1.0, 3.0])
    values, curve = density_curve(node, np.array([0.25, 0.75, 0.75, 0.25]), draw, points=4000)
    step = values[1] - values[0]
    assert curve.sum() * step == pytest.approx(1.0)
    assert curve[values < 1].sum() * step == pytest.approx(0.5, abs=1e-6)
    # The variance of a node, not its width, is 1e-5 times the range.
    near = (values < 1) & (curve > 0)
    spread = np.sqrt((curve[near] * (values[near] + 1) ** 2).sum() / curve[near].sum())
    assert spread == pytest.approx(math.sqrt(1e-5 * 4), rel=1e-2)


def test_features_that_are_switched_off():
    assert disabled_share(np.array([0.0, 0.009, -0.009, 0.011, -1.0], np.float32)) == 0.6
    assert disabled_share(np.array([0.2, 1.0], np.float32), threshold=0.5) == 0.5
