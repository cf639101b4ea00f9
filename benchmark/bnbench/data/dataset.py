"""The table of data sets: what a problem file may name, and how its images are had. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bnbench.data import digits, stored
from bnbench.data.cifar_source import RELEASES
from bnbench.data.idx_source import IDX_RELEASES
from bnbench.data.images import LabelledImages, Splits, split_digest
from bnbench.errors import UserError
from bnbench.plan import DataFacts, SplitSizes
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text

__all__ = ["DATASETS", "Dataset", "LabelledImages", "Splits"]


@dataclass(frozen=True)
class Dataset(Row):
    """A data set: its facts, its identity on this machine, and its splits.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "dataset"

    name: Name
    title: Text
    """As people write it, e.g. "CIFAR-10"."""
    summary: str
    """One sentence: images, classes, origin."""
    images: Count
    """Images of the published data set, all splits together."""
    classes: Annotated[int, Field(ge=2)]
    channels: Count
    largest_value: Annotated[int, Field(ge=1, le=255)]
    """The pixel value that stands for 1.0."""
    mean: tuple[float, ...] | None
    """Per channel, on the scale from 0 to 1; None: computed on the training split, after resizing."""
    std: tuple[float, ...] | None
    identify: Callable[[], DataFacts]
    """What is at hand on this machine; cheap. Raises UserError where the stored data are damaged. See `facts`."""
    load_splits: Callable[[int], Splits]
    """The splits for a `split_seed`. Raises MissingDataError where the data are not on this machine. See `splits`."""

    own_split: Callable[[int], Mapping[str, npt.NDArray[np.int64]]] | None = None
    """Which images each split holds, for a `split_seed`: positions in the order in which the fingerprint takes the
    images, by "train", "train_eval", "valid", "test". For a data set that brings a split of its own, which may change
    while the images stay. None: the suite's split, which fingerprint and seed decide."""

    def check_together(self) -> None:
        """Mean and standard deviation have a number for each channel, and can be standardised with."""
        if (self.mean is None) != (self.std is None):
            raise self.wrong("std", self.std, "should be given where mean is, and only there")
        for field, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise self.wrong(field, values, f"should have {self.channels} numbers, one for each channel")
        if self.std is not None and min(self.std) <= 0:
            raise self.wrong("std", self.std, "should be positive")

    def facts(self, split_seed: int | None = None) -> DataFacts:
        """What a plan must know of the data: what is at hand, compared with the row, and the digest of an own split.

        Args:
            split_seed: None leaves the split out, where only the images matter.

        Raises:
            UserError: the stored data are damaged or were stored by an older version, or what identifies them fails or
                says something else than the row.
        """
        try:
            found = self.identify()
        except UserError:
            raise
        except Exception as error:  # whatever a third-party function raises
            raise UserError(f"dataset '{self.name}': identify fails: {type(error).__name__}: {error}") from error
        if not isinstance(found, DataFacts):
            raise UserError(f"dataset '{self.name}': identify gives a {type(found).__name__}, not DataFacts")
        for field in ("name", "classes", "channels"):
            if getattr(found, field) != getattr(self, field):
                raise self.wrong(field, getattr(self, field), f"identify gives {getattr(found, field)!r}")
        if split_seed is None or self.own_split is None or found.fingerprint is None:
            return found
        own = self.own_split(split_seed)
        train, train_eval = own.get("train"), own.get("train_eval")
        sizes = None if train is None or train_eval is None else SplitSizes(len(train), len(train_eval))
        return replace(found, split=split_digest(own), sizes=sizes)

    def splits(self, split_seed: int) -> Splits:
        """The splits for a `split_seed`, compared with the row.

        Raises:
            MissingDataError: the data are not on this machine.
            UserError: the images or the labels are not what the row says.
        """
        found = self.load_splits(split_seed)
        if not isinstance(found, Splits):
            raise UserError(f"dataset '{self.name}': load_splits gives a {type(found).__name__}, not Splits")
        for field in fields(Splits):
            part: LabelledImages = getattr(found, field.name)
            if not len(part):
                raise UserError(f"dataset '{self.name}': the split {field.name} is empty")
            if part.pixels.shape[3] != self.channels:
                raise self.wrong("channels", self.channels, f"images of {field.name} have {part.pixels.shape[3]}")
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= self.classes:
                raise self.wrong("classes", self.classes, f"labels of {field.name} go from {low} to {high}")
        return found


def title_of(name: str) -> str:
    """What people call a data set; its name where no row is known here, as of a user's own arrays."""
    try:
        return DATASETS.get(name).title
    except UserError:
        return name


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
        identify=partial(
            stored.identify, "cifar10", classes=10, channels=3, train_images=RELEASES["cifar10"].train_images
        ),
        load_splits=partial(stored.load_splits, "cifar10"),
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
        identify=partial(
            stored.identify, "cifar100", classes=100, channels=3, train_images=RELEASES["cifar100"].train_images
        ),
        load_splits=partial(stored.load_splits, "cifar100"),
    ),
)
DATASETS.register(
    "fmnist",
    Dataset(
        name="fmnist",
        title="Fashion-MNIST",
        summary="70,000 grey photographs of clothes, 28×28 pixels in ten classes (Xiao, Rasul and Vollgraf, 2017)",
        images=70_000,
        classes=10,
        channels=1,
        largest_value=255,
        mean=None,  # its authors publish none
        std=None,
        identify=partial(
            stored.identify,
            "fmnist",
            classes=10,
            channels=1,
            train_images=IDX_RELEASES["fmnist"].train_images,
            one_in=6,
        ),
        # As many validate as DeepOBS evaluates training on, and as there are to test on: 10,000.
        load_splits=partial(stored.load_splits, "fmnist", one_in=6),
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
