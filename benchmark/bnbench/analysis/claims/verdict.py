"""What a rule says, and how the parts of a claim come together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bnbench.analysis.interval import Interval


class Verdict(StrEnum):
    """What becomes of a claim, or of a part of one."""

    HOLDS = "holds"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    NO_DATA = "no data"
    NONE = "no verdict"
    """Of a claim that is exploratory: there are numbers, and no statement that they decide."""


@dataclass(frozen=True)
class Decision:
    """What a rule made of some runs."""

    verdict: Verdict
    effect: float | None = None
    """The number that was decided on: a difference, a share, a ratio; None where there is none."""
    interval: Interval | None = None
    """Of a difference: 95 %, paired by seed."""
    says: str | None = None
    """Why there is no number, or what else must be known."""


def tally(verdicts: Sequence[Verdict]) -> dict[Verdict, int]:
    """How many have each verdict, zeros too; those without one only where a claim is exploratory."""
    told = [each for each in Verdict if each is not Verdict.NONE or each in verdicts]
    return {each: verdicts.count(each) for each in told}


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim: all parts must hold, one that is refuted refutes it.

    Without any data for any part it is `no data`; with data for some parts only, it is undecided.
    """
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    if all(verdict is Verdict.NO_DATA for verdict in verdicts):
        return Verdict.NO_DATA
    return Verdict.HOLDS if all(verdict is Verdict.HOLDS for verdict in verdicts) else Verdict.UNDECIDED
