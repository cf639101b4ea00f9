"""The probe `activations`: moments of what each slot hands over, and its channels that are never positive.

Of the first images of `train_eval`, at every evaluation: per channel over images and positions, where the slot hands
over its pre-activations (its normaliser included), before any ReLU; a slot's number is the mean over its channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from bnbench.options import OptionValue
from bnbench.training.evaluation import Batches, whole_batches
from bnbench.training.events import Measured
from bnbench.training.probing.moment import Moment, NotMeasuredError, Probe

IMAGES = 512
"""So many images are looked at: all whole batches among them with batch statistics, which need whole batches; those
there are, where there are fewer."""
_RUNNING_BATCH = 128
_AT_ONCE = 1 << 22
"""Numbers that are looked at in float64 at a time: of a wide layer some of its channels."""


def build(options: Mapping[str, OptionValue]) -> Probe:
    """The probe with these options."""
    return partial(activations, str(options["statistics"]))


def activations(statistics: str, moment: Moment) -> Iterator[Measured]:
    """Rows of the table `activations`, one for each slot.

    Args:
        statistics: "batch" or "running".
        moment: an evaluation.

    Raises:
        NotMeasuredError: there is no whole batch.
    """
    network = moment.network
    network.train(statistics == "batch")
    moments = {name: _ChannelMoments() for name in network.slots}
    hooks = [network.slots[name].register_forward_hook(partial(_look, each)) for name, each in moments.items()]
    passes = 0
    try:
        with torch.no_grad():
            for images, _ in _batches(statistics, moment):
                network(images)
                passes += 1
    finally:
        for hook in hooks:
            hook.remove()
    if passes == 0:
        raise NotMeasuredError(f"train_eval has no whole batch of {moment.size.batch_size} images")
    seen = {name: each for name, each in moments.items() if each.count}
    count = len(seen)
    numbers = np.array([each.of_slot() for each in seen.values()], np.float64).reshape(count, 4)
    yield Measured(
        "activations",
        {
            "epoch": np.full(count, moment.epoch, np.int64),
            "step": np.full(count, moment.step, np.int64),
            "statistics": [statistics] * count,
            "slot": list(seen),
            "mean": np.ascontiguousarray(numbers[:, 0]),
            "standard_deviation": np.ascontiguousarray(numbers[:, 1]),
            "kurtosis": np.ascontiguousarray(numbers[:, 2]),
            "never_positive": np.ascontiguousarray(numbers[:, 3]),
        },
    )


def _batches(statistics: str, moment: Moment) -> Batches:
    if statistics == "running":
        return islice(moment.evaluation_batches("train_eval", _RUNNING_BATCH), IMAGES // _RUNNING_BATCH)
    size = moment.size.batch_size
    every = moment.evaluation_batches("train_eval", size)
    return whole_batches(islice(every, max(1, IMAGES // size)), size)


class _ChannelMoments:
    """Sums of powers of one slot's pre-activations, channel by channel, about a point near their mean."""

    def __init__(self) -> None:
        self.count = 0
        self._about = torch.zeros(0)
        self._sums = torch.zeros(0)
        self._largest = torch.zeros(0)

    def add(self, output: Tensor) -> None:
        """Take what a slot handed over, (N, C) or (N, C, H, W)."""
        channels = output.shape[1]
        each = output.numel() // channels
        if self.count == 0:
            self._about = torch.zeros(channels, dtype=torch.float64, device=output.device)
            self._sums = torch.zeros(4, channels, dtype=torch.float64, device=output.device)
            self._largest = torch.full_like(self._about, -torch.inf)
        few = max(1, _AT_ONCE // each)
        for start in range(0, channels, few):
            some = slice(start, start + few)
            values = output[:, some].transpose(0, 1).reshape(-1, each).double()
            if self.count == 0:
                self._about[some] = values.mean(1)
            centred = values - self._about[some, None]
            power = centred.clone()
            for index in range(4):
                self._sums[index, some] += power.sum(1)
                power *= centred
            self._largest[some] = torch.maximum(self._largest[some], values.amax(1))
        self.count += each

    def of_slot(self) -> tuple[float, float, float, float]:
        """Mean, standard deviation and kurtosis, each averaged over channels; the share that is never positive."""
        first, second, third, fourth = self._sums / self.count
        variance = second - first**2
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        # A constant channel has no kurtosis; rounding must not give it one.
        varies = ~(variance <= 1e-12 * (self._about + first) ** 2)
        kurtosis = (central / variance**2)[varies]
        return (
            float((self._about + first).mean()),
            float(variance.clamp(min=0).sqrt().mean()),
            float(kurtosis.mean()) if len(kurtosis) else float("nan"),
            float((self._largest <= 0).double().mean()),
        )


def _look(moments: _ChannelMoments, slot: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    moments.add(output)
