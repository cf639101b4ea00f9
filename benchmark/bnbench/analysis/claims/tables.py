"""Verdicts in words, as tables and as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from bnbench.analysis.claims.curve_rules import DELTA
from bnbench.analysis.claims.decide import BodyOfRuns, ClaimResult, ClaimsReport, PartResult, Side
from bnbench.analysis.claims.evidence import FINGERPRINT_DIGITS, DataUsed
from bnbench.analysis.claims.verdict import Decision, Verdict
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL
from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, Value
from bnbench.claim import (
    Exceeds,
    Fails,
    Greater,
    Monotonic,
    MostOfGain,
    NotGreater,
    Part,
    Quantity,
    Ratio,
    Run,
    Share,
    Similar,
    Trains,
)
from bnbench.data.origin import origin_in_words
from bnbench.variant import VARIANTS
from bnbench.words import counted

JsonObject = dict[str, object]

_TONES = {
    Verdict.HOLDS: Tone.GOOD,
    Verdict.REFUTED: Tone.BAD,
    Verdict.UNDECIDED: Tone.OPEN,
    Verdict.NO_DATA: Tone.QUIET,
}
WOULD = {
    Verdict.HOLDS: "would hold",
    Verdict.REFUTED: "would be refuted",
    Verdict.UNDECIDED: "would be undecided",
}
"""What is said of runs that are no evidence."""
_PARAMETERS = {"gamma": "γ", "beta": "β"}
_SLOTS = {"all": "all slots", "first": "first slot", "intermediate": "intermediate slots", "last": "last slot",
          "others": "slots but the last"}  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------------


def run_in_words(run: Run, *, problem: bool = True, circumstances: bool = True) -> str:
    """A run of a claim: variant, and where it is not the default, placement and learning rate."""
    words = [run.problem] if problem else []
    words.append(VARIANTS.get(run.variant).symbol)
    return " ".join([*words, *(_circumstances(run) if circumstances else [])])


def _circumstances(run: Run) -> list[str]:
    where = [f"`{run.placement}`"] if run.placement != "hidden" else []
    return [*where, *([f"lr ×{run.lr_factor:g}"] if run.lr_factor != 1 else [])]


def part_in_words(part: Part) -> str:
    """What a part says, in one line."""
    match part:
        case Greater():
            said = f"{part.measure}: {_pair(part.a, part.b, '>')}"
        case NotGreater():
            said = f"{part.measure}: not {_pair(part.a, part.b, '>')}"
        case Similar():
            said = f"{part.measure}: {_pair(part.a, part.b, '~')}"
        case MostOfGain():
            none, some, whole = (run_in_words(run, problem=False) for run in (part.none, part.part, part.whole))
            said = f"{part.measure}: {part.part.problem} {some} − {none} > {whole} − {some}"
        case Fails():
            said = f"{run_in_words(part.run)} fails to train"
        case Trains():
            said = f"{run_in_words(part.run)} trains"
        case Share():
            condition = part.condition.replace("band", f"{part.band:g}·max").replace("<=", "≤")
            level = f"≥ {part.at_least:.0%}" if part.at_least is not None else f"< {part.below:.0%}"
            who = f"{_PARAMETERS[part.parameter]} of {run_in_words(part.run)}"
            said = f"{who}, {_SLOTS[part.slots]}: share {condition} is {level}"
        case Ratio():
            above, under = _quantities(part.numerator, part.denominator)
            said = f"{above} / {under} {_bounds(part)}"
        case Exceeds():
            above, under = _quantities(part.a, part.b)
            said = f"{above} > {under}"
        case Monotonic():
            what = f"{_PARAMETERS[part.parameter]} trajectories of {len(part.pooled)} kinds of run"
            said = f"monotonic {what}: more than {part.more_than:.0%}"
        case other:
            assert_never(other)
    return said


def effect_in_words(part: Part, decision: Decision, *, whole: bool = True) -> str:
    """The number that was decided on, with its interval; else why there is none."""
    if decision.effect is None or isinstance(part, Fails | Trains):
        said = decision.says or ""
        if isinstance(part, Greater | NotGreater | Similar):
            for place, run in (("first", part.a), ("second", part.b)):
                said = said.replace(f"the {place}:", f"{run_in_words(run, problem=False)}:")
        return said
    match part:
        case Share() | Monotonic():
            number = f"{decision.effect:.0%}"
        case Ratio():
            number = f"×{decision.effect:.2f}"
        case Greater() | NotGreater() | Similar() | MostOfGain() | Exceeds():
            number = f"{decision.effect:+.3f}"
        case other:
            assert_never(other)
    if decision.interval is not None:
        number += f" [{decision.interval.low:+.3f}, {decision.interval.high:+.3f}]"
    return f"{number} ({decision.says})" if whole and decision.says else number


def data_in_words(data: Sequence[DataUsed]) -> str:
    """Data sets with the beginning of their fingerprints, and what kind of copy each is."""
    return ", ".join(
        f"{each.dataset} {(each.fingerprint or 'unknown')[:FINGERPRINT_DIGITS]} "
        f"({origin_in_words(each.dataset, each.origin, each.fingerprint)})"
        for each in data
    )


def _pair(a: Run, b: Run, sign: str) -> str:
    """Two runs that are compared, what they share said once, before them."""
    if a.problem != b.problem:
        return f"{run_in_words(a)} {sign} {run_in_words(b)}"
    alike = (a.placement, a.lr_factor) == (b.placement, b.lr_factor)
    shared = " ".join([a.problem, *(_circumstances(a) if alike else [])])
    first, second = (run_in_words(run, problem=False, circumstances=not alike) for run in (a, b))
    return f"{shared} {first} {sign} {second}"


def _quantities(a: Quantity, b: Quantity) -> tuple[str, str]:
    """Two quantities, the second without what it shares with the first."""
    same_run = Run(**a.model_dump(include=set(Run.model_fields))) == Run(**b.model_dump(include=set(Run.model_fields)))
    what = f"{a.statistic} of {_PARAMETERS[a.parameter]}"
    first = f"{what}, {run_in_words(a)}{_where(a, b)}"
    second = (
        _where(b, a).removeprefix(", ") if same_run else run_in_words(b, problem=a.problem != b.problem) + _where(b, a)
    )
    return first, second or what


def _where(quantity: Quantity, other: Quantity) -> str:
    said = "" if quantity.slots == other.slots == "all" else f", {_SLOTS[quantity.slots]}"
    moment = "at a tenth of the steps" if quantity.at == "tenth" else "at the end"
    return said + (f", {moment}" if quantity.at != other.at else "")


def _bounds(part: Ratio) -> str:
    if part.at_least is not None and part.at_most is not None:
        return f"in {part.at_least:.3g}–{part.at_most:.3g}"
    bounds = (("≥", part.at_least), ("≤", part.at_most), ("<", part.below))
    return " and ".join(f"{sign} {level:.3g}" for sign, level in bounds if level is not None)


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
    counts = [f"{sum(r.verdict is verdict for r in body.claims)} {verdict}" for verdict in Verdict]
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
        _verdict(result.verdict),
        f"{held}/{len(result.parts)}" if result.parts else None,
        result.seeds or Cell(None, ""),
        _decided_on(result),
    )


def _part_row(part: PartResult) -> tuple[Value | Cell, ...]:
    return (
        part_in_words(part.part),
        _verdict(part.decision.verdict),
        len(part.seeds) or Cell(None, ""),
        effect_in_words(part.part, part.decision),
        _obtained(part),
    )


def _verdict(verdict: Verdict) -> Cell:
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
        name += _where(side.run, others[0])
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
