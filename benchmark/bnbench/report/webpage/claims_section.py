"""The verdicts on a study's claims: what counts, what each was decided on, and where that is drawn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bnbench.analysis.claims.curve_rules import DELTA
from bnbench.analysis.claims.decide import BodyOfRuns, ClaimResult, ClaimsReport, PartResult, Side, decide_claims
from bnbench.analysis.claims.evidence import bodies_of_runs
from bnbench.analysis.claims.tables import WOULD, data_in_words, effect_in_words, part_in_words, run_in_words
from bnbench.analysis.claims.verdict import Verdict
from bnbench.analysis.frames import Results
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL
from bnbench.report.webpage import markup
from bnbench.report.webpage.comparisons import Commands, Comparison
from bnbench.report.webpage.coverage import ExperimentCoverage, coverage
from bnbench.report.webpage.markup import (
    NOTHING,
    Cell,
    Column,
    Html,
    Table,
    count,
    empty,
    join,
    notes,
    symbol,
    tag,
    text,
    words,
)
from bnbench.study import Study, find_study, study_files, study_problem_files

FIRST = "thesis"
"""The study whose claims are shown of shortened and tiny runs too; of the others only what counts."""

_CLASSES = {
    Verdict.HOLDS: "holds",
    Verdict.REFUTED: "refuted",
    Verdict.UNDECIDED: "undecided",
    Verdict.NO_DATA: "no-data",
}
_MOST_LINKS = 3
_SYMBOL = re.compile(r"(BN_(?:γ,β|γ|β)|`[^`]+`)")
"""What is more than plain text in a claim: a variant's symbol, a placement in backticks."""
_MINUS = re.compile(r"-(?=\d)")
_CLAIM_COLUMNS = (
    Column(text("claim"), "claim"),
    Column(text("verdict"), "verdict"),
    Column(text("what it says"), "text"),
    Column(text("figure"), "figure", hint="The figure or section of the study that makes the claim"),
    Column(text("parts"), "parts", hint="How many of its parts hold; all have to"),
    Column(text("seeds"), "seeds", number=True),
    Column(text("decided on"), "decided_on"),
    Column(text("drawn in"), "drawn_in"),
)
_PART_COLUMNS = (
    Column(text("claim"), "claim"),
    Column(text("part"), "part"),
    Column(text("verdict"), "verdict"),
    Column(text("seeds"), "seeds", number=True),
    Column(text("effect [95 %]"), "effect"),
    Column(text("obtained, mean over seeds"), "obtained"),
)


@dataclass(frozen=True)
class StudyFindings:
    """What the runs of a results folder are to one study."""

    study: Study
    claims: ClaimsReport
    coverage: tuple[ExperimentCoverage, ...]


def study_findings(results: Results) -> tuple[StudyFindings, ...]:
    """The shipped studies, as far as the runs are theirs: the first of any, the others with evidence only.

    Raises:
        UserError: a table is damaged.
    """
    found = []
    for name in sorted(study_files(), key=lambda name: (name != FIRST, name)):
        study = find_study(name)
        files = study_problem_files(study)
        evidence, apart = bodies_of_runs(results, study, files)
        # The studies share their problems: what is evidence for one is not for the other, and need not be said twice.
        if evidence.run_count or (apart and name == FIRST):
            found.append(StudyFindings(study, decide_claims(results, study, files), coverage(study, evidence)))
    return tuple(found)


def verdict_counts(findings: Sequence[StudyFindings]) -> dict[str, int]:
    """How many claims of the first study have each verdict; nothing where no run counts."""
    if not findings or not findings[0].claims.evidence.runs:
        return {}
    found = Counter(result.verdict for result in findings[0].claims.evidence.claims)
    return {str(verdict): found[verdict] for verdict in Verdict}


def claims_content(findings: Sequence[StudyFindings], compared: Sequence[Comparison], commands: Commands) -> Html:
    """The verdicts of every study; then, apart from them, what the same rules make of runs that do not count."""
    if not findings:
        return notes([text("No run belongs to a problem of a study, so there are no claims to decide.")])
    return join(_study(each.claims, compared, commands) for each in findings)


def _study(report: ClaimsReport, compared: Sequence[Comparison], commands: Commands) -> Html:
    heading = tag("h3", text(f"Study {report.study}"))
    about = notes(
        [
            text(f"{report.source}. Reading: {report.reading}."),
            text(
                "Rules fixed beforehand. Differences are paired by seed, with a 95 % t interval; δ = "
                f"{DELTA['final accuracy']:g} for final, {DELTA['early accuracy']:g} for early accuracy; fewer than "
                f"{SEEDS_FOR_INTERVAL} seeds leave everything undecided. Evidence: runs at the problems' own full "
                "settings on the official data, and no others."
            ),
        ]
    )
    if report.evidence.runs:
        pieces = [_body(report, report.evidence, compared, commands)]
    else:
        pieces = [tag("p", text("No run of this page is evidence: no claim is decided."), class_="warning")]
    for body in report.apart:
        label = tag("span", text(f"Not evidence: {body.label}"), class_="warning")
        summary = tag("summary", label, text(f" · {_would_be(body)}"))
        pieces.append(tag("details", summary, _body(report, body, compared, commands)))
    return join([heading, about, *pieces])


