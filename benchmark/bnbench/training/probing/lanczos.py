"""Lanczos iteration with full reorthogonalisation, and the quadrature that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal

Vector: TypeAlias = npt.NDArray[np.float64]
Product: TypeAlias = Callable[[Vector], Vector]
"""A symmetric matrix [n, n], as what it makes of a vector [n]."""

BREAKDOWN = 1e-10
"""Where the next off-diagonal number is so small beside those before it, the start vector's invariant subspace is
exhausted. That is a normal end: a network with BatchNorm has directions in which its loss does not change."""


def tridiagonal(product: Product, start: Vector, order: int) -> tuple[Vector, Vector]:
    """The tridiagonal matrix that a symmetric matrix is on the Krylov space of a vector.

    Args:
        product: the matrix.
        start: [n], not zero.
        order: of the result, unless the iteration ends before.

    Returns:
        Its diagonal [m] and off-diagonal [m - 1], m at most `order` and n.

    Raises:
        FloatingPointError: a product is not finite.
    """
    order = min(order, len(start))
    basis = np.empty((order, len(start)))
    diagonal: list[float] = []
    beside: list[float] = []
    basis[0] = start / np.linalg.norm(start)
    for index in range(order):
        following = np.asarray(product(basis[index]), np.float64)
        if not np.isfinite(following).all():
            raise FloatingPointError("a product with the matrix is not finite")
        diagonal.append(float(basis[index] @ following))
        # Twice is enough (Parlett, The Symmetric Eigenvalue Problem, section 6.9).
        for _ in range(2):
            following -= (basis[: index + 1] @ following) @ basis[: index + 1]
        length = float(np.linalg.norm(following))
        if index + 1 == order or length <= BREAKDOWN * max(1.0, *map(abs, diagonal), *beside):
            break
        beside.append(length)
        basis[index + 1] = following / length
    return np.array(diagonal), np.array(beside[: len(diagonal) - 1])


def quadrature(diagonal: Vector, beside: Vector) -> tuple[Vector, Vector]:
    """Nodes and weights: Σ weight·f(node) is the start vector's part of f of the matrix (Golub & Welsch 1969).

    Returns:
        The eigenvalues of the tridiagonal matrix, ascending, and the squared first components of its eigenvectors,
        which add up to 1.
    """
    nodes, vectors = eigh_tridiagonal(diagonal, beside)
    return np.asarray(nodes, np.float64), np.asarray(vectors[0] ** 2, np.float64)
