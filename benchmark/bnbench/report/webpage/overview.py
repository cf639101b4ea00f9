"""What was run, and what was not: counts, a table of all comparisons, and one of everything that is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnbench.analysis.frames import Results, RunRecord
from bnbench.placement import NOWHERE
from bnbench.report.webpage.comparisons import Commands, Comparison
from bnbench.report.webpage.markup import (
    NOTHING,
    Cell,
    Column,
    Html,
    Table,
    code,
    count,
    join,
    symbol,
    tag,
    text,
    words,
)

Key = tuple[str, float, str]
"""Setting, learning rate, placement: what a comparison is about."""


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
    missing += [_damaged(warning.replace(folder, "")) for warning in results.warnings]
    return Overview(
        finished=statuses["finished"],
        diverged=statuses["diverged"],
        failed=statuses["failed"],
        unfinished=len(unfinished),
        missing=tuple(missing),
    )


def tiles(overview: Overview, verdicts: Mapping[str, int]) -> Html:
    """The counts of runs, and of claims by their verdict, large."""
    shown = [
        (overview.finished, "finished"),
        (overview.diverged, "diverged"),
        (overview.failed, "failed"),
        (overview.unfinished, "unfinished"),
    ]
    shown += [(number, f"claims: {verdict}") for verdict, number in verdicts.items()]
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("strong", text(number)),
                text(" "),
                tag("span", text(label)),
                class_=None if number else "none",
            )
            for number, label in shown
        ),
        class_="tiles",
    )


def runs_table(
    compared: Sequence[Comparison], records: Sequence[RunRecord], variants: Mapping[str, str], commands: Commands
) -> Table:
    """One row for each comparison, one column for each variant: how many seeds, and how they ended.

    Args:
        compared: the comparisons.
        records: every run that ended.
        variants: name to symbol, in the order of the columns.
        commands: for the line below the table.
    """
    failed = [record for record in records if record.status == "failed"]
    rows = [_comparison_row(each, failed, list(variants)) for each in compared]
    return Table(
        name="runs-by-comparison",
        caption=text("Seeds per variant; “–” was not run"),
        columns=(
            Column(text("problem"), "problem"),
            Column(text("BatchNorm"), "placement"),
            Column(text("learning rate"), "learning_rate", number=True),
            Column(text("epochs"), "epochs", number=True),
            Column(text("changed"), "overrides", hint="What differs from the problem's file"),
            *(Column(symbol(shown), name) for name, shown in variants.items()),
        ),
        rows=tuple(rows),
        command=commands.line("status"),
    )


def missing_table(overview: Overview, compared: Sequence[Comparison], commands: Commands) -> Table | None:
    """Everything that is in no average, and seeds that one variant has and another has not; None if all is there."""
    rows = [(words(each.what), code(each.run), _reason(each)) for each in overview.missing]
    for each in compared:
        for row in each.group.rows:
            absent = [seed for seed in each.seeds if seed not in row.seeds]
            if absent:
                seeds = ", ".join(map(str, absent))
                where = Cell(join([symbol(row.symbol), text(" in "), link(each)]), f"{row.variant} in {each.title}")
                rows.append((words("not run"), where, words(f"seed{'s' if len(absent) > 1 else ''} {seeds}")))
    if not rows:
        return None
    return Table(
        name="not-run",
        caption=text("Not finished, and so in no number of this page"),
        columns=(Column(text("what"), "what"), Column(text("run"), "run"), Column(text("why"), "why")),
        rows=tuple(rows),
        notes=(
            text(
                "A diverged run is a result and not listed here: it ranks last, its curve is drawn as far as it goes."
            ),
        ),
        command=commands.line("status", "--runs"),
    )


def _comparison_row(each: Comparison, failed: Sequence[RunRecord], variants: Sequence[str]) -> tuple[Cell, ...]:
    group = each.group
    rows = {row.variant: row for row in group.rows}
    size = "" if each.size is None else f" ({each.size})"
    changed = ", ".join(group.overrides or ())
    cells = [
        Cell(link(each, f"{each.problem}{size}"), f"{each.problem}{size}"),
        words(group.placement),
        Cell(text(each.rate), repr(group.learning_rate), number=True),
        count(each.epochs),
        words(changed) if changed else Cell(text("–"), ""),
    ]
    for name in variants:
        crashed = sum(_belongs(record, each, name) for record in failed)
        row = rows.get(name)
        cells.append(_seeds_cell(0 if row is None else len(row.seeds), 0 if row is None else row.diverged, crashed))
    return tuple(cells)


def _seeds_cell(seeds: int, diverged: int, failed: int) -> Cell:
    if not seeds and not failed:
        return Cell(NOTHING, "")
    wrong = [f"{number} {how}" for number, how in ((diverged, "diverged"), (failed, "failed")) if number]
    if not wrong:
        return Cell(text(seeds), str(seeds))
    said = f"{seeds} ({', '.join(wrong)})"
    return Cell(tag("span", text(said), class_="warning"), said)


def _belongs(record: RunRecord, each: Comparison, variant: str) -> bool:
    own, group = record.identity, each.group
    same = (own.setting_id, own.learning_rate, own.variant) == (group.setting_id, group.learning_rate, variant)
    return same and own.placement in {group.placement, NOWHERE}


def link(each: Comparison, shown: str | None = None) -> Html:
    """A link to a comparison's section."""
    return tag("a", text(shown or each.title), href=f"#{each.name}")


def _reason(each: Missing) -> Cell:
    if each.details is None:
        return words(each.reason)
    summary = tag("summary", text(each.reason))
    return Cell(tag("details", summary, tag("pre", text(each.details))), each.reason)


def _damaged(warning: str) -> Missing:
    run, _, reason = warning.partition(": ")
    if not reason or " " in run:
        run, _, reason = warning.partition(" ")
    return Missing("damaged", run, reason)


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.splitlines() if line.strip()]
    return lines[-1] if lines else "no traceback was recorded"
