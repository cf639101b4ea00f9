"""The ledger: what recorded runs say of the claims of every study, paper by paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bnbench.analysis.claims.decide import BodyOfRuns, ClaimResult, ClaimsReport, PartResult, decide_claims
from bnbench.analysis.claims.evidence import SIZES
from bnbench.analysis.claims.tables import WOULD, claims_json, verdict_cell
from bnbench.analysis.claims.verdict import Verdict
from bnbench.analysis.claims.words import effect_in_words, part_in_words
from bnbench.analysis.frames import Results
from bnbench.analysis.table import Cell, Column, Kind, Table, Value
from bnbench.errors import UserError, unknown
from bnbench.study import Study, find_study, study_files
from bnbench.words import counted

FIRST = "thesis"
"""The founding study comes first."""
TAIL = 0.025
"""The share of claims that noise alone would let hold, and the share it would refute, were all effects zero: what lies
beyond each end of a 95 % interval."""

_DECIDED = (Verdict.HOLDS, Verdict.REFUTED)
_COLUMNS = (
    Column("study", "study", Kind.IDENTIFIER, once=True),
    Column("claim", "claim", Kind.IDENTIFIER),
    Column("text", "what it says", Kind.PROSE),
    Column("verdict", "verdict"),
    Column("effect", "decided on, effect [95 %]", Kind.PROSE, priority=1),
    Column("seeds", "seeds", Kind.NUMBER, priority=2),
    Column("size", "size", priority=1, hint="Of the runs: only full ones are evidence"),
    Column("standing", "standing", priority=3, hint="Whether the verdict is one on the source's own statement"),
)


@dataclass(frozen=True)
class Entry:
    """A claim, and the best that there is to say of it: by the evidence, else by the largest other body of runs."""

    report: ClaimsReport
    body: BodyOfRuns
    result: ClaimResult

    @property
    def is_evidence(self) -> bool:
        """Whether the verdict counts."""
        return not self.body.label


@dataclass(frozen=True)
class Line:
    """A line of the ledger: a claim, or below a claim over several problems one of its parts."""

    entry: Entry
    part: PartResult | None = None

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Of the runs that what it says rests on."""
        rests_on = self.part or self.entry.result.deciding
        return () if rests_on is None else rests_on.run_ids


@dataclass(frozen=True)
class Ledger:
    """Every claim of every study."""

    reports: tuple[ClaimsReport, ...]
    entries: tuple[Entry, ...]
    """Of the claims for which there are runs."""

    @property
    def decided(self) -> tuple[Entry, ...]:
        """The claims on which there is a verdict that counts."""
        return tuple(each for each in self.entries if each.is_evidence and each.result.verdict in _DECIDED)


def ledger(results: Results, studies: Iterable[Study] | None = None) -> Ledger:
    """Decide the claims of every study on the runs of a results folder.

    Args:
        results: an opened results folder; it may be empty.
        studies: those that ship and lay themselves over no other, if None.

    Raises:
        UserError: a study or one of its problem files is not valid.
    """
    reports = tuple(decide_claims(results, study) for study in (every_study() if studies is None else studies))
    found = (_best(report, place) for report in reports for place in range(len(report.evidence.claims)))
    return Ledger(reports, tuple(each for each in found if each is not None))


def every_study() -> tuple[Study, ...]:
    """The studies that ship, the founding one first, without those that only read another one differently.

    Raises:
        UserError: a file is not valid.
    """
    names = sorted(study_files(), key=lambda name: (name != FIRST, name))
    return tuple(study for study in map(find_study, names) if study.extends is None)


def study_with(claims: Sequence[str]) -> Study:
    """The study that has all of these claims, the founding one first.

    Raises:
        UserError: none has.
    """
    studies = every_study()
    for study in studies:
        if {claim.id for claim in study.claims} >= set(claims):
            return study
    known = [claim.id for study in studies for claim in study.claims]
    strange = next((name for name in claims if name not in known), None)
    if strange is not None:
        raise unknown("claim", strange, known)
    raise UserError(f"no study has all of {', '.join(claims)}", hint="Ask for the claims of one study at a time.")


