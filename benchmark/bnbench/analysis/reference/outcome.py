"""What a reference check says: of each run, of each tier, of the whole. Values only; `present` renders them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bnbench.analysis.reference.spread import FALSE_ALARM_RATE
from bnbench.analysis.reference.stored import Reference
from bnbench.measurement import RunIdentity


class Tier(StrEnum):
    """One way of comparing."""

    BITS = "bits"
    START = "start"
    SPREAD = "spread"


@dataclass(frozen=True)
class Difference:
    """One comparison that failed."""

    tier: Tier
    what: str
    """E.g. "batch loss at step 5"."""
    obtained: str
    expected: str
    difference: str


@dataclass(frozen=True)
class TierOutcome:
    """What one tier says of a run."""

    tier: Tier
    compared: int
    """Comparisons made; none where the tier does not apply."""
    why_not: str | None
    """Why the tier does not apply."""
    differences: tuple[Difference, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether anything differs."""
        return bool(self.differences)


@dataclass(frozen=True)
class RunCheck:
    """One recorded run, compared."""

    identity: RunIdentity
    reference: Reference | None
    """What it was compared with; None: nothing to compare with."""
    outcomes: tuple[TierOutcome, ...]
    why_not: str | None = None
    """Why there is nothing to compare with, or why that is wrong."""
    wrong: bool = False
    """Whether that there is nothing to compare with is itself a failure."""

    @property
    def failed(self) -> bool:
        """Whether any tier failed, or a comparison that has to be possible is not."""
        return self.wrong or any(outcome.failed for outcome in self.outcomes)

    @property
    def compared(self) -> bool:
        """Whether anything was compared at all."""
        return any(outcome.compared for outcome in self.outcomes)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All that failed."""
        return tuple(difference for outcome in self.outcomes for difference in outcome.differences)


@dataclass(frozen=True)
class FinalCheck:
    """The final values of several seeds of one variant against those of the reference's seeds."""

    identity: RunIdentity
    """Of the first of the runs."""
    seeds: int
    reference_seeds: int
    compared: int
    differences: tuple[Difference, ...]

    @property
    def failed(self) -> bool:
        """Whether a final value differs."""
        return bool(self.differences)


@dataclass(frozen=True)
class CheckReport:
    """The whole check."""

    tiers: tuple[Tier, ...]
    runs: tuple[RunCheck, ...]
    finals: tuple[FinalCheck, ...]
    bands: int
    """Points of curves that were compared with a band."""
    references: tuple[Reference, ...]
    """Those that were compared with."""

    @property
    def differs(self) -> bool:
        """Whether a run or its final values failed."""
        return any(run.failed for run in self.runs) or any(final.failed for final in self.finals)

    @property
    def failed(self) -> bool:
        """Whether anything failed, or nothing was compared."""
        return self.nothing or self.differs

    @property
    def nothing(self) -> bool:
        """Whether no run could be compared with anything."""
        return not any(run.compared for run in self.runs)

    @property
    def band_level(self) -> float:
        """The chance of a value outside one band."""
        return FALSE_ALARM_RATE / 2 / max(1, self.bands)

    @property
    def final_level(self) -> float:
        """The p below which one two-sample test fails."""
        return FALSE_ALARM_RATE / 2 / max(1, sum(final.compared for final in self.finals))
