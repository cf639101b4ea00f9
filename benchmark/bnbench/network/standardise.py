"""Centring and scaling by statistics of groups of activations, with γ and β: one formula, and a fast way to compute it.

torch's own kernels for groups of channels are slow in channels_last on a CPU, and it has none that only centres or only
scales. What is computed here in place of them reads and writes memory as seldom as BatchNorm does. Where the derivative
of the gradient is asked for, the formula itself is differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-5
"""ε of PyTorch's BatchNorm, which the founding study uses; of every normaliser here."""

_IMAGES_AT_A_TIME = 4


@dataclass(frozen=True)
class Rule:
    """Which activations share their statistics, and what is done with these."""

    average: Callable[[Tensor], Tensor]
    """(N, C), a number for each channel of each image, to the averages over those that share: (N, C) or (1, C)."""
    centre: bool = True
    """Whether the mean is subtracted."""
    scale: bool = True
    """Whether the result is divided by √(σ² + ε); σ² is always that of the centred activations."""


def over_batch(values: Tensor) -> Tensor:
    """All images share, each channel by itself."""
    return values.mean(0, keepdim=True)


def over_groups(groups: int) -> Callable[[Tensor], Tensor]:
    """Each image by itself, so many groups of neighbouring channels."""

    def average(values: Tensor) -> Tensor:
        parted = values.view(len(values), groups, -1)
        return parted.mean(2, keepdim=True).expand_as(parted).reshape(values.shape)

    return average


def standardised(x: Tensor, weight: Tensor, bias: Tensor, rule: Rule) -> Tensor:
    """γ · x̂ + β, with statistics of `x` itself, through which the gradient passes.

    Args:
        x: (N, C, H, W) or (N, C).
        weight: γ, (C,).
        bias: β, (C,).
        rule: what x̂ is.
    """
    cells = x if x.dim() == 4 else x[:, :, None, None]
    result: Tensor = _Standardise.apply(cells, weight, bias, rule)  # type: ignore[no-untyped-call] # torch's
    return result.view(x.shape) if x.dim() == 2 else result


def formula(x: Tensor, weight: Tensor, bias: Tensor, rule: Rule) -> Tensor:
    """What `standardised` computes for (N, C, H, W), as papers write it; differentiable any number of times."""
    mean = _cells(rule.average(x.mean((2, 3))))
    centred = x - mean
    result = centred if rule.centre else x
    if rule.scale:
        result = result * _cells(rule.average(centred.square().mean((2, 3))) + EPSILON).rsqrt()
    return result * _channels(weight) + _channels(bias)


class _Standardise(torch.autograd.Function):
    """`formula`, with as little memory as it takes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, rule: Rule) -> Tensor:  # noqa: ANN401 -- torch's
        mean = rule.average(_sums(x) / _positions(x))
        work = x - _cells(mean)
        rate = torch.ones_like(mean)
        if rule.scale:
            rate = (rule.average(_sums_of_squares(work) / _positions(x)) + EPSILON).rsqrt()
        ctx.save_for_backward(x, weight, bias, mean, rate)
        ctx.rule = rule
        gain = weight * rate
        shift = bias if rule.centre else torch.addcmul(bias, gain, mean)
        torch.addcmul(_cells(shift.expand_as(gain)), work, _cells(gain), out=work)
        return work.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 -- torch's
        (gradient,) = gradients
        x, weight, bias, mean, rate = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(x, weight, bias, ctx.rule, gradient), None
        rule, positions = ctx.rule, _positions(x)
        work = x - _cells(mean)
        work *= gradient
        along = work.sum((2, 3))  # of gradient · (x − μ), for each channel of each image
        summed = _sums(gradient)
        if not rule.centre:
            along = torch.addcmul(along, mean, summed)
        d_weight, d_bias = (along * rate).sum(0), summed.sum(0)
        if not ctx.needs_input_grad[0]:
            return None, d_weight, d_bias, None
        torch.mul(gradient, _cells(weight * rate), out=work)
        constant = torch.zeros_like(mean)
        if rule.scale:
            slope = rate**3 * rule.average(weight * along / positions)
            work -= _cells(slope) * x
            constant = slope * mean
        if rule.centre:
            constant = constant - rate * rule.average(weight * summed / positions)
        work += _cells(constant)
        return work.to(x.dtype), d_weight, d_bias, None


def _differentiable(x: Tensor, weight: Tensor, bias: Tensor, rule: Rule, gradient: Tensor) -> tuple[Tensor | None, ...]:
    inputs = (x, weight, bias)
    wanted = [each for each in inputs if each.requires_grad]
    found = iter(torch.autograd.grad(formula(x, weight, bias, rule), wanted, gradient, create_graph=True))
    return tuple(next(found) if each.requires_grad else None for each in inputs)


def _sums(x: Tensor) -> Tensor:
    """Over the positions of each channel of each image, at least in single precision: (N, C)."""
    return x.sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))


def _sums_of_squares(x: Tensor) -> Tensor:
    """A few images at a time on a CPU, so that their squares stay in its cache: it is three times as fast."""
    parts = torch.split(x, _IMAGES_AT_A_TIME) if x.device.type == "cpu" else (x,)
    return torch.cat([_sums(part * part) for part in parts])


def _positions(x: Tensor) -> int:
    return x.shape[2] * x.shape[3]


def _cells(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def _channels(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
