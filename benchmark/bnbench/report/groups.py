"""Which recorded runs may stand in one pair of axes: found by what a figure asks for, or by what there is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bnbench.analysis.frames import Results, RunRecord
from bnbench.analysis.settings import problem_at
from bnbench.architecture import ARCHITECTURES, slot_names
from bnbench.data.dataset import DATASETS
from bnbench.errors import UserError, unknown
from bnbench.placement import NOWHERE, canonical_placement, masked_slots, parse_placement
from bnbench.problem import Problem
from bnbench.report.style import looks_of, symbol_of
from bnbench.variant import VARIANTS

_NOT_REMARKED = {"embedded", "official archive"}
"""Kinds of copy that go without saying."""

USUAL_PLACEMENT = "hidden"


@dataclass(frozen=True)
class Wanted:
    """The runs that a pair of axes asks for, whatever their seeds."""

    problem: str
    variants: tuple[str, ...]
    placement: str = USUAL_PLACEMENT
    lr_factor: float = 1.0
    overrides: tuple[str, ...] = ()
    """Settings that differ from the problem's file by intention, e.g. ("training.l2",); those must, others may."""


@dataclass(frozen=True)
class RunGroup:
    """Runs that may be compared: one setting, learning rate and placement; vanilla belongs to every placement."""

    problem: str
    size: str
    placement: str
    """Canonical; "none" where only runs without a BatchNorm are there."""
    learning_rate: float
    lr_factor: float | None
    """The learning rate over the problem's own; None where the problem's file is not known."""
    records: tuple[RunRecord, ...]
    """Runs that finished or diverged, at least one."""
    missing: tuple[str, ...] = ()
    """Variants that were asked for and have no run."""

    def __post_init__(self) -> None:
        """Refuse to average what is not the same.

        Raises:
            UserError: a variant of that name was defined differently in some of the runs.
        """
        rows: dict[str, set[str]] = {}
        for record in self.records:
            rows.setdefault(record.identity.variant, set()).add(record.variant_row)
        for name, found in rows.items():
            if len(found) > 1:
                raise UserError(
                    f"the variant '{name}' was defined differently in runs of {self.problem}: no mean can be taken",
                    hint="`bnbench status --runs` lists them; move those of one definition to another results folder.",
                )

    @property
    def setting_id(self) -> str:
        """The setting that its runs share."""
        return self.records[0].identity.setting_id

    @property
    def run_ids(self) -> list[str]:
        """The runs."""
        return [record.identity.run_id for record in self.records]

    @property
    def variants(self) -> list[str]:
        """The variants that have a run, in the study's order."""
        return list(looks_of(record.identity.variant for record in self.records))

    @property
    def seeds(self) -> list[int]:
        """All seeds of all variants, in the problem's order."""
        return seed_order({record.identity.seed for record in self.records}, self.problem, self.size)

    @property
    def mask(self) -> str:
        """One digit per slot, of the runs with a BatchNorm; all 0 where there are none."""
        return max(record.identity.mask for record in self.records)

    @property
    def diverged(self) -> dict[tuple[str, int], int]:
        """(variant, seed) to the step at which the run stopped."""
        return {
            (record.identity.variant, record.identity.seed): record.diverged_at_step
            for record in self.records
            if record.diverged_at_step is not None
        }

    def of_variant(self, variant: str) -> list[RunRecord]:
        """The runs of one variant."""
        return [record for record in self.records if record.identity.variant == variant]


def find_groups(results: Results, wanted: Sequence[Wanted], size: str) -> list[RunGroup | None]:
    """The group for each thing wanted; None where it has no run.

    All groups of one problem come from one setting: the one that differs from the problem's file in nothing but what
    is wanted, else that with most of the runs.

    Raises:
        UserError: a problem or placement does not exist.
    """
    matches = [[record for record in results.records if record.readable and _matches(record, each, size)]
               for each in wanted]  # fmt: skip
    settings: dict[str, str] = {}
    for problem in dict.fromkeys(each.problem for each in wanted):
        asked = [(each, found) for each, found in zip(wanted, matches, strict=True) if each.problem == problem]
        own = [record for _, found in asked for record in found]
        if own:
            settings[problem] = _best_setting(own, asked[0][0].overrides)
    groups: list[RunGroup | None] = []
    for each, found in zip(wanted, matches, strict=True):
        records = tuple(record for record in found if record.identity.setting_id == settings.get(each.problem))
        present = {record.identity.variant for record in records}
        missing = tuple(variant for variant in each.variants if variant not in present)
        groups.append(
            RunGroup(
                each.problem, size, _canonical(each), records[0].identity.learning_rate, each.lr_factor,
                records, missing,
            )
            if records
            else None
        )  # fmt: skip
    return groups


