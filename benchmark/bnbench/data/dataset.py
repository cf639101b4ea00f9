"""The table of data sets: what a problem file may name, and how its images are had. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bnbench.data import cifar, digits
from bnbench.data.images import LabelledImages, Splits
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
        mean=(0.49139968, 0.48215841, 0.44653091),
        std=(0.24703223, 0.24348513, 0.26158784),
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
        mean=(0.50707516, 0.48654887, 0.44091784),
        std=(0.26733429, 0.25643846, 0.27615047),
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
