"""Rows as tests like to write them, in the columns that a recorder takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bnbench.measurement import TABLES, Values


def columns(table: str, rows: Iterable[Sequence[object]]) -> dict[str, Values]:
    """Rows of a table (values in the order of its columns, no lists among them) as columns of its types."""
    taken = list(rows)
    return {
        column.name: [row[place] for row in taken]
        if column.type == "string"
        else np.array([row[place] for row in taken], column.type)
        for place, column in enumerate(TABLES[table].columns)
    }


def affine(step: Iterable[int], slot: str, parameter: str, values: np.ndarray) -> dict[str, Values]:
    """Snapshots of one trajectory as columns of `affine`; values: [snapshots, channels]."""
    steps = np.asarray(step, np.int64)
    return {"step": steps, "slot": [slot] * len(steps), "parameter": [parameter] * len(steps), "values": values}
