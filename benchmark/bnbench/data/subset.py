"""Parts of the splits: training on fewer images, validating and testing on fewer, as a problem's settings ask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bnbench.data.images import LabelledImages, Splits
from bnbench.errors import UserError
from bnbench.plan import LARGEST_TRAIN_EVAL


def subset(splits: Splits, split_seed: int, *, training: int | None = None, evaluation: int | None = None) -> Splits:
    """The splits with as many images as asked for.

    Which images these are depends on the split's size and the seed alone: the first of a seeded order, so that the
    images of a smaller number are among those of a larger one. Kept in the order of the split.

    Args:
        splits: whole.
        split_seed: seeds the order.
        training: images of `train`; `train_eval` is then drawn from these, all of them up to `LARGEST_TRAIN_EVAL`.
            None leaves both as they are.
        evaluation: images of `valid` and of `test`; None leaves both as they are.

    Raises:
        UserError: a split has fewer.
    """
    train, train_eval, valid, test = splits.train, splits.train_eval, splits.valid, splits.test
    if training is not None:
        chosen = _first("training", "train", splits.train, training, split_seed)
        train = splits.train.take(np.sort(chosen))
        train_eval = splits.train.take(np.sort(chosen[:LARGEST_TRAIN_EVAL]))
    if evaluation is not None:
        valid = valid.take(np.sort(_first("evaluation", "valid", valid, evaluation, split_seed)))
        test = test.take(np.sort(_first("evaluation", "test", test, evaluation, split_seed)))
    return Splits(train=train, train_eval=train_eval, valid=valid, test=test)


def _first(table: str, split: str, images: LabelledImages, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    """The first positions of the seeded order. NumPy promises never to change the stream of `RandomState`."""
    if wanted > len(images):
        raise UserError(
            f"{table}.images = {wanted}: the split {split} has {len(images)} images",
            hint=f"Ask for 1 to {len(images)} images, or leave the setting out for all of them.",
        )
    return np.random.RandomState(seed).permutation(len(images))[:wanted].astype(np.int64)
