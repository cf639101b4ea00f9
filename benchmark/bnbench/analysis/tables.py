"""A ranking as tables for the terminal and as plain JSON. Numbers come from `bnbench.analysis.ranking`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from bnbench.analysis.overall_ranking import LARGEST_RATIO, OverallRanking, OverallVariant
from bnbench.analysis.ranked_group import Absence, RankedGroup, RankedVariant, Summary, TargetTime, target_level
from bnbench.analysis.ranking import Ranking
from bnbench.analysis.statistics import (
    SEEDS_FOR_BOOTSTRAP,
    SEEDS_FOR_INTERVAL,
    SEEDS_FOR_SIGN_FLIP,
    Interval,
    PairedDifference,
    smallest_sign_flip_p,
)
from bnbench.analysis.terminal import columns, framed
from bnbench.placement import NOWHERE

JsonObject = dict[str, object]

FULL_WIDTH = 100
"""Columns of a terminal that hold every table whole."""
_WITHOUT_COLUMNS = 86
_NOTHING = "–"
_BASELINES = {"lower": "▼", "upper": "▲"}
_LEGEND = "▼ lower baseline  ▲ upper baseline"
_MEDIAN = "epochs: median over seeds; (k/n): so many seeds got there"
_PROFILE_AT = (1.0, 1.5, 2.0)


def ranking_tables(ranking: Ranking, *, details: bool = False, width: int = FULL_WIDTH) -> list[Table]:
    """One table per group, then one of what holds over several problems.

    Args:
        ranking: what to show.
        details: also a table of the tests behind each difference.
        width: columns of the terminal. 100 hold everything; with fewer, the least important is left out, down to 80.
    """
    tables: list[Table] = []
    for group in ranking.groups:
        tables.append(_group_table(group, width))
        if len(group.targets) > 1:
            tables.append(_targets_table(group))
        if details and any(row.difference is not None for row in group.rows):
            tables.append(_tests_table(group, width))
    tables += [_overall_table(overall) for overall in ranking.overall]
    if ranking.failed:
        count = len(ranking.failed)
        listing = Table(box=None, padding=0, show_header=False)
        for run_id in ranking.failed:
            listing.add_row(run_id)
        tables.append(framed(f"{count} run{'s' if count > 1 else ''} failed and so in no ranking", listing, []))
    return tables


def ranking_json(ranking: Ranking) -> JsonObject:
    """The ranking as plain JSON values. A number that is not there is null, beside it a word that says why.

    There is no NaN and no Infinity in it, which JSON does not know.
    """
    return {
        "groups": [_group_json(group) for group in ranking.groups],
        "overall": [_overall_json(overall) for overall in ranking.overall],
        "failed": list(ranking.failed),
    }


# --- terminal ---------------------------------------------------------------------------------------------------


def _group_table(group: RankedGroup, width: int) -> Table:
    lower = _lower(group.rows)
    whole, deviation = width >= FULL_WIDTH, width >= _WITHOUT_COLUMNS
    table = columns()
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("\nvariant", no_wrap=True)
    table.add_column("loss\ntrain", justify="right", no_wrap=True)
    # Where the line is too long, "3 of 3 diverged" may wrap; no number is ever cut.
    table.add_column("accuracy\ntrain", min_width=len("0.123 ±0.123" if deviation else "accuracy"))
    for name in ("best", "area", "test") if whole else ("test",):
        table.add_column(f"\n{name}", justify="right", no_wrap=True)
    if len(group.targets) == 1:
        table.add_column("epochs\nto target", justify="right", no_wrap=True)
    table.add_column("\nseeds", justify="right", no_wrap=True)
    if lower is not None:
        table.add_column(f"accuracy − {lower.symbol}\n[95 %]", no_wrap=True)
    for row in group.rows:
        cells: list[str | Text] = [
            _rank(row, group.rows),
            _name(row.symbol, row.baseline),
            _summary(row.final_train_loss, row),
            _summary(row.final_train_accuracy, row, main=True, deviation=deviation),
        ]
        if whole:
            cells += [_summary(row.best_train_accuracy, row), _summary(row.area, row)]
        cells.append(_summary(row.final_test_accuracy, row))
        if len(group.targets) == 1:
            cells.append(_time(row.targets[0], len(row.seeds)))
        cells.append(str(len(row.seeds)))
        if lower is not None:
            cells.append(_unpaired(row, lower) or _difference(row.difference))
        table.add_row(*cells)
    return framed(_group_title(group), table, _group_notes(group))


def _rank(row: RankedVariant, rows: Sequence[RankedVariant]) -> str:
    tied = sum(other.rank == row.rank for other in rows) > 1
    return f"{row.rank}=" if tied else str(row.rank)


def _lower(rows: Sequence[RankedVariant]) -> RankedVariant | None:
    return next((row for row in rows if row.baseline == "lower"), None)


def _group_title(group: RankedGroup) -> str:
    size = "" if group.sizes == ("full",) else f" ({', '.join(group.sizes)})"
    place = "no BatchNorm" if group.placement == NOWHERE else f"BatchNorm {group.placement}"
    return f"{' = '.join(group.problems)}{size} · {place} · learning rate {group.learning_rate:g}"


def _group_notes(group: RankedGroup) -> list[str]:
    epochs = f"{group.epochs} epoch{'s' if group.epochs > 1 else ''}"
    changed = f", with {', '.join(group.overrides)}" if group.overrides else ""
    lines = [_LEGEND, f"{group.setting_id}: {epochs} on {' and '.join(group.devices)}{changed}"]
    if not group.targets:
        lines.append("no target")
    elif len(group.targets) == 1:
        lines.append(f"target: {target_level(group.targets[0])}; {_MEDIAN}")
    differences = [row.difference for row in group.rows if row.difference is not None]
    seeds = max((len(each.seeds) for each in differences if each.mean is not None), default=0)
    if 1 < seeds < SEEDS_FOR_SIGN_FLIP:
        least = smallest_sign_flip_p(seeds)
        lines.append(f"sign-flip test from {SEEDS_FOR_SIGN_FLIP} seeds: with {seeds} no p below {least:g} is possible")
    return lines + [f"! {note}" for note in group.notes]


def _time(time: TargetTime, seeds: int) -> Text:
    """The median epoch, with how many seeds got there unless all did."""
    if time.reached == 0:
        return Text("missed", style="dim")
    median = f"{time.epochs:g}" if math.isfinite(time.epochs) else "∞"
    return Text(median if time.reached == seeds else f"{median} ({time.reached}/{seeds})")


def _targets_table(group: RankedGroup) -> Table:
    table = columns()
    table.add_column("target", no_wrap=True)
    for row in group.rows:
        table.add_column(_name(row.symbol, row.baseline), justify="right", no_wrap=True)
    for index, target in enumerate(group.targets):
        table.add_row(target_level(target), *(_time(row.targets[index], len(row.seeds)) for row in group.rows))
    return framed("epochs to each target", table, [_MEDIAN])


def _tests_table(group: RankedGroup, width: int) -> Table:
    lower = _lower(group.rows)
    whole = width >= FULL_WIDTH
    table = columns()
    table.add_column("\nvariant", no_wrap=True)
    table.add_column("\ndifference", justify="right", no_wrap=True)
    table.add_column("t interval\n95 %", no_wrap=True)
    table.add_column("t test p\n(Holm)", no_wrap=True)
    table.add_column("sign-flip p\n(Holm)", no_wrap=True)
    if whole:
        table.add_column("bootstrap\n95 %", no_wrap=True)
    table.add_column("effect\ng", justify="right", no_wrap=True)
    for row in group.rows:
        each = row.difference
        if each is None:
            continue
        if each.mean is None:
            table.add_row(row.symbol, *[_NOTHING] * (len(table.columns) - 1))
            continue
        possible = f"≥ {each.sign_flip_smallest_p:g}" if each.sign_flip_smallest_p is not None else _NOTHING
        cells = [
            row.symbol,
            f"{each.mean:+.3f}",
            _interval(each.t_interval) or _NOTHING,
            _corrected(each.t_p, row.holm_t_p) or _NOTHING,
            _corrected(each.sign_flip_p, row.holm_sign_flip_p) or possible,
        ]
        if whole:
            cells.append(_interval(each.bootstrap_interval) or _NOTHING)
        table.add_row(*cells, _NOTHING if each.hedges_g is None else f"{each.hedges_g:+.2f}")
    notes = [
        f"final training accuracy minus {lower.symbol if lower else ''}, paired by seed; g: Cohen's d_z with Hedges' "
        "correction",
        f"t from {SEEDS_FOR_INTERVAL} seeds, sign-flip test from {SEEDS_FOR_SIGN_FLIP} (before: its smallest possible "
        f"p), bootstrap from {SEEDS_FOR_BOOTSTRAP}",
    ]
    said = [row.difference.says for row in group.rows if row.difference is not None]
    notes += dict.fromkeys(f"! {each}" for each in said if each is not None)
    return framed("tests", table, notes)


def _interval(interval: Interval | None, digits: int = 3) -> str | None:
    return None if interval is None else f"[{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _corrected(p: float | None, holm: float | None) -> str | None:
    return None if p is None or holm is None else f"{_p(p)} ({_p(holm)})"


def _overall_table(overall: OverallRanking) -> Table:
    lower = next((row for row in overall.rows if row.baseline == "lower"), None)
    timed = overall.problems_with_target > 0
    table = columns()
    table.add_column("\nvariant", no_wrap=True)
    table.add_column("mean\nrank", justify="right", no_wrap=True)
    if lower is not None:
        table.add_column(f"rank − {lower.symbol}\n[95 %]", no_wrap=True)
    if timed:
        table.add_column("score\nB", justify="right", no_wrap=True)
        for ratio in _PROFILE_AT:
            table.add_column(f"within\n{ratio:g}×", justify="right", no_wrap=True)
        table.add_column("speed\n(epochs)", justify="right", no_wrap=True)
    for row in overall.rows:
        cells: list[str | Text] = [_name(row.symbol, row.baseline), f"{row.mean_rank:.2f}"]
        if lower is not None:
            cells.append(_difference(row.rank_difference, digits=2))
        if timed:
            cells += _overall_times(row)
        table.add_row(*cells)
    size = "" if overall.size == "full" else f" ({overall.size})"
    return framed(f"over {len(overall.problems)} problems{size}", table, _overall_notes(overall))


def _overall_times(row: OverallVariant) -> list[str]:
    if row.score is None or row.speed is None:
        return [_NOTHING] * (len(_PROFILE_AT) + 2)
    return [f"{row.score:.3f}", *(f"{row.profile(ratio):.2f}" for ratio in _PROFILE_AT), f"{row.speed:.1f}"]


def _overall_notes(overall: OverallRanking) -> list[str]:
    lines = [_LEGEND, f"problems: {', '.join(' = '.join(problem) for problem in overall.problems)}"]
    if overall.groups > len(overall.problems):
        lines.append(
            f"{overall.groups} rankings; placements and learning rates are averaged inside their problem first"
        )
    lines.append(_rank_note(overall))
    if overall.friedman is not None:
        test = overall.friedman
        rough = " (an approximation, rough with few problems)" if test.problems <= 10 else ""
        lines.append(
            f"Friedman test, {test.variants} variants, {test.problems} problems: "
            f"χ² = {test.chi_square:.2f}, p = {_p(test.p)}{rough}"
        )
    else:
        lines.append("Friedman test: needs three variants that are not tied throughout")
    if overall.problems_with_target:
        lines.append(
            f"score B (r_max = {LARGEST_RATIO:g}); within τ×: share of problems on which it needs at most τ times the "
            "fewest steps"
        )
        lines.append("speed as in DeepOBS: mean first epoch at the target, a miss counts as one more than there were")
    missing = len(overall.problems) - overall.problems_with_target
    if missing:
        lines.append(f"no target: {missing} of {len(overall.problems)} problems, so not in score, profile and speed")
    return lines + [f"! {note}" for note in overall.notes]


def _rank_note(overall: OverallRanking) -> str:
    says = next((row.rank_difference.says for row in overall.rows if row.rank_difference is not None), None)
    reason = "intervals are over seeds, paired, the problems taken as given" if says is None else says
    return f"rank 1 is best; {reason}"


def _name(symbol: str, baseline: str | None) -> Text:
    text = Text(symbol)
    if baseline is not None:
        text.append(f" {_BASELINES[baseline]}", style="dim")
    return text


def _summary(summary: Summary, row: RankedVariant, *, main: bool = False, deviation: bool = False) -> Text:
    if summary.mean is None:
        # The reason stands once, in the column that the ranking is about.
        return Text(_reason(summary, row), style="red") if main else Text(_NOTHING, style="dim")
    text = Text(_short(summary.mean))
    if deviation and summary.deviation is not None:
        text.append(f" ±{summary.deviation:.3f}", style="dim")
    return text


def _short(value: float) -> str:
    """Five characters: three decimals, fewer for a large loss."""
    for digits, limit in ((3, 10), (2, 100), (1, 1000)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"


def _reason(summary: Summary, row: RankedVariant) -> str:
    if summary.absence is Absence.DIVERGED:
        return f"{row.diverged} of {len(row.seeds)} diverged"
    return str(summary.absence)


def _unpaired(row: RankedVariant, lower: RankedVariant) -> Text | None:
    """Why there is no difference although both were run; None where there is one."""
    if row is lower or row.difference is None or row.difference.mean is not None:
        return None
    if not row.difference.seeds:
        return Text("no seed in common", style="dim")
    return Text(f"{lower.symbol} diverged" if lower.diverged and not row.diverged else _NOTHING, style="dim")


def _difference(difference: PairedDifference | None, *, digits: int = 3) -> Text:
    if difference is None or difference.mean is None:
        return Text(_NOTHING, style="dim")
    text = Text(f"{difference.mean:+.{digits}f}")
    if difference.t_interval is None:
        text.append(" no interval", style="dim")
    elif difference.t_interval.low == difference.t_interval.high:
        text.append(" in every seed", style="dim")
    else:
        text.append(f" {_interval(difference.t_interval, digits)}", style="dim")
    return text


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


# --- JSON -------------------------------------------------------------------------------------------------------


def _group_json(group: RankedGroup) -> JsonObject:
    return {
        "setting_id": group.setting_id,
        "problems": list(group.problems),
        "sizes": list(group.sizes),
        "placement": group.placement,
        "learning_rate": group.learning_rate,
        "epochs": group.epochs,
        "overrides": None if group.overrides is None else list(group.overrides),
        "devices": list(group.devices),
        "fingerprints": list(group.fingerprints),
        "notes": list(group.notes),
        "targets": [target.model_dump(mode="json") for target in group.targets],
        "variants": [_row_json(row) for row in group.rows],
    }


def _row_json(row: RankedVariant) -> JsonObject:
    return {
        "rank": row.rank,
        "variant": row.variant,
        "symbol": row.symbol,
        "baseline": row.baseline,
        "seeds": list(row.seeds),
        "diverged": row.diverged,
        "final_train_loss": _summary_json(row.final_train_loss, row),
        "final_train_accuracy": _summary_json(row.final_train_accuracy, row),
        "final_valid_accuracy": _summary_json(row.final_valid_accuracy, row),
        "final_test_accuracy": _summary_json(row.final_test_accuracy, row),
        "best_train_loss": _summary_json(row.best_train_loss, row),
        "best_train_accuracy": _summary_json(row.best_train_accuracy, row),
        "area_under_train_accuracy": _summary_json(row.area, row),
        "early_train_accuracy": _summary_json(row.early_train_accuracy, row),
        "targets": [_time_json(time) for time in row.targets],
        "difference_to_lower_baseline": _difference_json(
            row.difference, holm_t=row.holm_t_p, holm_sign_flip=row.holm_sign_flip_p
        ),
        "run_ids": [each.run.run_id for each in row.runs],
    }


def _summary_json(summary: Summary, row: RankedVariant) -> JsonObject:
    word = None if summary.absence is None else _reason(summary, row)
    return {"mean": summary.mean, "standard_deviation": summary.deviation, "word": word}


def _time_json(time: TargetTime) -> JsonObject:
    return {
        "metric": time.target.metric,
        "split": time.target.split,
        "level": time.target.level,
        "median_epochs": _finite(time.epochs),
        "median_steps": _finite(time.steps),
        "word": None if math.isfinite(time.epochs) else "missed",
        "seeds_that_reached_it": time.reached,
        "deepobs_speed": time.speed,
    }


def _difference_json(
    difference: PairedDifference | None, *, holm_t: float | None = None, holm_sign_flip: float | None = None
) -> JsonObject | None:
    if difference is None:
        return None
    return {
        "seeds": list(difference.seeds),
        "mean": difference.mean,
        "standard_deviation": difference.deviation,
        "t_interval_95": _interval_json(difference.t_interval),
        "t_p": difference.t_p,
        "t_p_holm": holm_t,
        "hedges_g": difference.hedges_g,
        "sign_flip_p": difference.sign_flip_p,
        "sign_flip_p_holm": holm_sign_flip,
        "sign_flip_smallest_possible_p": difference.sign_flip_smallest_p,
        "bootstrap_interval_95": _interval_json(difference.bootstrap_interval),
        "word": difference.says,
    }


def _interval_json(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _overall_json(overall: OverallRanking) -> JsonObject:
    test = overall.friedman
    return {
        "size": overall.size,
        "problems": [list(names) for names in overall.problems],
        "rankings": overall.groups,
        "problems_with_target": overall.problems_with_target,
        "seeds": list(overall.seeds),
        "largest_ratio": LARGEST_RATIO,
        "friedman": None if test is None else {"chi_square": test.chi_square, "p": test.p},
        "notes": list(overall.notes),
        "variants": [_overall_row_json(row) for row in overall.rows],
    }


def _overall_row_json(row: OverallVariant) -> JsonObject:
    return {
        "variant": row.variant,
        "symbol": row.symbol,
        "baseline": row.baseline,
        "mean_rank": row.mean_rank,
        "rank_difference_to_lower_baseline": _difference_json(row.rank_difference),
        "score": row.score,
        "deepobs_speed": row.speed,
        "step_ratios": [
            {"weight": weight, "ratio": _finite(ratio), "word": None if math.isfinite(ratio) else "missed"}
            for weight, ratio in row.ratios
        ],
        "word": None if row.score is not None else "no target",
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
