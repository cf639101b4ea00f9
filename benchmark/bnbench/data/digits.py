"""The handwritten digits that scikit-learn embeds: always at hand, small enough for seconds of training."""

from __future__ import annotations

from functools import cache

import numpy as np

from bnbench.data.images import LabelledImages, Splits, fingerprint
from bnbench.plan import DataFacts, Origin, SplitSizes

FINGERPRINT = "65e5b4619795efb40c1082f4c350c049e4ad552200d369b6ae99e21eef5e72c5"
"""Of all 1,797 images, in the order in which scikit-learn has them (read from release 1.9)."""

TRAINING_IMAGES = 1_077
VALIDATION_IMAGES = 360
TEST_IMAGES = 360


def identify() -> DataFacts:
    """The data set's identity, from the images themselves."""
    found = fingerprint([_all_images()])
    origin: Origin = "embedded" if found == FINGERPRINT else "other copy"
    sizes = SplitSizes(train=TRAINING_IMAGES, train_eval=TRAINING_IMAGES)
    return DataFacts("digits", classes=10, channels=1, fingerprint=found, origin=origin, sizes=sizes)


def load_splits(split_seed: int) -> Splits:
    """The splits, stratified by class: 1,077 images to train on, 360 to validate, 360 to test.

    Args:
        split_seed: seeds scikit-learn's `train_test_split`.

    Returns:
        Pixels of shape (images, 8, 8, 1) from 0 to 16; `train_eval` is the whole training split.
    """
    # Imported where it is used: scikit-learn takes a second, and nobody who only lists data sets should wait.
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    images = _all_images()
    train, rest = train_test_split(
        np.arange(len(images)), train_size=TRAINING_IMAGES, stratify=images.labels, random_state=split_seed
    )
    valid, test = train_test_split(
        rest, train_size=VALIDATION_IMAGES, test_size=TEST_IMAGES, stratify=images.labels[rest], random_state=split_seed
    )
    training = images.take(train)
    return Splits(train=training, train_eval=training, valid=images.take(valid), test=images.take(test))


@cache
def _all_images() -> LabelledImages:
    from sklearn.datasets import load_digits  # noqa: PLC0415

    bunch = load_digits()
    return LabelledImages(bunch.images[..., np.newaxis].astype(np.uint8), bunch.target.astype(np.int64))
