"""Rows of plug-ins and other packages that were not the same in all of some runs."""

from __future__ import annotations

from collections.abc import Iterable

from bnbench.analysis.records import RunRecord
from bnbench.storage.third_parties import ThirdPartyRow


def cautions_of_changed_parts(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """What anyone must know before comparing these runs: which rows of others changed, and between which states."""
    found: dict[tuple[str, str], list[ThirdPartyRow]] = {}
    for part in (each for record in records for each in record.third_parties):
        known = found.setdefault((part.kind, part.name), [])
        if not any(part.is_as(other) for other in known):
            known.append(part)
    return tuple(
        f"the {kind} '{name}' is not the same in all of these runs: {', '.join(each.state for each in states)}"
        for (kind, name), states in found.items()
        if len(states) > 1
    )
