"""BatchNorm and the modules that take it apart: each leaves one thing out, or does one thing otherwise.

All keep running statistics, with which they are evaluated: an exponential average of each batch's mean and unbiased
variance, as BatchNorm does, where a class says nothing else. `weight` and `bias` are γ and β.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnbench.components.site import Site
from bnbench.network.standardise import EPSILON, Rule, over_batch, standardised
from bnbench.options import Options

RUNNING_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics."""

Noise = Callable[[str, tuple[int, ...]], Tensor]
"""A name and a shape to random numbers, uniform in [0, 1): those of one slot at one step."""


@runtime_checkable
class BatchStatistics(Protocol):
    """What a module does that keeps averages over training batches, to be evaluated with."""

    def average_anew(self) -> None:
        """Forget them; from now on they are the plain averages over the batches that come in training mode."""


class BatchNorm1d(nn.BatchNorm1d):
    """That of torch, of which population statistics can be asked for."""

    def average_anew(self) -> None:
        """See `BatchStatistics`."""
        self.reset_running_stats()
        self.momentum = None  # torch's way of asking for a cumulative average


class BatchNorm2d(nn.BatchNorm2d):
    """That of torch, of which population statistics can be asked for."""

    def average_anew(self) -> None:
        """See `BatchStatistics`."""
        self.reset_running_stats()
        self.momentum = None


class BatchPart(nn.Module):
    """What the others have in common: γ, β and running statistics, of (N, C, H, W) or (N, C)."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))
        self._averages_all = False

    def average_anew(self) -> None:
        """See `BatchStatistics`."""
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        self.num_batches_tracked.zero_()
        self._averages_all = True

    def count_batch(self) -> float:
        """One more batch; returns its weight in the running statistics."""
        self.num_batches_tracked += 1
        return 1.0 / float(self.num_batches_tracked) if self._averages_all else RUNNING_MOMENTUM

    @torch.no_grad()
    def take_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of a batch, (C,) each; the running statistics take them in."""
        momentum = self.count_batch()
        return torch.batch_norm_update_stats(x.detach(), self.running_mean, self.running_var, momentum)

    def normalised_as_one(self, x: Tensor) -> Tensor:
        """BatchNorm; the running statistics take the batch's in."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, self.count_batch(), EPSILON
        )

    def normalised_with(self, mean: Tensor, variance: Tensor, x: Tensor) -> Tensor:
        """γ · (x − mean) / √(variance + ε) + β, with constants."""
        return torch.batch_norm(
            x, self.weight, self.bias, mean, variance, False, RUNNING_MOMENTUM, EPSILON, torch.backends.cudnn.enabled
        )

    def evaluated(self, x: Tensor) -> Tensor:
        """What is made of a batch in evaluation."""
        return self.normalised_with(self.running_mean, self.running_var, x)


class Detached(BatchPart):
    """BatchNorm through whose statistics no gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        """The bits of BatchNorm."""
        if not self.training:
            return self.evaluated(x)
        momentum = self.count_batch()
        result: Tensor = _Detached.apply(  # type: ignore[no-untyped-call] # torch's
            x, self.weight, self.bias, self.running_mean, self.running_var, momentum
        )
        return result


class _Detached(torch.autograd.Function):
    """BatchNorm forward; backward as if its statistics were constants: torch's own backward of evaluation mode."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 -- torch's
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
    ) -> Tensor:
        result, mean, rate = torch.native_batch_norm(
            x, weight, bias, running_mean, running_var, True, momentum, EPSILON
        )
        ctx.save_for_backward(x, weight, mean, rate)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 -- torch's
        x, weight, mean, rate = ctx.saved_tensors
        # A CPU takes the first two for the constants of evaluation mode, a GPU the other two.
        found = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, rate**-2 - EPSILON, mean, rate, False, EPSILON, [True, True, True]
        )
        return (*found, None, None, None)


class Running(BatchPart):
    """Training batches are normalised with the running statistics, too: those from before the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """With constants; where population statistics are gathered with the batch's own, which are all there is."""
        if not self.training:
            return self.evaluated(x)
        before = self.running_mean.clone(), self.running_var.clone()
        own = self.take_statistics(x)
        return self.normalised_with(*(own if self._averages_all else before), x)


