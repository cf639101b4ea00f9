"""A table as a value: what its rows are, and how its columns show them."""

import math

import pytest

from bnbench.analysis.interval import Interval
from bnbench.analysis.table import (
    NOTHING,
    Cell,
    Column,
    Kind,
    Remark,
    Table,
    fixed,
    general,
    p_value,
    share,
    short,
    shown,
    signed,
    spread,
    whole,
)

LOWER = Remark("▼", "lower baseline")
TABLE = Table(
    "example",
    (
        Column("variant", "variant", Kind.SYMBOL),
        Column("accuracy", "accuracy", Kind.NUMBER, show=fixed(3)),
        Column("range", "95 %", Kind.INTERVAL, show=signed(2), ends=("low", "high")),
    ),
    (
        (Cell("vanilla", "vanilla", remark=LOWER), 0.123456, Interval(-0.5, 0.25)),
        (Cell("bn", "BN"), Cell(None, "1 of 3 diverged"), None),
        (Cell("bn_beta", "BN_β"), math.inf, Cell(None, "no interval")),
    ),
)


def test_a_row_has_a_cell_for_each_column():
    with pytest.raises(ValueError, match="example"):
        Table("example", TABLE.columns, (("vanilla", 0.5),))


def test_records_are_values_and_what_is_none_is_null():
    assert TABLE.fields == ("variant", "accuracy", "low", "high")
    assert TABLE.records() == [
        {"variant": "vanilla", "accuracy": 0.123456, "low": -0.5, "high": 0.25},
        {"variant": "bn", "accuracy": None, "low": None, "high": None},
        {"variant": "bn_beta", "accuracy": None, "low": None, "high": None},
    ]


def test_as_text_numbers_are_exact_and_words_say_why_there_is_none():
    assert TABLE.as_text() == [
        ["vanilla", "0.123456", "-0.5", "0.25"],
        ["bn", "1 of 3 diverged", "", ""],
        ["bn_beta", "inf", "no interval", ""],
    ]


def test_a_column_shows_its_values():
    symbol, accuracy, interval = TABLE.columns
    assert [shown(symbol, row[0]) for row in TABLE.rows] == ["vanilla", "BN", "BN_β"]
    assert [shown(accuracy, row[1]) for row in TABLE.rows] == ["0.123", "1 of 3 diverged", "inf"]
    assert [shown(interval, row[2]) for row in TABLE.rows] == ["[-0.50, +0.25]", NOTHING, "no interval"]
    assert shown(accuracy, math.nan) == NOTHING
    assert shown(Column("text", "text"), None) == ""


def test_columns_are_taken_away_and_added():
    less = TABLE.without({"accuracy"})
    assert less.fields == ("variant", "low", "high")
    assert less.rows[0] == (TABLE.rows[0][0], TABLE.rows[0][2])
    more = less.beside(Column("n", "n", Kind.NUMBER), [1, 2, 3])
    assert [record["n"] for record in more.records()] == [1, 2, 3]


def test_the_legend_explains_the_signs_that_occur():
    assert TABLE.legend() == "▼ lower baseline"
    assert TABLE.without({"variant"}).legend() is None


@pytest.mark.parametrize(
    ("show", "value", "expected"),
    [
        (short, 0.0123, "0.012"),
        (short, -0.00004, "-4e-5"),
        (short, 0.0, "0.000"),
        (short, 123456.0, "1.2e+05"),
        (general, 12345.0, "12345"),
        (general, math.inf, "∞"),
        (whole, 1234567.0, "1,234,567"),
        (share, 0.25, "25%"),
        (signed(3), 0.0, "+0.000"),
        (spread(2), 0.125, "±0.12"),
        (p_value, 0.0004, "< 0.001"),
        (p_value, 0.04, "0.040"),
    ],
)
def test_how_numbers_are_shown(show, value, expected):
    assert show(value) == expected
