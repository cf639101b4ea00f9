"""Optimisers over a network's parameters: which are moved, at which multiple of the rate, and which decay."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from typing import Any, cast, get_args

import torch

from bnbench.components.optimisers import OPTIMISERS
from bnbench.components.variants import Variant
from bnbench.errors import UserError
from bnbench.network.build import Network
from bnbench.network.layers import Slot
from bnbench.network.roles import Role
from bnbench.options import complete
from bnbench.problem import Training

Group = dict[str, Any]
"""As torch takes it: params, lr and weight_decay."""

DECAYED: frozenset[Role] = frozenset({"weight", "scale", "entries"})
"""What the ℓ2 factor acts on where `l2_scope` is "weights" (docs/fidelity.md, point 1). ½·λ·‖W‖² of weights that are
parted into length and direction is ½·λ·Σ g²: the direction never decays."""


def parameter_groups(network: Network, variant: Variant, training: Training) -> list[Group]:
    """What the optimiser moves, and how: weights with decay; biases, γ and β without, unless `l2_scope` is "all".

    Frozen parameters are in no group, and a group without parameters is left out.
    """
    decayed = frozenset(get_args(Role)) - {"direction"} if training.l2_scope == "all" else DECAYED
    return [
        {
            "params": parameters,
            "lr": training.learning_rate * factor,
            "weight_decay": training.l2 if role in decayed else 0.0,
        }
        for role, factor, parameters in _learned(network, variant)
    ]


def rate_factors(network: Network, variant: Variant) -> tuple[float, ...]:
    """Of each group, what the run's learning rate is multiplied by."""
    return tuple(factor for _, factor, _ in _learned(network, variant))


def set_rate(optimiser: torch.optim.Optimizer, rate: float, factors: Sequence[float]) -> None:
    """Let the next update have this learning rate, times the factor of each group."""
    for group, factor in zip(optimiser.param_groups, factors, strict=True):
        group["lr"] = rate * factor


def build_optimiser(network: Network, variant: Variant, training: Training) -> torch.optim.Optimizer:
    """The run's optimiser over the learned parameters.

    Raises:
        UserError: the variant leaves nothing to learn under this placement; or the optimiser is not known, cannot be
            told its options, or what another package builds is none.
    """
    groups = parameter_groups(network, variant, training)
    if not groups:
        raise UserError(f"variant '{variant.name}' leaves no parameter to learn under this placement")
    row = OPTIMISERS.get(training.optimiser)
    told = {name: getattr(training, name) for name in row.settings}
    options = complete(f"optimiser '{row.name}'", row.options, training.optimiser_options)
    built = pkgutil.resolve_name(row.build)(groups, **told, **options)
    if not isinstance(built, torch.optim.Optimizer) or len(built.param_groups) != len(groups):
        raise UserError(
            f"optimiser '{row.name}': {row.build} made a {type(built).__name__}",
            hint="It should return a torch.optim.Optimizer over the groups of parameters that it was given.",
        )
    return built


def sgd(groups: list[Group], *, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    """SGD, with momentum where it is not 0."""
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov)


def adamw(groups: list[Group], *, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(groups, betas=betas, eps=eps)


def _learned(network: Network, variant: Variant) -> Iterator[tuple[Role, float, list[torch.nn.Parameter]]]:
    """The learned parameters by role, the factor of the learning rate that each role has before them.

    The order of the roles is that of the groups, and so of the optimiser's state in a checkpoint.
    """
    roles = [cast(Slot, module).roles() for module in network.slots.values()]
    factors: dict[Role, float] = {
        "weight": 1.0,
        "bias": 1.0,
        "gamma": variant.gamma.learning_rate_factor,
        "beta": variant.beta.learning_rate_factor,
        "scale": variant.gamma.learning_rate_factor,
        "direction": 1.0,
        "entries": 1.0,
    }
    for role, factor in factors.items():
        learned = [p for slot in roles for p in slot.get(role, ()) if p.requires_grad]
        if learned:
            yield role, factor, learned
