"""A ranking as tables and as plain JSON. Numbers come from `bnbench.analysis.ranking`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bnbench.analysis.interval import Interval
from bnbench.analysis.naming import with_remark
from bnbench.analysis.overall_ranking import LARGEST_RATIO, OverallRanking, OverallVariant
from bnbench.analysis.ranked_group import Absence, RankedGroup, RankedVariant, Summary, TargetTime, target_level
from bnbench.analysis.ranking import Ranking
from bnbench.analysis.statistics import (
    SEEDS_FOR_BOOTSTRAP,
    SEEDS_FOR_INTERVAL,
    SEEDS_FOR_SIGN_FLIP,
    PairedDifference,
    smallest_sign_flip_p,
)
from bnbench.analysis.table import (
    Cell,
    Column,
    Kind,
    Remark,
    Table,
    Tone,
    Value,
    fixed,
    general,
    p_value,
    short,
    signed,
    spread,
)
from bnbench.components.placements import NOWHERE
from bnbench.words import counted

JsonObject = dict[str, object]

BASELINES = {"lower": Remark("▼", "lower baseline"), "upper": Remark("▲", "upper baseline")}

_PROFILE_AT = (1.0, 1.5, 2.0)
_VARIANT = Column("variant", "variant", Kind.SYMBOL)


def ranking_tables(ranking: Ranking, *, details: bool = False) -> list[Table]:
    """One table per group, then one of what holds over several problems.

    Args:
        ranking: what to show.
        details: also a table of the tests behind each difference.
    """
    tables: list[Table] = []
    for group in ranking.groups:
        tables.append(group_table(group))
        if len(group.targets) > 1:
            tables.append(targets_table(group))
        if details and any(row.difference is not None for row in group.rows):
            tables.append(tests_table(group))
    tables += [overall_table(overall) for overall in ranking.overall]
    if ranking.failed:
        tables.append(
            Table(
                name="failed",
                title=f"{counted(len(ranking.failed), 'run')} failed and so in no ranking",
                columns=(Column("run_id", "run", Kind.IDENTIFIER),),
                rows=tuple((run_id,) for run_id in ranking.failed),
                headless=True,
            )
        )
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


# --- one comparison -----------------------------------------------------------------------------------------------


def group_table(group: RankedGroup) -> Table:
    """One comparison: final values, how soon the targets were reached, and the difference to the lower baseline."""
    lower = _lower(group.rows)
    columns = [
        Column("rank", "rank", Kind.NUMBER),
        _VARIANT,
        Column("final_train_loss", "train loss", Kind.NUMBER, show=short, priority=4),
        Column("final_train_accuracy", "train accuracy", Kind.NUMBER, show=fixed(3)),
        Column(
            "final_train_accuracy_deviation", "±", Kind.NUMBER, show=spread(3), priority=6,
            hint="Standard deviation of the training accuracy over the seeds",
        ),
        Column("final_test_accuracy", "test accuracy", Kind.NUMBER, show=fixed(3), priority=3),
        Column(
            "best_train_accuracy", "best", Kind.NUMBER, show=fixed(3), priority=7, hint="Best training accuracy",
        ),
        Column(
            "area_under_train_accuracy", "area", Kind.NUMBER, show=fixed(3), priority=8,
            hint="Mean height of the training accuracy",
        ),
        *(
            Column(
                f"epochs_to_target_{place}",
                "epochs to target" if len(group.targets) == 1 else f"epochs to {target.sign} {target.level:.4g}",
                Kind.NUMBER, show=general, priority=5, detail=len(group.targets) > 1,
                hint=f"{target_level(target)}: {_MEDIAN}",
            )
            for place, target in enumerate(group.targets, start=1)
        ),
        Column("seeds", "seeds", Kind.NUMBER, priority=2),
        *(_difference_columns("accuracy", lower.symbol, 3) if lower is not None else ()),
        *(_TEST_COLUMNS if lower is not None else ()),
        Column("final_valid_accuracy", "valid. accuracy", Kind.NUMBER, show=fixed(3), detail=True),
        Column(
            "early_train_accuracy", "early", Kind.NUMBER, show=fixed(3), detail=True,
            hint="Mean training accuracy over the first tenth of the epochs",
        ),
    ]  # fmt: skip
    return Table(
        name="ranking",
        title=_group_title(group),
        columns=tuple(columns),
        rows=tuple(_group_row(row, group, lower) for row in group.rows),
        notes=tuple(_group_notes(group)),
        warnings=group.notes,
        about=_about(group),
    )


_MEDIAN = "median over seeds of the first epoch at the target; (k/n): so many seeds got there"
_TEST_COLUMNS = (
    Column(
        "t_p_holm", "p (Holm)", Kind.NUMBER, show=p_value, detail=True,
        hint="Paired t test, corrected for the comparisons made here",
    ),
    Column(
        "hedges_g", "effect g", Kind.NUMBER, show=signed(2), detail=True, hint="Cohen's d_z with Hedges' correction"
    ),
)  # fmt: skip


def _difference_columns(what: str, lower: str, digits: int) -> tuple[Column, Column]:
    name = f"{what}_difference"
    return (
        Column(name, f"{what} − {lower}", Kind.NUMBER, show=signed(digits), hint="Mean difference, paired by seed"),
        Column(
            f"{name}_95", "95 % interval", Kind.INTERVAL, show=fixed(digits), priority=1, around=name,
            ends=(f"{name}_low", f"{name}_high"), hint="Student's t interval of the difference over the seeds",
        ),
    )  # fmt: skip


def _group_row(row: RankedVariant, group: RankedGroup, lower: RankedVariant | None) -> tuple[Value | Cell, ...]:
    tied = sum(other.rank == row.rank for other in group.rows) > 1
    accuracy = row.final_train_accuracy
    cells: list[Value | Cell] = [
        Cell(row.rank, f"{row.rank}=") if tied else row.rank,
        _variant(row),
        row.final_train_loss.mean,
        # The reason stands once, in the column that the ranking is about.
        Cell(accuracy.mean, tone=Tone.BEST if row.rank == 1 and group.best_stands_out else None)
        if accuracy.mean is not None
        else Cell(None, absence_in_words(accuracy, row), tone=Tone.WARNING),
        accuracy.deviation,
        row.final_test_accuracy.mean,
        row.best_train_accuracy.mean,
        row.area.mean,
        *(_time(time, len(row.seeds)) for time in row.targets),
        len(row.seeds),
    ]
    if lower is not None:
        cells += _unpaired(row, lower) or _difference(row.difference)
        cells += [row.holm_t_p, None if row.difference is None else row.difference.hedges_g]
    return (*cells, row.final_valid_accuracy.mean, row.early_train_accuracy.mean)


def absence_in_words(summary: Summary, row: RankedVariant) -> str:
    """Why a variant has no mean."""
    if summary.absence is Absence.DIVERGED:
        return f"{row.diverged} of {len(row.seeds)} diverged"
    return str(summary.absence)


def _variant(row: RankedVariant | OverallVariant) -> Cell:
    return Cell(row.variant, row.symbol, remark=None if row.baseline is None else BASELINES[row.baseline])


def _lower(rows: Sequence[RankedVariant]) -> RankedVariant | None:
    return next((row for row in rows if row.baseline == "lower"), None)


def _time(time: TargetTime, seeds: int) -> Cell:
    """The median epoch, with how many seeds got there unless all did."""
    if time.reached == 0:
        return Cell(None, "missed", tone=Tone.QUIET)
    return Cell(time.epochs, remark=None if time.reached == seeds else f"({time.reached}/{seeds})")


def _unpaired(row: RankedVariant, lower: RankedVariant) -> list[Value | Cell] | None:
    """Why there is no difference although both were run; None where there is one."""
    if row is lower or row.difference is None or row.difference.mean is not None:
        return None
    if not row.difference.seeds:
        return [Cell(None, "no seed in common"), None]
    return [Cell(None, f"{lower.symbol} diverged") if lower.diverged and not row.diverged else None, None]


def _difference(difference: PairedDifference | None) -> list[Value | Cell]:
    if difference is None or difference.mean is None:
        return [None, None]
    interval = difference.t_interval
    if interval is None:
        return [difference.mean, Cell(None, "no interval")]
    if interval.low == interval.high:
        return [difference.mean, Cell(interval, "in every seed", tone=Tone.QUIET)]
    return [difference.mean, interval]


def _group_title(group: RankedGroup) -> str:
    place = "no BatchNorm" if group.placement == NOWHERE else f"BatchNorm {group.placement}"
    return f"{group.called} · {place} · learning rate {group.learning_rate:g}"


def _about(group: RankedGroup) -> tuple[tuple[str, Value], ...]:
    return (
        ("problem", " = ".join(group.problems)),
        ("size", " ".join(group.sizes)),
        ("placement", group.placement),
        ("learning_rate", group.learning_rate),
        ("setting_id", group.setting_id),
    )


def _group_notes(group: RankedGroup) -> list[str]:
    changed = f", with {', '.join(group.overrides)}" if group.overrides else ""
    lines = [
        f"{group.setting_id}: {counted(group.epochs, 'epoch')} on {' and '.join(group.devices)}{changed}",
        "final values: mean over the last tenth of the epochs, train on train_eval, running statistics; ± over seeds",
    ]
    if not group.targets:
        lines.append("no target")
    elif len(group.targets) == 1:
        lines.append(f"target: {target_level(group.targets[0])}; {_MEDIAN}")
    differences = [row.difference for row in group.rows if row.difference is not None]
    seeds = max((len(each.seeds) for each in differences if each.mean is not None), default=0)
    if 1 < seeds < SEEDS_FOR_INTERVAL:
        lines.append(f"a 95 % t interval needs {SEEDS_FOR_INTERVAL} seeds")
    if 1 < seeds < SEEDS_FOR_SIGN_FLIP:
        least = smallest_sign_flip_p(seeds)
        lines.append(f"sign-flip test from {SEEDS_FOR_SIGN_FLIP} seeds: with {seeds} no p below {least:g} is possible")
    return lines


def targets_table(group: RankedGroup) -> Table:
    """How soon every variant is at each of several targets."""
    return Table(
        name="targets",
        title="epochs to each target",
        columns=(
            Column("target", "target"),
            *(Column(row.variant, row.symbol, Kind.NUMBER, show=general, of_variant=True) for row in group.rows),
        ),
        rows=tuple(
            (target_level(target), *(_time(row.targets[index], len(row.seeds)) for row in group.rows))
            for index, target in enumerate(group.targets)
        ),
        notes=(f"epochs: {_MEDIAN}",),
        about=_about(group),
    )


def tests_table(group: RankedGroup) -> Table:
    """The tests behind the differences to the lower baseline."""
    lower = _lower(group.rows)
    symbol = "" if lower is None else lower.symbol
    columns = (
        _VARIANT,
        *_difference_columns("accuracy", symbol, 3),
        Column("t_p", "t test p", Kind.NUMBER, show=p_value, priority=3),
        Column("t_p_holm", "t test p (Holm)", Kind.NUMBER, show=p_value, priority=2),
        Column("sign_flip_p", "sign-flip p", Kind.NUMBER, show=p_value, priority=5),
        Column("sign_flip_p_holm", "sign-flip p (Holm)", Kind.NUMBER, show=p_value, priority=4),
        Column(
            "bootstrap_95", "bootstrap 95 %", Kind.INTERVAL, show=fixed(3), priority=6,
            ends=("bootstrap_low", "bootstrap_high"), around="accuracy_difference",
        ),
        Column("hedges_g", "effect g", Kind.NUMBER, show=signed(2), hint="Cohen's d_z with Hedges' correction"),
    )  # fmt: skip
    differences = [(row, row.difference) for row in group.rows if row.difference is not None]
    rows: list[tuple[Value | Cell, ...]] = []
    for row, each in differences:
        smallest = each.sign_flip_smallest_p
        possible = None if smallest is None or each.sign_flip_p is not None else Cell(None, f"≥ {smallest:g}")
        rows.append(
            (
                Cell(row.variant, row.symbol),
                each.mean,
                each.t_interval,
                each.t_p,
                row.holm_t_p,
                possible or each.sign_flip_p,
                row.holm_sign_flip_p,
                each.bootstrap_interval,
                each.hedges_g,
            )
        )
    return Table(
        name="tests",
        title="tests",
        columns=columns,
        rows=tuple(rows),
        notes=(
            f"final training accuracy minus {symbol}, paired by seed; g: Cohen's d_z with Hedges' correction",
            f"t from {SEEDS_FOR_INTERVAL} seeds, sign-flip test from {SEEDS_FOR_SIGN_FLIP} (before: its smallest "
            f"possible p), bootstrap from {SEEDS_FOR_BOOTSTRAP}",
        ),
        warnings=tuple(dict.fromkeys(each.says for _, each in differences if each.says is not None)),
        about=_about(group),
    )


# --- several problems ---------------------------------------------------------------------------------------------


def overall_table(overall: OverallRanking) -> Table:
    """The variants over several problems: mean rank with its interval, score, profile and speed."""
    lower = next((row for row in overall.rows if row.baseline == "lower"), None)
    timed = overall.problems_with_target > 0
    columns = [_VARIANT, Column("mean_rank", "mean rank", Kind.NUMBER, show=fixed(2))]
    if lower is not None:
        columns += _difference_columns("rank", lower.symbol, 2)
    if timed:
        columns.append(
            Column(
                "score", "score B", Kind.NUMBER, show=fixed(3), priority=2,
                hint="AlgoPerf's score of the performance profile",
            )
        )  # fmt: skip
        columns += [
            Column(
                f"within_{ratio:g}", f"within {ratio:g}×", Kind.NUMBER, show=fixed(2), priority=4,
                hint="Share of problems on which it needs at most so many times the fewest steps",
            )
            for ratio in _PROFILE_AT
        ]  # fmt: skip
        columns.append(
            Column(
                "speed_epochs", "speed (epochs)", Kind.NUMBER, show=fixed(1), priority=3,
                hint="DeepOBS's: the mean first epoch at the target, a miss counts as one more than there were",
            )
        )  # fmt: skip
    rows: list[tuple[Value | Cell, ...]] = []
    for row in overall.rows:
        cells: list[Value | Cell] = [_variant(row), row.mean_rank]
        if lower is not None:
            cells += _difference(row.rank_difference)
        if timed:
            cells += _overall_times(row)
        rows.append(tuple(cells))
    return Table(
        name="overall",
        title=with_remark(f"over {len(overall.problems)} problems", overall.remark),
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(_overall_notes(overall)),
        warnings=overall.notes,
        about=(("size", overall.size),),
    )


def _overall_times(row: OverallVariant) -> list[Value | Cell]:
    if row.score is None or row.speed is None:
        return [None] * (len(_PROFILE_AT) + 2)
    return [row.score, *(row.profile(ratio) for ratio in _PROFILE_AT), row.speed]


def _overall_notes(overall: OverallRanking) -> list[str]:
    lines = [f"problems: {', '.join(' = '.join(problem) for problem in overall.problems)}"]
    if overall.groups > len(overall.problems):
        lines.append(
            f"{overall.groups} rankings; placements and learning rates are averaged inside their problem first"
        )
    lines.append(_rank_note(overall))
    if overall.friedman is not None:
        test = overall.friedman
        smallest_p = f"{test.smallest_p:.2g}"
        rough = " (an approximation, rough with few problems)" if test.problems <= 10 else ""
        lines.append(
            f"Friedman test, {test.variants} variants, {test.problems} problems: "
            f"χ² = {test.chi_square:.2f}, p {'= ' if test.p >= 0.001 else ''}{p_value(test.p)}{rough}; its smallest "
            f"possible p with so many is {smallest_p}"
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
    return lines


def _rank_note(overall: OverallRanking) -> str:
    says = next((row.rank_difference.says for row in overall.rows if row.rank_difference is not None), None)
    reason = "intervals are over seeds, paired, the problems taken as given" if says is None else says
    return f"rank 1 is best; {reason}"


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
    word = None if summary.absence is None else absence_in_words(summary, row)
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
        "friedman": None
        if test is None
        else {"chi_square": test.chi_square, "p": test.p, "smallest_possible_p": test.smallest_p},
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
