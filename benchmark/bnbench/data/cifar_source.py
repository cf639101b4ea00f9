"""What the official releases of CIFAR are: archive, checksums, members, sizes, labels, channel statistics."""

from __future__ import annotations

from dataclasses import dataclass

from bnbench.data.images import LabelledImages
from bnbench.errors import UserError

IMAGE_SHAPE = (32, 32, 3)


@dataclass(frozen=True)
class CifarRelease:
    """One release, as published by A. Krizhevsky; the values are those that torchvision checks against."""

    name: str
    url: str
    archive: str
    """The archive's file name."""
    archive_md5: str
    archive_sha256: str
    """Which, unlike MD5, nobody can forge; as Keras (`keras/src/datasets/cifar10.py`, `cifar100.py`) and the prototype
    data sets of torchvision pin it."""
    train_members: tuple[str, ...]
    """Paths in the archive, in order."""
    test_members: tuple[str, ...]
    member_md5: tuple[str, ...]
    """Of the training and the test members, in their order, once they are unpacked."""
    archive_labels: str
    """The key of the labels in an archive member."""
    parquet_labels: tuple[str, ...]
    """The columns that may hold the labels in a Parquet copy, the preferred one first."""
    train_images: int
    test_images: int
    classes: int
    mean: tuple[str, ...]
    """Of each channel, over all pixels of the training images, on the scale from 0 to 1: with every digit that is
    published, which is why it is text."""
    std: tuple[str, ...]
    """The same of the standard deviation, divided by the number of pixels."""
    archive_fingerprint: str | None
    """The fingerprint of the stored images as an import of the archive itself, its checksum verified, gave it; copies
    that have it are the release, test images included."""

    @property
    def downloads(self) -> tuple[tuple[str, str], ...]:
        """Address and file name of what is to be downloaded."""
        return ((self.url, self.archive),)

    @property
    def at_hand(self) -> str:
        """What may be imported instead of being downloaded, in words."""
        return f"{self.archive}, or a Parquet copy"


# The statistics are those that DeepOBS standardises with. No fingerprint is on record: no archive was at hand to
# import, and that of a copy, however good, proves nothing about the archive.
RELEASES = {
    "cifar10": CifarRelease(
        name="cifar10",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        archive="cifar-10-python.tar.gz",
        archive_md5="c58f30108f718f92721af3b95e74349a",
        archive_sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        train_members=tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
        test_members=("cifar-10-batches-py/test_batch",),
        member_md5=(
            "c99cafc152244af753f735de768cd75f",
            "d4bba439e000b95fd0a9bffe97cbabec",
            "54ebc095f3ab1f0389bbae665268c751",
            "634d18415352ddfa80567beed471001a",
            "482c414d41f54cd18b22e5b47cb7c3cb",
            "40351d587109b95175f43aff81a1287e",
        ),
        archive_labels="labels",
        parquet_labels=("label",),
        train_images=50_000,
        test_images=10_000,
        classes=10,
        mean=("0.49139968", "0.48215841", "0.44653091"),
        std=("0.24703223", "0.24348513", "0.26158784"),
        archive_fingerprint=None,
    ),
    "cifar100": CifarRelease(
        name="cifar100",
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        archive="cifar-100-python.tar.gz",
        archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
        archive_sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        train_members=("cifar-100-python/train",),
        test_members=("cifar-100-python/test",),
        member_md5=("16019d7e3df5f24257cddd939b257f8d", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
        archive_labels="fine_labels",
        parquet_labels=("fine_label", "label"),
        train_images=50_000,
        test_images=10_000,
        classes=100,
        mean=("0.50707516", "0.48654887", "0.44091784"),
        std=("0.26733429", "0.25643846", "0.27615047"),
        archive_fingerprint=None,
    ),
}


def check_images(where: str, images: LabelledImages, *, count: int, classes: int) -> None:
    """Check a split against the release: as many images, of the right shape, every class equally often.

    Raises:
        UserError: they are not the release's.
    """
    if images.pixels.shape[1:] != IMAGE_SHAPE:
        raise UserError(f"{where}: images are {images.pixels.shape[1:]}, not {IMAGE_SHAPE}")
    if len(images) != count:
        raise UserError(f"{where}: {len(images):,} images, not {count:,}", hint="A file is missing, cut or doubled.")
    check_labels(where, int(images.labels.min()), int(images.labels.max()), classes=classes)
    per_class = [int((images.labels == label).sum()) for label in range(classes)]
    if set(per_class) != {count // classes}:
        odd = next(label for label, found in enumerate(per_class) if found != count // classes)
        raise UserError(
            f"{where}: class {odd} has {per_class[odd]:,} images, not {count // classes:,}",
            hint=f"The release has {classes} classes of equal size. Are these other labels, or another data set?",
        )


def check_labels(where: str, low: int, high: int, *, classes: int) -> None:
    """Check the smallest and the largest of some labels, which may be too large for any array.

    Raises:
        UserError: one is none of the release's classes.
    """
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise UserError(
            f"{where}: there is a label {wrong}, outside 0 to {classes - 1}", hint="Is it another data set?"
        )