def _best(report: ClaimsReport, place: int) -> Entry | None:
    """Where the claim has data: in the evidence, of some of its problems only too; nothing replaces that.

    Else in the body of a larger size, and then of more runs; one that decides it goes before one that has runs of some
    of its problems only.
    """
    apart = sorted(report.apart, key=lambda body: SIZES.index(body.size))
    evidence, *others = (Entry(report, body, body.claims[place]) for body in (report.evidence, *apart))
    if evidence.result.with_data:
        return evidence
    decided = (each for each in others if each.result.verdict is not Verdict.NO_DATA)
    return next(decided, next((each for each in others if each.result.with_data), None))


def lines(book: Ledger) -> tuple[Line, ...]:
    """What the ledger has a line for."""
    return tuple(
        line
        for each in book.entries
        for line in (
            Line(each),
            *(Line(each, part) for part in each.result.with_data if each.result.is_over_several_problems),
        )
    )


def ledger_table(book: Ledger) -> Table:
    """Paper by paper, a line for each claim that has runs, and for each part of one over several problems."""
    notes = [f"{report.study}: {report.source}; {report.reading}" for report in _with_entries(book)]
    unread = [report.study for report in book.reports if report not in _with_entries(book)]
    if unread:
        notes.append(
            f"Of the studies {', '.join(unread)} there are not all the runs that any part of a claim is about: "
            "`bnbench study NAME --dry-run` says which they take."
        )
    return Table(
        name="ledger",
        title=_in_words(book),
        columns=_COLUMNS,
        rows=tuple(map(_row, lines(book))),
        notes=(*notes, *_multiplicity(book)),
        headless=not book.entries,
    )


def ledger_json(book: Ledger) -> dict[str, object]:
    """The ledger as plain JSON values: every study's report, and the counts."""
    return {
        "claims": sum(len(report.evidence.claims) for report in book.reports),
        "decided": len(book.decided),
        "expected_by_noise": {"holds": TAIL * len(book.decided), "refuted": TAIL * len(book.decided)},
        "studies": [claims_json(report) for report in book.reports],
    }


def _with_entries(book: Ledger) -> Sequence[ClaimsReport]:
    return [report for report in book.reports if any(each.report is report for each in book.entries)]


def _in_words(book: Ledger) -> str:
    total = sum(len(report.evidence.claims) for report in book.reports)
    found = Counter(each.result.verdict for each in book.decided)
    verdicts = ", ".join(f"{found[verdict]} {verdict}" for verdict in _DECIDED if found[verdict])
    decided = f"{len(book.decided)} decided" + (f" ({verdicts})" if verdicts else "")
    return f"{counted(total, 'claim')} of {counted(len(book.reports), 'study', 'studies')}, {decided}"


def _multiplicity(book: Ledger) -> tuple[str, ...]:
    """What noise alone would do to so many claims; nothing is corrected silently."""
    m = len(book.decided)
    if not m:
        return ("No claim is decided: only full runs on the official data are evidence.",)
    return (
        f"{counted(m, 'claim')} decided at 95 % each: were all effects zero, noise alone would let about "
        f"{TAIL * m:.1f} hold and refute about {TAIL * m:.1f}. Nothing is corrected for that.",
    )


def _row(line: Line) -> tuple[Value | Cell, ...]:
    entry, result, part = line.entry, line.entry.result, line.part
    blank = Cell(None, "")
    size = entry.body.size if entry.is_evidence else Cell(entry.body.size, entry.body.label)
    if part is not None:
        verdict, effect = part.decision.verdict, effect_in_words(part.part, part.decision)
        return (
            entry.report.study,
            Cell(result.claim.id, ""),
            Cell(part_in_words(part.part), f"– {part_in_words(part.part)}"),
            _said(entry, verdict),
            effect,
            len(part.seeds) or blank,
            size,
            blank,
        )
    effect_of_all: Value | Cell = None
    if result.verdict is Verdict.NO_DATA:
        effect_of_all = f"{len(result.with_data)} of {counted(len(result.parts), 'part')} have data"
    elif result.deciding is not None:
        deciding = result.deciding
        effect_of_all = f"{part_in_words(deciding.part)}. {effect_in_words(deciding.part, deciding.decision)}"
    return (
        entry.report.study,
        result.claim.id,
        result.claim.text,
        _said(entry, result.verdict),
        effect_of_all,
        result.seeds or blank,
        size,
        result.claim.standing,
    )


def _said(entry: Entry, verdict: Verdict) -> Cell:
    """A verdict; of runs that are no evidence what it would be."""
    shown = verdict_cell(verdict)
    return shown if entry.is_evidence else Cell(WOULD.get(verdict, str(verdict)), tone=shown.tone)
