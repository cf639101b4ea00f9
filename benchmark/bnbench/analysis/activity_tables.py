"""Activity as tables and as plain JSON. Numbers come from `bnbench.analysis.activity`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bnbench.analysis.activity import magnitude_column
from bnbench.analysis.comparison import ComparisonKey, comparison_keys
from bnbench.analysis.naming import named_with_size
from bnbench.analysis.table import (
    Cell,
    Column,
    Kind,
    Table,
    Tone,
    Value,
    fixed,
    share,
    short,
    whole,
)
from bnbench.analysis.trajectory import DEAD_BAND, EARLY_SHARE, EXCESS_ALLOWED, NEUTRAL, REACHED_SHARE, SMOOTHED_SHARE
from bnbench.analysis.variant_labels import catalogue_order, symbol_of
from bnbench.components.placements import NOWHERE
from bnbench.words import counted

SYMBOLS = {"gamma": "γ", "beta": "β", "bias": "bias", "scale": "g"}
SHOWN_AT = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of training at which the table of the way there shows the magnitude."""

_READING = (
    "all at the last snapshot, unless it says otherwise; A: mean over the channels of |γ − 1| or |β|",
    "above: share of the channels above neutral (γ = 1, β = 0)",
    f"crossings: of neutral, per channel, over training; dead band ± {DEAD_BAND:.0%} of the slot's largest deviation",
    f"monotonic: channels with total variation ≤ {EXCESS_ALLOWED:g} · |end − start|, smoothed over "
    f"{SMOOTHED_SHARE:.0%} of the steps",
    f"step {REACHED_SHARE:.0%}: first with so much of the final deviation, median of channels ending outside the band",
)
_READING_ZEROED = (
    "zeroed by ReLU: share of a slot's activations, before training → mean over the last tenth of epochs",
)
_WHO = (
    Column("variant", "variant", Kind.SYMBOL, once=True),
    Column("parameter", "par.", once=True),
    Column("slot", "slot"),
)
_COLUMNS = (
    *_WHO,
    Column("magnitude", "A", Kind.NUMBER, show=short, hint="Activity: mean |γ − 1| or mean |β| over the channels"),
    Column(
        "magnitude_deviation", "± over seeds", Kind.NUMBER, show=lambda value: f"±{short(value)}", priority=7,
        hint="Standard deviation of the activity over the seeds",
    ),
    Column(
        "early_magnitude", "after a tenth", Kind.NUMBER, show=short, detail=True,
        hint=f"Activity after {EARLY_SHARE:.0%} of the steps",
    ),
    Column("mean", "mean", Kind.NUMBER, show=short, priority=4, hint="Of the channels at the end"),
    Column("median", "median", Kind.NUMBER, show=short, priority=8),
    Column("standard_deviation", "sd", Kind.NUMBER, show=short, priority=9, hint="Over the channels"),
    Column("minimum", "min", Kind.NUMBER, show=short, priority=6, hint="Smallest channel at the end"),
    Column("maximum", "max", Kind.NUMBER, show=short, priority=6, hint="Largest channel at the end"),
    Column("share_above", "above", Kind.NUMBER, show=share, priority=5, hint="Share of channels with γ > 1 or β > 0"),
    Column(
        "crossings", "cros\u00adsings", Kind.NUMBER, show=fixed(2), priority=3,
        hint="How often a channel crosses 1 (γ) or 0 (β), mean",
    ),
    Column(
        "monotonic_share", "mono\u00adtonic", Kind.NUMBER, show=share, priority=2,
        hint="Share of channels whose trajectory is monotonic",
    ),
    Column("settled_step", f"step {REACHED_SHARE:.0%}", Kind.NUMBER, show=whole, priority=1),
)  # fmt: skip


def activity_tables(means: pd.DataFrame, sparsity: pd.DataFrame) -> list[Table]:
    """A table per setting, placement and learning rate, and one of what the ReLUs zero where that was measured.

    Args:
        means: `average_over_seeds(activity_summary(…))`.
        sparsity: `average_over_seeds(sparsity_summary(…), ["initial", "final"])`; it may be empty.
    """
    active, zeroed = _compared(means), _compared(sparsity)
    tables: list[Table] = []
    for key in dict.fromkeys([*active, *zeroed]):
        if key in active:
            tables.append(activity_table(active[key]))
        if key in zeroed:
            tables.append(sparsity_table(zeroed[key]))
    if tables:
        # What the numbers mean is said once, below them all.
        reading = (*(_READING if len(means) else ()), *(_READING_ZEROED if len(sparsity) else ()))
        last = tables.pop()
        tables.append(replace(last, notes=(*last.notes, *reading)))
    return tables


def activity_table(own: pd.DataFrame) -> Table:
    """How far γ and β of every slot went, of one setting, placement and learning rate; rows as `average_over_seeds`."""
    names = [column.name for column in _COLUMNS[len(_WHO) :]]
    return _table("activity", own, _COLUMNS, [_row(row, names) for row in own.to_dict("records")])


