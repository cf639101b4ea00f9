"""Keyed random streams: each random number is a function of (seed, stream, key) alone.

No stream knows problem, learning rate, variant, placement, worker or device. So the variants of a problem share
their initial weights, batches, augmentation and dropout masks, and a resumed run needs no generator state.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Stream = Literal["weights", "order", "augmentation", "dropout", "noise", "affine", "control", "probe"]

Half: TypeAlias = int | Tensor
"""32 bits of a key as a signed integer: a number, or int32 () on the device."""

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
    return _mask(_halves(seed, "dropout", layer, step), rate, like)


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
    return _uniform(_halves(seed, "noise", name, step), shape, like)


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


@dataclass(frozen=True)
class NotedDraws:
    """Those of a step, noting what is asked for."""

    draws: StepDraws
    asked: list[tuple[Stream, str]] = field(default_factory=list)
    """Stream and name, in the order of the first time."""

    @property
    def places(self) -> dict[tuple[Stream, str], int]:
        """Where in a row of `keys_of` the key of each is."""
        return {each: place for place, each in enumerate(self.asked)}

    def dropout(self, name: str, rate: float, like: Tensor) -> Tensor:
        """See `dropout_mask`."""
        self._note("dropout", name)
        return self.draws.dropout(name, rate, like)

    def noise(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """See `uniform_noise`."""
        self._note("noise", name)
        return self.draws.noise(name, shape, like)

    def _note(self, stream: Stream, name: str) -> None:
        if (stream, name) not in self.asked:
            self.asked.append((stream, name))


@dataclass(frozen=True, eq=False)
class KeyedDraws:
    """The same bits from keys that lie on the device, so that a recorded step can be given another step's."""

    keys: Tensor
    """A row of `keys_of`."""
    places: Mapping[tuple[Stream, str], int]
    """Stream and name to the place of the key."""

    def dropout(self, name: str, rate: float, like: Tensor) -> Tensor:
        """See `dropout_mask`."""
        return _mask(self._key("dropout", name), rate, like)

    def noise(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """See `uniform_noise`."""
        return _uniform(self._key("noise", name), shape, like)

    def _key(self, stream: Stream, name: str) -> tuple[Half, Half]:
        low, high = self.keys[self.places[stream, name]].unbind()
        return low, high


def keys_of(seed: int, asked: Sequence[tuple[Stream, str]], steps: Iterable[int]) -> Tensor:
    """The keys of several steps.

    Args:
        seed: the run's seed.
        asked: streams and names.
        steps: updates done before each.

    Returns:
        int32 (steps, asked, 2), on the CPU.
    """
    keys = [[_halves(seed, stream, name, step) for stream, name in asked] for step in steps]
    return torch.tensor(keys, dtype=torch.int32).view(len(keys), len(asked), 2)


def _halves(seed: int, stream: Stream, name: str, step: int) -> tuple[int, int]:
    key = derive(seed, stream, name, step)
    return _signed(key & 0xFFFFFFFF), _signed(key >> 32)


def _mask(key: tuple[Half, Half], rate: float, like: Tensor) -> Tensor:
    keep = _uniform_below(1.0 - rate, like.numel(), key, like.device)
    mask = keep.to(like.dtype).mul_(1.0 / (1.0 - rate))
    if like.dim() == 4:
        batch, channels, height, width = like.shape
        return mask.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return mask.view(like.shape)


def _uniform(key: tuple[Half, Half], shape: tuple[int, ...], like: Tensor) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)  # half precision would round some of them to 1
    hashed = _hash(torch.arange(math.prod(shape), dtype=torch.int32, device=like.device), key)
    return ((hashed >> 8) & 0xFFFFFF).to(torch.float32).mul_(2.0**-24).to(dtype).view(shape)


def _uniform_below(probability: float, count: int, key: tuple[Half, Half], device: torch.device) -> Tensor:
    """`count` booleans, true with the given probability (to within 2⁻³²)."""
    # Hashes are uniform over the signed 32-bit integers; this many of them lie below the threshold.
    threshold = min(round(probability * 2**32), 2**32 - 1) - 2**31
    if device.type != "cpu":
        return _hash(torch.arange(count, dtype=torch.int32, device=device), key) < threshold
    below = torch.empty(count, dtype=torch.bool)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        hashed = _hash(torch.arange(start, stop, dtype=torch.int32), key)
        torch.lt(hashed, threshold, out=below[start:stop])
    return below


def _hash(x: Tensor, key: tuple[Half, Half]) -> Tensor:
    """A keyed hash of 32-bit counters: the finaliser "lowbias32" (C. Wellons, hash-prospector) once per half key."""
    for half in key:
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
