"""The sparsity probe: how much of what reaches each ReLU it sets to zero (thesis, section 3.3.1 and outlook)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from bnbench.network.build import Network
from bnbench.options import OptionValue
from bnbench.plan import Precision
from bnbench.training.evaluation import EVALUATION_BATCH, Batches
from bnbench.training.events import Measured
from bnbench.training.numerics import autocast, numerics
from bnbench.training.probing.moment import Moment, Probe

SPARSITY_BATCHES = 4
"""Batches of `EVALUATION_BATCH` that the probe looks at, on every device: the first ones of `train_eval` in its fixed
order, 500 images, or all of a smaller split. They are the same at every epoch, for every variant and every run seed."""


def build(options: Mapping[str, OptionValue]) -> Probe:
    """The probe; it has no options."""
    return sparsity


def sparsity(moment: Moment) -> Iterator[Measured]:
    """`zeroed_shares` as rows of the table `sparsity`, a row per slot with a ReLU, in the run's own precision."""
    batches = list(islice(moment.evaluation_batches("train_eval", EVALUATION_BATCH), SPARSITY_BATCHES))
    with numerics(moment.precision, batches[0][0].device, torch.get_num_threads()):
        shares = zeroed_shares(moment.network, batches, moment.precision)
    yield Measured(
        "sparsity",
        {
            "epoch": np.full(len(shares), moment.epoch, np.int64),
            "step": np.full(len(shares), moment.step, np.int64),
            "slot": list(shares),
            "zeroed": np.array(list(shares.values()), np.float64),
        },
    )


def zeroed_shares(network: Network, batches: Batches, precision: Precision) -> dict[str, float]:
    """The share of activations that each ReLU zeroes, in eval mode and without dropout.

    Counted where a slot hands over its pre-activations, so before any pooling, although the network itself pools first
    (max and ReLU commute). An activation counts as zeroed where ReLU makes it 0, that is where it is at most 0; NaN is
    not. Counts are whole numbers, so the shares do not depend on the batches' size.

    Args:
        network: left as it came in: parameters, running statistics and mode.
        batches: (images, labels); at least one.
        precision: of the forward pass.

    Returns:
        Slot to share, of every slot with a ReLU, in the network's order, an output without one is not there; and of
        each ReLU after the sum of a residual block, by the block's name.

    Raises:
        RuntimeError: a pass did not go through every slot exactly once, so there is nothing to be said about it.
    """
    sites = network.relu_sites()
    counts = {name: _Count() for name in sites}
    hooks = [sites[name].register_forward_hook(partial(_look, count)) for name, count in counts.items()]
    was_training = network.training
    network.eval()
    passes = 0
    try:
        with torch.inference_mode():
            for inputs, _ in batches:
                with autocast(precision, inputs.device):
                    network(inputs)
                passes += 1
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    if passes == 0 or any(count.calls != passes for count in counts.values()):
        raise RuntimeError(f"{passes} passes, but the slots saw {[count.calls for count in counts.values()]}")
    return {name: int(count.zeroed) / count.all for name, count in counts.items()}


class _Count:
    """Activations of one slot. The number of zeroed ones stays on the device until the end, which waits for nothing."""

    def __init__(self) -> None:
        self.calls = 0
        self.all = 0
        self.zeroed: Tensor | int = 0


def _look(count: _Count, slot: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    count.calls += 1
    count.all += output.numel()
    count.zeroed = count.zeroed + (output <= 0).sum()
