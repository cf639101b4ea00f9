"""What is recorded while training: preallocated buffers on the device, read back once an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from bnbench.network.build import AffineVector
from bnbench.training.events import Measured


class StepBuffer:
    """Batch loss and accuracy of consecutive steps. Writing one costs a copy of two numbers and no synchronisation."""

    def __init__(self, first_step: int, capacity: int, device: torch.device) -> None:
        """Room for `capacity` steps from `first_step` on."""
        self._first = first_step
        self._loss = torch.empty(capacity, dtype=torch.float32, device=device)
        self._correct = torch.empty(capacity, dtype=torch.int64, device=device)
        self._count = 0
        self._checked = 0

    def add(self, loss: Tensor, correct: Tensor) -> None:
        """Record the next step: its batch loss and its number of images classified correctly."""
        self._loss[self._count] = loss
        self._correct[self._count] = correct
        self._count += 1

    def newest(self) -> tuple[float, int]:
        """Loss and correct images of the newest step; waits for the device."""
        return float(self._loss[self._count - 1]), int(self._correct[self._count - 1])

    def first_non_finite(self) -> int | None:
        """The first step recorded since the last call whose loss is not finite; waits for the device."""
        losses = self._loss[self._checked : self._count]
        bad = (~torch.isfinite(losses)).nonzero()
        offset = self._checked
        self._checked = self._count
        return None if len(bad) == 0 else self._first + offset + int(bad[0])

    def rows(self, epoch: int, batch_size: int, rate: Callable[[int], float]) -> Measured:
        """Everything recorded; `rate` gives the learning rate of a step."""
        count = self._count
        accuracy = self._correct[:count].cpu().numpy().astype(np.float64) / batch_size
        return Measured(
            "steps",
            {
                "step": np.arange(self._first, self._first + count, dtype=np.int64),
                "epoch": np.full(count, epoch, dtype=np.int64),
                "batch_loss": self._loss[:count].cpu().numpy(),
                "batch_accuracy": accuracy.astype(np.float32),
                "learning_rate": np.array([rate(self._first + each) for each in range(count)], np.float64),
            },
        )


class SnapshotBuffer:
    """Snapshots of every γ, β and bias: one concatenation on the device each, one transfer an epoch."""

    def __init__(self, vectors: list[AffineVector], capacity: int) -> None:
        """Room for `capacity` snapshots of these vectors."""
        self._vectors = vectors
        self._tensors = [vector.tensor.detach() for vector in vectors]
        width = sum(tensor.numel() for tensor in self._tensors)
        self._values = torch.empty((capacity, width), dtype=torch.float32, device=self._tensors[0].device)
        self._steps: list[int] = []

    def take(self, step: int) -> None:
        """Copy the current values."""
        torch.cat(self._tensors, out=self._values[len(self._steps)])
        self._steps.append(step)

    def rows(self) -> Iterator[Measured]:
        """Everything taken, a block per vector."""
        values = self._values[: len(self._steps)].cpu().numpy()
        steps = np.array(self._steps, dtype=np.int64)
        start = 0
        for vector, tensor in zip(self._vectors, self._tensors, strict=True):
            stop = start + tensor.numel()
            yield Measured(
                "affine",
                {
                    "step": steps,
                    "slot": [vector.slot] * len(steps),
                    "parameter": [vector.parameter] * len(steps),
                    "values": np.ascontiguousarray(values[:, start:stop]),
                },
            )
            start = stop
