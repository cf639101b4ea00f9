"""What `run.json` records of the rows of other people that a run was made of, and what of them has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pydantic import JsonValue

from bnbench.components.variants import Variant
from bnbench.plugins import DIGITS

KEY = "plugins"
"""Of the provenance, and of a stretch of it; not there where a run has none."""


@dataclass(frozen=True)
class ThirdPartyRow:
    """A row that a run was made of, and that is not this package's."""

    kind: str
    """As people call it: "normaliser"."""
    name: str
    source: str
    """The name of the plug-in file, never its path; or of the package; or "session"."""
    version: str | None = None
    """Of the package."""
    sha256: str | None = None
    """Of the file."""

    @property
    def state(self) -> str:
        """Where the row comes from, and which state of that, in words."""
        if self.sha256 is not None:
            return f"{self.source} (SHA-256 {self.sha256[:DIGITS]}…)"
        return self.source if self.version is None else f"{self.source} {self.version}"

    @property
    def is_hashed(self) -> bool:
        """Whether the run's ids hold all of it, so that another state makes another run: a variant has no code."""
        return self.kind == Variant.kind

    def recorded(self) -> dict[str, JsonValue]:
        """The row as plain values; what is not known of it is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def is_as(self, other: ThirdPartyRow) -> bool:
        """Whether it is the same state: the same file, whatever it is called, or the same version of the package.

        What the ids hold, they tell apart.
        """
        if self.is_hashed:
            return True
        if self.sha256 is not None and other.sha256 is not None:
            return self.sha256 == other.sha256
        return (self.source, self.version, self.sha256) == (other.source, other.version, other.sha256)


def recorded_rows(facts: Mapping[str, JsonValue]) -> tuple[ThirdPartyRow, ...]:
    """What a provenance, or a stretch of one, records; what is not of that form is passed over."""
    found = facts.get(KEY)
    return tuple(_row(each) for each in found if _is_row(each)) if isinstance(found, list) else ()


def changes(
    ours: Iterable[ThirdPartyRow], theirs: Iterable[ThirdPartyRow]
) -> list[tuple[ThirdPartyRow, ThirdPartyRow]]:
    """The rows of one name that are of another state: ours, and theirs."""
    recorded = {(row.kind, row.name): row for row in theirs}
    pairs = [(row, recorded.get((row.kind, row.name))) for row in ours]
    return [(own, other) for own, other in pairs if other is not None and not own.is_as(other)]


def _is_row(value: JsonValue) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("kind", "name", "source"))


def _row(value: JsonValue) -> ThirdPartyRow:
    assert isinstance(value, dict)
    told = {key: each for key, each in value.items() if isinstance(each, str)}
    return ThirdPartyRow(
        told["kind"], told["name"], told["source"], version=told.get("version"), sha256=told.get("sha256")
    )
