"""Data sets of the local store: their identity and their splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bnbench.data.images import Splits
from bnbench.data.store import data_home, read_manifest, read_stored
from bnbench.plan import DataFacts, SplitSizes


@dataclass(frozen=True, eq=False)
class SplitIndices:
    """Positions among the stored training images, which lie in the order of their content; ascending."""

    train: npt.NDArray[np.int64]
    train_eval: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]


def identify(name: str, *, classes: int, channels: int, train_images: int, one_in: int = 5) -> DataFacts:
    """The data set's identity as its manifest states it; without a fingerprint where it is not on this machine.

    Args:
        name: the data set.
        classes: of its labels.
        channels: of its images.
        train_images: the release's, of which one in `one_in` validates.
        one_in: see `load_splits`.

    Raises:
        UserError: the stored data are damaged, or were stored by an older version.
    """
    manifest = read_manifest(data_home(), name)
    if manifest is None:
        sizes = _sizes(train_images, one_in)
        return DataFacts(name, classes, channels, fingerprint=None, origin=None, sizes=sizes)
    sizes = _sizes(manifest.train_images, one_in)
    return DataFacts(name, classes, channels, manifest.fingerprint, manifest.origin, sizes=sizes)


def load_splits(name: str, split_seed: int, *, one_in: int = 5) -> Splits:
    """The splits: the official test images, and the official training images in two.

    Args:
        name: the data set.
        split_seed: decides which training images validate.
        one_in: so many training images, on average, one validates.

    Raises:
        MissingDataError: the data set is not on this machine.
        UserError: the stored data are damaged, or were stored by an older version.
    """
    stored = read_stored(data_home(), name)
    indices = split_indices(len(stored.train), split_seed, one_in)
    return Splits(
        train=stored.train.take(indices.train),
        train_eval=stored.train.take(indices.train_eval),
        valid=stored.train.take(indices.valid),
        test=stored.test,
    )


def split_indices(images: int, split_seed: int, one_in: int = 5) -> SplitIndices:
    """One in so many training images to validate on, the rest to train on, as many of these to evaluate training.

    Drawn in one go, so that no validation image is ever trained on. NumPy promises never to change the
    stream of `RandomState`, so that a seed means the same split for good.
    """
    order = np.random.RandomState(split_seed).permutation(images).astype(np.int64)
    held = images // one_in
    return SplitIndices(
        train=np.sort(order[held:]), train_eval=np.sort(order[held : 2 * held]), valid=np.sort(order[:held])
    )


def _sizes(images: int, one_in: int) -> SplitSizes:
    held = images // one_in
    return SplitSizes(train=images - held, train_eval=held)
