"""Verdicts as tables for the terminal and as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bnbench.analysis.claims.curve_rules import DELTA
from bnbench.analysis.claims.decide import BodyOfRuns, ClaimResult, ClaimsReport, PartResult, Side
from bnbench.analysis.claims.evidence import FINGERPRINT_DIGITS, DataUsed
from bnbench.analysis.claims.verdict import Decision, Verdict
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL
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

JsonObject = dict[str, object]

STYLES = {
    Verdict.HOLDS: "bold green",
    Verdict.REFUTED: "bold red",
    Verdict.UNDECIDED: "yellow",
    Verdict.NO_DATA: "dim",
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
        case _:
            number = f"{decision.effect:+.3f}"
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


# --- terminal ---------------------------------------------------------------------------------------------------


def claims_tables(report: ClaimsReport, *, size: str | None = None) -> list[RenderableType]:
    """The verdicts on the evidence; then, in few words, what the same rules make of other runs.

    Args:
        report: what was decided.
        size: a table for every body of runs of that size instead, labelled as no evidence where it is none.
    """
    if size is not None:
        bodies = [body for body in (report.evidence, *report.apart) if body.size == size]
        return [_body_table(report, body) for body in bodies] or [Text(f"no run of size {size}", style="dim")]
    shown: list[RenderableType] = [_body_table(report, report.evidence)]
    shown += [_in_brief(body) for body in report.apart]
    return shown


def claim_details(report: ClaimsReport) -> list[RenderableType]:
    """Everything about each claim of a report: a line for each part, with the numbers obtained."""
    shown: list[RenderableType] = []
    for body in (report.evidence, *report.apart):
        shown += [_detail(report, body, result) for result in body.claims]
    return shown


def _body_table(report: ClaimsReport, body: BodyOfRuns) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("claim", ratio=6)
    table.add_column("verdict", no_wrap=True)
    table.add_column("parts", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column("decided on", ratio=5)
    for result in body.claims:
        table.add_row(
            result.claim.id,
            Text.assemble(result.claim.text, (f"  [{result.claim.figure}]", "dim")),
            Text(result.verdict, style=STYLES[result.verdict]),
            _held(result),
            str(result.seeds) if result.seeds else "",
            _decided_on(result),
        )
    counts = [f"{sum(r.verdict is verdict for r in body.claims)} {verdict}" for verdict in Verdict]
    heading = f"{report.study}: {len(body.claims)} claims, {', '.join(counts)}"
    title = Text(heading, style="bold")
    if body.label:
        title = Text.assemble((f"NOT EVIDENCE ({body.label}): ", "bold yellow"), (heading, "bold"))
    return Group(title, Text(""), table, *_notes(report, body), Text(""))


def _notes(report: ClaimsReport, body: BodyOfRuns) -> list[Text]:
    lines = [
        f"reading: {report.reading}",
        f"data: {data_in_words(body.data) or 'none'}; {body.runs} run{'' if body.runs == 1 else 's'}",
        f"differences: paired by seed, 95 % t interval; δ = {DELTA['final accuracy']:g} for final, "
        f"{DELTA['early accuracy']:g} for early accuracy; {SEEDS_FOR_INTERVAL} seeds or undecided",
    ]
    if not body.label:
        lines.append("evidence: runs at the problems' own full settings on the official data, no others")
    return [Text(line, style="dim") for line in lines]


def _held(result: ClaimResult) -> str:
    held = sum(part.decision.verdict is Verdict.HOLDS for part in result.parts)
    return f"{held}/{len(result.parts)}" if result.parts else ""


def _decided_on(result: ClaimResult) -> Text:
    text = Text()
    if result.deciding is not None:
        text.append(part_in_words(result.deciding.part))
        effect = effect_in_words(result.deciding.part, result.deciding.decision)
        if effect:
            text.append(f"\n{effect}", style=STYLES[result.deciding.decision.verdict])
    for note in result.notes:
        text.append(f"{chr(10) if text else ''}{note}", style="dim")
    return text


def _in_brief(body: BodyOfRuns) -> RenderableType:
    """A body of runs that is no evidence: which verdicts the rules would give."""
    lines = [
        Text.assemble(
            (f"not evidence: {body.label}", "bold yellow"), (f"  {body.runs} runs; {data_in_words(body.data)}", "dim")
        )
    ]
    for verdict in (Verdict.HOLDS, Verdict.REFUTED, Verdict.UNDECIDED):
        names = [result.claim.id for result in body.claims if result.verdict is verdict]
        if names:
            lines.append(Text.assemble("  ", (f"{WOULD[verdict]:<20}", STYLES[verdict]), " ".join(names)))
    return Group(*lines, Text(""))


def _detail(report: ClaimsReport, body: BodyOfRuns, result: ClaimResult) -> RenderableType:
    claim = result.claim
    mark = Text.assemble((f"not evidence ({body.label}): ", "bold yellow")) if body.label else Text("")
    title = Text.assemble(
        (f"{claim.id}  {claim.text}", "bold"), (f"  [{claim.figure}]\n", "dim"),
        mark, (str(result.verdict), STYLES[result.verdict]),
        (f"   {report.reading}   {data_in_words(result.data)}".rstrip(), "dim"),
    )  # fmt: skip
    remarks = [claim.remark] if claim.remark else []
    notes = [Text(note, style="dim") for note in dict.fromkeys((*remarks, *result.notes))]
    if result.verdict is Verdict.NO_DATA:
        if result.experiments:
            only = " ".join(f"--only {name}" for name in result.experiments)
            size = "" if body.size == "full" else f" --size {body.size}"
            runs = f"runs that decide it: bnbench study {report.study} {only}{size} --seeds {SEEDS_FOR_INTERVAL}"
            notes.append(Text(runs, style="dim"))
        return Group(title, *notes, Text(""))
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("part", ratio=5)
    table.add_column("verdict", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column("effect [95 %]", ratio=3)
    table.add_column("obtained, mean over seeds", ratio=4)
    for part in result.parts:
        table.add_row(
            part_in_words(part.part),
            Text(part.decision.verdict, style=STYLES[part.decision.verdict]),
            str(len(part.seeds)) if part.seeds else "",
            effect_in_words(part.part, part.decision),
            _obtained(part),
        )
    return Group(title, Text(""), table, *notes, Text(""))


def _obtained(part: PartResult) -> Text:
    if part.missing:
        return Text(f"no run of {', '.join(run_in_words(run) for run in part.missing)}", style="dim")
    return Text("\n".join(f"{_side_name(side, part.sides)}: {_side_mean(side)}" for side in part.sides))


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
