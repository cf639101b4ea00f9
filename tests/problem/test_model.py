"""A problem as a value: its sizes and its seeds."""

from typing import get_args

import pytest

from bnbench.cli.options import SIZES
from bnbench.errors import UserError
from bnbench.problem import OVERLAYS, Size
from support.problem_texts import SMALL


def test_the_command_line_offers_the_sizes_that_there_are():
    assert get_args(Size) == SIZES
    assert set(OVERLAYS) == {*SIZES} - {"full"}


def test_the_first_seeds(read):
    problem = read(SMALL).problem()
    assert [problem.first_seeds(count) for count in (1, 2, 3)] == [(1,), (1, 2), (1, 2, 3)]
    for count in (-1, 0, 4):
        with pytest.raises(UserError, match=f"mine has 3 seeds, {count} cannot be used"):
            problem.first_seeds(count)