def _would_be(body: BodyOfRuns) -> str:
    found = Counter(result.verdict for result in body.claims)
    told = [f"{found[verdict]} {words}" for verdict, words in WOULD.items() if found[verdict]]
    return ", ".join([*told, f"{found[Verdict.NO_DATA]} without data"] if found[Verdict.NO_DATA] else told)


def _body(report: ClaimsReport, body: BodyOfRuns, compared: Sequence[Comparison], commands: Commands) -> Html:
    name = f"claims-{report.study}" + (f"-not-evidence-{report.apart.index(body) + 1}" if body.label else "")
    caption = f"{len(body.claims)} claims, {body.runs} runs"
    study = () if report.study == FIRST else ("--study", report.study)
    size = ("--size", body.size) if body.label else ()
    verdicts = Table(
        name=name,
        caption=text(f"Not evidence ({body.label}): {caption}" if body.label else caption),
        columns=_CLAIM_COLUMNS,
        rows=tuple(_claim_row(result, compared) for result in body.claims),
        notes=(text(f"Data: {data_in_words(body.data) or 'none'}."),),
        command=commands.line("claims", *study, *size),
    )
    parts = Table(
        name=f"{name}-parts",
        caption=text("Every part of every claim"),
        columns=_PART_COLUMNS,
        rows=tuple(_part_row(result, part) for result in body.claims for part in result.parts if not part.missing),
        notes=(text("Parts for which there are no runs are left out."),),
        command=commands.line("claims", *study, "--json"),
    )
    folded = tag("details", tag("summary", text("Every part of every claim, with its numbers")), markup.table(parts))
    return join([markup.table(verdicts), folded if parts.rows else Html("")])


def _claim_row(result: ClaimResult, compared: Sequence[Comparison]) -> tuple[Cell, ...]:
    held = sum(part.decision.verdict is Verdict.HOLDS for part in result.parts)
    return (
        words(result.claim.id),
        _verdict(result.verdict),
        _wide(result.claim.text),
        words(result.claim.figure),
        words(f"{held} of {len(result.parts)}") if result.parts else empty(),
        count(result.seeds) if result.seeds else empty(),
        _decided_on(result),
        _drawn_in(result, compared),
    )


def _part_row(result: ClaimResult, part: PartResult) -> tuple[Cell, ...]:
    return (
        words(result.claim.id),
        _wide(part_in_words(part.part)),
        _verdict(part.decision.verdict),
        count(len(part.seeds)),
        _wide(_effect(part)),
        _wide("; ".join(f"{run_in_words(side.run, problem=False)}: {_mean(side)}" for side in part.sides)),
    )


def _verdict(verdict: Verdict) -> Cell:
    return Cell(tag("span", text(verdict), class_=f"verdict {_CLASSES[verdict]}"), str(verdict))


def _wide(said: str) -> Cell:
    """A cell of prose, which may take several lines; symbols of variants have their subscripts."""
    shown = []
    for piece in _SYMBOL.split(said):
        if not _SYMBOL.fullmatch(piece):
            shown.append(text(piece))
        else:
            shown.append(tag("code", text(piece.strip("`"))) if piece.startswith("`") else symbol(piece))
    return Cell(tag("div", *shown, class_="prose"), said)


def _effect(part: PartResult) -> str:
    return _MINUS.sub("−", effect_in_words(part.part, part.decision))


def _decided_on(result: ClaimResult) -> Cell:
    said = []
    if result.deciding is not None:
        effect = _effect(result.deciding)
        said = [part_in_words(result.deciding.part), *([effect] if effect else [])]
    said += result.notes
    return _wide(". ".join(said))


def _drawn_in(result: ClaimResult, compared: Sequence[Comparison]) -> Cell:
    """Links to the sections that show the runs of the deciding part: those with all of them, else with any."""
    wanted = set() if result.deciding is None else set(result.deciding.run_ids)
    if not wanted:
        return Cell(NOTHING, "")
    own = {each.name: {run.run.run_id for row in each.group.rows for run in row.runs} for each in compared}
    found = [each for each in compared if wanted <= own[each.name]]
    found = found or [each for each in compared if wanted & own[each.name]]
    links = [
        tag("a", text(f"{each.problem} {each.group.placement}, lr {each.rate}"), href=f"#{each.name}")
        for each in found[:_MOST_LINKS]
    ]
    more = [text(f"and {len(found) - _MOST_LINKS} more")] if len(found) > _MOST_LINKS else []
    return Cell(tag("div", join([*links, *more], ", "), class_="prose"), "; ".join(each.title for each in found))


def _mean(side: Side) -> str:
    present = [value for value in side.values.values() if value is not None]
    diverged = len(side.values) - len(present)
    said = [f"{sum(present) / len(present):.4g}"] if present else []
    return ", ".join(said + ([f"{diverged} of {len(side.values)} diverged"] if diverged else []))