def recorded_groups(records: Iterable[RunRecord]) -> list[RunGroup]:
    """The groups that these runs make; vanilla joins every placement of its setting and learning rate."""
    by_key: dict[tuple[str, float, str], list[RunRecord]] = {}
    for record in records:
        if record.readable:
            own = record.identity
            by_key.setdefault((own.setting_id, own.learning_rate, own.placement), []).append(record)
    groups: list[RunGroup] = []
    for (setting, rate, placement), members in by_key.items():
        others = [key for key in by_key if key[:2] == (setting, rate) and key[2] != NOWHERE]
        if placement == NOWHERE and others:
            continue
        bare = [] if placement == NOWHERE else by_key.get((setting, rate, NOWHERE), [])
        first = members[0].identity
        groups.append(
            RunGroup(
                first.problem, first.size, placement, rate, _factor(first.problem, first.size, rate),
                (*bare, *members),
            )
        )  # fmt: skip
    return sorted(groups, key=_group_order)


def select_groups(
    results: Results,
    size: str,
    problems: Sequence[str] = (),
    placements: Sequence[str] = (),
    factors: Sequence[float] = (),
    settings: Sequence[str] = (),
) -> list[RunGroup]:
    """The recorded groups of one size, narrowed down; an empty choice leaves all.

    Args:
        results: an opened results folder.
        size: "full" or "tiny".
        problems: names.
        placements: expressions of the grammar.
        factors: multiples of the problem's learning rate.
        settings: ids of settings, or the last part of them, as `bnbench status` prints it.

    Raises:
        UserError: no run of such a problem or setting is recorded, or a placement fits none of the networks.
    """
    groups = recorded_groups(results.select(size=size))
    recorded = sorted({group.problem for group in groups})
    for problem in problems:
        if problem not in recorded:
            raise unknown(f"recorded {size} problem", problem, recorded)
    if problems:
        groups = [group for group in groups if group.problem in problems]
    for setting in settings:
        known = {group.setting_id for group in groups}
        if not any(_is_setting(each, setting) for each in known):
            raise unknown("recorded setting", setting, sorted(known))
    if settings:
        groups = [group for group in groups if any(_is_setting(group.setting_id, each) for each in settings)]
    if placements:
        networks = {group.records[0].slots for group in groups}
        masks = {each: {slots: _mask_of(each, slots) for slots in networks} for each in placements}
        for each, found in masks.items():
            if groups and all(mask is None for mask in found.values()):
                raise UserError(f"placement '{each}' fits no recorded network", hint="`bnbench show` explains them.")
        groups = [g for g in groups if any(masks[each][g.records[0].slots] == g.mask for each in placements)]
    if factors:
        groups = [g for g in groups if g.lr_factor is not None and any(math.isclose(g.lr_factor, f) for f in factors)]
    return groups


def problem_label(problem: str, size: str = "full") -> str:
    """A problem as people write it, e.g. "CIFAR-10 3C3D"; its id where its file is not known."""
    known = problem_at(problem, "full")
    name = problem
    if known is not None:
        title = DATASETS.get(known.dataset).title.replace("Handwritten digits", "Digits")
        name = f"{title} {known.architecture.upper()}".replace("ALLCNNC", "ALL-CNN-C")
    return name if size == "full" else f"{name} ({size})"


def title_of(problem: str, size: str, placement: str, lr_factor: float | None, learning_rate: float) -> str:
    """A heading: problem, placement and learning rate, the latter two where they are not the usual ones."""
    parts = [problem_label(problem, size)]
    if placement == NOWHERE:
        parts.append("no BatchNorm")
    elif placement != USUAL_PLACEMENT:
        parts.append(f"placement {placement}")
    if lr_factor is None:
        parts.append(f"learning rate {learning_rate:.3g}")
    elif lr_factor != 1:
        parts.append(f"learning rate × {lr_factor:g}")
    return ", ".join(parts)


def group_title(group: RunGroup) -> str:
    """A heading for a group, with its learning rate where that is not the problem's own."""
    return title_of(group.problem, group.size, group.placement, group.lr_factor, group.learning_rate)


def placement_title(group: RunGroup) -> str:
    """A heading for a group without its learning rate."""
    return title_of(group.problem, group.size, group.placement, 1.0, group.learning_rate)


def circumstances(group: RunGroup) -> str:
    """Placement and learning rate, without the problem."""
    rate = f"× {group.lr_factor:g}" if group.lr_factor is not None else f"{group.learning_rate:.3g}"
    place = "no BatchNorm" if group.placement == NOWHERE else group.placement
    return place if group.lr_factor == 1 else f"{place}, learning rate {rate}"


