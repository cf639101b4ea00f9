"""Keyed random streams: each random number is a function of (seed, stream, key) alone.

No stream knows problem, learning rate, variant, placement, worker or device. So the variants of a problem share
their initial weights, batches, augmentation and dropout masks, and a resumed run needs no generator state.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Stream = Literal["weights", "order", "augmentation", "dropout", "noise", "affine", "control", "probe"]

_CHUNK = 1 << 16
"""Elements hashed at a time on a CPU: the working set stays in the cache."""


def derive(seed: int, stream: Stream, *keys: str | int) -> int:
    """A 64-bit number for one place in one stream: SHA-256 of seed, stream and keys."""
    text = "/".join(["bnbench", str(seed), stream, *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def generator(seed: int, stream: Stream, *keys: str | int) -> torch.Generator:
    """A CPU generator for one place in one stream: a slot's weights, an epoch's order.

    torch's CPU generator is seeded with the lower 32 bits of the number it is given.
    """
    return torch.Generator().manual_seed(derive(seed, stream, *keys))


def start_vector(draw: int, slot: str, role: str, like: Tensor) -> Tensor:
    """The part of a probe's start vector that belongs to one parameter: standard normal.

    Keyed by these names alone and by no seed: whatever runs are compared, they are looked at from the same directions.

    Args:
        draw: which of several vectors.
        slot: the parameter's slot.
        role: what the parameter is for.
        like: the parameter.

    Returns:
        Float64 of its shape, on the CPU.
    """
    numbers = generator(0, "probe", draw, slot, role)
    return torch.randn(like.shape, generator=numbers, dtype=torch.float64)


def dropout_mask(seed: int, step: int, layer: str, rate: float, like: Tensor) -> Tensor:
    """The dropout mask of one layer at one step, the same bits on every device.

    Counter-based: element i of the mask is a hash of (key, i), so nothing has to be drawn in order and a GPU computes
    what a CPU computes. Elements are numbered in the memory order of channels_last activations.

    Args:
        seed: the run's seed.
        step: updates done before this one.
        layer: the dropout layer's name.
        rate: probability of dropping an activation.
        like: activations (N, C, H, W) or (N, C); the mask takes their shape, dtype and device.

    Returns:
        0 where dropped, 1 / (1 - rate) where kept.
    """
    key = derive(seed, "dropout", layer, step)
    keep = _uniform_below(1.0 - rate, like.numel(), key, like.device)
    mask = keep.to(like.dtype).mul_(1.0 / (1.0 - rate))
    if like.dim() == 4:
        batch, channels, height, width = like.shape
        return mask.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return mask.view(like.shape)


def uniform_noise(seed: int, step: int, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Random numbers for one purpose at one step, the same bits on every device; counter-based like dropout.

    Args:
        seed: the run's seed.
        step: updates done before this one.
        name: the slot's, and what they are for.
        shape: of the result.
        like: the result has its device, and its dtype if that is single precision or more.

    Returns:
        Uniform over the multiples of 2⁻²⁴ in [0, 1).
    """
    key = derive(seed, "noise", name, step)
    dtype = torch.promote_types(like.dtype, torch.float32)  # half precision would round some of them to 1
    low, high = _signed(key & 0xFFFFFFFF), _signed(key >> 32)
    hashed = _hash(torch.arange(math.prod(shape), dtype=torch.int32, device=like.device), low, high)
    return ((hashed >> 8) & 0xFFFFFF).to(torch.float32).mul_(2.0**-24).to(dtype).view(shape)


@dataclass(frozen=True)
class StepDraws:
    """The random numbers of one step's training pass (`bnbench.network.draws.Draws`)."""

    seed: int
    step: int

    def dropout(self, name: str, rate: float, like: Tensor) -> Tensor:
        """See `dropout_mask`."""
        return dropout_mask(self.seed, self.step, name, rate, like)

    def noise(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """See `uniform_noise`."""
        return uniform_noise(self.seed, self.step, name, shape, like)


def _uniform_below(probability: float, count: int, key: int, device: torch.device) -> Tensor:
    """`count` booleans, true with the given probability (to within 2⁻³²)."""
    low, high = _signed(key & 0xFFFFFFFF), _signed(key >> 32)
    # Hashes are uniform over the signed 32-bit integers; this many of them lie below the threshold.
    threshold = min(round(probability * 2**32), 2**32 - 1) - 2**31
    if device.type != "cpu":
        return _hash(torch.arange(count, dtype=torch.int32, device=device), low, high) < threshold
    below = torch.empty(count, dtype=torch.bool)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        hashed = _hash(torch.arange(start, stop, dtype=torch.int32), low, high)
        torch.lt(hashed, threshold, out=below[start:stop])
    return below


def _hash(x: Tensor, low: int, high: int) -> Tensor:
    """A keyed hash of 32-bit counters: the finaliser "lowbias32" (C. Wellons, hash-prospector) once per half key."""
    for half in (low, high):
        x += half
        x ^= (x >> 16) & 0xFFFF
        x *= _signed(0x7FEB352D)
        x ^= (x >> 15) & 0x1FFFF
        x *= _signed(0x846CA68B)
        x ^= (x >> 16) & 0xFFFF
    return x


def _signed(bits: int) -> int:
    """32 bits read as a two's-complement number: torch's int32 multiplication wraps, its Python scalars must fit."""
    return bits - (1 << 32) if bits >= 1 << 31 else bits