def way_there_tables(means: pd.DataFrame) -> list[Table]:
    """The magnitude at some shares of training, a table per setting, placement and learning rate.

    Args:
        means: a row per variant, parameter and slot as `average_over_seeds` gives them, with a column
            `magnitude_at_<share>` for each of `SHOWN_AT`.
    """
    columns = (
        *_WHO,
        *(
            Column(magnitude_column(at), f"{at:.0%}", Kind.NUMBER, show=short, priority=1 if at < 1 else 0)
            for at in SHOWN_AT
        ),
    )
    note = "magnitude A (mean of |γ − 1| or |β| over the channels) after these shares of the steps"
    tables: list[Table] = []
    for own in _compared(means).values():
        rows = [_row(row, [magnitude_column(at) for at in SHOWN_AT]) for row in own.to_dict("records")]
        tables.append(_table("way-there", own, columns, rows, note))
    return tables


def sparsity_table(own: pd.DataFrame) -> Table:
    """What the ReLUs of one setting, placement and learning rate zero: a row a slot, variants in the study's order."""
    variants = sorted(dict.fromkeys(own["variant"]), key=catalogue_order)
    found = {(row["slot"], row["variant"]): row for row in own.to_dict("records")}
    rows: list[tuple[Value | Cell, ...]] = []
    for slot in dict.fromkeys(own.sort_values("position", kind="stable")["slot"]):
        cells: list[Value | Cell] = []
        for variant in variants:
            row = found.get((slot, variant))
            if row is None:
                cells.append(None)
            elif row["diverged"]:
                cells.append(_diverged(row))
            else:
                cells.append(Cell(float(row["final"]), f"{row['initial']:.3f} → {row['final']:.3f}"))
        rows.append((str(slot), *cells))
    columns = (
        Column("slot", "slot"),
        *(
            Column(variant, symbol_of(variant), Kind.NUMBER, show=fixed(3), of_variant=True)
            for variant in map(str, variants)
        ),
    )
    return _table("sparsity", own, columns, rows, title="zeroed by ReLU: ")


def definitions() -> dict[str, object]:
    """What the numbers mean, for those who read them by machine."""
    return {
        "neutral": NEUTRAL,
        "dead_band": f"±{DEAD_BAND:g} of the largest deviation of any channel at any snapshot",
        "monotonic": f"after a moving average over {SMOOTHED_SHARE:g} of the steps, total variation at most "
        f"{EXCESS_ALLOWED:g} |end - start|",
        "settled_step": f"first step with {REACHED_SHARE:g} of the final deviation, median over the channels that end "
        "outside the dead band",
        "early_magnitude": f"magnitude after {EARLY_SHARE:g} of the steps",
    }


def plain_records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """A frame as plain JSON values, a record a row; what is not finite is null."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> object:  # noqa: ANN401 -- whatever a cell of a frame may be
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if hasattr(value, "item") else value


def _compared(frame: pd.DataFrame) -> dict[ComparisonKey, pd.DataFrame]:
    """The rows of each comparison; runs without any BatchNorm belong to every one of theirs."""
    if frame.empty:
        return {}
    who = list(zip(frame["setting_id"], frame["learning_rate"], frame["placement"], strict=True))
    return {
        key: frame[[key.holds(each) for each in who]].assign(placement=key.placement) for key in comparison_keys(who)
    }


def _table(
    name: str,
    own: pd.DataFrame,
    columns: tuple[Column, ...],
    rows: Sequence[tuple[Value | Cell, ...]],
    *notes: str,
    title: str = "",
) -> Table:
    first = own.iloc[0]
    place = "no BatchNorm" if first["placement"] == NOWHERE else f"BatchNorm {first['placement']}"
    problem, rate = " = ".join(first["problems"]), float(first["learning_rate"])
    setting = str(first["setting_id"])
    called = named_with_size(first["problems"], (str(first["size"]),), str(first["dataset"]))
    seeds = list(dict.fromkeys(own["seeds"]))
    warnings: tuple[str, ...] = ()
    if len(seeds) > 1:
        warnings = ("the variants have different seeds: means are over each one's own",)
    elif len(seeds[0]) == 1:
        warnings = (f"one seed ({seeds[0][0]}): nothing can be said about noise",)
    else:
        notes = (*notes, f"means over {counted(len(seeds[0]), 'seed')}")
    return Table(
        name=name,
        title=f"{title}{called} · {place} · learning rate {rate:g} · {setting.rpartition('-')[2]}",
        columns=columns,
        rows=tuple(rows),
        notes=notes,
        warnings=warnings,
        about=(
            ("problem", problem),
            ("size", str(first["size"])),
            ("placement", str(first["placement"])),
            ("learning_rate", rate),
            ("setting_id", setting),
        ),
    )


def _row(row: Mapping[Any, Any], names: Sequence[str]) -> tuple[Value | Cell, ...]:
    """A variant, a parameter, a slot, and these of its numbers."""
    variant, parameter = str(row["variant"]), str(row["parameter"])
    who = (Cell(variant, symbol_of(variant)), Cell(parameter, SYMBOLS[parameter]), str(row["slot"]))
    if row["diverged"]:
        return (*who, _diverged(row), *[None] * (len(names) - 1))
    return (*who, *(None if math.isnan(row[name]) else float(row[name]) for name in names))


def _diverged(row: Mapping[Any, Any]) -> Cell:
    return Cell(None, f"{row['diverged']} of {len(row['seeds'])} diverged", tone=Tone.WARNING)
