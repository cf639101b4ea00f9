"""What runs are called wherever a number or a curve of theirs is shown: the problem, its size, and its data.

`cifar100_3c3d` at its tiny size is trained on handwritten digits. Whoever sees one of its curves must not take it for
one of CIFAR-100: a size other than the full one is always said, and the data set where it is not the one that the
problem's name says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bnbench.analysis.settings import problem_at
from bnbench.data.dataset import DATASETS
from bnbench.errors import UserError

FULL = "full"


def named_with_size(problems: Sequence[str], sizes: Sequence[str], dataset: str) -> str:
    """A problem with what must be said beside its name: "cifar100_3c3d (tiny, on handwritten digits)".

    Args:
        problems: the names that its setting goes by.
        sizes: those that it was called.
        dataset: the data set that it was trained on.
    """
    return with_remark(" = ".join(problems), size_and_data(problems, sizes, dataset))


def with_remark(name: str, remark: str | None) -> str:
    """A name, and a remark in brackets if there is one."""
    return name if remark is None else f"{name} ({remark})"


def size_and_data(problems: Sequence[str], sizes: Sequence[str], dataset: str) -> str | None:
    """What must be said beside a problem's name: "tiny, on handwritten digits", "tiny", or nothing.

    The arguments are those of `named_with_size`.
    """
    said = [", ".join(sizes)] if tuple(sizes) != (FULL,) else []
    if any(_says_other_data(problem, sizes, dataset) for problem in problems):
        said.append(f"on {data_in_a_sentence(dataset)}")
    return ", ".join(said) or None


def remark_of_runs(runs: Iterable[tuple[str, str, str]]) -> str | None:
    """What must be said of many runs of several problems: their size, and data that a problem's name does not say.

    Args:
        runs: problem, size and data set of each.
    """
    sizes, others = set(), set()
    for problem, size, dataset in runs:
        sizes.add(size)
        if _says_other_data(problem, (size,), dataset):
            others.add(data_in_a_sentence(dataset))
    said = [] if sizes <= {FULL} else [" and ".join(sorted(sizes))]
    return ", ".join(said + ([f"on {' and '.join(sorted(others))}"] if others else [])) or None


def data_in_a_sentence(dataset: str) -> str:
    """A data set as it stands inside a sentence: "handwritten digits", "CIFAR-10"; its id where it is not known."""
    try:
        title = DATASETS.get(dataset).title
    except UserError:  # of a package that is not installed here
        return dataset
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _says_other_data(problem: str, sizes: Sequence[str], dataset: str) -> bool:
    """Whether a problem's name would let one think of other data; of a file that is not known, at any small size."""
    known = problem_at(problem, FULL)
    return tuple(sizes) != (FULL,) if known is None else known.dataset != dataset
