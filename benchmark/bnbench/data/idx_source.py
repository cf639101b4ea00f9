"""What the official releases in the IDX format of MNIST are: a row each, read by torchvision's class for it.

Another data set of that format is one more row, here and in the table of data sets (`bnbench.data.dataset`). One of
another format that torchvision reads, such as SVHN, needs a reader beside `bnbench.data.idx_files`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReleasedFile:
    """One file of a release."""

    name: str
    md5: str
    sha256: str


@dataclass(frozen=True)
class IdxRelease:
    """One release: four gzip files, images and labels of the training and of the test part."""

    name: str
    reader: str
    """The class of `torchvision.datasets` that reads it."""
    base_url: str
    train_files: tuple[ReleasedFile, ReleasedFile]
    """Images, then labels."""
    test_files: tuple[ReleasedFile, ReleasedFile]
    train_images: int
    test_images: int
    image_size: int
    """Height and width, in pixels."""
    classes: int

    @property
    def files(self) -> tuple[ReleasedFile, ...]:
        """All four."""
        return (*self.train_files, *self.test_files)

    @property
    def downloads(self) -> tuple[tuple[str, str], ...]:
        """Address and file name of what is to be downloaded."""
        return tuple((f"{self.base_url}{file.name}", file.name) for file in self.files)

    @property
    def at_hand(self) -> str:
        """What may be imported instead of being downloaded, in words."""
        return f"its four files ({self.files[0].name} …) in a folder"


IDX_RELEASES = {
    # H. Xiao, K. Rasul, R. Vollgraf (2017). Address and MD5 as torchvision has them (`torchvision/datasets/mnist.py`; a
    # test compares). SHA-256 as Flux.jl (`src/data/fashion-mnist.jl`) and batchup (`batchup/datasets/fashion_mnist.py`)
    # pin it, which agree; no file was at hand to compute it from.
    "fmnist": IdxRelease(
        name="fmnist",
        reader="FashionMNIST",
        base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        train_files=(
            ReleasedFile(
                "train-images-idx3-ubyte.gz",
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            ReleasedFile(
                "train-labels-idx1-ubyte.gz",
                "25c81989df183df01b3e8a0aad5dffbe",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
        ),
        test_files=(
            ReleasedFile(
                "t10k-images-idx3-ubyte.gz",
                "bef4ecab320f06d8554ea6380940ec79",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            ReleasedFile(
                "t10k-labels-idx1-ubyte.gz",
                "bb300cfdad3c16e7a12a480ee83cd310",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        train_images=60_000,
        test_images=10_000,
        image_size=28,
        classes=10,
    ),
}
