"""The comparisons that a figure of a study wants, among all runs that there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bnbench.analysis.comparison import USUAL_PLACEMENT, Comparison, ComparisonKey, comparison_of
from bnbench.analysis.records import RunRecord
from bnbench.analysis.settings import problem_at
from bnbench.analysis.variant_labels import variant_labels
from bnbench.components.architectures import ARCHITECTURES, slot_places
from bnbench.components.placements import NOWHERE, canonical_placement, parse_placement
from bnbench.errors import UserError
from bnbench.problem import Problem


@dataclass(frozen=True)
class Wanted:
    """The runs that a study asks for in one comparison, whatever their seeds."""

    problem: str
    variants: tuple[str, ...]
    placement: str = USUAL_PLACEMENT
    lr_factor: float = 1.0
    overrides: tuple[str, ...] = ()
    """Settings that differ from the problem's file by intention, e.g. ("training.l2",); those must, others may."""


def find_wanted(records: Sequence[RunRecord], wanted: Sequence[Wanted], size: str) -> list[Comparison | None]:
    """The comparison for each thing wanted; None where it has no run.

    All comparisons of one problem come from one setting: the one that differs from the problem's file in nothing but
    what is wanted, else that with most of the runs.

    Args:
        records: all runs that there are.
        wanted: what is asked for.
        size: "full", "short" or "tiny".

    Raises:
        UserError: a problem or placement does not exist.
    """
    matches = [[r for r in records if r.readable and _matches(r, each, size)] for each in wanted]
    settings: dict[str, str] = {}
    for problem in dict.fromkeys(each.problem for each in wanted):
        asked = [(each, found) for each, found in zip(wanted, matches, strict=True) if each.problem == problem]
        own = [record for _, found in asked for record in found]
        if own:
            settings[problem] = _best_setting(own, asked[0][0].overrides)
    labels = variant_labels(records)
    result: list[Comparison | None] = []
    for each, found in zip(wanted, matches, strict=True):
        own = [record for record in found if record.identity.setting_id == settings.get(each.problem)]
        if not own:
            result.append(None)
            continue
        key = ComparisonKey(own[0].identity.setting_id, own[0].identity.learning_rate, _canonical(each))
        present = {record.identity.variant for record in own}
        missing = tuple(variant for variant in each.variants if variant not in present)
        result.append(replace(comparison_of(key, own, labels), missing=missing))
    return result


def _matches(record: RunRecord, wanted: Wanted, size: str) -> bool:
    own = record.identity
    if own.problem != wanted.problem or own.size != size or own.variant not in wanted.variants:
        return False
    if not set(wanted.overrides) <= set(_overridden(record)):
        return False
    rate = _known_problem(wanted.problem, size).training.learning_rate * wanted.lr_factor
    # What alters no slot is recorded without a placement, whatever was asked for.
    return own.placement in {_canonical(wanted), NOWHERE} and math.isclose(own.learning_rate, rate, rel_tol=1e-9)


def _canonical(wanted: Wanted) -> str:
    problem = _known_problem(wanted.problem, "full")
    places = slot_places(ARCHITECTURES.get(problem.architecture).layer_table(2, problem.width))
    return canonical_placement(parse_placement(wanted.placement, places), places)


def _known_problem(name: str, size: str) -> Problem:
    found = problem_at(name, size)
    if found is None:
        raise UserError(f"problem '{name}' has no size {size}", hint="`bnbench list` shows the problems.")
    return found


def _overridden(record: RunRecord) -> tuple[str, ...]:
    """The names of the settings in which a run differs from its problem's file."""
    return tuple(text.partition(" = ")[0] for text in record.overrides or ())


def _best_setting(records: Sequence[RunRecord], overrides: tuple[str, ...]) -> str:
    def order(setting: str) -> tuple[bool, int, str]:
        own = [record for record in records if record.identity.setting_id == setting]
        return (set(_overridden(own[0])) != set(overrides), -len(own), setting)

    return min({record.identity.setting_id for record in records}, key=order)
