"""Plain SGD; the ℓ2 factor acts on convolution and dense weights only."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from bnbench.errors import UserError
from bnbench.network.build import Network
from bnbench.network.layers import Slot
from bnbench.problem import Training
from bnbench.variant import Variant


def parameter_groups(network: Network, variant: Variant, training: Training) -> list[dict[str, Any]]:
    """What the optimiser moves, and how: weights with decay; biases, γ and β without.

    The decay is the gradient of ½·λ·‖W‖² (docs/fidelity.md, point 1). Frozen parameters are in no group.
    """
    slots = [cast(Slot, module) for module in network.slots.values()]
    normalisers = [slot.normaliser for slot in slots if slot.normaliser is not None]
    rate = training.learning_rate
    groups: list[tuple[list[Tensor], float, float]] = [
        ([slot.linear.weight for slot in slots], rate, training.l2),
        ([slot.linear.bias for slot in slots if slot.linear.bias is not None], rate, 0.0),
        ([cast(Tensor, each.weight) for each in normalisers], rate * variant.gamma.learning_rate_factor, 0.0),
        ([cast(Tensor, each.bias) for each in normalisers], rate * variant.beta.learning_rate_factor, 0.0),
    ]
    learned = [([p for p in group if p.requires_grad], rate, decay) for group, rate, decay in groups]
    return [{"params": params, "lr": rate, "weight_decay": decay} for params, rate, decay in learned if params]


def build_optimiser(network: Network, variant: Variant, training: Training) -> torch.optim.SGD:
    """SGD over the learned parameters.

    Raises:
        UserError: the variant leaves nothing to learn under this placement.
    """
    groups = parameter_groups(network, variant, training)
    if not groups:
        raise UserError(f"variant '{variant.name}' leaves no parameter to learn under this placement")
    return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum)
