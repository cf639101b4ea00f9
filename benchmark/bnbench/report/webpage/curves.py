"""The learning curves of a comparison, as the page draws them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bnbench.analysis.frames import Results
from bnbench.report.webpage.embedding import rounded
from bnbench.report.webpage.sections import Section
from bnbench.report.webpage.standings import summary_in_words
from bnbench.words import counted

MEASURED_ON = {
    "train_eval running": "training data",
    "valid running": "validation data",
    "test running": "test data",
    "train_eval population": "training data, population statistics",
    "valid population": "validation data, population statistics",
    "test population": "test data, population statistics",
}
"""Split and statistics to what they are called on the page."""

_COLUMNS = ["run_id", "epoch", "split", "statistics", "loss", "accuracy"]


@dataclass(frozen=True)
class Curves:
    """What the page draws, as plain JSON values, and what it says of it."""

    payload: dict[str, object]
    measured_on: tuple[str, ...]
    """Those of `MEASURED_ON` that were recorded."""
    description: str
    """In words, for those who cannot see the figure."""


def curves_of(results: Results, each: Section) -> Curves:
    """The curves of every run of a comparison.

    Raises:
        UserError: a table is damaged.
    """
    owners = {run.identity.run_id: (row.variant, run) for row in each.group.rows for run in row.records}
    frame = results.curves(run_id=list(owners), columns=_COLUMNS)
    of_run = {str(run_id): rows for run_id, rows in frame.groupby("run_id", observed=True)}
    drawn = [
        {
            "variant": variant,
            "seed": run.identity.seed,
            "diverged": run.diverged_at_step,
            "on": _by_split(of_run.get(run_id, frame.iloc[:0])),
        }
        for run_id, (variant, run) in owners.items()
    ]
    recorded = {key for run in drawn for key in dict.fromkeys(run["on"] if isinstance(run["on"], dict) else ())}
    return Curves(
        payload={"epochs": each.group.epochs, "runs": drawn, "file": f"curves-{each.file_name}.csv"},
        measured_on=tuple(key for key in MEASURED_ON if key in recorded),
        description=_description(each),
    )


def _by_split(rows: pd.DataFrame) -> dict[str, dict[str, list[float | None]]]:
    found: dict[str, dict[str, list[float | None]]] = {}
    for (split, statistics), own in rows.groupby(["split", "statistics"], observed=True):
        ordered = own.sort_values("epoch")
        found[f"{split} {statistics}"] = {
            "epoch": [int(epoch) for epoch in ordered["epoch"]],
            "loss": [rounded(value) for value in ordered["loss"]],
            "accuracy": [rounded(value) for value in ordered["accuracy"]],
        }
    return found


def _description(each: Section) -> str:
    seeds, variants = len(each.group.seeds), len(each.group.rows)
    return (
        f"Line charts of loss and accuracy over {each.group.epochs} epochs, a line for each of {variants} variants, "
        f"{counted(seeds, 'seed')}. Final training accuracy: {summary_in_words(each.group)}."
    )
