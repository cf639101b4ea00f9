"""The probe `spectrum`: Lanczos and its quadrature on matrices, eigenvalues on a network, rows of a run."""

import math

import numpy as np
import pytest
import torch

from bnbench.components.architectures import Dense, Flatten
from bnbench.components.probes import PROBES, NetworkSize, graphs_kept, spectrum_bytes
from bnbench.training.probing import lanczos
from bnbench.training.probing.hessian import Hessian
from bnbench.training.probing.lanczos import quadrature, tridiagonal
from bnbench.training.probing.moment import NotMeasuredError
from bnbench.training.probing.spectrum import largest, spectrum
from bnbench.training.seeding import start_vector
from support.networks import train, trainer
from support.probing import batch_of, moment_of, probed_spec, rows, small_network

IMAGE = (1, 4, 4)
MLP = (Flatten(), Dense("first", 4), Dense("second", 5), Dense("third", 3, activation=False))
BATCHES = [batch_of(IMAGE, 3, seed=seed) for seed in (0, 1)]
OPTIONS = {**PROBES.get("spectrum").defaults, "batches": 2, "order": 20}


def symmetric(size, seed=0, rank=None):
    numbers = np.random.default_rng(seed)
    values = numbers.normal(size=size) * np.linspace(1, 3, size) ** 2
    values[size if rank is None else rank :] = 0
    base, _ = np.linalg.qr(numbers.normal(size=(size, size)))
    return base @ np.diag(values) @ base.T, numbers.normal(size=size)


def test_a_whole_iteration_finds_every_eigenvalue():
    matrix, start = symmetric(40)
    nodes, weights = quadrature(*tridiagonal(lambda x: matrix @ x, start, 40))
    values, vectors = np.linalg.eigh(matrix)
    np.testing.assert_allclose(nodes, values, atol=1e-10)
    np.testing.assert_allclose(weights, (vectors.T @ start / np.linalg.norm(start)) ** 2, atol=1e-10)


def test_the_quadrature_has_the_first_moments_exactly():
    # m nodes integrate polynomials up to degree 2m − 1 of the matrix, seen from the start vector.
    matrix, start = symmetric(60)
    unit = start / np.linalg.norm(start)
    nodes, weights = quadrature(*tridiagonal(lambda x: matrix @ x, start, 6))
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    for degree in range(12):
        moment = unit @ np.linalg.matrix_power(matrix, degree) @ unit
        assert (weights * nodes**degree).sum() == pytest.approx(moment, rel=1e-9, abs=1e-9)
    beyond = unit @ np.linalg.matrix_power(matrix, 12) @ unit
    assert (weights * nodes**12).sum() != pytest.approx(beyond, rel=1e-6)


def test_averaged_over_draws_the_moments_are_those_of_the_spectrum():
    matrix, _ = symmetric(50)
    found = []
    for seed in range(200):
        start = np.random.default_rng(seed).normal(size=50)
        nodes, weights = quadrature(*tridiagonal(lambda x: matrix @ x, start, 3))
        found.append([(weights * nodes).sum(), (weights * nodes**2).sum()])
    error = np.std(found, axis=0) / math.sqrt(len(found))
    exact = [np.trace(matrix) / 50, np.trace(matrix @ matrix) / 50]
    assert (np.abs(np.mean(found, axis=0) - exact) < 4 * error).all()


def test_an_exhausted_subspace_ends_the_iteration_and_is_normal():
    matrix, start = symmetric(30, rank=7)
    diagonal, beside = tridiagonal(lambda x: matrix @ x, start, 30)
    assert (len(diagonal), len(beside)) == (8, 7)
    nodes, weights = quadrature(diagonal, beside)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.abs(nodes).min() < 1e-10


def test_the_basis_stays_orthogonal_where_a_plain_iteration_loses_it(monkeypatch):
    # Widely separated eigenvalues converge early; without a second pass copies of them appear.
    matrix = np.diag(np.concatenate([np.linspace(0, 1, 197), [1e3, 1e4, 1e5]]))
    start = np.random.default_rng(0).normal(size=200)
    nodes, _ = quadrature(*tridiagonal(lambda x: matrix @ x, start, 60))
    assert (nodes > 500).sum() == 3


