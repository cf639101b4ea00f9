"""Which runs may be compared: the one place that groups and orders them.

A *comparison* is the runs of one setting, learning rate and placement; runs without any BatchNorm belong to every
placement of their setting and learning rate. Its rows are variants: runs that differ in nothing but their seed.
Ranking, activity, sparsity, figures, page, claims and check all take their groups from here, and so agree.

The one order. Comparisons: by problem, by size, the problem's own settings before overridden ones, by setting, by
learning rate (ascending), and by placement: hidden, every, then the others as people read them (first:2 before
first:10). Variants: as the catalogue lists them, then those that no package offers any more. Seeds: as the problem
lists them, then the others, ascending.

A variant that was defined in several ways in the runs of one setting is several variants, `bn#1`, `bn#2`, in the order
of their rows' JSON; a comparison that has such a row says so (`Comparison.cautions`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from bnbench.analysis.changed_parts import cautions_of_changed_parts
from bnbench.analysis.naming import named_with_size, size_and_data
from bnbench.analysis.records import RunRecord
from bnbench.analysis.settings import problem_at
from bnbench.analysis.variant_labels import (
    DefinedAs,
    baseline_of,
    catalogue_order,
    defined_as,
    symbol_of,
    variant_labels,
)
from bnbench.components.placements import NOWHERE, SlotPlace
from bnbench.measurement import RunIdentity
from bnbench.natural_order import natural_key

USUAL_PLACEMENT = "hidden"
_FAMILIAR = (USUAL_PLACEMENT, "every")

Circumstances = tuple[str, float, str]
"""Setting, learning rate and placement of a run."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class RowKey:
    """What runs share that differ in their seed only: a row of a comparison."""

    setting_id: str
    variant_row: str
    """Canonical JSON."""
    mask: str
    learning_rate: float

    @classmethod
    def of(cls, identity: RunIdentity, variant_row: str) -> Self:
        """The row that a run belongs to."""
        return cls(identity.setting_id, variant_row, identity.mask, identity.learning_rate)


@dataclass(frozen=True)
class ComparisonKey:
    """What the runs of a comparison share."""

    setting_id: str
    learning_rate: float
    placement: str
    """Canonical; "none" where only runs without a BatchNorm are there."""

    def holds(self, circumstances: Circumstances) -> bool:
        """Whether a run belongs to the comparison: it is of its placement, or has no BatchNorm anywhere."""
        setting, rate, placement = circumstances
        return (setting, rate) == (self.setting_id, self.learning_rate) and placement in {self.placement, NOWHERE}


