"""Verdicts in words, as tables and as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence

from bnbench.analysis.claims.curve_rules import DELTA
from bnbench.analysis.claims.decide import BodyOfRuns, ClaimResult, ClaimsReport, PartResult, Side
from bnbench.analysis.claims.evidence import DataUsed
from bnbench.analysis.claims.verdict import Verdict, tally
from bnbench.analysis.claims.words import data_in_words, effect_in_words, part_in_words, run_in_words, where_in_words
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL
from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, Value
from bnbench.claim import (
    Quantity,
)
from bnbench.words import counted

JsonObject = dict[str, object]

_TONES = {
    Verdict.HOLDS: Tone.GOOD,
    Verdict.REFUTED: Tone.BAD,
    Verdict.UNDECIDED: Tone.OPEN,
    Verdict.NO_DATA: Tone.QUIET,
    Verdict.NONE: Tone.QUIET,
}
WOULD = {
    Verdict.HOLDS: "would hold",
    Verdict.REFUTED: "would be refuted",
    Verdict.UNDECIDED: "would be undecided",
}
"""What is said of runs that are no evidence."""


# --- tables -----------------------------------------------------------------------------------------------------

_CLAIM = Column("claim", "claim", Kind.IDENTIFIER)
_VERDICT = Column("verdict", "verdict")
_SEEDS = Column("seeds", "seeds", Kind.NUMBER, priority=2)
_CLAIMS = (
    _CLAIM,
    Column("text", "what it says", Kind.PROSE),
    Column(
        "figure", "figure", priority=4, hint="The figure or section of the study that makes the claim"
    ),
    _VERDICT,
    Column("parts", "parts", priority=3, hint="How many of its parts hold; all have to"),
    _SEEDS,
    Column("decided_on", "decided on", Kind.PROSE, priority=1),
)  # fmt: skip
_PARTS = (
    _CLAIM,
    Column("part", "part", Kind.PROSE),
    _VERDICT,
    _SEEDS,
    Column("effect", "effect [95 %]", Kind.PROSE),
    Column("obtained", "obtained, mean over seeds", Kind.PROSE, priority=1),
)


def claims_tables(report: ClaimsReport, *, size: str | None = None) -> list[Table]:
    """The verdicts on the evidence; then, in few words, what the same rules make of other runs.

    Args:
        report: what was decided.
        size: a table for every body of runs of that size instead, labelled as no evidence where it is none.
    """
    if size is not None:
        return [body_table(report, body) for body in (report.evidence, *report.apart) if body.size == size]
    return [body_table(report, report.evidence), *(_in_brief(body) for body in report.apart)]


def claim_details(report: ClaimsReport) -> list[Table]:
    """Everything about each claim of a report: a row for each part, with the numbers obtained."""
    bodies = (report.evidence, *report.apart)
    return [_detail(report, body, result) for body in bodies for result in body.claims]


def body_table(report: ClaimsReport, body: BodyOfRuns) -> Table:
    """The verdict on every claim of a study, from one body of runs."""
    counts = [f"{number} {verdict}" for verdict, number in tally([each.verdict for each in body.claims]).items()]
    notes = [
        f"reading: {report.reading}",
        f"data: {data_in_words(body.data) or 'none'}; {counted(body.runs, 'run')}",
        f"differences: paired by seed, 95 % t interval; δ = {DELTA['final accuracy']:g} for final, "
        f"{DELTA['early accuracy']:g} for early accuracy; {SEEDS_FOR_INTERVAL} seeds or undecided",
    ]
    if not body.label:
        notes.append("evidence: runs at the problems' own full settings on the official data, no others")
    return Table(
        name="claims",
        caution=f"NOT EVIDENCE ({body.in_words})" if body.label else None,
        title=f"{report.study}: {len(body.claims)} claims, {', '.join(counts)}",
        columns=_CLAIMS,
        rows=tuple(_claim_row(result) for result in body.claims),
        notes=tuple(notes),
        about=(("study", report.study), ("not_evidence", body.label)),
    )


def parts_table(report: ClaimsReport, body: BodyOfRuns) -> Table:
    """Every part of every claim for which there are runs."""
    return Table(
        name="parts",
        caution=f"Not evidence ({body.in_words})" if body.label else None,
        title="Every part of every claim",
        columns=_PARTS,
        rows=tuple(
            (result.claim.id, *_part_row(part)) for result in body.claims for part in result.parts if not part.missing
        ),
        notes=("Parts for which there are no runs are left out.",),
        about=(("study", report.study), ("not_evidence", body.label)),
    )


def _claim_row(result: ClaimResult) -> tuple[Value | Cell, ...]:
    held = sum(part.decision.verdict is Verdict.HOLDS for part in result.parts)
    return (
        result.claim.id,
        result.claim.text,
        Cell(result.claim.figure, f"[{result.claim.figure}]"),
        verdict_cell(result.verdict),
        f"{held}/{len(result.parts)}" if result.parts else None,
        result.seeds or Cell(None, ""),
        _decided_on(result),
    )


def _part_row(part: PartResult) -> tuple[Value | Cell, ...]:
    return (
        part_in_words(part.part),
        verdict_cell(part.decision.verdict),
        len(part.seeds) or Cell(None, ""),
        effect_in_words(part.part, part.decision),
        _obtained(part),
    )


def verdict_cell(verdict: Verdict) -> Cell:
    """A verdict, in its tone."""
    return Cell(str(verdict), tone=_TONES[verdict])


def _decided_on(result: ClaimResult) -> str | None:
    said = []
    if result.deciding is not None:
        said = [part_in_words(result.deciding.part), effect_in_words(result.deciding.part, result.deciding.decision)]
    return ". ".join(each for each in (*said, *result.notes) if each) or None


def _in_brief(body: BodyOfRuns) -> Table:
    """A body of runs that is no evidence: which verdicts the rules would give."""
    rows = []
    for verdict in (Verdict.HOLDS, Verdict.REFUTED, Verdict.UNDECIDED):
        names = [result.claim.id for result in body.claims if result.verdict is verdict]
        if names:
            rows.append((Cell(WOULD[verdict], tone=_TONES[verdict]), " ".join(names)))
    return Table(
        name="in-brief",
        title=f"not evidence: {body.in_words}",
        columns=(Column("verdict", "verdict"), Column("claims", "claims", Kind.PROSE)),
        rows=tuple(rows),
        notes=(f"{counted(body.runs, 'run')}; {data_in_words(body.data)}",),
        headless=True,
    )


def _detail(report: ClaimsReport, body: BodyOfRuns, result: ClaimResult) -> Table:
    claim = result.claim
    mark = f"not evidence ({body.in_words}): " if body.label else ""
    verdict = f"{mark}{result.verdict}   {report.reading}   {data_in_words(result.data)}".rstrip()
    notes = [verdict, *dict.fromkeys((*([claim.remark] if claim.remark else []), *result.notes))]
    decided = result.verdict is not Verdict.NO_DATA
    if not decided and result.experiments:
        only = " ".join(f"--only {name}" for name in result.experiments)
        size = "" if body.size == "full" else f" --size {body.size}"
        notes.append(f"runs that decide it: bnbench study {report.study} {only}{size} --seeds {SEEDS_FOR_INTERVAL}")
    return Table(
        name="claim",
        title=f"{claim.id}  {claim.text}  [{claim.figure}]",
        columns=tuple(column for column in _PARTS if column is not _CLAIM),
        rows=tuple(_part_row(part) for part in result.parts) if decided else (),
        notes=tuple(notes),
        about=(("study", report.study), ("not_evidence", body.label), ("claim", claim.id)),
        headless=not decided,
    )


def _obtained(part: PartResult) -> str:
    if part.missing:
        return f"no run of {', '.join(run_in_words(run) for run in part.missing)}"
    return "; ".join(f"{_side_name(side, part.sides)}: {_side_mean(side)}" for side in part.sides)


def _side_name(side: Side, sides: Sequence[Side]) -> str:
    """What tells a side from the others."""
    problem = len({each.run.problem for each in sides}) > 1
    name = run_in_words(side.run, problem=problem)
    others = [each.run for each in sides if each is not side and isinstance(each.run, Quantity)]
    if isinstance(side.run, Quantity) and others:
        name += where_in_words(side.run, others[0])
    return name


def _side_mean(side: Side) -> str:
    present = [value for value in side.values.values() if value is not None]
    lost = len(side.values) - len(present)
    words = [f"{sum(present) / len(present):.3g}"] if present else []
    return ", ".join([*words, *([f"{lost} of {len(side.values)} without a value"] if lost else [])])


# --- JSON -------------------------------------------------------------------------------------------------------


def claims_json(report: ClaimsReport) -> JsonObject:
    """The verdicts as plain JSON values: the evidence, and apart from it everything else."""
    return {
        "study": report.study,
        "source": report.source,
        "reading": report.reading,
        "delta": dict(DELTA),
        "seeds_needed": SEEDS_FOR_INTERVAL,
        "evidence": _body_json(report.evidence),
        "not_evidence": [_body_json(body) for body in report.apart],
        "warnings": list(report.warnings),
    }


def _body_json(body: BodyOfRuns) -> JsonObject:
    return {
        "label": body.label,
        "size": body.size,
        "runs": body.runs,
        "data": _data_json(body.data),
        "claims": [_claim_json(result) for result in body.claims],
    }


def _data_json(data: Sequence[DataUsed]) -> list[JsonObject]:
    return [{"dataset": d.dataset, "fingerprint": d.fingerprint, "origin": d.origin} for d in data]


def _claim_json(result: ClaimResult) -> JsonObject:
    return {
        "id": result.claim.id,
        "figure": result.claim.figure,
        "text": result.claim.text,
        "verdict": str(result.verdict),
        "seeds": result.seeds,
        "data": _data_json(result.data),
        "devices": list(result.devices),
        "notes": list(result.notes),
        "experiments": list(result.experiments),
        "deciding_part": None if result.deciding is None else result.parts.index(result.deciding),
        "parts": [_part_json(part) for part in result.parts],
    }


def _part_json(part: PartResult) -> JsonObject:
    interval = part.decision.interval
    return {
        "says": part_in_words(part.part),
        "rule": part.part.model_dump(mode="json"),
        "verdict": str(part.decision.verdict),
        "effect": part.decision.effect,
        "interval_95": None if interval is None else [interval.low, interval.high],
        "note": part.decision.says,
        "seeds": list(part.seeds),
        "obtained": [
            {
                "side": side.name,
                "run": side.run.model_dump(mode="json"),
                "values": {str(s): v for s, v in side.values.items()},
            }
            for side in part.sides
        ],
        "missing": [run.model_dump(mode="json") for run in part.missing],
        "run_ids": list(part.run_ids),
    }
