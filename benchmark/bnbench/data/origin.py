"""What kind of copy a data set is, and what results on it are worth.

- *embedded*: comes with an installed package, as the digits do;
- *official archive*: read from the archive whose checksums are published;
- *official pixels*: of another source, but with the release's shape, its images per class in both splits, and its
  published mean and standard deviation of the training images, to every published digit;
- *other copy*: anything else, e.g. encoded anew;
- *own file*: a user's own arrays, which are a copy of nothing that was published.

All but the last two are evidence of what a study claims.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from bnbench.data.cifar_source import RELEASES, CifarRelease
from bnbench.data.images import LabelledImages
from bnbench.plan import Origin

_EVIDENCE: frozenset[Origin] = frozenset({"embedded", "official archive", "official pixels"})
_LEVELS = np.arange(256)
_PIECE = 1_000
_DIGITS = 40
"""Of the exact statistics: far more than are ever published."""


def is_evidence(origin: Origin | None) -> bool:
    """Whether runs on such a copy count for a study's claims."""
    return origin in _EVIDENCE


def origin_in_words(dataset: str, origin: Origin | None, fingerprint: str | None) -> str:
    """The kind of copy, and where it is less than certain what was compared.

    Args:
        dataset: the data set's name.
        origin: None where it was not recorded.
        fingerprint: of the images.
    """
    if origin is None:
        return "origin not recorded"
    if origin != "official pixels":
        return origin
    release = RELEASES.get(dataset)
    if release is not None and release.archive_fingerprint is not None and release.archive_fingerprint == fingerprint:
        return "official pixels: those of the archive"
    return "official pixels: constants of the training images, test images by count only"


def origin_of_copy(train: LabelledImages, release: CifarRelease) -> Origin:
    """What a copy is that did not come as the official archive.

    Args:
        train: its training images; shape and images per class of both splits must have been checked already
            (`bnbench.data.cifar_source.check_images`).
        release: what it is a copy of.
    """
    return "official pixels" if channel_statistics(train, release) == (release.mean, release.std) else "other copy"


def channel_statistics(images: LabelledImages, release: CifarRelease) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Mean and standard deviation of every channel, rounded to as many digits as the release's are published with.

    Computed in whole numbers from how often each byte occurs, so that neither the order of the images nor the
    machine can move a digit.
    """
    exact = exact_statistics(images)
    with localcontext(prec=_DIGITS):
        return (
            tuple(_rounded(mean, like) for (mean, _), like in zip(exact, release.mean, strict=True)),
            tuple(_rounded(std, like) for (_, std), like in zip(exact, release.std, strict=True)),
        )


def exact_statistics(images: LabelledImages) -> list[tuple[Decimal, Decimal]]:
    """Mean and standard deviation of every channel, on the scale from 0 to 1, to forty digits.

    From how often each byte occurs, so that the order of the images cannot move a digit.
    """
    counts = [_byte_counts(images, channel) for channel in range(images.pixels.shape[3])]
    with localcontext(prec=_DIGITS):
        return [_statistics(each) for each in counts]


def _byte_counts(images: LabelledImages, channel: int) -> npt.NDArray[np.int64]:
    """How often each byte occurs, counted in pieces: counting needs eight times the memory of what it counts."""
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(images), _PIECE):
        counts += np.bincount(images.pixels[start : start + _PIECE, ..., channel].ravel(), minlength=256)
    return counts


def _statistics(counts: npt.NDArray[np.int64]) -> tuple[Decimal, Decimal]:
    pixels, total, squares = (int((counts * _LEVELS**power).sum()) for power in range(3))
    mean = Decimal(total) / (255 * pixels)
    # σ² = E[x²] − E[x]², over a common denominator.
    std = Decimal(pixels * squares - total * total).sqrt() / (255 * pixels)
    return mean, std


def _rounded(value: Decimal, like: str) -> str:
    return str(value.quantize(Decimal(like)))
