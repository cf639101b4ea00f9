"""The probe `spectrum`: density and largest eigenvalues of the Hessian (Ghorbani, Krishnan & Xiao 2019).

The loss is the mean cross-entropy over the first whole batches of `train_eval`, of training size, without augmentation
and dropout, over the learned parameters. The density is stochastic Lanczos quadrature; the largest eigenvalues come
from ARPACK with their residuals and with the part of the squared gradient that lies along each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from bnbench.components.probes import eigenpairs, graphs_kept
from bnbench.network.build import Network
from bnbench.options import OptionValue
from bnbench.training.events import Measured
from bnbench.training.probing.gradients import LearnedParameter, learned_parameters
from bnbench.training.probing.hessian import Hessian
from bnbench.training.probing.lanczos import Vector, quadrature, tridiagonal
from bnbench.training.probing.moment import Moment, NotMeasuredError, Probe
from bnbench.training.seeding import start_vector

TOLERANCE = 1e-5
"""Relative accuracy that is asked of an eigenvalue: products in float32 give no more."""
RESTARTS = 100
"""After so many ARPACK gives up."""


def build(options: Mapping[str, OptionValue]) -> Probe:
    """The probe with these options."""
    return partial(spectrum, options)


def spectrum(options: Mapping[str, OptionValue], moment: Moment) -> Iterator[Measured]:
    """Rows of the tables `spectrum` and `eigenvalues`.

    Raises:
        NotMeasuredError: there are not so many whole batches, fewer than two numbers are learned, the loss is not
            finite, or the iteration for the eigenvalues does not converge.
    """
    network = in_memory_for_double_backward(moment.network)
    network.train(options["statistics"] == "batch")
    learned = learned_parameters(network)
    wanted = int(options["batches"])
    batches = [(images.contiguous(), labels) for images, labels in moment.first_whole_batches(wanted)]
    parameters = [each.parameter for each in learned]
    hessian = Hessian(network, batches, parameters, keep=graphs_kept(options, moment.size))
    if hessian.size < 2:
        raise NotMeasuredError("fewer than two numbers are learned")
    if not np.isfinite(hessian.loss) or not np.isfinite(hessian.gradient).all():
        raise NotMeasuredError("loss or gradient are not finite at this step")
    about = {"step": moment.step, "epoch": moment.epoch}
    statistics = str(options["statistics"])
    try:
        found = [
            quadrature(*tridiagonal(hessian, _start(draw, learned), int(options["order"])))
            for draw in range(int(options["draws"]))
        ]
        values, vectors = largest(hessian, _start(0, learned), min(eigenpairs(moment.size), hessian.size - 1))
    except FloatingPointError as error:
        raise NotMeasuredError(str(error)) from error
    except ArpackError as error:
        raise NotMeasuredError(f"the largest eigenvalues were not found: {error}") from error
    yield _density(about, statistics, found)
    yield _eigenvalues(about, statistics, hessian, values, vectors)


def in_memory_for_double_backward(network: Network) -> Network:
    """The network, its weights in the usual memory format: channels last makes a second derivative twice as slow."""
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]


def largest(hessian: Hessian, start: Vector, count: int) -> tuple[Vector, Vector]:
    """The largest eigenvalues, by value and not by size.

    Args:
        hessian: of n numbers.
        start: [n], where the iteration begins.
        count: how many, fewer than n.

    Returns:
        Eigenvalues [count], descending, and eigenvectors [n, count].

    Raises:
        FloatingPointError: a product is not finite.
        ArpackError: the iteration does not converge.
    """

    def product(vector: Vector) -> Vector:
        answer = hessian(vector)
        if not np.isfinite(answer).all():
            raise FloatingPointError("a product with the Hessian is not finite")
        return answer

    operator = LinearOperator((hessian.size, hessian.size), matvec=product, dtype=np.float64)
    values, vectors = eigsh(operator, k=count, which="LA", v0=start, tol=TOLERANCE, maxiter=RESTARTS)
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[:, order]


def _start(draw: int, learned: list[LearnedParameter]) -> Vector:
    parts = [start_vector(draw, each.slot, each.role, each.parameter).reshape(-1) for each in learned]
    return torch.cat(parts).numpy()


def _density(about: Mapping[str, int], statistics: str, found: list[tuple[Vector, Vector]]) -> Measured:
    counts = [len(nodes) for nodes, _ in found]
    count = sum(counts)
    return Measured(
        "spectrum",
        {
            **{name: np.full(count, value, np.int64) for name, value in about.items()},
            "statistics": [statistics] * count,
            "draw": np.repeat(np.arange(len(found), dtype=np.int64), counts),
            "index": np.concatenate([np.arange(1, each + 1, dtype=np.int64) for each in counts]),
            "node": np.concatenate([nodes for nodes, _ in found]),
            "weight": np.concatenate([weights for _, weights in found]),
        },
    )


def _eigenvalues(
    about: Mapping[str, int], statistics: str, hessian: Hessian, values: Vector, vectors: Vector
) -> Measured:
    count, squared = len(values), float(hessian.gradient @ hessian.gradient)
    along = (vectors.T @ hessian.gradient) ** 2
    residuals = [
        np.linalg.norm(hessian(vector) - value * vector) for value, vector in zip(values, vectors.T, strict=True)
    ]
    return Measured(
        "eigenvalues",
        {
            **{name: np.full(count, value, np.int64) for name, value in about.items()},
            "statistics": [statistics] * count,
            "index": np.arange(1, count + 1, dtype=np.int64),
            "value": np.asarray(values, np.float64),
            "gradient_share": along / squared if squared > 0 else np.full(count, np.nan),
            "residual": np.array(residuals, np.float64),
        },
    )
