"""Plain SGD; the ℓ2 factor acts on convolution and dense weights only."""

from __future__ import annotations

from typing import Any, cast

import torch

from bnbench.errors import UserError
from bnbench.network.build import Network
from bnbench.network.layers import Slot
from bnbench.network.roles import Role
from bnbench.problem import Training
from bnbench.variant import Variant


def parameter_groups(network: Network, variant: Variant, training: Training) -> list[dict[str, Any]]:
    """What the optimiser moves, and how: weights with decay; biases, γ and β without.

    The decay is the gradient of ½·λ·‖W‖² (docs/fidelity.md, point 1). Frozen parameters are in no group.
    """
    roles = [cast(Slot, module).roles() for module in network.slots.values()]
    rate = training.learning_rate
    rates: tuple[tuple[Role, float, float], ...] = (
        ("weight", rate, training.l2),
        ("bias", rate, 0.0),
        ("gamma", rate * variant.gamma.learning_rate_factor, 0.0),
        ("beta", rate * variant.beta.learning_rate_factor, 0.0),
        # ½·λ·‖W‖² of weights that are parted into length and direction is ½·λ·Σ g²: the direction has no decay.
        ("scale", rate * variant.gamma.learning_rate_factor, training.l2),
        ("direction", rate, 0.0),
        ("entries", rate, training.l2),
    )
    groups = [([p for slot in roles for p in slot.get(role, ())], rate, decay) for role, rate, decay in rates]
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
