"""What a probe recorded of a comparison's runs, and what a caption must say of those that it did not measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bnbench.analysis.comparison import Comparison, VariantRow
from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.variant_labels import catalogue_order, symbol_of
from bnbench.report.figures.kind import Portion, Portions, Scale
from bnbench.report.figures.parts import Floats
from bnbench.report.page import Page
from bnbench.storage.schema import TableName
from bnbench.words import counted

STEP_LABEL = "training step"
EACH_SEED = (
    "Lines: mean over the seeds; bands: from the lowest to the highest seed. A seed that diverged is in no mean: it is "
    "a thin line that ends in a cross."
)
GAPS = "A gap: not finite, or 0 on a logarithmic axis."
NOTHING = pd.DataFrame(columns=["x", "y", "series", "panel"])

_WIDE_RANGE = 30
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""
_MOST_REASONS = 3
"""So many reasons of a probe are told in a caption."""


def probe_rows(results: Results, compared: Comparison, table: TableName, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of a probe's table, of the runs of a comparison that have it.

    Returns:
        The columns, and beside them `run_id`, `series` (the variant), `seed` and `diverged_at_step` (missing of a run
        that did not); variants in the order of the catalogue, seeds in the problem's.
    """
    owners = pd.DataFrame(
        [
            (record.identity.run_id, row.variant, record.identity.seed, record.diverged_at_step)
            for row in in_order(compared)
            for record in row.records
        ],
        columns=["run_id", "series", "seed", "diverged_at_step"],
    )
    # Of an integer that may be missing; a float would be written as one.
    owners["diverged_at_step"] = owners["diverged_at_step"].astype("Int64")
    recorded = results.table(table, columns=["run_id", *columns], run_id=compared.run_ids)
    text = [name for name in recorded.columns if isinstance(recorded[name].dtype, pd.CategoricalDtype)]
    return owners.merge(recorded.astype(dict.fromkeys(text, str)), on="run_id")


def in_order(compared: Comparison) -> list[VariantRow]:
    """The variants as the catalogue lists them; those of a ranking come by their rank."""
    return sorted(compared.rows, key=lambda row: catalogue_order(row.variant))


def not_measured(results: Results, compared: Comparison, table: TableName, probe: str) -> str:
    """The sentences of a caption on what the probe has not measured, with a space in front; empty if nothing."""
    said = []
    lacking = (_seeds_in_words(row, lambda each: table not in each.tables) for row in in_order(compared))
    without = [words for words in lacking if words]
    if without:
        said.append(f"Without the probe {probe}: {'; '.join(without)}.")
    notes = results.table("probe_notes", columns=["run_id", "step", "probe", "reason"], run_id=compared.run_ids)
    own = notes[notes["probe"] == probe].astype({"run_id": str, "reason": str})
    if len(own):
        reasons = own.assign(series=own["run_id"].map(compared.labels)).groupby(["series", "reason"], sort=False)
        told = [
            f"{symbol_of(str(variant))} {counted(len(rows), 'time')} ({str(reason).rstrip('.')})"
            for (variant, reason), rows in reasons
        ]
        more = f"; and for {len(told) - _MOST_REASONS} more reasons" if len(told) > _MOST_REASONS else ""
        said.append(f"Could not be measured: {'; '.join(told[:_MOST_REASONS])}{more}.")
    return "".join(f" {each}" for each in said)


def _seeds_in_words(row: VariantRow, lacks: Callable[[RunRecord], bool]) -> str:
    """A variant and those of its seeds that lack something; empty if none does, without seeds if all do."""
    seeds = [record.identity.seed for record in row.records if lacks(record)]
    if len(seeds) < len(row.records) and seeds:
        return f"{row.symbol} seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    return row.symbol if seeds else ""


def settled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the runs that did not diverge; all of them where every run did."""
    kept = rows[rows["diverged_at_step"].isna()]
    return rows if kept.empty else kept


def over_seeds(rows: pd.DataFrame, value: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Steps that every seed has, and there the mean, lowest and highest value; NaN where a seed has none.

    Args:
        rows: `step`, `seed` and the value, of one variant.
        value: the column.
    """
    table = rows.pivot(index="step", columns="seed", values=value)
    there = rows.assign(there=1).pivot(index="step", columns="seed", values="there").notna().all(axis=1)
    table = table[there]
    values = table.to_numpy(np.float64)
    return table.index.to_numpy(np.float64), values.mean(axis=1), values.min(axis=1), values.max(axis=1)


def scale_of(values: pd.Series) -> Scale:
    """Logarithmic where positive values are orders of magnitude apart, else linear."""
    finite = values.to_numpy(np.float64)
    finite = finite[np.isfinite(finite)]
    positive = finite[finite > 0]
    if not len(positive) or (finite < 0).any():
        return "linear"
    return "log" if positive.max() >= _WIDE_RANGE * positive.min() else "linear"


def variants_in_pages(most: Callable[[Page], int], has: Callable[[RunRecord], bool]) -> Portions:
    """A comparison in drawings of so many variants, evenly spread, where it has more.

    Args:
        most: variants of a drawing on a page.
        has: whether there is anything to draw of a run; variants that have no such run are left out.
    """

    def portions(found: Sequence[Comparison], page: Page) -> list[Portion]:
        return [portion for each in found for portion in _of_rows(each, most(page), has)]

    return portions


def _of_rows(compared: Comparison, most: int, has: Callable[[RunRecord], bool]) -> Iterator[Portion]:
    drawn = [row for row in in_order(compared) if any(map(has, row.records))]
    if len(drawn) <= most:
        # Those that are left out too: the caption says why.
        yield Portion([compared])
        return
    count = -(-len(drawn) // most)
    for number, places in enumerate(np.array_split(np.arange(len(drawn)), count), start=1):
        part = replace(compared, rows=tuple(drawn[place] for place in places))
        yield Portion([part], number, [compared])