def test_a_product_that_is_not_finite_is_said():
    with pytest.raises(FloatingPointError, match="not finite"):
        tridiagonal(lambda x: x * math.nan, np.ones(3), 3)
    assert lanczos.BREAKDOWN == 1e-10


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_the_eigenvalues_of_a_network_are_those_of_its_matrix(statistics):
    network = small_network(MLP, IMAGE).train(statistics == "batch")
    hessian = Hessian(network, BATCHES, list(network.parameters()), keep=True)
    matrix = np.stack([hessian(column) for column in np.eye(hessian.size)], axis=1)
    values, vectors = np.linalg.eigh(matrix)
    found, along = largest(hessian, np.random.default_rng(1).normal(size=hessian.size), 5)
    np.testing.assert_allclose(found, values[::-1][:5], rtol=1e-8)
    np.testing.assert_allclose(np.abs(along.T @ vectors[:, ::-1][:, :5]), np.eye(5), atol=1e-4)

    # The rows of the probe say the same. It computes on the network as it is, here in float64.
    density, top = spectrum({**OPTIONS, "statistics": statistics}, moment_of(network, MLP, IMAGE, BATCHES))
    top = rows(top)
    assert [row["index"] for row in top] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([row["value"] for row in top], values[::-1][:5], rtol=1e-8)
    share = (vectors.T @ hessian.gradient) ** 2 / (hessian.gradient @ hessian.gradient)
    np.testing.assert_allclose([row["gradient_share"] for row in top], share[::-1][:5], atol=1e-6)
    assert max(row["residual"] for row in top) < 1e-4 * values[-1]
    density = rows(density)
    assert [(row["draw"], row["index"]) for row in density] == [(0, index) for index in range(1, 21)]
    assert {row["statistics"] for row in (*density, *top)} == {statistics}
    assert density[-1]["node"] == pytest.approx(values[-1], rel=1e-6)


def test_start_vectors_are_keyed_by_names_alone():
    like = torch.zeros(3, 4)
    assert torch.equal(start_vector(0, "conv1", "weight", like), start_vector(0, "conv1", "weight", like))
    others = [(1, "conv1", "weight"), (0, "conv2", "weight"), (0, "conv1", "gamma")]
    for other in others:
        assert not torch.equal(start_vector(0, "conv1", "weight", like), start_vector(*other, like))
    # On record: other numbers would be other directions, and old spectra could not be compared.
    assert start_vector(0, "conv1", "weight", like)[0, :2].tolist() == pytest.approx(RECORDED, rel=1e-12)


RECORDED = [-0.9121010408388903, -0.1723791849693061]


def test_what_cannot_be_measured_is_said():
    network = small_network(MLP, IMAGE)
    with pytest.raises(NotMeasuredError, match="2 whole batches, not 4"):
        list(spectrum({**OPTIONS, "batches": 4}, moment_of(network, MLP, IMAGE, BATCHES)))
    with torch.no_grad():
        network.slots["third"].linear.weight.fill_(math.inf)
    with pytest.raises(NotMeasuredError, match="not finite at this step"):
        list(spectrum(OPTIONS, moment_of(network, MLP, IMAGE, BATCHES)))


def test_a_run_has_a_spectrum_where_its_schedule_says():
    options = {"schedule": "even:1", "order": 3, "batches": 1, "draws": 2}
    told = train(trainer(probed_spec({"spectrum": options}, epochs=1)))
    assert told.rows_of("probe_notes") == []
    density, top = told.table("spectrum"), told.table("eigenvalues")
    assert sorted({row[0] for row in density}) == sorted({row[0] for row in top}) == [0, 8]
    assert [row[3:5] for row in density if row[0] == 8] == [(d, i) for d in (0, 1) for i in range(1, 4)]
    assert len([row for row in top if row[0] == 8]) == 6
    for row in top:
        assert row[6] < 1e-3 * max(row[4] for row in top)


def test_the_memory_of_the_vectors_and_graphs_is_stated_before():
    size = NetworkSize(parameters=895_210, activations=100_000, classes=10, batch_size=128)
    defaults = PROBES.get("spectrum").defaults
    stated = spectrum_bytes(defaults, size)
    graph = 32 * 100_000 * 128
    # The vectors alone: 90 of float64, and a few more.
    assert 90 * 8 * 895_210 <= stated - 2 * graph < 100 * 8 * 895_210
    assert spectrum_bytes({**defaults, "order": 180}, size) == stated + 90 * 8 * 895_210
    # Graphs that would be too much are made anew for each product instead.
    assert not graphs_kept(defaults, size)
    assert spectrum_bytes({**defaults, "batches": 100}, size) == stated
    assert graphs_kept({**defaults, "batches": 2}, size)
    assert spectrum_bytes({**defaults, "batches": 2}, size) == stated + graph
