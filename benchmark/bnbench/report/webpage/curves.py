"""The learning curves of a comparison, as the page draws them."""

from __future__ import annotations

import pandas as pd

from bnbench.analysis.frames import Results
from bnbench.report.webpage.figures import Panel, TidyFigure
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
_PANELS = (
    Panel("loss", "loss [nats]", can_be_log=True),
    Panel("accuracy", "accuracy", limits=(0.0, 1.02)),
)


def curves_figure(results: Results, each: Section) -> TidyFigure:
    """The curves of every run of a comparison.

    Raises:
        UserError: a table is damaged.
    """
    runs = [
        (record.identity.run_id, row.variant, record.identity.seed, record.diverged_at_step)
        for row in each.group.rows
        for record in row.records
    ]
    owners = pd.DataFrame(runs, columns=["run_id", "series", "seed", "diverged_at_step"])
    # Of an integer that may be missing; a float would be written as one.
    owners["diverged_at_step"] = owners["diverged_at_step"].astype("Int64")
    recorded = results.curves(run_id=[run_id for run_id, *_ in runs], columns=_COLUMNS)
    recorded["run_id"] = recorded["run_id"].astype(str)
    rows = owners.merge(recorded, on="run_id").rename(columns={"epoch": "x"})
    return TidyFigure(
        kind="curves",
        title=each.title,
        caption="Loss and accuracy after every epoch. Lines: means over the seeds that did not diverge; bands: from "
        "the lowest to the highest seed; a cross: where a run diverged.",
        web="lines",
        x_label="epoch",
        y_label="",
        rows=pd.concat(
            [
                rows[["series", "x", "split", "statistics", "seed", "diverged_at_step"]].assign(
                    panel=panel.name, y=rows[panel.name]
                )
                for panel in _PANELS
            ],
            ignore_index=True,
        ),
        panels=_PANELS,
        x_end=each.group.epochs,
        names={"series": "variant"},
        description=(
            f"Line charts of loss and accuracy over {each.group.epochs} epochs, a line for each of "
            f"{counted(len(each.group.rows), 'variant')}, {counted(len(each.group.seeds), 'seed')}. Final training "
            f"accuracy: {summary_in_words(each.group)}."
        ),
    )