def describe_group(group: RunGroup) -> str:
    """What a caption must say of the runs: rate, seeds, epochs, data, what diverged and what is missing."""
    first = group.records[0]
    seeds = group.seeds
    facts = [
        f"learning rate {group.learning_rate:.6g}",
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))})",
        f"{first.epochs} epochs",
    ]
    if first.overrides:
        facts.append(f"not at the problem's own settings: {', '.join(first.overrides)}")
    if group.size != "full":
        facts.append(f"{group.size} size, on {DATASETS.get(first.dataset).title.lower()}")
    fingerprints = {(record.fingerprint or "not recorded")[:8] for record in group.records}
    origins = {record.data_origin or "origin not recorded" for record in group.records} - _NOT_REMARKED
    facts.append(", ".join([f"data {' and '.join(sorted(fingerprints))}", *sorted(origins)]))
    devices = {record.device for record in group.records}
    if len(devices) > 1:
        facts.append(f"mixes kinds of device: {', '.join(sorted(devices))}")
    for variant in group.variants:
        gone = [step for (name, _), step in group.diverged.items() if name == variant]
        if gone:
            steps = ", ".join(map(str, gone))
            facts.append(
                f"{symbol_of(variant)}: {len(gone)} of {len(group.of_variant(variant))} diverged, at step {steps}"
            )
    lacking = [f"{symbol_of(variant)}" for variant in group.missing]
    for variant in group.variants:
        own = {record.identity.seed for record in group.of_variant(variant)}
        absent = [seed for seed in seeds if seed not in own]
        if absent:
            lacking.append(f"{symbol_of(variant)} seed{'s' if len(absent) > 1 else ''} {', '.join(map(str, absent))}")
    if lacking:
        facts.append(f"missing: {'; '.join(lacking)}")
    return "; ".join(facts)


def seed_order(seeds: Iterable[int], problem: str, size: str) -> list[int]:
    """Seeds in the problem's own order, then the others, ascending."""
    known = problem_at(problem, size)
    listed = [] if known is None else list(known.seeds)
    return sorted(seeds, key=lambda seed: (listed.index(seed) if seed in listed else len(listed), seed))


def normalised_slots(record: RunRecord) -> list[str]:
    """The slots of a run that carry a BatchNorm, in the network's order."""
    return masked_slots(record.identity.mask, record.slots)


def learns(record: RunRecord, parameter: str) -> bool:
    """Whether a run's variant learns "gamma" or "beta"."""
    row: Mapping[str, Mapping[str, object]] = json.loads(record.variant_row)
    return row[parameter]["status"] == "learned"


def known_problem(name: str, size: str) -> Problem:
    """A problem that ships with the package, at a size.

    Raises:
        UserError: there is none.
    """
    found = problem_at(name, size)
    if found is None:
        raise UserError(f"problem '{name}' has no size {size}", hint="`bnbench list` shows the problems.")
    return found


def _matches(record: RunRecord, wanted: Wanted, size: str) -> bool:
    own = record.identity
    if own.problem != wanted.problem or own.size != size or own.variant not in wanted.variants:
        return False
    if not set(wanted.overrides) <= set(_overridden(record)):
        return False
    rate = known_problem(wanted.problem, size).training.learning_rate * wanted.lr_factor
    placement = _canonical(wanted) if VARIANTS.get(own.variant).alters_slots else NOWHERE
    return own.placement == placement and math.isclose(own.learning_rate, rate, rel_tol=1e-9)


def _canonical(wanted: Wanted) -> str:
    problem = known_problem(wanted.problem, "full")
    names = slot_names(ARCHITECTURES.get(problem.architecture).layer_table(2, problem.width))
    return canonical_placement(parse_placement(wanted.placement, names), names)


def _is_setting(setting_id: str, asked: str) -> bool:
    return asked in {setting_id, setting_id.rpartition("-")[2]}


def _mask_of(placement: str, slots: Sequence[str]) -> str | None:
    """The mask a placement gives in a network; None where it does not fit."""
    try:
        return parse_placement(placement, slots)
    except UserError:
        return None


def _overridden(record: RunRecord) -> tuple[str, ...]:
    """The names of the settings in which a run differs from its problem's file."""
    return tuple(text.partition(" = ")[0] for text in record.overrides or ())


def _best_setting(records: Sequence[RunRecord], overrides: tuple[str, ...]) -> str:
    def order(setting: str) -> tuple[bool, int, str]:
        own = [record for record in records if record.identity.setting_id == setting]
        return (set(_overridden(own[0])) != set(overrides), -len(own), setting)

    return min({record.identity.setting_id for record in records}, key=order)


def _factor(problem: str, size: str, rate: float) -> float | None:
    known = problem_at(problem, size)
    return None if known is None else float(f"{rate / known.training.learning_rate:.6g}")


def _group_order(group: RunGroup) -> tuple[object, ...]:
    familiar = (USUAL_PLACEMENT, "every")
    place = familiar.index(group.placement) if group.placement in familiar else len(familiar)
    return (
        group.problem,
        group.size,
        group.setting_id,
        place,
        group.placement,
        group.learning_rate,
    )
