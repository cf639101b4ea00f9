"""The text of a problem file, changes to it, and what is said where one is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bnbench.errors import UserError
from bnbench.problem import ProblemFile

SMALL = """
summary = "a test's own"
source = "this test"
dataset = "digits"
architecture = "3c3d"
width = 0.5
placements = ["hidden", "first"]
seeds = [1, 2, 3]
split_seed = 7

[training]
batch_size = 32
epochs = 5
learning_rate = 0.1
l2 = 0.002

[augmentation]
crop_padding = 2

[snapshots]
schedule = "every:5"

[[targets]]
metric = "accuracy"
split = "test"
level = 0.5

[targets.source]
run_ids = ["digits_3c3d-vanilla-none-s1-0123456789ab"]
commit = "0123abc"
statistic = "median"

[tiny]
width = 0.125

[tiny.training]
epochs = 2
"""
DEEPOBS = """[targets.source]
deepobs = "873bbc2"
problem = "cifar10_3c3d"
optimizer = "sgd"
learning_rate = 0.1
epoch = 100
seeds = [42]
statistic = "mean"
"""
WITH_DEEPOBS = SMALL[: SMALL.index("[targets.source]")] + DEEPOBS + SMALL[SMALL.index("\n[tiny]") :]


def changed(old: str, new: str, text: str = SMALL) -> str:
    """The text with another passage in the place of the only one of its kind."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def refusal(read: Callable[[str, str], ProblemFile], text: str, name: str = "mine.toml") -> str:
    """What is said where a file of that text is refused."""
    with pytest.raises(UserError) as caught:
        read(text, name)
    return str(caught.value)
