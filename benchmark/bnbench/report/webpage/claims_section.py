"""The verdicts on the claims of studies: what counts, what each was decided on, and where that is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bnbench.analysis.claims.decide import BodyOfRuns, ClaimsReport, decide_claims
from bnbench.analysis.claims.evidence import bodies_of_runs
from bnbench.analysis.claims.ledger import Ledger, ledger_table, lines
from bnbench.analysis.claims.tables import WOULD, body_table, parts_table
from bnbench.analysis.claims.verdict import Verdict, tally
from bnbench.analysis.frames import Results
from bnbench.analysis.table import Cell, Column, Kind
from bnbench.report.webpage.coverage import ExperimentCoverage, coverage
from bnbench.report.webpage.sections import Commands, Section
from bnbench.report.webpage.tables import Boxed
from bnbench.study import Study, find_study, study_files, study_problem_files
from bnbench.words import counted

FIRST = "thesis"
"""The study whose claims are all shown, of shortened and tiny runs too; of the others only those with a verdict."""

_MOST_LINKS = 3
_DRAWN_IN = Column("drawn_in", "drawn in", Kind.PROSE)


@dataclass(frozen=True)
class StudyFindings:
    """What the runs of a results folder are to one study."""

    study: Study
    claims: ClaimsReport
    coverage: tuple[ExperimentCoverage, ...]


def study_findings(results: Results, book: Ledger | None = None) -> tuple[StudyFindings, ...]:
    """The shipped studies, as far as the runs are theirs: the first of any, the others if they decide a claim.

    Args:
        results: an opened results folder.
        book: what was decided on the same runs already.

    Raises:
        UserError: a table is damaged.
    """
    found = []
    decided = {} if book is None else {report.study: report for report in book.reports}
    for name in sorted(study_files(), key=lambda name: (name != FIRST, name)):
        study = find_study(name)
        files = study_problem_files(study)
        evidence, apart = bodies_of_runs(results, study, files)
        if not evidence.run_count and not (apart and name == FIRST):
            continue
        report = decided.get(name) or decide_claims(results, study, files)
        # The studies share their problems, and runs: what is evidence for one is not for the other, and what decides
        # nothing need not be said again.
        if name == FIRST or any(result.verdict is not Verdict.NO_DATA for result in report.evidence.claims):
            found.append(StudyFindings(study, report, coverage(study, evidence)))
    return tuple(found)


def verdict_counts(findings: Sequence[StudyFindings]) -> dict[str, int]:
    """How many claims of the first study have each verdict; nothing where no run counts."""
    if not findings or not findings[0].claims.evidence.runs:
        return {}
    counts = tally([result.verdict for result in findings[0].claims.evidence.claims])
    return {str(verdict): number for verdict, number in counts.items()}


@dataclass(frozen=True)
class BodyView:
    """What a study's rules make of runs that belong together."""

    verdicts: Boxed
    parts: Boxed | None
    """Every part of every claim; None where none has runs."""
    label: str = ""
    """Of runs that are no evidence: what sets them apart."""
    would_be: str = ""
    """Of these: the verdicts in words."""


@dataclass(frozen=True)
class StudyView:
    """The verdicts on a study's claims, and apart from them what the same rules make of runs that do not count."""

    study: str
    about: tuple[str, ...]
    evidence: BodyView | None
    apart: tuple[BodyView, ...]


def claims_view(
    findings: Sequence[StudyFindings], compared: Sequence[Section], commands: Commands
) -> tuple[StudyView, ...]:
    """The verdicts of every study."""
    return tuple(_study(each.claims, compared, commands) for each in findings)


@dataclass(frozen=True)
class PaperView:
    """What the runs say of one paper."""

    study: str
    source: str
    reading: str
    """What was not known of it, and was chosen."""
    claims: Boxed
    """Those for which there are runs."""


