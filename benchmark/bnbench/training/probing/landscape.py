"""The probe `landscape`: loss and gradient at several distances along the gradient (Santurkar et al. 2018, figure 4).

At a step, with the batch, the dropout masks and the augmentation of the coming update: g₀ is the gradient at θ over the
learned parameters, and loss and gradient are taken at θ − a·g₀ for a from half to four times the learning rate. What
is made of it (loss variation, gradient predictiveness, effective smoothness) is computed in `bnbench.analysis.probes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bnbench.options import OptionValue
from bnbench.training.events import Measured
from bnbench.training.probing.gradients import cosine, flat, learned_parameters, loss_and_gradient, norm
from bnbench.training.probing.moment import Moment, NotMeasuredError, Probe

RELATIVE_STEPS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""a / η, where η is the learning rate of the coming update."""


def build(options: Mapping[str, OptionValue]) -> Probe:
    """The probe; it has no options beside its schedule."""
    return landscape


def landscape(moment: Moment) -> Iterator[Measured]:
    """Rows of the table `landscape`, one for each of `RELATIVE_STEPS`.

    A loss or gradient that is not finite somewhere along the way is recorded as it is.

    Raises:
        NotMeasuredError: no parameter is learned, or loss or gradient are not finite at the step itself.
    """
    batch, rate = moment.coming
    parameters = [each.parameter for each in learned_parameters(moment.network)]
    rows = along_gradient(parameters, lambda: loss_and_gradient(moment.network, batch, parameters), rate)
    names = ("step_size", "relative_step", "loss", "gradient_norm", "gradient_distance", "gradient_cosine")
    count = len(rows)
    yield Measured(
        "landscape",
        {
            "step": np.full(count, moment.step, np.int64),
            "epoch": np.full(count, moment.epoch, np.int64),
            "statistics": ["batch"] * count,
            **{name: np.array(values, np.float64) for name, values in zip(names, zip(*rows, strict=True), strict=True)},
        },
    )


def along_gradient(
    parameters: Sequence[Tensor], evaluate: Callable[[], tuple[Tensor, Sequence[Tensor]]], rate: float
) -> list[tuple[float, float, float, float, float, float]]:
    """Loss and gradient at several distances along the gradient.

    Args:
        parameters: θ; they are moved.
        evaluate: loss and gradient where the parameters are.
        rate: η.

    Returns:
        For each of `RELATIVE_STEPS` a, a / η, L_a, ‖g_a‖, ‖g_a − g₀‖ and the cosine of the angle between g_a and g₀.

    Raises:
        NotMeasuredError: loss or gradient are not finite at θ itself.
    """
    start = [each.detach().clone() for each in parameters]
    loss, direction = evaluate()
    first = flat(direction)
    if not math.isfinite(norm(first)) or not bool(torch.isfinite(loss)):
        raise NotMeasuredError("loss or gradient are not finite at this step")
    rows = [(0.0, 0.0, float(loss), norm(first), 0.0, 1.0 if norm(first) > 0 else math.nan)]
    for relative in RELATIVE_STEPS[1:]:
        size = relative * rate
        with torch.no_grad():
            for parameter, origin, gradient in zip(parameters, start, direction, strict=True):
                parameter.copy_(origin - size * gradient)
        loss, gradients = evaluate()
        there = flat(gradients)
        rows.append((size, relative, float(loss), norm(there), norm(there - first), cosine(there, first)))
    return rows
