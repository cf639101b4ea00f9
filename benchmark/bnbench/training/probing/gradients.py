"""Loss and gradient of the learned parameters, and how gradients compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnbench.network.build import Network
from bnbench.network.layers import Slot
from bnbench.training.probing.moment import NotMeasuredError, TrainingBatch, buffers_kept


@dataclass(frozen=True, eq=False)
class LearnedParameter:
    """A parameter that the optimiser moves."""

    slot: str
    role: str
    """"weight", "gamma" …; of several of one role in a slot: "weight", "weight.1" …"""
    parameter: nn.Parameter


def learned_parameters(network: Network) -> list[LearnedParameter]:
    """The parameters that the optimiser moves, slot by slot in the network's order.

    Raises:
        NotMeasuredError: there are none.
    """
    found = [
        LearnedParameter(name, role if index == 0 else f"{role}.{index}", parameter)
        for name, module in network.slots.items()
        for role, parameters in cast(Slot, module).roles().items()
        for index, parameter in enumerate(parameters)
        if parameter.requires_grad
    ]
    if not found:
        raise NotMeasuredError("the variant learns no parameter")
    return found


def loss_and_gradient(
    network: Network, batch: TrainingBatch, parameters: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Cross-entropy of a training batch, without the ℓ2 term, and its gradient.

    Args:
        network: in train mode; its buffers are left as they were.
        batch: with its draws, if any.
        parameters: of the network.

    Returns:
        The loss, a number; of each parameter the gradient, of its shape.
    """
    with buffers_kept(network):
        loss = functional.cross_entropy(network(batch.images, batch.draws), batch.labels)
        gradient = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return loss.detach(), gradient


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors as one vector of float64, each in the order of its indices."""
    return torch.cat([each.detach().reshape(-1).double() for each in tensors])


def norm(vector: Tensor) -> float:
    """‖x‖₂."""
    return float(torch.linalg.vector_norm(vector))


def cosine(left: Tensor, right: Tensor) -> float:
    """Cosine of the angle between two vectors; NaN where one of them is zero, or a number of them is not finite."""
    lengths = norm(left) * norm(right)
    return float(left @ right) / lengths if lengths > 0 else math.nan
