"""The table of data sets: what a problem file may name, and how its images are had. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from bnbench.data import cifar, digits
from bnbench.data.cifar_source import RELEASES
from bnbench.data.images import LabelledImages, Splits, split_digest
from bnbench.plan import DataFacts
from bnbench.registry import Registry

__all__ = ["DATASETS", "Dataset", "LabelledImages", "Splits"]


@dataclass(frozen=True)
class Dataset:
    """A data set: its facts, its identity on this machine, and its splits."""

    name: str
    title: str
    """As people write it, e.g. "CIFAR-10"."""
    summary: str
    """One sentence: images, classes, origin."""
    images: int
    """Images of the published data set, all splits together."""
    classes: int
    channels: int
    largest_value: int
    """The pixel value that stands for 1.0."""
    mean: tuple[float, ...] | None
    """Per channel, on the scale from 0 to 1; None: computed on the training split, after resizing."""
    std: tuple[float, ...] | None
    identify: Callable[[], DataFacts]
    """What is at hand on this machine; cheap. Raises UserError where the stored data are damaged."""
    load_splits: Callable[[int], Splits]
    """The splits for a `split_seed`. Raises MissingDataError where the data are not on this machine."""
    own_split: Callable[[int], Mapping[str, npt.NDArray[np.int64]]] | None = None
    """Which images each split holds, for a `split_seed`: positions in the order in which the fingerprint takes the
    images, by "train", "train_eval", "valid", "test". For a data set that brings a split of its own, which may change
    while the images stay. None: the suite's split, which fingerprint and seed decide."""

    def facts(self, split_seed: int) -> DataFacts:
        """What a plan must know of the data set: what is at hand, and the digest of a split of its own.

        Raises:
            UserError: the stored data are damaged, or were stored by an older version.
        """
        facts = self.identify()
        if self.own_split is None or facts.fingerprint is None:
            return facts
        return replace(facts, split=split_digest(self.own_split(split_seed)))


def _published(values: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(float(each) for each in values)


DATASETS: Registry[Dataset] = Registry("dataset", Dataset, "bnbench.datasets")

DATASETS.register(
    "cifar10",
    Dataset(
        name="cifar10",
        title="CIFAR-10",
        summary="60,000 colour photographs of 32×32 pixels in ten classes (A. Krizhevsky, 2009)",
        images=60_000,
        classes=10,
        channels=3,
        largest_value=255,
        mean=_published(RELEASES["cifar10"].mean),
        std=_published(RELEASES["cifar10"].std),
        identify=partial(cifar.identify, "cifar10", classes=10),
        load_splits=partial(cifar.load_splits, "cifar10"),
    ),
)
DATASETS.register(
    "cifar100",
    Dataset(
        name="cifar100",
        title="CIFAR-100",
        summary="60,000 colour photographs of 32×32 pixels in a hundred classes (A. Krizhevsky, 2009)",
        images=60_000,
        classes=100,
        channels=3,
        largest_value=255,
        mean=_published(RELEASES["cifar100"].mean),
        std=_published(RELEASES["cifar100"].std),
        identify=partial(cifar.identify, "cifar100", classes=100),
        load_splits=partial(cifar.load_splits, "cifar100"),
    ),
)
DATASETS.register(
    "digits",
    Dataset(
        name="digits",
        title="Handwritten digits",
        summary="1,797 handwritten digits of 8×8 grey values, embedded in scikit-learn (Alpaydin and Kaynak, 1998)",
        images=1_797,
        classes=10,
        channels=1,
        largest_value=16,
        mean=None,
        std=None,
        identify=digits.identify,
        load_splits=digits.load_splits,
    ),
)
