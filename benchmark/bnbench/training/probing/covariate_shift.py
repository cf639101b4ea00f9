"""The probe `covariate_shift`: internal covariate shift of each slot (Santurkar et al. 2018, definition 2.1).

With θ before an update and θ' after it, on that update's batch and dropout masks: G of a slot is the gradient of its
parameters at θ, and G' the same gradient with all slots before it at θ' already, itself and the later ones still at θ.
Their difference is what the update of the earlier slots does to the gradient that the slot is about to follow. θ' is
where the optimiser has really gone, momentum, ℓ2 term and schedule included.

The definition is of the gradient of the whole loss. The option `batches` takes more of it than one update sees: the
mean over so many batches of `train_eval`, without augmentation, dropout and whatever else is random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from bnbench.options import OptionValue
from bnbench.training.events import Measured
from bnbench.training.probing.gradients import cosine, flat, learned_parameters, loss_and_gradient, norm
from bnbench.training.probing.moment import Moment, NotMeasuredError, Probe, TrainingBatch

MOST_SLOTS = 12
"""So many slots are looked at: of a deeper network that many, evenly spaced, the last one among them."""


def build(options: Mapping[str, OptionValue]) -> Probe:
    """The probe, on the update's own batch or on so many of `train_eval`."""
    return partial(covariate_shift, batches=int(options["batches"]))


def covariate_shift(moment: Moment, batches: int = 0) -> Iterator[Measured]:
    """Rows of the table `covariate_shift`, one for each slot that learns something but the network's first.

    Args:
        moment: an update.
        batches: of `train_eval`, of training size, that gradients are the mean over; 0: the update's own batch.

    Raises:
        NotMeasuredError: no such slot learns anything, `train_eval` has not so many whole batches, or loss or gradient
            are not finite before the update.
    """
    if moment.before is None:
        raise RuntimeError("the network before the update is needed")
    network = moment.network
    learned: dict[str, list[nn.Parameter]] = {}
    for each in learned_parameters(network):
        learned.setdefault(each.slot, []).append(each.parameter)
    slots = list(network.slots)
    looked_at = chosen_slots([name for name in slots[1:] if name in learned])
    if not looked_at:
        raise NotMeasuredError("no slot but the first learns anything")
    after = {name: [each.detach().clone() for each in network.slots[name].parameters()] for name in slots}
    network.load_state_dict(moment.before)

    wanted = [parameter for name in looked_at for parameter in learned[name]]
    loss, gradient = _mean_gradient(moment, batches, wanted)
    if not math.isfinite(loss) or not math.isfinite(norm(gradient)):
        raise NotMeasuredError("loss or gradient are not finite before the update")
    found, start = dict[str, Tensor](), 0
    for name in looked_at:
        stop = start + sum(parameter.numel() for parameter in learned[name])
        found[name], start = gradient[start:stop], stop

    rows: list[tuple[float, float, float, float]] = []
    for name, following in pairwise(slots):
        with torch.no_grad():
            for parameter, value in zip(network.slots[name].parameters(), after[name], strict=True):
                parameter.copy_(value)
        if following in found:
            ours, (_, theirs) = found[following], _mean_gradient(moment, batches, learned[following])
            length, shift = norm(ours), norm(ours - theirs)
            rows.append((length, shift, shift / length if length > 0 else math.nan, cosine(ours, theirs)))
    names = ("gradient_norm", "shift", "relative_shift", "cosine")
    measured = {name: np.array(values, np.float64) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    count = len(rows)
    yield Measured(
        "covariate_shift",
        {
            "step": np.full(count, moment.step, np.int64),
            "epoch": np.full(count, moment.epoch, np.int64),
            "statistics": ["batch"] * count,
            "slot": looked_at,
            **measured,
        },
    )


def _mean_gradient(moment: Moment, count: int, parameters: Sequence[Tensor]) -> tuple[float, Tensor]:
    """Loss and gradient, all parameters as one vector of float64, on what gradients are the mean over."""
    if count == 0:
        batch, _ = moment.coming
        loss, gradient = loss_and_gradient(moment.network, batch, parameters)
        return float(loss), flat(gradient)
    losses, total = 0.0, torch.zeros(())
    for number, (images, labels) in enumerate(moment.first_whole_batches(count)):
        loss, gradient = loss_and_gradient(moment.network, TrainingBatch(images, labels, None), parameters)
        losses += float(loss)
        total = flat(gradient) if number == 0 else total.add_(flat(gradient))
    return losses / count, total / count


def chosen_slots(names: list[str]) -> list[str]:
    """All of them, or `MOST_SLOTS` evenly spaced ones, in their order."""
    if len(names) <= MOST_SLOTS:
        return names
    return [names[len(names) * index // MOST_SLOTS - 1] for index in range(1, MOST_SLOTS + 1)]