@dataclass(frozen=True)
class VariantRow:
    """A variant in a comparison: runs that differ in their seed only."""

    variant: str
    """What it is called: the variant's name, with a number behind it where the name was defined in several ways."""
    records: tuple[RunRecord, ...]
    """Runs that finished or diverged, at least one, in the order of the problem's seeds."""

    @property
    def name(self) -> str:
        """The variant's name in the catalogue."""
        return self.records[0].identity.variant

    @property
    def symbol(self) -> str:
        """E.g. "BN_γ,β"."""
        return symbol_of(self.variant)

    @property
    def baseline(self) -> str | None:
        """Where the study uses the variant as a baseline: "lower" or "upper"."""
        return baseline_of(self.variant)

    @property
    def learning_rate(self) -> float:
        """The learning rate of these runs: today that of the whole comparison."""
        return self.records[0].identity.learning_rate

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were run."""
        return tuple(record.identity.seed for record in self.records)

    @property
    def stopped_at(self) -> dict[int, int]:
        """Seed to the step at which a diverged run stopped."""
        return {r.identity.seed: r.diverged_at_step for r in self.records if r.diverged_at_step is not None}

    @property
    def diverged(self) -> int:
        """How many of the seeds diverged."""
        return len(self.stopped_at)

    def learns(self, parameter: str) -> bool:
        """Whether the variant learns "gamma" or "beta"."""
        return self.records[0].learns(parameter)


@dataclass(frozen=True)
class Comparison:
    """Variants that may be compared: runs of one setting, learning rate and placement."""

    setting_id: str
    learning_rate: float
    placement: str
    """Canonical; "none" where only runs without a BatchNorm are there."""
    problems: tuple[str, ...]
    """The names that the setting goes by: usually one."""
    sizes: tuple[str, ...]
    rows: tuple[VariantRow, ...]
    """At least one."""
    missing: tuple[str, ...] = ()
    """Variants that were asked for and have no run."""

    @property
    def key(self) -> ComparisonKey:
        """What its runs share."""
        return ComparisonKey(self.setting_id, self.learning_rate, self.placement)

    @property
    def problem(self) -> str:
        """The first of its names."""
        return self.problems[0]

    @property
    def size(self) -> str:
        """The first of its sizes."""
        return self.sizes[0]

    @property
    def dataset(self) -> str:
        """What all of its runs were trained on: part of the setting."""
        return self.rows[0].records[0].dataset

    @property
    def called(self) -> str:
        """Its problem with size and data as far as they must be said: "cifar100_3c3d (tiny, on handwritten digits)"."""
        return named_with_size(self.problems, self.sizes, self.dataset)

    @property
    def remark(self) -> str | None:
        """What of that stands in brackets, None where there is nothing."""
        return size_and_data(self.problems, self.sizes, self.dataset)

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """Its runs, row by row."""
        return tuple(record for row in self.rows for record in row.records)

    @property
    def run_ids(self) -> list[str]:
        """Its runs' ids."""
        return [record.identity.run_id for record in self.records]

    @property
    def labels(self) -> dict[str, str]:
        """Run id to what the run's variant is called here."""
        return {record.identity.run_id: row.variant for row in self.rows for record in row.records}

    @property
    def variants(self) -> list[str]:
        """What its rows are called, in the order of the catalogue."""
        return sorted((row.variant for row in self.rows), key=catalogue_order)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that any of the variants was run with, in the order of the problem's list."""
        return tuple(seed_order({seed for row in self.rows for seed in row.seeds}, self.problem, self.size))

    @property
    def mask(self) -> str:
        """One digit per slot, of the runs with a BatchNorm; all 0 where there are none."""
        return max(record.identity.mask for record in self.records)

    @property
    def slots(self) -> tuple[str, ...]:
        """The network's slots in order, the output last."""
        return self.records[0].slots

    @property
    def places(self) -> tuple[SlotPlace, ...]:
        """The same as placements are read with them."""
        return self.records[0].places

    @property
    def epochs(self) -> int:
        """As planned."""
        return self.records[0].epochs

    @property
    def overrides(self) -> tuple[str, ...] | None:
        """What differs from the problem's file; None where that file is not known."""
        return self.records[0].overrides

    @property
    def lr_factor(self) -> float | None:
        """The learning rate over the problem's own; None where the problem's file is not known."""
        known = problem_at(self.problem, self.size)
        return None if known is None else float(f"{self.learning_rate / known.training.learning_rate:.6g}")

    @property
    def devices(self) -> tuple[str, ...]:
        """The kinds of device that it was run on."""
        return distinct(record.device for record in self.records)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the data that it was run on."""
        return distinct(record.fingerprint for record in self.records)

    @property
    def stopped_at(self) -> dict[tuple[str, int], int]:
        """(variant, seed) to the step at which a diverged run stopped."""
        return {(row.variant, seed): step for row in self.rows for seed, step in row.stopped_at.items()}

    @property
    def redefined(self) -> tuple[str, ...]:
        """The names that were defined in several ways."""
        return tuple(dict.fromkeys(row.name for row in self.rows if row.variant != row.name))

    @property
    def cautions(self) -> tuple[str, ...]:
        """What anyone must know before comparing the rows, whatever is measured on them."""
        said = []
        if len(self.devices) > 1:
            said.append(f"mixes kinds of device: {', '.join(self.devices)}")
        if len(prints := distinct(each[:12] for each in self.fingerprints)) > 1:
            said.append(f"mixes data of different fingerprints: {', '.join(prints)}")
        said += [
            f"the variant '{name}' was defined differently in some of these runs: shown apart"
            for name in self.redefined
        ]
        return (*said, *cautions_of_changed_parts(self.records))

    def row(self, variant: str) -> VariantRow | None:
        """The row that is called so."""
        return next((row for row in self.rows if row.variant == variant), None)

    def only(self, records: Iterable[RunRecord]) -> Self | None:
        """The same of some of its trainings, whatever folder stands for them now; None where none of them is left."""
        kept = {(RowKey.of(r.identity, r.variant_row), r.identity.seed): r for r in records}
        rows = []
        for row in self.rows:
            key = RowKey.of(row.records[0].identity, row.records[0].variant_row)
            own = tuple(kept[key, seed] for seed in row.seeds if (key, seed) in kept)
            rows += [replace(row, records=own)] if own else []
        return replace(self, rows=tuple(rows)) if rows else None


# --- grouping -------------------------------------------------------------------------------------------------------


def comparison_keys(circumstances: Iterable[Circumstances]) -> list[ComparisonKey]:
    """The comparisons that runs make, in the order in which they first occur."""
    placements: dict[tuple[str, float], dict[str, None]] = {}
    for setting, rate, placement in circumstances:
        placements.setdefault((setting, rate), {})[placement] = None
    return [
        ComparisonKey(setting, rate, placement)
        for (setting, rate), found in placements.items()
        for placement in found
        if placement != NOWHERE or len(found) == 1
    ]


def circumstances_of(identity: RunIdentity) -> Circumstances:
    """Setting, learning rate and placement of a run."""
    return identity.setting_id, identity.learning_rate, identity.placement


def rows_of(records: Iterable[RunRecord]) -> dict[RowKey, tuple[RunRecord, ...]]:
    """Runs that differ in their seed only together, each training once, in the order of the problem's seeds."""
    found: dict[RowKey, dict[int, RunRecord]] = {}
    for record in records:
        own = found.setdefault(RowKey.of(record.identity, record.variant_row), {})
        own.setdefault(record.identity.seed, record)
    return {key: tuple(own[seed] for seed in _seeds_in_order(own.values())) for key, own in found.items()}