@dataclass(frozen=True)
class LiteratureView:
    """The ledger: every claim of every study, paper by paper."""

    summary: str
    """How many claims of how many studies were decided, and how."""
    notes: tuple[str, ...]
    """What else must be known of all of them together: what noise alone would decide among them."""
    papers: tuple[PaperView, ...]
    """Of the studies with runs."""
    command: str


def literature_view(book: Ledger, compared: Sequence[Section], commands: Commands) -> LiteratureView:
    """The ledger as the page shows it."""
    papers = tuple(
        _paper(Ledger((report,), own), compared, commands)
        for report in book.reports
        if (own := tuple(each for each in book.entries if each.report is report))
    )
    whole = ledger_table(book)
    # Each study's source and reading, which stand with its table, come first.
    return LiteratureView(whole.title or "", tuple(whole.notes[len(papers) :]), papers, commands.line("claims"))


def _paper(book: Ledger, compared: Sequence[Section], commands: Commands) -> PaperView:
    """The part of the ledger that is about one study."""
    (report,) = book.reports
    table = ledger_table(book)
    # The study stands in the heading.
    alone = replace(
        table,
        name=f"ledger-{report.study}",
        title=f"{len(book.entries)} of {counted(len(report.evidence.claims), 'claim')} for which there are runs",
        columns=table.columns[1:],
        rows=tuple(row[1:] for row in table.rows),
        notes=(),
    )
    drawn = alone.beside(_DRAWN_IN, [_drawn_in(line.run_ids, compared) for line in lines(book)])
    return PaperView(
        report.study, report.source, report.reading, Boxed(drawn, commands.line("claims", "--study", report.study))
    )


def _study(report: ClaimsReport, compared: Sequence[Section], commands: Commands) -> StudyView:
    about = (f"{report.source}. The rules were fixed beforehand; what they are is said below the verdicts.",)
    return StudyView(
        study=report.study,
        about=about,
        evidence=_body(report, report.evidence, compared, commands) if report.evidence.runs else None,
        apart=tuple(_body(report, body, compared, commands) for body in report.apart),
    )


def _would_be(body: BodyOfRuns) -> str:
    found = Counter(result.verdict for result in body.claims)
    told = [f"{found[verdict]} {words}" for verdict, words in WOULD.items() if found[verdict]]
    return ", ".join([*told, f"{found[Verdict.NO_DATA]} without data"] if found[Verdict.NO_DATA] else told)


def _body(report: ClaimsReport, body: BodyOfRuns, compared: Sequence[Section], commands: Commands) -> BodyView:
    name = f"claims-{report.study}" + (f"-not-evidence-{report.apart.index(body) + 1}" if body.label else "")
    size = ("--size", body.size) if body.label else ()
    verdicts = body_table(report, body).beside(
        _DRAWN_IN, [_drawn_in(() if each.deciding is None else each.deciding.run_ids, compared) for each in body.claims]
    )
    parts = replace(parts_table(report, body), name=f"{name}-parts")
    return BodyView(
        verdicts=Boxed(replace(verdicts, name=name), commands.line("claims", "--study", report.study, *size)),
        parts=Boxed(parts, commands.line("claims", "--study", report.study, "--json")) if parts.rows else None,
        label=body.in_words or "",
        would_be=_would_be(body) if body.label else "",
    )


def _drawn_in(run_ids: Sequence[str], compared: Sequence[Section]) -> Cell:
    """Links to the sections that show these runs: those with all of them, else with any."""
    wanted = set(run_ids)
    own = {each.name: set(each.group.run_ids) for each in compared}
    found = [each for each in compared if wanted and wanted <= own[each.name]]
    found = found or [each for each in compared if wanted & own[each.name]]
    links = [(each.name, f"{each.problem} {each.group.placement}, lr {each.rate}") for each in found[:_MOST_LINKS]]
    more = f"and {len(found) - _MOST_LINKS} more" if len(found) > _MOST_LINKS else None
    return Cell("; ".join(each.title for each in found) or None, links=tuple(links), remark=more)
