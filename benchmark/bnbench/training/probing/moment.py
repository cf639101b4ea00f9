"""What a probe is handed, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor

from bnbench.components.probes import NetworkSize
from bnbench.measurement import Split
from bnbench.network.build import Network
from bnbench.network.draws import Draws
from bnbench.plan import Precision
from bnbench.training.evaluation import Batches, whole_batches
from bnbench.training.events import Measured


class NotMeasuredError(Exception):
    """There is nothing to be measured at this moment; the message says why, and goes to `probe_notes`."""


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """A batch that gradients are taken on: that of an update, as training sees it, or one of a split."""

    images: Tensor
    """(N, C, H, W), standardised, channels last in memory; that of an update augmented."""
    labels: Tensor
    """(N,)."""
    draws: Draws | None
    """The update's dropout masks, and whatever else is random in it; None leaves that out."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What a probe looks at. The network is a copy of the run's, so that whatever is done to it is undone."""

    network: Network
    """In train mode, at the parameters and buffers of this moment, without gradients."""
    step: int
    """Updates done; at the moment `update` those before it."""
    epoch: int
    """Epochs done, in whole."""
    batch: TrainingBatch | None
    """Of the coming update; at the moment `update` of the one that was made; None at an evaluation."""
    learning_rate: float | None
    """Of that update; None at an evaluation."""
    before: Mapping[str, Tensor] | None
    """At the moment `update` the network's `state_dict` before it; None at any other."""
    evaluation_batches: Callable[[Split, int], Batches]
    """A split in its fixed order without augmentation, in batches of so many images, the last one possibly smaller."""
    size: NetworkSize
    """Of the network, and of a training batch."""
    precision: Precision
    """In which the run trains. A probe computes in fp32 whatever it is, unless it asks for it."""

    @property
    def coming(self) -> tuple[TrainingBatch, float]:
        """The batch and the learning rate of the update that this moment belongs to.

        Raises:
            RuntimeError: it is an evaluation.
        """
        if self.batch is None or self.learning_rate is None:
            raise RuntimeError("no update belongs to an evaluation")
        return self.batch, self.learning_rate

    def first_whole_batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first batches of `train_eval` that are as large as in training: images and labels.

        Raises:
            NotMeasuredError: there are fewer; when the first that is missing is asked for.
        """
        size, found = self.size.batch_size, 0
        for batch in islice(whole_batches(self.evaluation_batches("train_eval", size), size), count):
            found += 1
            yield batch
        if found < count:
            raise NotMeasuredError(f"train_eval has {found} whole batches, not {count}")


Probe: TypeAlias = Callable[[Moment], Iterable[Measured]]
"""What a row's `build` makes of the probe's options. It keeps nothing from one moment to the next, so that a run that
was interrupted measures what an uninterrupted one does."""


@contextmanager
def buffers_kept(network: Network) -> Iterator[None]:
    """Put running statistics and whatever else a pass in train mode moves back to where they were."""
    before = [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(network.buffers(), before, strict=True):
                buffer.copy_(value)
