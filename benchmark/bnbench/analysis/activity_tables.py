"""Activity as tables for the terminal and as plain JSON. Numbers come from `bnbench.analysis.activity`."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from bnbench.analysis.activity import magnitude_column
from bnbench.analysis.terminal import columns, framed
from bnbench.analysis.trajectory import DEAD_BAND, EARLY_SHARE, EXCESS_ALLOWED, NEUTRAL, REACHED_SHARE, SMOOTHED_SHARE
from bnbench.errors import UserError
from bnbench.placement import NOWHERE
from bnbench.variant import VARIANTS

FULL_WIDTH = 100
"""Columns of a terminal that hold the whole table."""

SYMBOLS = {"gamma": "γ", "beta": "β", "bias": "bias"}
SHOWN_AT = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of training at which the table of the way there shows the magnitude."""

_NOTHING = "–"
_READING = (
    "all at the last snapshot, unless it says otherwise; A: mean over the channels of |γ − 1| or |β|",
    "above: share of the channels above neutral (γ = 1, β = 0)",
    f"crossings: of neutral, per channel, over training; dead band ± {DEAD_BAND:.0%} of the slot's largest deviation",
    f"monotonic: channels with total variation ≤ {EXCESS_ALLOWED:g} · |end − start|, smoothed over "
    f"{SMOOTHED_SHARE:.0%} of the steps",
    f"step {REACHED_SHARE:.0%}: first with so much of the final deviation, median of channels ending outside the band",
)
_READING_ZEROED = (
    "zeroed by ReLU: share of a slot's activations, before training → mean over the last tenth of the epochs",
)
_GROUP = ["setting_id", "size", "placement", "learning_rate"]


def activity_tables(means: pd.DataFrame, sparsity: pd.DataFrame, *, width: int = FULL_WIDTH) -> list[Table]:
    """A table per setting, placement and learning rate, and one of what the ReLUs zero where that was measured.

    Args:
        means: `average_over_seeds(activity_summary(…))`.
        sparsity: `average_over_seeds(sparsity_summary(…), ["initial", "final"])`; it may be empty.
        width: columns of the terminal. 100 hold everything; with fewer, the least important is left out, down to 80.
    """
    zeroed = dict(_groups(_beside_every_placement(sparsity)))
    tables: list[Table] = []
    for key, own in _groups(means):
        tables.append(framed(_title(own), _activity_table(own, width), _seed_notes(own)))
        if key in zeroed:
            tables.append(_zeroed(zeroed.pop(key)))
    tables += [_zeroed(own) for own in zeroed.values()]
    if tables:
        reading = Table.grid()
        for line in [*(_READING if len(means) else ()), *(_READING_ZEROED if len(sparsity) else ())]:
            reading.add_row(Text(line, style="dim"))
        tables.append(reading)
    return tables


def way_there_tables(means: pd.DataFrame) -> list[Table]:
    """The magnitude at some shares of training, a table per setting, placement and learning rate.

    Args:
        means: a row per variant, parameter and slot as `average_over_seeds` gives them, with a column
            `magnitude_at_<share>` for each of `SHOWN_AT`.
    """
    tables: list[Table] = []
    for _, own in _groups(means):
        table = columns()
        for name in ("variant", "", "slot"):
            table.add_column(name, no_wrap=True)
        for share in SHOWN_AT:
            table.add_column(f"{share:.0%}", justify="right", no_wrap=True)
        for row, names in _rows_with_names(own):
            values = [Text(_short(row[magnitude_column(share)])) for share in SHOWN_AT]
            table.add_row(*names, *(values if not row["diverged"] else [_diverged(row)]))
        notes = ["magnitude A (mean of |γ − 1| or |β| over the channels) after these shares of the steps"]
        tables.append(framed(_title(own), table, [*notes, *_seed_notes(own)]))
    return tables


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


def _groups(means: pd.DataFrame) -> list[tuple[Hashable, pd.DataFrame]]:
    return list(means.groupby(_GROUP, sort=False, observed=True)) if len(means) else []


def _zeroed(own: pd.DataFrame) -> Table:
    return framed(f"zeroed by ReLU: {_title(own)}", _sparsity_table(own), _seed_notes(own))


def _beside_every_placement(means: pd.DataFrame) -> pd.DataFrame:
    """Runs without any BatchNorm belong to every placement of their setting and learning rate."""
    pieces: list[pd.DataFrame] = []
    for _, own in means.groupby([name for name in _GROUP if name != "placement"], sort=False) if len(means) else ():
        nowhere = own[own["placement"] == NOWHERE]
        placements = [name for name in dict.fromkeys(own["placement"]) if name != NOWHERE]
        pieces += [
            pd.concat([nowhere.assign(placement=name), own[own["placement"] == name]]) for name in placements
        ] or [nowhere]
    return pd.concat(pieces) if pieces else means


