"""What is made of the probes' numbers: pure functions of the columns of one step, in the words of the papers.

Behind a normaliser the loss does not depend on the length of a weight, so that gradients and eigenvalues by themselves
say as much about that length as about the landscape. The quantities that are ratios (`relative` ones, shares, λ₁/λ_C)
do not; the others are for looking at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Landscape:
    """One step of `landscape` in a few numbers (Santurkar et al. 2018, figure 4); NaN where something is not finite."""

    loss_variation: float
    """max L_a − min L_a over the step sizes, 0 among them, in nats (4a)."""
    relative_loss_variation: float
    """The same, over L₀."""
    least_gradient_distance: float
    """min ‖g_a − g₀‖ over a > 0 (4b, where it is called predictiveness: small is predictive)."""
    largest_gradient_distance: float
    """max ‖g_a − g₀‖."""
    relative_gradient_distance: float
    """max ‖g_a − g₀‖ / ‖g₀‖."""
    smoothness: float
    """Effective β-smoothness: max ‖g_a − g₀‖ / (a·‖g₀‖) (4c); the step from θ has the length a·‖g₀‖."""


def landscape(step_size: Numbers, loss: Numbers, gradient_norm: Numbers, gradient_distance: Numbers) -> Landscape:
    """The derived quantities of one step.

    Args:
        step_size: a, [n], 0 among them and at least one other.
        loss: L_a, [n].
        gradient_norm: ‖g_a‖, [n].
        gradient_distance: ‖g_a − g₀‖, [n].

    Raises:
        ValueError: there is no step of size 0, or no other.
    """
    at_start, away = step_size == 0, step_size > 0
    if at_start.sum() != 1 or not away.any():
        raise ValueError(f"one step of size 0 and some others are needed, not {step_size}")
    first_loss, first_norm = float(loss[at_start][0]), float(gradient_norm[at_start][0])
    distances = gradient_distance[away]
    variation = _finite(np.max(loss)) - _finite(np.min(loss))
    largest = _finite(np.max(distances))
    return Landscape(
        loss_variation=variation,
        relative_loss_variation=_ratio(variation, first_loss),
        least_gradient_distance=_finite(np.min(distances)),
        largest_gradient_distance=largest,
        relative_gradient_distance=_ratio(largest, first_norm),
        smoothness=_ratio(_finite(np.max(distances / step_size[away])), first_norm),
    )


@dataclass(frozen=True)
class Spectrum:
    """One step of `eigenvalues` in a few numbers (Ghorbani et al. 2019); NaN where it cannot be said."""

    outlier_ratio: float
    """λ₁ / λ_C, C the number of classes."""
    gradient_share: float
    """The part of the squared gradient in the eigenspace of the C largest eigenvalues."""
    sharpness: float
    """λ₁·η / 2: above 1 a step of gradient descent on a quadratic would diverge."""


RESIDUAL = 1e-3
"""An eigenvalue is believed where its residual is at most so large a part of λ₁."""


def spectrum(
    value: Numbers, gradient_share: Numbers, residual: Numbers, *, classes: int, learning_rate: float
) -> Spectrum:
    """The derived quantities of one step.

    Args:
        value: λ, [n], descending.
        gradient_share: (q·g)² / ‖g‖², [n].
        residual: ‖Hq − λq‖, [n].
        classes: C, at most n.
        learning_rate: η of the step.

    Returns:
        Only NaN where one of the first C residuals is too large; no ratio where λ_C is not positive.

    Raises:
        ValueError: there are fewer than C eigenvalues.
    """
    if len(value) < classes:
        raise ValueError(f"{len(value)} eigenvalues, but {classes} classes")
    if not (residual[:classes] <= RESIDUAL * abs(value[0])).all():
        return Spectrum(math.nan, math.nan, math.nan)
    return Spectrum(
        outlier_ratio=_ratio(float(value[0]), float(value[classes - 1])),
        gradient_share=float(gradient_share[:classes].sum()),
        sharpness=float(value[0]) * learning_rate / 2,
    )


@dataclass(frozen=True)
class Density:
    """One step of `spectrum` in a few numbers, each a mean over the draws."""

    mean: float
    """tr H / P."""
    mean_square: float
    """tr H² / P."""
    negative_mass: float
    """The share of the density at λ < 0."""

    def outlier_gap(self, largest: float) -> float:
        """λ₁ / √(tr H² / P): how far the largest eigenvalue stands out of the bulk."""
        return _ratio(largest, math.sqrt(self.mean_square))


def density(draw: npt.NDArray[np.int64], node: Numbers, weight: Numbers) -> Density:
    """The derived quantities of one step; all [n], the draws' nodes one behind the other."""
    draws = len(np.unique(draw))
    return Density(
        mean=float((weight * node).sum()) / draws,
        mean_square=float((weight * node**2).sum()) / draws,
        negative_mass=float(weight[node < 0].sum()) / draws,
    )


def density_curve(
    node: Numbers, weight: Numbers, draw: npt.NDArray[np.int64], *, points: int = 10_000
) -> tuple[Numbers, Numbers]:
    """The density as a curve: a Gaussian at every node, as wide as Ghorbani et al. have it, averaged over draws.

    Args:
        node: [n].
        weight: [n].
        draw: [n].
        points: of the curve.

    Returns:
        λ [points], evenly spaced over all nodes and a little beyond, and the density there; its integral is 1.
    """
    least, most = float(node.min()), float(node.max())
    width = math.sqrt(1e-5 * max(1.0, most - least))
    values = np.linspace(least - 4 * width, most + 4 * width, points)
    total = np.zeros(points)
    for where, mass in zip(node, weight, strict=True):
        total += mass * np.exp(-0.5 * ((values - where) / width) ** 2)
    total /= len(np.unique(draw)) * width * math.sqrt(2 * math.pi)
    return values, total / (total.sum() * (values[1] - values[0]))


DISABLED_BELOW = 0.01
"""The |γ| below which a feature counts as switched off."""


def disabled_share(gamma: npt.NDArray[np.float32], threshold: float = DISABLED_BELOW) -> float:
    """The share of channels whose |γ| is below a threshold, so that the feature is as good as switched off."""
    return float((np.abs(gamma) < threshold).mean())


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan
