"""The rankings of all comparisons at a glance: a table of final accuracies, and each comparison in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bnbench.analysis.ranked_group import RankedGroup, RankedVariant
from bnbench.analysis.ranking_tables import absence_in_words
from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, fixed
from bnbench.report.webpage.sections import Section


def every_comparison_table(compared: Sequence[Section], symbols: Mapping[str, str]) -> Table:
    """The final training accuracy of every variant in every comparison; in bold the best, where it stands out."""
    return Table(
        name="final-train-accuracy",
        title="Final training accuracy in each comparison, ± standard deviation over the seeds",
        columns=(
            Column("comparison", "comparison", Kind.PROSE),
            *(Column(name, shown, Kind.NUMBER, show=fixed(3), of_variant=True) for name, shown in symbols.items()),
        ),
        rows=tuple(
            (
                Cell(each.title, links=((each.name, each.title),)),
                *(_accuracy(each.group, name) for name in symbols),
            )
            for each in compared
        ),
        notes=(
            "Bold: the best, where it can be told from the next: the 95 % t interval of their difference, paired by "
            "seed, lies above 0.",
            "The intervals of the differences to vanilla stand in the section of each comparison.",
        ),
    )


def _accuracy(group: RankedGroup, variant: str) -> Cell:
    row = next((each for each in group.rows if each.variant == variant), None)
    if row is None:
        return Cell(None)
    summary = row.final_train_accuracy
    if summary.mean is None:
        return Cell(None, absence_in_words(summary, row), tone=Tone.WARNING)
    spread = None if summary.deviation is None else f"±{summary.deviation:.3f}"
    return Cell(summary.mean, remark=spread, tone=Tone.BEST if row.rank == 1 and group.best_stands_out else None)


def headline(group: RankedGroup) -> list[tuple[str, str]]:
    """The ranking in a line: the symbols of the variants from best to worst, each with its accuracy."""
    return [(row.symbol, _in_words(row)) for row in group.rows]


def summary_in_words(group: RankedGroup) -> str:
    """The final training accuracy of every variant, for those who cannot see the figure."""
    return ", ".join(f"{symbol} {words}" for symbol, words in headline(group))


def _in_words(row: RankedVariant) -> str:
    summary = row.final_train_accuracy
    return absence_in_words(summary, row) if summary.mean is None else f"{summary.mean:.3f}"