@runtime_checkable
class Refreshing(Protocol):
    """What a module does whose constants are renewed while a run trains, from batches that stay the same."""

    refresh_every: int
    """Updates."""
    refresh_batches: int

    def average_anew(self) -> None:
        """See `BatchStatistics`."""

    def keep(self) -> None:
        """Take what was averaged for constants."""


class Population(BatchPart):
    """Training batches are normalised with averages over batches that stay the same, which are renewed now and then.

    While these are gathered, each batch is normalised by itself: the population statistics of Ioffe & Szegedy 2015,
    algorithm 2, taken throughout training.
    """

    def __init__(self, channels: int, options: Options) -> None:
        super().__init__(channels)
        self.refresh_batches, self.refresh_every = int(options["batches"]), int(options["refresh"])

    def keep(self) -> None:
        """See `Refreshing`."""
        self._averages_all = False

    def forward(self, x: Tensor) -> Tensor:
        """With constants; while they are gathered with the batch's own statistics."""
        if self.training and self._averages_all:
            return self.normalised_with(*self.take_statistics(x), x)
        return self.evaluated(x)


class FirstBatch(nn.Module):
    """Normalised for ever with the statistics of the first training batch."""

    settling = True
    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Take the statistics of a batch."""
        mean, variance = torch.batch_norm_update_stats(x, None, None, RUNNING_MOMENTUM)
        self.mean.copy_(mean)
        self.variance.copy_(variance)

    def forward(self, x: Tensor) -> Tensor:
        """γ · (x − μ) / √(σ² + ε) + β with the constants."""
        return functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=EPSILON)


class MeanOnly(BatchPart):
    """Centred, not divided."""

    _rule = Rule(over_batch, scale=False)

    def forward(self, x: Tensor) -> Tensor:
        """γ · (x − μ) + β."""
        if not self.training:
            return self.normalised_with(self.running_mean, torch.full_like(self.running_var, 1.0 - EPSILON), x)
        self.take_statistics(x)
        return standardised(x, self.weight, self.bias, self._rule)


class Deviation(BatchPart):
    """Centred, divided by another measure of spread than the standard deviation; `running_var` averages its square."""

    def __init__(self, channels: int, spread: Callable[[Tensor, tuple[int, ...]], Tensor]) -> None:
        """`spread` makes a channel's one number of its |x − μ|, given all dimensions but the channels'."""
        super().__init__(channels)
        self._spread = spread

    def forward(self, x: Tensor) -> Tensor:
        """γ · (x − μ) / √(s² + ε) + β."""
        if not self.training:
            return self.evaluated(x)
        shared, shape = (0, *range(2, x.dim())), (1, -1) + (1,) * (x.dim() - 2)
        values = x.float() if x.dtype is torch.bfloat16 else x
        mean = values.mean(shared)
        centred = values - mean.view(shape)
        squared = self._spread(centred.abs(), shared).square()
        momentum = self.count_batch()
        with torch.no_grad():
            for running, own in ((self.running_mean, mean), (self.running_var, squared)):
                running.mul_(1 - momentum).add_(own * momentum)
        rate = self.weight * torch.rsqrt(squared + EPSILON)
        return (centred * rate.view(shape) + self.bias.view(shape)).to(x.dtype)


class VarianceOnly(BatchPart):
    """Divided by the standard deviation, not centred."""

    _rule = Rule(over_batch, centre=False)

    def forward(self, x: Tensor) -> Tensor:
        """γ · x / √(σ² + ε) + β."""
        if not self.training:
            return self.normalised_with(torch.zeros_like(self.running_mean), self.running_var, x)
        self.take_statistics(x)
        return standardised(x, self.weight, self.bias, self._rule)


class Ghost(BatchPart):
    """Each chunk of a batch, in order, is normalised by itself.

    The running statistics take in the average over the chunks. (Hoffer et al. 2017 weigh later chunks of a batch more.)
    """

    def __init__(self, channels: int, chunk: int) -> None:
        super().__init__(channels)
        self._chunk = chunk

    def forward(self, x: Tensor) -> Tensor:
        """Batches of a multiple of the chunk.

        Raises:
            ValueError: a training batch is not.
        """
        if not self.training:
            return self.evaluated(x)
        if len(x) % self._chunk:
            raise ValueError(f"a ghost batch of {self._chunk} does not divide a batch of {len(x)}")
        if len(x) == self._chunk:
            return self.normalised_as_one(x)
        parts = torch.split(x, self._chunk)
        # With momentum 1 each row becomes its chunk's own statistics.
        means = self.running_mean.expand(len(parts), -1).clone()
        variances = self.running_var.expand(len(parts), -1).clone()
        results = [
            functional.batch_norm(part, mean, variance, self.weight, self.bias, True, 1.0, EPSILON)
            for part, mean, variance in zip(parts, means, variances, strict=True)
        ]
        momentum = self.count_batch()
        for running, own in ((self.running_mean, means), (self.running_var, variances)):
            running.mul_(1 - momentum).add_(own.mean(0) * momentum)
        return torch.cat(results)


class Noisy(BatchPart):
    """Noise behind BatchNorm, in training, that has another mean and another spread at every step.

    A step draws for each channel a mean u from U(−shift, shift) and a scale s from U(1, scale); an image draws m from
    U(u − jitter, u + jitter) and z from N(s, jitter²) for each channel; what leaves the slot is z · y + m.
    """

    def __init__(self, channels: int, options: Options) -> None:
        super().__init__(channels)
        self._shift, self._scale, self._jitter = (float(options[name]) for name in ("shift", "scale", "jitter"))

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """BatchNorm, and where random numbers are given, in training, the noise."""
        if not self.training:
            return self.evaluated(x)
        y = self.normalised_as_one(x)
        if noise is None:
            return y
        images, channels = x.shape[:2]
        mean = self._shift * (2 * noise("mean", (channels,)) - 1)
        spread = 1 + (self._scale - 1) * noise("scale", (channels,))
        each = (images, channels)
        own_mean = mean + self._jitter * (2 * noise("mean of an image", each) - 1)
        own_scale = spread + self._jitter * _normal(noise("radius", each), noise("angle", each))
        shape = each + (1,) * (x.dim() - 2)
        return torch.addcmul(own_mean.view(shape), y, own_scale.view(shape)).to(y.dtype)


def _normal(radius: Tensor, angle: Tensor) -> Tensor:
    """Standard normal numbers of two uniform ones each (Box & Muller 1958)."""
    return torch.sqrt(-2 * torch.log1p(-radius)) * torch.cos(2 * math.pi * angle)


def batch(site: Site, options: Options) -> nn.Module:
    """BatchNorm as torch has it."""
    return (BatchNorm2d if site.is_map else BatchNorm1d)(site.channels, EPSILON, RUNNING_MOMENTUM)


def detached(site: Site, options: Options) -> nn.Module:
    """No gradient through the statistics."""
    return Detached(site.channels)


def running(site: Site, options: Options) -> nn.Module:
    """Running statistics in training, too."""
    return Running(site.channels)


def population(site: Site, options: Options) -> nn.Module:
    """Population statistics in training, too."""
    return Population(site.channels, options)


def mean_deviation(site: Site, options: Options) -> nn.Module:
    """The mean of |x − μ|: ℓ1."""
    return Deviation(site.channels, torch.mean)


def largest_deviation(site: Site, options: Options) -> nn.Module:
    """The largest |x − μ|: ℓ∞."""
    return Deviation(site.channels, torch.amax)


def first_batch(site: Site, options: Options) -> nn.Module:
    """Constants of the first training batch."""
    return FirstBatch(site.channels)


def mean_only(site: Site, options: Options) -> nn.Module:
    """No division."""
    return MeanOnly(site.channels)


def variance_only(site: Site, options: Options) -> nn.Module:
    """No centring."""
    return VarianceOnly(site.channels)


def ghost(site: Site, options: Options) -> nn.Module:
    """Chunks of a batch."""
    return Ghost(site.channels, int(options["chunk"]))


def noisy(site: Site, options: Options) -> nn.Module:
    """Noise behind BatchNorm."""
    return Noisy(site.channels, options)
