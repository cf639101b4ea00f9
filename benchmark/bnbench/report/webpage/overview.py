"""What was run, and what was not: counts, a table of all comparisons, and one of everything that is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnbench.analysis.comparison import circumstances_of
from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, Value, rate, whole
from bnbench.report.webpage.sections import Section


@dataclass(frozen=True)
class Missing:
    """A run that is in no average, and why."""

    what: str
    run: str
    reason: str
    details: str | None = None
    """The traceback of a failed run."""


@dataclass(frozen=True)
class Overview:
    """How many runs there are of each kind, and what is not there."""

    finished: int
    diverged: int
    failed: int
    unfinished: int
    missing: tuple[Missing, ...]


def look_over(results: Results, unfinished: Sequence[str]) -> Overview:
    """Count what a results folder holds.

    Args:
        results: the opened folder.
        unfinished: the runs that were started and have not ended.
    """
    statuses = Counter(record.status for record in results.records if record.status != "damaged")
    missing = [
        Missing("failed", record.identity.run_id, _last_line(record.error or ""), record.error)
        for record in results.records
        if record.status == "failed"
    ]
    missing += [Missing("unfinished", run_id, "running now, or cut off") for run_id in unfinished]
    folder = f"{results.path}/"
    missing += [_damaged(warning.replace(folder, "")) for warning in results.damage]
    return Overview(
        finished=statuses["finished"],
        diverged=statuses["diverged"],
        failed=statuses["failed"],
        unfinished=len(unfinished),
        missing=tuple(missing),
    )


def tiles(overview: Overview, verdicts: Mapping[str, int]) -> list[tuple[int, str]]:
    """The counts of runs, and of claims by their verdict, each with its name."""
    return [
        (overview.finished, "finished"),
        (overview.diverged, "diverged"),
        (overview.failed, "failed"),
        (overview.unfinished, "unfinished"),
        *((number, f"claims: {verdict}") for verdict, number in verdicts.items()),
    ]


def runs_table(compared: Sequence[Section], records: Sequence[RunRecord], variants: Mapping[str, str]) -> Table:
    """One row for each comparison, one column for each variant: how many seeds, and how they ended.

    Args:
        compared: the comparisons.
        records: every run that ended.
        variants: name to symbol, in the order of the columns.
    """
    failed = [record for record in records if record.status == "failed"]
    return Table(
        name="runs-by-comparison",
        title="Seeds per variant; “–” was not run",
        columns=(
            Column("problem", "problem", Kind.PROSE),
            Column("placement", "BatchNorm"),
            Column("learning_rate", "learning rate", Kind.NUMBER, show=rate),
            Column("epochs", "epochs", Kind.NUMBER, show=whole),
            Column("overrides", "changed", Kind.PROSE, hint="What differs from the problem's file"),
            *(Column(name, shown, Kind.NUMBER, show=whole, of_variant=True) for name, shown in variants.items()),
        ),
        rows=tuple(_comparison_row(each, failed, list(variants)) for each in compared),
    )


def missing_table(overview: Overview, compared: Sequence[Section]) -> Table | None:
    """Everything that is in no average, and seeds that one variant has and another has not; None if all is there."""
    rows: list[tuple[Value | Cell, ...]] = [
        (each.what, each.run, Cell(each.reason, details=each.details)) for each in overview.missing
    ]
    for each in compared:
        for row in each.group.rows:
            absent = [seed for seed in each.group.seeds if seed not in row.seeds]
            if absent:
                seeds = ", ".join(map(str, absent))
                where = Cell(f"{row.variant} in {each.title}", links=((each.name, f"{row.symbol} in {each.title}"),))
                rows.append(("not run", where, f"seed{'s' if len(absent) > 1 else ''} {seeds}"))
    if not rows:
        return None
    return Table(
        name="not-run",
        title="Not finished, and so in no number of this page",
        columns=(Column("what", "what"), Column("run", "run", Kind.IDENTIFIER), Column("why", "why")),
        rows=tuple(rows),
        notes=("A diverged run is a result and not listed here: it ranks last, its curve is drawn as far as it goes.",),
    )


def _comparison_row(each: Section, failed: Sequence[RunRecord], variants: Sequence[str]) -> tuple[Value | Cell, ...]:
    group = each.group
    rows = {row.variant: row for row in group.rows}
    problem = group.called
    cells: list[Value | Cell] = [
        Cell(problem, links=((each.name, problem),)),
        group.placement,
        group.learning_rate,
        each.group.epochs,
        ", ".join(group.overrides or ()) or None,
    ]
    for name in variants:
        crashed = sum(r.identity.variant == name and group.key.holds(circumstances_of(r.identity)) for r in failed)
        row = rows.get(name)
        cells.append(_seeds(0 if row is None else len(row.seeds), 0 if row is None else row.diverged, crashed))
    return tuple(cells)


def _seeds(seeds: int, diverged: int, failed: int) -> Cell:
    if not seeds and not failed:
        return Cell(None)
    wrong = [f"{number} {how}" for number, how in ((diverged, "diverged"), (failed, "failed")) if number]
    return Cell(seeds, remark=f"({', '.join(wrong)})", tone=Tone.WARNING) if wrong else Cell(seeds)


def _damaged(warning: str) -> Missing:
    run, _, reason = warning.partition(": ")
    if not reason or " " in run:
        run, _, reason = warning.partition(" ")
    return Missing("damaged", run, reason)


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.splitlines() if line.strip()]
    return lines[-1] if lines else "no traceback was recorded"
