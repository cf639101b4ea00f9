"""The ranking as tables: over all problems, and of each comparison with its intervals drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bnbench.analysis.overall_ranking import LARGEST_RATIO, OverallRanking, OverallVariant
from bnbench.analysis.ranked_group import Absence, RankedGroup, RankedVariant, Summary, TargetTime, target_level
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL, PairedDifference
from bnbench.report.webpage.comparisons import Commands, Comparison
from bnbench.report.webpage.markup import (
    NOTHING,
    Cell,
    Column,
    Html,
    Table,
    count,
    decimal,
    empty,
    join,
    number,
    symbol,
    tag,
    text,
)

_BASELINES = {"lower": "lower baseline", "upper": "upper baseline"}
_PROFILE_AT = (1.0, 1.5, 2.0)


def overall_table(overall: OverallRanking, commands: Commands) -> Table:
    """The variants over several problems: mean rank with its interval, score, profile and speed."""
    lower = next((row for row in overall.rows if row.baseline == "lower"), None)
    timed = overall.problems_with_target > 0
    columns = [Column(text("variant"), "variant"), Column(text("mean rank"), "mean_rank", number=True)]
    scale = _Scale.over([row.rank_difference for row in overall.rows])
    if lower is not None:
        columns += _difference_columns("rank", lower.symbol)
    if timed:
        columns.append(Column(text("score"), "score", number=True, hint="AlgoPerf's score of the performance profile"))
        columns += [
            Column(
                text(f"within {at:g}×"),
                f"within_{at:g}",
                number=True,
                hint="Share of problems on which it needs at most so many times the fewest steps",
            )
            for at in _PROFILE_AT
        ]
        columns.append(Column(text("speed"), "speed_epochs", number=True, hint="DeepOBS's speed, in epochs"))
    rows = []
    for row in overall.rows:
        cells = [_variant(row), number(row.mean_rank, 2)]
        if lower is not None:
            cells += _difference_cells(row.rank_difference, scale, digits=2)
        if timed:
            cells += _times(row)
        rows.append(tuple(cells))
    size = "" if overall.size == "full" else f" ({overall.size})"
    return Table(
        name=f"ranking-over-problems-{overall.size}",
        caption=text(
            f"Over {len(overall.problems)} problems{size}: {', '.join(' = '.join(p) for p in overall.problems)}"
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(text(line) for line in _overall_notes(overall)),
        command=commands.line("rank"),
    )


def group_table(each: Comparison, commands: Commands) -> Table:
    """One comparison: final values, and the difference to the lower baseline with its interval."""
    group = each.group
    lower = next((row for row in group.rows if row.baseline == "lower"), None)
    columns = [
        Column(text("rank"), "rank", number=True),
        Column(text("variant"), "variant"),
        Column(
            text("train accuracy"), "final_train_accuracy", number=True, hint="Mean over the last tenth of the epochs"
        ),
        Column(text("±"), "final_train_accuracy_deviation", number=True, hint="Standard deviation over the seeds"),
    ]
    if lower is not None:
        columns += _difference_columns("accuracy", lower.symbol)
    columns += [
        Column(text("train loss"), "final_train_loss", number=True, hint="Mean over the last tenth of the epochs"),
        Column(text("test accuracy"), "final_test_accuracy", number=True),
        Column(text("valid. accuracy"), "final_valid_accuracy", number=True),
        Column(text("best"), "best_train_accuracy", number=True, hint="Best training accuracy"),
        Column(text("area"), "area_under_train_accuracy", number=True, hint="Mean height of the training accuracy"),
        Column(
            text("early"), "early_train_accuracy", number=True, hint="Mean accuracy over the first tenth of the epochs"
        ),
        *(
            Column(text(f"epochs to {target_level(target)}"), f"epochs_to_target_{place}", number=True)
            for place, target in enumerate(group.targets, start=1)
        ),
        Column(text("seeds"), "seeds", number=True),
    ]
    if lower is not None:
        columns += [
            Column(
                text("p (Holm)"), "t_p_holm", number=True, hint="Paired t test, corrected for the comparisons made here"
            ),
            Column(text("effect g"), "hedges_g", number=True, hint="Cohen's d_z with Hedges' correction"),
        ]
    scale = _Scale.over([row.difference for row in group.rows])
    return Table(
        name=f"ranking-{each.file_name}",
        caption=text("Ranking by final training accuracy"),
        columns=tuple(columns),
        rows=tuple(_group_row(row, group.rows, lower, scale) for row in group.rows),
        notes=tuple(_group_notes(group, lower)),
        command=commands.rank(group, "--details"),
    )


def every_comparison_table(compared: Sequence[Comparison], symbols: Mapping[str, str], commands: Commands) -> Table:
    """The final training accuracy of every variant in every comparison, the best of each row set bold."""
    return Table(
        name="final-train-accuracy",
        caption=text("Final training accuracy in each comparison, ± standard deviation over the seeds; best in bold"),
        columns=(
            Column(text("comparison"), "comparison"),
            *(Column(symbol(shown), name, number=True) for name, shown in symbols.items()),
        ),
        rows=tuple(
            (
                Cell(tag("div", tag("a", text(each.title), href=f"#{each.name}"), class_="prose wide"), each.title),
                *(_accuracy(each.group, name) for name in symbols),
            )
            for each in compared
        ),
        notes=(text("The intervals of the differences stand in the section of each comparison."),),
        command=commands.line("rank"),
    )


def _accuracy(group: RankedGroup, variant: str) -> Cell:
    row = next((each for each in group.rows if each.variant == variant), None)
    if row is None:
        return empty()
    summary = row.final_train_accuracy
    if summary.mean is None:
        return _value(summary, row)
    shown = text(f"{summary.mean:.3f}")
    spread = Html("") if summary.deviation is None else tag("small", text(f" ±{summary.deviation:.3f}"))
    return Cell(join([tag("b", shown) if row.rank == 1 else shown, spread]), repr(summary.mean), number=True)


def headline(group: RankedGroup) -> Html:
    """The ranking in a line: the variants from best to worst with their accuracy."""
    parts = []
    for row in group.rows:
        value = row.final_train_accuracy.mean
        said = f" {value:.3f}" if value is not None else f" {_reason(row.final_train_accuracy, row)}"
        parts.append(tag("span", tag("b", symbol(row.symbol)), text(said)))
    return tag("span", join(parts, " "), class_="headline")


def summary_in_words(group: RankedGroup) -> str:
    """The final training accuracy of every variant, for those who cannot see the figure."""
    said = []
    for row in group.rows:
        value = row.final_train_accuracy.mean
        said.append(f"{row.symbol} {f'{value:.3f}' if value is not None else _reason(row.final_train_accuracy, row)}")
    return ", ".join(said)


def _group_row(
    row: RankedVariant, rows: Sequence[RankedVariant], lower: RankedVariant | None, scale: _Scale
) -> tuple[Cell, ...]:
    tied = sum(other.rank == row.rank for other in rows) > 1
    accuracy = row.final_train_accuracy
    cells = [
        Cell(text(f"{row.rank}{'=' if tied else ''}"), str(row.rank), number=True),
        _variant(row),
        _value(accuracy, row),
        number(accuracy.deviation),
    ]
    if lower is not None:
        cells += _difference_cells(row.difference, scale)
    cells += [
        _value(summary, row, short=True)
        for summary in (
            row.final_train_loss,
            row.final_test_accuracy,
            row.final_valid_accuracy,
            row.best_train_accuracy,
            row.area,
            row.early_train_accuracy,
        )
    ]
    cells += [_time(time, len(row.seeds)) for time in row.targets]
    cells.append(count(len(row.seeds)))
    if lower is not None:
        cells += [_p(row.holm_t_p), number(None if row.difference is None else row.difference.hedges_g, 2, signed=True)]
    return tuple(cells)


def _variant(row: RankedVariant | OverallVariant) -> Cell:
    name = join([tag("span", symbol(row.symbol), class_="variant", data_variant=row.variant)])
    if row.baseline is None:
        return Cell(name, row.variant)
    return Cell(join([name, tag("small", text(_BASELINES[row.baseline]))], " "), row.variant)


def _value(summary: Summary, row: RankedVariant, *, short: bool = False) -> Cell:
    if summary.mean is not None:
        return number(summary.mean)
    reason = _reason(summary, row)
    return Cell(NOTHING, reason, number=True) if short else Cell(tag("span", text(reason), class_="warning"), reason)


def _reason(summary: Summary, row: RankedVariant) -> str:
    if summary.absence is Absence.DIVERGED:
        return f"{row.diverged} of {len(row.seeds)} diverged"
    return str(summary.absence)


def _time(time: TargetTime, seeds: int) -> Cell:
    if time.reached == 0:
        return empty("missed")
    median = f"{time.epochs:g}" if math.isfinite(time.epochs) else "∞"
    shown = median if time.reached == seeds else f"{median} ({time.reached}/{seeds})"
    return Cell(text(shown), median, number=True)


def _times(row: OverallVariant) -> list[Cell]:
    if row.score is None or row.speed is None:
        return [empty()] * (len(_PROFILE_AT) + 2)
    return [number(row.score), *(number(row.profile(at), 2) for at in _PROFILE_AT), number(row.speed, 1)]


def _p(value: float | None) -> Cell:
    if value is None:
        return empty()
    return Cell(text("< 0.001" if value < 0.001 else f"{value:.3f}"), repr(value), number=True)


# --- differences, with their intervals drawn ----------------------------------------------------------------------


class _Scale:
    """One scale for the intervals of a table, with 0 always on it."""

    WIDTH = 120
    HEIGHT = 18
    MARGIN = 6

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    @classmethod
    def over(cls, differences: Sequence[PairedDifference | None]) -> _Scale:
        values = [0.0]
        for each in differences:
            if each is not None and each.mean is not None:
                values.append(each.mean)
                if each.t_interval is not None:
                    values += [each.t_interval.low, each.t_interval.high]
        return cls(min(values), max(values))

    def at(self, value: float) -> str:
        """Where a value is, in pixels from the left."""
        span = (self._high - self._low) or 1.0
        return f"{self.MARGIN + (value - self._low) / span * (self.WIDTH - 2 * self.MARGIN):.1f}"

    def draw(self, difference: PairedDifference) -> Html:
        """The mean as a dot, the interval as a line, 0 as a rule; said in words in the cells beside it."""
        middle = str(self.HEIGHT // 2)
        marks = [tag("line", x1=self.at(0), x2=self.at(0), y1="0", y2=str(self.HEIGHT), class_="zero")]
        if difference.t_interval is not None:
            low, high = self.at(difference.t_interval.low), self.at(difference.t_interval.high)
            marks.append(tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="interval"))
        if difference.mean is not None:
            marks.append(tag("circle", cx=self.at(difference.mean), cy=middle, r="3.5"))
        return tag("svg", *marks, class_="forest", width=str(self.WIDTH), height=str(self.HEIGHT), aria_hidden="true")


def _difference_columns(what: str, lower: str) -> list[Column]:
    minus = join([text(f"{what} − "), symbol(lower)])
    hint = "Paired by seed; the line is the 95 % t interval"
    return [
        Column(minus, f"{what}_difference", number=True, hint=hint),
        Column(text("95 %"), f"{what}_difference_low", hint="Student's t interval over the seeds"),
        Column(Html('<span class="unseen">interval</span>'), f"{what}_difference_high"),
    ]


def _difference_cells(difference: PairedDifference | None, scale: _Scale, digits: int = 3) -> list[Cell]:
    if difference is None:
        return [empty(), empty(), Cell(Html(""), "")]
    if difference.mean is None:
        return [empty(), empty(difference.says), Cell(Html(""), "")]
    interval = difference.t_interval
    if interval is None:
        between = empty("one seed" if len(difference.seeds) == 1 else f"{len(difference.seeds)} seeds")
    else:
        low, high = (decimal(value, digits) for value in (interval.low, interval.high))
        between = Cell(tag("span", text(f"[{low}, {high}]"), class_="range"), repr(interval.low))
    high_end = "" if interval is None else repr(interval.high)
    return [number(difference.mean, digits, signed=True), between, Cell(scale.draw(difference), high_end)]


# --- notes --------------------------------------------------------------------------------------------------------


def _group_notes(group: RankedGroup, lower: RankedVariant | None) -> list[Html]:
    lines = [
        text(
            "On train_eval with running statistics; final: mean over the last tenth of the epochs; mean over the "
            "seeds, ± their standard deviation."
        )
    ]
    if lower is not None:
        said = dict.fromkeys(
            row.difference.says for row in group.rows if row.difference is not None and row.difference.says
        )
        reason = f" No interval: {'; '.join(said)}." if said else ""
        lines.append(
            join(
                [
                    text("Differences to "),
                    symbol(lower.symbol),
                    text(f" are paired by seed; a 95 % t interval needs {SEEDS_FOR_INTERVAL} seeds.{reason}"),
                ]
            )
        )
    return lines + [tag("span", text(note), class_="warning") for note in group.notes]


def _overall_notes(overall: OverallRanking) -> list[str]:
    lines = ["Rank 1 is best. Intervals are over seeds, paired, with the problems taken as given."]
    if overall.groups > len(overall.problems):
        lines.append(
            f"{overall.groups} rankings went in; placements and learning rates are averaged inside their problem first."
        )
    if overall.friedman is not None:
        test = overall.friedman
        p = "< 0.001" if test.p < 0.001 else f"= {test.p:.3f}"
        lines.append(
            f"Friedman test, {test.variants} variants on {test.problems} problems: χ² = {test.chi_square:.2f}, p {p}"
            f"{' (an approximation, rough with few problems)' if test.problems <= 10 else ''}."
        )
    if overall.problems_with_target:
        lines.append(f"Score: AlgoPerf's, in optimiser steps, r_max = {LARGEST_RATIO:g}; speed: DeepOBS's.")
    missing = len(overall.problems) - overall.problems_with_target
    if missing:
        lines.append(
            f"{missing} of {len(overall.problems)} problems have no target and so no score, profile and speed."
        )
    return lines + [f"{note[:1].upper()}{note[1:]}." for note in overall.notes]
