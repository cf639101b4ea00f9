"""What the variants of recorded runs are called, and in which order they stand."""

from __future__ import annotations

from collections.abc import Iterable

from bnbench.analysis.records import RunRecord
from bnbench.components.variants import VARIANTS
from bnbench.errors import UserError

DefinedAs = tuple[str, str, str]
"""Setting, a variant's name, and its row as canonical JSON."""


def defined_as(record: RunRecord) -> DefinedAs:
    """How a run's variant was defined."""
    return record.identity.setting_id, record.identity.variant, record.variant_row


def variant_labels(records: Iterable[RunRecord]) -> dict[DefinedAs, str]:
    """What each variant is called: its name, numbered where the name was defined in several ways in one setting.

    Runs without tables are passed over.
    """
    rows: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if not record.readable:
            continue
        setting, name, row = defined_as(record)
        rows.setdefault((setting, name), set()).add(row)
    return {
        (setting, name, row): name if len(found) == 1 else f"{name}#{number}"
        for (setting, name), found in rows.items()
        for number, row in enumerate(sorted(found), start=1)
    }


def symbol_of(variant: str) -> str:
    """A variant's symbol as plain text, e.g. "BN_γ,β"; its name where no package offers it any more."""
    name, _, mark = variant.partition("#")
    try:
        symbol = VARIANTS.get(name).symbol
    except UserError:
        return variant
    return f"{symbol}#{mark}" if mark else symbol


def baseline_of(variant: str) -> str | None:
    """Where the study uses the variant as a baseline: "lower" or "upper"."""
    try:
        return VARIANTS.get(variant.partition("#")[0]).baseline
    except UserError:
        return None


def catalogue_order(variant: str) -> tuple[int, str]:
    """The sorting key of a variant: the catalogue's order, those that are in it no more behind."""
    names = VARIANTS.names()
    name = variant.partition("#")[0]
    return (names.index(name) if name in names else len(names), variant)
