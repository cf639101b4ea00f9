"""A table as JSON: a record a row, numbers to their last digit, null where there is none."""

from __future__ import annotations

import json

from bnbench.analysis.table import Table
from bnbench.printable import printable_json


def render(table: Table) -> str:
    """The table, with what all its rows have in common and what a reader must know."""
    return printable_json(json.dumps(values(table), indent=1, ensure_ascii=False, allow_nan=False))


def values(table: Table) -> dict[str, object]:
    """The same as plain values."""
    return {
        "table": table.name,
        "title": table.title,
        "caution": table.caution,
        **dict(table.about),
        "notes": [*table.notes, *table.warnings],
        "rows": table.records(),
    }
