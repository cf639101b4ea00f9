"""Bars on terminals of any width: bar, counts and time left stay readable."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bnbench.bars import LEAST_BAR, Row, drawn

ROWS = (
    Row(("all runs",), 0.193, ("3/180 runs",), ("23 h 20 min left", "23 h 20 min"), ("1,855 samples/s",)),
    Row(
        ("  bn_gamma_beta seed 4842821", "  bn_gamma_beta 4842821"),
        0.5,
        ("epoch 109/350", "109/350"),
        ("58 min left", "58 min"),
        ("loss 0.1234, accuracy 0.923 (validation 0.911)", "validation 0.911"),
    ),
)


def lines(width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(drawn(ROWS, width))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [60, 70, 80, 100, 140])
def test_bar_counts_and_time_left_are_whole(width):
    overall, run = lines(width)
    for line, texts in ((overall, ("all runs", "19%", "3/180", "23 h 20 min")), (run, ("50%", "109/350", "58 min"))):
        assert len(line.rstrip()) <= width
        for text in texts:
            assert text in line
    assert run.count("━") >= LEAST_BAR // 2, "half of the bar"
    assert run.startswith("  bn_gamma_beta 4842" if width < 80 else "  bn_gamma_beta seed 4842821")
    assert ("left" in run) == (width > 60)
    assert ("validation 0.911" in run) == (width >= 100)
    assert ("loss 0.1234" in run) == (width >= 140)


@pytest.mark.parametrize("width", [40, 50])
def test_a_narrow_terminal_shows_how_much_is_done_and_the_time_left(width):
    overall, run = lines(width)
    assert "3/180" in overall
    assert "23 h 20 min" in overall
    assert ("109/350" in run, "58 min" in run) == (True, True)


def test_no_terminal_is_too_narrow():
    for width in range(1, 30):
        assert all(len(line) <= width for line in lines(width))
