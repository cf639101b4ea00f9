"""Where the random numbers of a training pass come from."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Draws(Protocol):
    """Where the random numbers of one training pass come from: each is keyed by the run's seed, the step and a name.

    No module keeps a generator, so a pass can be repeated, on any device, by whoever has the seed and the step.
    """

    def dropout(self, name: str, rate: float, like: Tensor) -> Tensor:
        """A mask for a dropout layer.

        Args:
            name: the layer's.
            rate: probability of dropping an activation.
            like: activations, (N, C, H, W) or (N, C).

        Returns:
            Of the shape of `like`: 0 where dropped, 1 / (1 - rate) where kept.
        """

    def noise(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Numbers for what is random behind a slot.

        Args:
            name: the slot's, and what they are for.
            shape: of the result.
            like: the result has its device, and its dtype if that is single precision or more.

        Returns:
            Uniform in [0, 1), the same bits on every device.
        """