def _activity_table(own: pd.DataFrame, width: int) -> Table:
    whole = width >= FULL_WIDTH
    table = columns()
    for name in ("\nvariant", "\n", "\nslot"):
        table.add_column(name, no_wrap=True)
    table.add_column("A ± over\nseeds" if whole else "\nA", no_wrap=True)
    names = ["mean", "median", "standard_deviation", "minimum", "maximum"]
    heads = ["\nmean", "\nmedian", "\nsd", "\nmin", "\nmax"]
    if not whole:
        names, heads = ["mean", "minimum", "maximum"], ["\nmean", "\nmin", "\nmax"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("\nabove", "cros-\nsings", "mono-\ntonic", f"step\n{REACHED_SHARE:.0%}"):
        table.add_column(head, justify="right", no_wrap=True)
    for row, named in _rows_with_names(own):
        if row["diverged"]:
            table.add_row(*named, _diverged(row))
            continue
        magnitude = Text(_short(row["magnitude"]))
        if whole and not math.isnan(row["magnitude_deviation"]):
            magnitude.append(f" ±{_short(row['magnitude_deviation'])}", style="dim")
        table.add_row(
            *named,
            magnitude,
            *(_short(row[name]) for name in names),
            f"{row['share_above']:.0%}",
            f"{row['crossings']:.2f}",
            f"{row['monotonic_share']:.0%}",
            _NOTHING if math.isnan(row["settled_step"]) else f"{row['settled_step']:,.0f}",
        )
    return table


def _sparsity_table(own: pd.DataFrame) -> Table:
    variants = list(dict.fromkeys(own["variant"]))
    cells = {(row["slot"], row["variant"]): row for row in own.to_dict("records")}
    table = columns()
    table.add_column("slot", no_wrap=True)
    for variant in variants:
        table.add_column(_symbol(variant), justify="right", no_wrap=True)
    for slot in dict.fromkeys(own.sort_values("position", kind="stable")["slot"]):
        shown: list[Text] = []
        for variant in variants:
            row = cells.get((slot, variant))
            if row is None:
                shown.append(Text(_NOTHING, style="dim"))
            elif row["diverged"]:
                shown.append(_diverged(row))
            else:
                shown.append(Text.assemble((f"{row['initial']:.3f} → ", "dim"), f"{row['final']:.3f}"))
        table.add_row(str(slot), *shown)
    return table


def _rows_with_names(own: pd.DataFrame) -> list[tuple[dict[str, Any], list[Text]]]:
    """Each row with its variant, parameter and slot; a name is said where it changes."""
    found: list[tuple[dict[str, Any], list[Text]]] = []
    before: tuple[str, str] = ("", "")
    for row in own.to_dict("records"):
        variant, parameter = str(row["variant"]), str(row["parameter"])
        names = [
            Text(_symbol(variant) if variant != before[0] else ""),
            Text(SYMBOLS[parameter] if (variant, parameter) != before else ""),
            Text(str(row["slot"])),
        ]
        found.append(({str(name): value for name, value in row.items()}, names))
        before = (variant, parameter)
    return found


def _diverged(row: Mapping[Any, Any]) -> Text:
    return Text(f"{row['diverged']} of {len(row['seeds'])} diverged", style="red")


def _seed_notes(own: pd.DataFrame) -> list[str]:
    seeds = list(dict.fromkeys(own["seeds"]))
    if len(seeds) > 1:
        return ["! the variants have different seeds: means are over each one's own"]
    if len(seeds[0]) == 1:
        return [f"! one seed ({seeds[0][0]}): nothing can be said about noise"]
    return [f"means over {len(seeds[0])} seeds"]


def _title(own: pd.DataFrame) -> str:
    first = own.iloc[0]
    size = "" if first["size"] == "full" else f" ({first['size']})"
    place = "no BatchNorm" if first["placement"] == NOWHERE else f"BatchNorm {first['placement']}"
    rate = f"learning rate {first['learning_rate']:g}"
    return f"{' = '.join(first['problems'])}{size} · {place} · {rate} · {first['setting_id'].rpartition('-')[2]}"


def _symbol(label: str) -> str:
    """A variant as the study writes it; its bare name where the package that offered it is gone."""
    name, mark, number = label.partition("#")
    try:
        return f"{VARIANTS.get(name).symbol}{mark}{number}"
    except UserError:
        return label


def _short(value: float) -> str:
    """Three decimals, fewer for a large value; a small one keeps a digit that counts."""
    if not math.isfinite(value):
        return _NOTHING
    if value != 0 and abs(value) < 0.0005:
        return f"{value:.0e}".replace("e-0", "e-")
    for digits, limit in ((3, 10), (2, 100), (1, 1000)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"
