"""A ranking as tables for the terminal and as plain JSON. Numbers come from `bnbench.analysis.ranking`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bnbench.analysis.ranking import (
    LARGEST_RATIO,
    Absence,
    OverallRanking,
    OverallVariant,
    RankedGroup,
    RankedVariant,
    Ranking,
    Summary,
    TargetTime,
)
from bnbench.analysis.statistics import Interval, PairedDifference
from bnbench.problem import Target

JsonObject = dict[str, object]

_WIDTH = 100
_NOTHING = "–"
_BASELINES = {"lower": "▼", "upper": "▲"}
_LEGEND = "▼ lower baseline  ▲ upper baseline"
_PROFILE_AT = (1.0, 1.5, 2.0)


def ranking_tables(ranking: Ranking) -> list[Table]:
    """One table per group, then what holds over several problems; each at most 100 columns wide."""
    tables: list[Table] = []
    for group in ranking.groups:
        tables.append(_group_table(group))
        if len(group.targets) > 1:
            tables.append(_targets_table(group))
    tables += [_overall_table(overall) for overall in ranking.overall]
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


def _table(title: str, notes: Sequence[str]) -> Table:
    caption = Text("\n".join(notes), style="dim", justify="left")
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
        header_style="bold",
    )


def _group_table(group: RankedGroup) -> Table:
    lower = next((row for row in group.rows if row.baseline == "lower"), None)
    table = _table(_group_title(group), _group_caption(group))
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("variant", no_wrap=True)
    table.add_column("train\nloss", justify="right", no_wrap=True)
    table.add_column("train\naccuracy", justify="right", no_wrap=True)
    table.add_column("best", justify="right", no_wrap=True)
    table.add_column("test\naccuracy", justify="right", no_wrap=True)
    table.add_column("area", justify="right", no_wrap=True)
    table.add_column(f"epochs to\n{_target_header(group)}", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    if lower is not None:
        table.add_column(f"accuracy − {lower.symbol}\n[95 %]", no_wrap=True)
    for row in group.rows:
        tied = sum(other.rank == row.rank for other in group.rows) > 1
        cells: list[str | Text] = [
            f"{row.rank}=" if tied else str(row.rank),
            _name(row.symbol, row.baseline),
            _summary(row.final_train_loss, row),
            _summary(row.final_train_accuracy, row, deviation=True),
            _summary(row.best_train_accuracy, row),
            _summary(row.final_test_accuracy, row),
            _summary(row.area, row),
            _only_target(row),
            str(len(row.seeds)),
        ]
        if lower is not None:
            cells.append(_difference(row.difference))
        table.add_row(*cells)
    return table


def _group_title(group: RankedGroup) -> str:
    size = "" if group.sizes == ("full",) else f" ({', '.join(group.sizes)})"
    place = "no BatchNorm" if group.placement == "none" else f"BatchNorm: {group.placement}"
    return f"{' = '.join(group.problems)}{size} · {place} · learning rate {group.learning_rate:g}"


def _group_caption(group: RankedGroup) -> list[str]:
    epochs = f"{group.epochs} epoch{'s' if group.epochs > 1 else ''}"
    return [f"{_LEGEND}   {epochs}, {', '.join(group.devices)}", *(f"! {note}" for note in group.notes)]


def _target_header(group: RankedGroup) -> str:
    if not group.targets:
        return "target"
    return _level(group.targets[0]) if len(group.targets) == 1 else "targets"


def _only_target(row: RankedVariant) -> Text:
    if not row.targets:
        return Text("no target", style="dim")
    return _time(row.targets[0], len(row.seeds)) if len(row.targets) == 1 else Text("below", style="dim")


def _time(time: TargetTime, seeds: int) -> Text:
    """The median epoch, with how many seeds got there unless all did."""
    if time.reached == 0:
        return Text("missed", style="dim")
    median = f"{time.epochs:g}" if math.isfinite(time.epochs) else "∞"
    return Text(median if time.reached == seeds else f"{median} ({time.reached}/{seeds})")


def _targets_table(group: RankedGroup) -> Table:
    caption = ["median over seeds of the first epoch at the target; (k/n): so many seeds got there"]
    table = _table(f"{' = '.join(group.problems)} · epochs to each target", caption)
    table.add_column("target", no_wrap=True)
    for row in group.rows:
        table.add_column(_name(row.symbol, row.baseline), justify="right", no_wrap=True)
    for index, target in enumerate(group.targets):
        table.add_row(_level(target), *(_time(row.targets[index], len(row.seeds)) for row in group.rows))
    return table


def _overall_table(overall: OverallRanking) -> Table:
    lower = next((row for row in overall.rows if row.baseline == "lower"), None)
    size = "" if overall.size == "full" else f" ({overall.size})"
    table = _table(f"Over {len(overall.problems)} problems{size}", _overall_caption(overall))
    table.add_column("variant", no_wrap=True)
    table.add_column("mean\nrank", justify="right", no_wrap=True)
    if lower is not None:
        table.add_column(f"rank − {lower.symbol}\n[95 %]", no_wrap=True)
    table.add_column("score\nB", justify="right", no_wrap=True)
    for ratio in _PROFILE_AT:
        table.add_column(f"within\n{ratio:g}×", justify="right", no_wrap=True)
    table.add_column("speed\n(epochs)", justify="right", no_wrap=True)
    for row in overall.rows:
        cells: list[str | Text] = [_name(row.symbol, row.baseline), f"{row.mean_rank:.2f}"]
        if lower is not None:
            cells.append(_difference(row.rank_difference, digits=2))
        cells += _overall_times(row)
        table.add_row(*cells)
    return table


def _overall_times(row: OverallVariant) -> list[str]:
    if row.score is None or row.speed is None:
        return [_NOTHING] * (len(_PROFILE_AT) + 2)
    return [f"{row.score:.3f}", *(f"{row.profile(ratio):.2f}" for ratio in _PROFILE_AT), f"{row.speed:.1f}"]


def _overall_caption(overall: OverallRanking) -> list[str]:
    names = ", ".join(" = ".join(problem) for problem in overall.problems)
    lines = [_LEGEND, f"problems: {names}"]
    if overall.groups > len(overall.problems):
        lines.append(f"{overall.groups} rankings, averaged inside their problem first")
    lines.append("rank 1 is best; intervals are over seeds, paired, the problems taken as given")
    if overall.friedman is None:
        lines.append("Friedman test: needs three variants that are not all tied")
    else:
        test = overall.friedman
        few = "; an approximation, rough with so few problems" if test.problems <= 10 else ""
        lines.append(
            f"Friedman test of {test.variants} variants over {test.problems} problems: "
            f"χ² = {test.chi_square:.2f}, p = {_p(test.p)}{few}"
        )
    if overall.problems_with_target:
        lines.append(
            f"score B, profile (within τ × the fastest's steps), speed: {overall.problems_with_target} of "
            f"{len(overall.problems)} problems have a target; r_max = {LARGEST_RATIO:g}; a miss counts as epochs + 1 in "
            "speed"
        )
    else:
        lines.append("score, profile and speed need a target, and no problem here has one")
    return lines + [f"! {note}" for note in overall.notes]


def _name(symbol: str, baseline: str | None) -> Text:
    text = Text(symbol)
    if baseline is not None:
        text.append(f" {_BASELINES[baseline]}", style="dim")
    return text


def _summary(summary: Summary, row: RankedVariant, *, deviation: bool = False) -> Text:
    if summary.mean is None:
        # The reason stands once, in the column that the ranking is about.
        return Text(_reason(summary, row) if deviation else _NOTHING, style="red" if deviation else "dim")
    text = Text(f"{summary.mean:.3f}")
    if deviation and summary.deviation is not None:
        text.append(f" ±{summary.deviation:.3f}", style="dim")
    return text


def _reason(summary: Summary, row: RankedVariant) -> str:
    if summary.absence is Absence.DIVERGED:
        return f"{row.diverged} of {len(row.seeds)} diverged"
    return str(summary.absence)


def _difference(difference: PairedDifference | None, *, digits: int = 3) -> Text:
    if difference is None or difference.mean is None:
        return Text(_NOTHING, style="dim")
    text = Text(f"{difference.mean:+.{digits}f}")
    if difference.t_interval is not None:
        low, high = difference.t_interval.low, difference.t_interval.high
        text.append(f" [{low:+.{digits}f}, {high:+.{digits}f}]", style="dim")
    else:
        text.append(" no interval", style="dim")
    return text


def _level(target: Target) -> str:
    split = {"train_eval": "train"}.get(target.split, target.split)
    return f"{split} {'acc' if target.metric == 'accuracy' else 'loss'} {_sign(target)} {target.level:g}"


def _sign(target: Target) -> str:
    return "≥" if target.metric == "accuracy" else "≤"


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