def comparisons(records: Iterable[RunRecord], among: Iterable[RunRecord] = ()) -> list[Comparison]:
    """The comparisons that these runs make, in the one order.

    Args:
        records: runs; those without tables are passed over.
        among: all runs that there are: a variant has the same label whatever part of them is compared. The runs
            themselves if empty.
    """
    readable = [record for record in records if record.readable]
    labels = variant_labels([*(among or ()), *readable])
    of_setting: dict[tuple[str, float], list[RunRecord]] = {}
    for record in readable:
        own = record.identity
        of_setting.setdefault((own.setting_id, own.learning_rate), []).append(record)
    found = []
    for key in comparison_keys(circumstances_of(record.identity) for record in readable):
        members = of_setting[key.setting_id, key.learning_rate]
        found.append(comparison_of(key, [r for r in members if key.holds(circumstances_of(r.identity))], labels))
    return sorted(found, key=comparison_order)


def comparison_of(key: ComparisonKey, members: Sequence[RunRecord], labels: Mapping[DefinedAs, str]) -> Comparison:
    """The runs of one comparison as its rows, which `labels` names."""
    rows = [VariantRow(labels[defined_as(own[0])], own) for own in rows_of(members).values()]
    return Comparison(
        key.setting_id,
        key.learning_rate,
        key.placement,
        problems=distinct(record.identity.problem for record in members),
        sizes=distinct(record.identity.size for record in members),
        rows=tuple(sorted(rows, key=lambda row: catalogue_order(row.variant))),
    )


def by_setting(found: Iterable[Comparison]) -> list[list[Comparison]]:
    """The comparisons of each setting together."""
    return _together(found, lambda each: each.setting_id)


def by_placement(found: Iterable[Comparison]) -> list[list[Comparison]]:
    """The comparisons of each setting and placement together: they differ in their learning rate."""
    return _together(found, lambda each: (each.setting_id, each.placement))


def _together(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    found: dict[Hashable, list[Item]] = {}
    for each in items:
        found.setdefault(key(each), []).append(each)
    return list(found.values())


# --- order ----------------------------------------------------------------------------------------------------------


def comparison_order(each: Comparison) -> tuple[object, ...]:
    """The sorting key of a comparison."""
    return order_of(each.problems, each.sizes, each.overrides, each.key)


def order_of(
    problems: Sequence[str], sizes: Sequence[str], overrides: Sequence[str] | None, key: ComparisonKey
) -> tuple[object, ...]:
    """The sorting key of what belongs to a comparison."""
    familiar = _FAMILIAR.index(key.placement) if key.placement in _FAMILIAR else len(_FAMILIAR)
    place = (familiar, natural_key(key.placement))
    return tuple(problems), tuple(sizes), bool(overrides), key.setting_id, key.learning_rate, place


def seed_order(seeds: Iterable[int], problem: str, size: str) -> list[int]:
    """Seeds in the problem's own order, then the others, ascending."""
    known = problem_at(problem, size)
    listed = [] if known is None else list(known.seeds)
    return sorted(seeds, key=lambda seed: (listed.index(seed) if seed in listed else len(listed), seed))


def _seeds_in_order(records: Iterable[RunRecord]) -> list[int]:
    members = list(records)
    first = min((record.identity for record in members), key=lambda who: (who.problem, who.size))
    return seed_order([record.identity.seed for record in members], first.problem, first.size)


def distinct(values: Iterable[str]) -> tuple[str, ...]:
    """Each value once, sorted."""
    return tuple(sorted(set(values)))
