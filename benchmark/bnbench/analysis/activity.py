"""How active γ and β are: how far γ is from 1 and β from 0, at the end of training and on the way there.

The founding study compared its trajectories by eye and named the metrics it lacked (section 3.3.1): mean, median,
magnitude, number of zero-crossings, and the share of activations that the following ReLU zeroes.

    results = bnbench.open_results("results/runs")
    activity_summary(results, problem="cifar100_allcnnc", parameter="gamma")       # a row per run, slot and parameter
    activity_over_training(results, problem="cifar100_allcnnc", slot="conv1")      # ... and snapshot
    sparsity_summary(results, problem="cifar100_allcnnc")                          # what each ReLU zeroes

Every measure is of one trajectory (`bnbench.analysis.trajectory`). One is read at a time, so memory is that of one
trajectory (and of the resulting frame) however large the store is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Unpack, cast

import numpy as np
import pandas as pd

from bnbench.analysis.comparison import ComparisonKey, RowKey, distinct, order_of
from bnbench.analysis.frames import IdentityFilters, OneOrMoreTexts, Results
from bnbench.analysis.measures import tenth
from bnbench.analysis.records import RunRecord
from bnbench.analysis.trajectory import (
    NEUTRAL,
    SnapshotMeasures,
    TrajectoryMeasures,
    as_measured,
    finite,
    measure_trajectory,
    snapshot_at,
    snapshot_measures,
)
from bnbench.analysis.variant_labels import DefinedAs, catalogue_order, defined_as, variant_labels
from bnbench.components.placements import masked_slots, parse_placement
from bnbench.errors import unknown
from bnbench.measurement import IDENTITY

MEASURES: tuple[str, ...] = tuple(field.name for field in fields(TrajectoryMeasures))
"""The measured columns of `activity_summary`."""

_MEANS = tuple(name for name in MEASURES if name not in {"channels", "snapshots", "last_step"})


class ActivityFilters(IdentityFilters, total=False):
    """Which trajectories."""

    slot: OneOrMoreTexts
    parameter: OneOrMoreTexts


def activity_summary(
    results: Results, *, learned_only: bool = True, **filters: Unpack[ActivityFilters]
) -> pd.DataFrame:
    """What every trajectory did: one row per run, slot and parameter.

    Args:
        results: an opened results folder.
        learned_only: leave out what the variant keeps fixed (and so has no activity).
        **filters: a value, or several, for any identity column, `slot` or `parameter` ("gamma", "beta", "bias",
            "scale").

    Returns:
        The identity columns; `status` ("finished" or "diverged": the numbers are then those before the divergence);
        `variant_row` (the variant's row of the table, as JSON); `label` (what the variant is called: its name, numbered
        where it was defined in several ways); `overrides` (what differs from the problem's file; empty if nothing or
        not known); `dataset`; `slot`; `position` (the slot's place in the network, from 0); `parameter`; `learned`;
        then `MEASURES`, the fields of `TrajectoryMeasures`. Sorted by run, parameter (γ, β, bias, scale) and position.
        Runs without snapshots have no rows.

    Raises:
        UserError: a filter does not exist.
    """
    rows: list[dict[str, object]] = []
    for each in _trajectories(results, learned_only=learned_only, filters=filters):
        trajectory = results.trajectory(each.record.identity.run_id, each.slot, each.parameter)
        if len(finite(trajectory)[0]):
            rows.append({**each.columns(), **asdict(measure_trajectory(trajectory, each.parameter))})
    return _categorical(pd.DataFrame(rows, columns=[*IDENTITY, *_OWN, *MEASURES]))


def activity_over_training(
    results: Results, *, at_most: int | None = 200, learned_only: bool = True, **filters: Unpack[ActivityFilters]
) -> pd.DataFrame:
    """The measures across channels over training: one row per run, slot, parameter and snapshot.

    Args:
        results: an opened results folder.
        at_most: so many snapshots of each trajectory, at least 2, evenly spaced, the first and the last among them;
            None for all (a full-length run has 11,000).
        learned_only: leave out what the variant keeps fixed.
        **filters: a value, or several, for any identity column, `slot` or `parameter`.

    Returns:
        The same leading columns as `activity_summary`, then `step` and the fields of `SnapshotMeasures`. Snapshots
        after a value that is not finite are left out.

    Raises:
        UserError: a filter does not exist.
    """
    if at_most is not None and at_most < 2:
        raise ValueError(f"at_most is {at_most}: a trajectory has a first and a last snapshot")
    pieces: list[dict[str, object]] = []
    lengths: list[int] = []
    measured: list[pd.DataFrame] = []
    for each in _trajectories(results, learned_only=learned_only, filters=filters):
        read = results.trajectory(each.record.identity.run_id, each.slot, each.parameter)
        steps, values = finite(as_measured(read, each.parameter))
        if at_most is not None and len(steps) > at_most:
            kept = np.linspace(0, len(steps) - 1, at_most).round().astype(np.int64)
            steps, values = steps[kept], values[kept]
        if len(steps):
            pieces.append(each.columns())
            lengths.append(len(steps))
            measured.append(pd.DataFrame({"step": steps, **vars(snapshot_measures(values, NEUTRAL[each.parameter]))}))
    names = ["step", *(field.name for field in fields(SnapshotMeasures))]
    who = _categorical(pd.DataFrame(pieces, columns=[*IDENTITY, *_OWN]))
    repeated = who.loc[who.index.repeat(lengths)].reset_index(drop=True)
    numbers = pd.concat(measured, ignore_index=True) if measured else pd.DataFrame(columns=names, dtype=np.float64)
    return pd.concat([repeated, numbers], axis=1)


def magnitudes_at(
    results: Results, shares: Sequence[float], *, learned_only: bool = True, **filters: Unpack[ActivityFilters]
) -> pd.DataFrame:
    """The magnitude after some shares of training: one row per run, slot and parameter.

    Args:
        results: an opened results folder.
        shares: of the steps, 0 to 1; each means the last snapshot until then.
        learned_only: leave out what the variant keeps fixed.
        **filters: a value, or several, for any identity column, `slot` or `parameter`.

    Returns:
        The same leading columns as `activity_summary`, then a column `magnitude_at_<share>` for each share.

    Raises:
        UserError: a filter does not exist.
    """
    rows: list[dict[str, object]] = []
    for each in _trajectories(results, learned_only=learned_only, filters=filters):
        read = results.trajectory(each.record.identity.run_id, each.slot, each.parameter)
        steps, values = finite(as_measured(read, each.parameter))
        if len(steps):
            snapshots = [snapshot_at(steps, share) for share in shares]
            magnitudes = snapshot_measures(values[snapshots], NEUTRAL[each.parameter]).magnitude
            named = zip(map(magnitude_column, shares), map(float, magnitudes), strict=True)
            rows.append({**each.columns(), **dict(named)})
    return _categorical(pd.DataFrame(rows, columns=[*IDENTITY, *_OWN, *map(magnitude_column, shares)]))


def magnitude_column(share: float) -> str:
    """The column of `magnitudes_at` that holds the magnitude after a share of training."""
    return f"magnitude_at_{share:g}"


def sparsity_summary(results: Results, **filters: Unpack[IdentityFilters]) -> pd.DataFrame:
    """The share of activations that each ReLU zeroes: one row per run and slot, or residual block.

    Args:
        results: an opened results folder.
        **filters: a value, or several, for any identity column.

    Returns:
        The identity columns; `status`; `variant_row`; `dataset`; `slot`; `position`; `epochs` (the last one measured);
        the share `initial` (before training), `final` (mean over the last tenth of the epochs, as for the curves),
        `least` and `most` of all epochs. Runs without the sparsity probe have no rows.

    Raises:
        UserError: a filter does not exist.
    """
    rows: list[dict[str, object]] = []
    frame = results.sparsity(columns=["run_id", "epoch", "slot", "zeroed"], **filters)
    records = {record.identity.run_id: record for record in results.select(**filters)}
    labels = variant_labels(results.records)
    for run_id, own in frame.groupby("run_id", observed=True):
        record = records[str(run_id)]
        positions = _positions(record)
        for slot, shares in sorted(own.groupby("slot", observed=True), key=lambda pair: positions[str(pair[0])]):
            epoch, zeroed = shares["epoch"].to_numpy(), shares["zeroed"].to_numpy()
            last = int(epoch.max())
            rows.append(
                {
                    **run_columns(record, labels),
                    "slot": str(slot),
                    "position": positions[str(slot)],
                    "epochs": last,
                    "initial": float(zeroed[epoch == 0][0]),
                    "final": float(zeroed[epoch > last - tenth(last)].mean()),
                    "least": float(zeroed.min()),
                    "most": float(zeroed.max()),
                }
            )
    names = ["slot", "position", "epochs", "initial", "final", "least", "most"]
    return _categorical(pd.DataFrame(rows, columns=[*IDENTITY, *_OF_RUN, *names]))


def run_columns(record: RunRecord, labels: Mapping[DefinedAs, str]) -> dict[str, object]:
    """What the rows of a summary say of their run.

    Args:
        record: the run.
        labels: of all variants, as `variant_labels` gives them.
    """
    return {
        **asdict(record.identity),
        "status": record.status,
        "variant_row": record.variant_row,
        "label": labels[defined_as(record)],
        "overrides": ", ".join(record.overrides or ()),
        "dataset": record.dataset,
    }


def average_over_seeds(summary: pd.DataFrame, measures: Sequence[str] = _MEANS) -> pd.DataFrame:
    """A summary's means over the seeds of each setting, placement, learning rate and variant.

    Args:
        summary: of `activity_summary`, or (with its own measures) of `sparsity_summary`.
        measures: the columns to average.

    Returns:
        One row per setting_id, problems, size, dataset, placement, mask, learning_rate, variant, slot, position and
        (where the summary has it) parameter, in the one order (`bnbench.analysis.comparison`) and that of the network.
        `seeds` is a tuple, `diverged` the number of runs among them that diverged; with any, a mean gives way to NaN.
        Each measure has its mean and, as `<measure>_deviation`, the sample standard deviation over the seeds (NaN for
        one). A variant whose row of the table differs between runs is several: `bn#1`, `bn#2`.
    """
    keys = [each.name for each in fields(RowKey)] + ["position", "slot"]
    keys += [name for name in ("parameter",) if name in summary]
    found: list[tuple[tuple[object, ...], dict[str, Any]]] = []
    names = _names_of(summary)
    for values, own in summary.sort_values("seed", kind="stable").groupby(keys, observed=True, sort=False):
        key, first = dict(zip(keys, values, strict=True)), own.iloc[0]
        compared = _compared_with(first)
        diverged = int((own["status"] == "diverged").sum())
        row: dict[str, Any] = {
            "setting_id": key["setting_id"],
            "problems": distinct(map(str, own["problem"])),
            **{name: first[name] for name in ("size", "dataset", "placement", "mask", "learning_rate")},
            "variant": str(first["label"]),
            **{name: key[name] for name in keys[len(fields(RowKey)) :]},
            "seeds": tuple(int(seed) for seed in own["seed"]),
            "diverged": diverged,
        }
        for name in measures:
            column = own[name].to_numpy(np.float64)
            row[name] = float("nan") if diverged else float(column.mean())
            row[f"{name}_deviation"] = float(column.std(ddof=1)) if len(column) > 1 and not diverged else float("nan")
        place = (
            *order_of(*names[compared], str(first["overrides"]), compared),
            catalogue_order(row["variant"]),
            list(NEUTRAL).index(str(key["parameter"])) if "parameter" in key else 0,
            key["position"],
        )
        found.append((place, row))
    return pd.DataFrame([row for _, row in sorted(found, key=lambda pair: pair[0])])


def _names_of(summary: pd.DataFrame) -> dict[ComparisonKey, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The problems' names and the sizes that the runs of each placement go by."""
    together = summary.groupby(["setting_id", "learning_rate", "placement"], observed=True)
    return {
        _compared_with(own.iloc[0]): (distinct(map(str, own["problem"])), distinct(map(str, own["size"])))
        for _, own in together
    }


def _compared_with(row: pd.Series[Any]) -> ComparisonKey:
    return ComparisonKey(str(row["setting_id"]), float(row["learning_rate"]), str(row["placement"]))


_OF_RUN = ("status", "variant_row", "label", "overrides", "dataset")
_OWN = (*_OF_RUN, "slot", "position", "parameter", "learned")
_TEXT = frozenset(name for name, column in IDENTITY.items() if column.type == "string") | {
    *_OF_RUN,
    "slot",
    "parameter",
}


@dataclass(frozen=True)
class _Trajectory:
    """One trajectory of the store, not read yet."""

    record: RunRecord
    labels: Mapping[DefinedAs, str]
    slot: str
    position: int
    parameter: str
    learned: bool

    def columns(self) -> dict[str, object]:
        return {
            **run_columns(self.record, self.labels),
            "slot": self.slot,
            "position": self.position,
            "parameter": self.parameter,
            "learned": self.learned,
        }


def _trajectories(results: Results, *, learned_only: bool, filters: ActivityFilters) -> Iterator[_Trajectory]:
    """Those asked for, run by run, in the order of parameters and of the network."""
    slots, parameters = _wanted(filters.get("slot")), _wanted(filters.get("parameter"))
    for parameter in parameters or ():
        if parameter not in NEUTRAL:
            raise unknown("parameter", parameter, NEUTRAL)
    for name in filters:
        if name not in IDENTITY and name not in {"slot", "parameter"}:
            raise unknown("filter", name, [*IDENTITY, "slot", "parameter"])
    runs = {name: value for name, value in filters.items() if name not in {"slot", "parameter"}}
    chosen = results.select(**cast(IdentityFilters, runs))
    known = list(dict.fromkeys(slot for record in chosen for slot in record.slots))
    for slot in slots or ():
        if known and slot not in known:
            raise unknown("slot", slot, known)
    labels = variant_labels(results.records)
    for record in results.sound(chosen, "affine"):
        names = results.trajectory_names(record.identity.run_id)
        positions = _positions(record)
        for slot, parameter in sorted(names, key=lambda name: (list(NEUTRAL).index(name[1]), positions[name[0]])):
            if (slots and slot not in slots) or (parameters and parameter not in parameters):
                continue
            learned = _is_learned(record, slot, parameter)
            if learned or not learned_only:
                yield _Trajectory(record, labels, slot, positions[slot], parameter, learned)


def _wanted(values: OneOrMoreTexts | None) -> set[str] | None:
    if values is None:
        return None
    return {values} if isinstance(values, str) else set(values)


def _positions(record: RunRecord) -> dict[str, int]:
    """Each slot's place in the network, from 0; a residual block's, whose ReLU follows the sum, is its last slot's."""
    slots = {place.name: position for position, place in enumerate(record.places)}
    blocks = {place.block: position for position, place in enumerate(record.places) if place.block is not None}
    return blocks | slots


def _is_learned(record: RunRecord, slot: str, parameter: str) -> bool:
    """Whether the optimiser moves a trajectory, by the variant's row of the table as the run recorded it."""
    if parameter == "bias":
        weights_in = record.row.get("weights_in")
        return bool(record.row["train_weights"]) or (
            isinstance(weights_in, str)
            and slot in masked_slots(parse_placement(weights_in, record.slots), record.slots)
        )
    if not record.learns(parameter):
        return False
    rule = record.row["gamma" if parameter == "scale" else parameter]
    learned_in = rule["learned_in"] if isinstance(rule, dict) else None
    if not isinstance(learned_in, str):
        return True
    return parse_placement(learned_in, record.places)[record.slots.index(slot)] == "1"


def _categorical(frame: pd.DataFrame) -> pd.DataFrame:
    """Text becomes categorical, since it repeats itself endlessly."""
    return frame.astype({name: "category" for name in frame.columns if name in _TEXT})
