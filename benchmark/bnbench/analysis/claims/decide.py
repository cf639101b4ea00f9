"""From recorded runs to verdicts: what each part of each claim looks at, and what its rule says."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal, TypeVar, assert_never

from bnbench.analysis.changed_parts import cautions_of_changed_parts
from bnbench.analysis.claims import curve_rules, parameter_rules, probe_rules
from bnbench.analysis.claims.evidence import Body, DataUsed, bodies_of_runs, data_used
from bnbench.analysis.claims.probe_quantities import PROBE_QUANTITIES
from bnbench.analysis.claims.trajectories import SlotBySlot, TrajectoryReader
from bnbench.analysis.claims.verdict import Decision, Verdict, combined
from bnbench.analysis.frames import Results
from bnbench.analysis.measures import STATISTICS, TRAINING_SPLIT, CurveMeasures, measure_curve
from bnbench.analysis.naming import FULL, remark_of_runs
from bnbench.analysis.records import RunRecord
from bnbench.claim import (
    Claim,
    Exceeds,
    Fails,
    Greater,
    Level,
    Measure,
    Moment,
    Monotonic,
    MostOfGain,
    NotGreater,
    ParameterLevel,
    Part,
    ProbeRatio,
    Quantity,
    Ratio,
    Run,
    Share,
    Similar,
    Trains,
    problems_of,
    runs_of,
)
from bnbench.measurement import NormaliserParameter, Split
from bnbench.problem import ProblemFile
from bnbench.study import Study, study_problem_files

Values = Mapping[int, float | None]
BySeed = Mapping[int, RunRecord]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Side:
    """One of the numbers that a part compares, or counts."""

    name: str
    """Its name in the part: "a", "numerator", "run", …"""
    run: Run
    values: Values
    """Seed to value; None where the run diverged."""


@dataclass(frozen=True)
class PartResult:
    """What a part of a claim came out as."""

    part: Part
    decision: Decision
    seeds: tuple[int, ...]
    """Those that every run of the part has."""
    sides: tuple[Side, ...]
    missing: tuple[Run, ...]
    """Runs that the part needs and that are not there, in no seed."""
    run_ids: tuple[str, ...]
    """Of the runs that were looked at."""


@dataclass(frozen=True)
class ClaimResult:
    """The verdict on a claim, and what it rests on."""

    claim: Claim
    verdict: Verdict
    parts: tuple[PartResult, ...]
    deciding: PartResult | None
    """The part that the verdict rests on: the first with the claim's own verdict; None without data."""
    seeds: int
    """How many seeds every part that has data has, at least."""
    data: tuple[DataUsed, ...]
    devices: tuple[str, ...]
    notes: tuple[str, ...]
    experiments: tuple[str, ...]
    """Those of the study whose runs decide it."""

    @property
    def with_data(self) -> tuple[PartResult, ...]:
        """The parts of which there are runs."""
        return _with_data(self.parts)

    @property
    def is_over_several_problems(self) -> bool:
        """Whether its parts are about different problems, so that each has something to say of its own."""
        return len(problems_of(self.claim)) > 1


@dataclass(frozen=True)
class BodyOfRuns:
    """Every claim of a study, decided on one body of runs."""

    label: str
    """What tells the runs from evidence: "tiny", "training.epochs = 2", …; empty for the evidence."""
    in_words: str
    """The same where a reader sees it: with the data, where they are not what the problems' names say."""
    size: str
    runs: int
    data: tuple[DataUsed, ...]
    claims: tuple[ClaimResult, ...]


@dataclass(frozen=True)
class ClaimsReport:
    """What a results folder says of a study's claims."""

    study: str
    source: str
    reading: str
    evidence: BodyOfRuns
    """The runs at the study's own full settings on the official data: only their verdicts count."""
    apart: tuple[BodyOfRuns, ...]
    """The same rules applied to other runs of the same problems. No evidence."""
    warnings: tuple[str, ...]


def decide_claims(
    results: Results,
    study: Study,
    files: Mapping[str, ProblemFile] | None = None,
    *,
    only: Sequence[str] = (),
) -> ClaimsReport:
    """Decide a study's claims on the runs of a results folder.

    Args:
        results: an opened results folder; it may be empty.
        study: the study.
        files: its problem files, by the names it uses; read if None.
        only: ids of claims; none means all.

    Raises:
        UserError: there is no such claim, or a problem file is not valid.
    """
    claims = [study.claim(name) for name in dict.fromkeys(only)] or list(study.claims)
    deciding = {
        claim.id: tuple(each.id for each in study.experiments if claim.id in each.claims) for claim in study.claims
    }
    evidence, apart = _bodies(results, study, study_problem_files(study) if files is None else files, claims)
    return ClaimsReport(
        study=study.name,
        source=study.source,
        reading=study.reading,
        evidence=_decided(results, evidence, claims, deciding),
        apart=tuple(_decided(results, body, claims, deciding) for body in apart),
        warnings=results.warnings,
    )


def _bodies(
    results: Results, study: Study, files: Mapping[str, ProblemFile], claims: Sequence[Claim]
) -> tuple[Body, tuple[Body, ...]]:
    """The bodies of runs, of those whose tables are whole as far as these claims are going to read them."""
    while True:
        evidence, apart = bodies_of_runs(results, study, files)
        damaged = results.damaged
        for body in (evidence, *apart):
            for part in (part for claim in claims for part in claim.parts):
                for run in runs_of(part):
                    deque(results.sound(body.find(run).values(), _table(part)), maxlen=0)
        if results.damaged == damaged:
            return evidence, apart


def _decided(
    results: Results, body: Body, claims: Sequence[Claim], deciding: Mapping[str, tuple[str, ...]]
) -> BodyOfRuns:
    reader = _Reader(results, body)
    everything = [record for records in body.records.values() for record in records]
    return BodyOfRuns(
        label=body.label,
        in_words=_in_words(body, everything),
        size=body.size,
        runs=body.run_count,
        data=data_used(everything),
        claims=tuple(_claim_result(reader, claim, deciding[claim.id]) for claim in claims),
    )


def _in_words(body: Body, records: Iterable[RunRecord]) -> str:
    runs = [(record.identity.problem, FULL, record.dataset) for record in records]
    data = remark_of_runs(runs) if body.label else None
    return body.label if data is None else f"{body.label}, {data}"


def _claim_result(reader: _Reader, claim: Claim, experiments: tuple[str, ...]) -> ClaimResult:
    parts = tuple(_part_result(reader, part) for part in claim.parts)
    verdict = _verdict(claim, parts)
    with_data = _with_data(parts)
    used = [record for part in parts for record in reader.records(part.run_ids)]
    devices = tuple(sorted({record.device for record in used}))
    notes = []
    if claim.standing == "our operationalisation":
        notes.append("our operationalisation: by a constant that the source was not read for; no verdict on the paper")
    if not parts:
        notes.append(claim.remark)
    if with_data and len(with_data) < len(parts):
        notes.append(f"{len(parts) - len(with_data)} of {len(parts)} parts have no data")
    if len(devices) > 1:
        notes.append(f"its parts were decided on different kinds of device: {', '.join(devices)}")
    notes += cautions_of_changed_parts(used)
    return ClaimResult(
        claim=claim,
        verdict=verdict,
        parts=parts,
        deciding=next((part for part in with_data if part.decision.verdict is verdict), next(iter(with_data), None)),
        seeds=min((len(part.seeds) for part in with_data), default=0),
        data=data_used(used),
        devices=devices,
        notes=tuple(notes),
        experiments=experiments,
    )


def _with_data(parts: Iterable[PartResult]) -> tuple[PartResult, ...]:
    return tuple(part for part in parts if part.decision.verdict is not Verdict.NO_DATA)


def _verdict(claim: Claim, parts: Sequence[PartResult]) -> Verdict:
    """What the parts come to: of a claim over several problems nothing until there are runs of all of them."""
    verdicts = [part.decision.verdict for part in parts]
    if all(verdict is Verdict.NO_DATA for verdict in verdicts):
        return Verdict.NO_DATA
    if len(problems_of(claim)) > 1 and Verdict.NO_DATA in verdicts:
        return Verdict.NO_DATA
    return Verdict.NONE if claim.standing == "exploratory" else combined(verdicts)


def _part_result(reader: _Reader, part: Part) -> PartResult:
    runs = {run: reader.body.find(run) for run in runs_of(part)}
    missing = tuple(run for run, found in runs.items() if not found)
    if missing:
        return PartResult(part, Decision(Verdict.NO_DATA), (), (), missing, ())
    device, left_out = _device_of(runs, paired=_is_paired(part))
    if left_out:
        runs = {run: {s: r for s, r in found.items() if r.device == device} for run, found in runs.items()}
    if _is_paired(part):
        common = tuple(sorted(set.intersection(*(set(found) for found in runs.values()))))
        seeds = dict.fromkeys(runs, common)
    else:
        seeds = {run: tuple(sorted(found)) for run, found in runs.items()}
    records = [found[seed] for run, found in runs.items() for seed in seeds[run]]
    run_ids = tuple(dict.fromkeys(record.identity.run_id for record in records))
    fewest = min(seeds.values(), key=len)
    if not fewest:
        where = f" on one kind of device ({', '.join([device, *left_out])})" if left_out else ""
        return PartResult(part, Decision(Verdict.UNDECIDED, says=f"no seed in common{where}"), (), (), (), ())
    sides, decision = _applied(reader, part, seeds)
    if left_out:
        said = f"on {device} alone; runs on {', '.join(left_out)} left out"
        decision = replace(decision, says=f"{decision.says}; {said}" if decision.says else said)
    return PartResult(part, decision, fewest, sides, (), run_ids)


def _device_of(runs: Mapping[Run, BySeed], *, paired: bool) -> tuple[str, tuple[str, ...]]:
    """The kind of device on which there are most seeds of all the runs, and the other kinds that there are.

    Runs of different devices are never mixed in one verdict.
    """
    kinds = sorted({record.device for found in runs.values() for record in found.values()})
    by_kind = {
        kind: [{seed for seed, record in found.items() if record.device == kind} for found in runs.values()]
        for kind in kinds
    }
    counts = {
        kind: len(set.intersection(*seeds)) if paired else min(len(each) for each in seeds)
        for kind, seeds in by_kind.items()
    }
    best = max(kinds, key=lambda kind: counts[kind])
    return best, tuple(kind for kind in kinds if kind != best)


def _is_paired(part: Part) -> bool:
    """Whether a seed means the same on both sides of the part: not where these are two problems."""
    return not (isinstance(part, _COMPARED) and part.a.problem != part.b.problem)


def _applied(reader: _Reader, part: Part, seeds_of: Mapping[Run, tuple[int, ...]]) -> tuple[tuple[Side, ...], Decision]:
    """A part's rule, applied to the runs of these seeds."""
    seeds = min(seeds_of.values(), key=len)
    sides: tuple[Side, ...]
    match part:
        case Greater() | NotGreater() | Similar():
            named = (("a", part.a), ("b", part.b))
            a, b = (reader.curve_side(name, run, part.measure, seeds_of[run]) for name, run in named)
            sides = (a, b)
            delta = curve_rules.DELTA[part.measure]
            decision = _COMPARISONS[part.rule](a.values, b.values, delta, paired=_is_paired(part))
            if isinstance(part, Greater) and part.beside is not None:
                decision = curve_rules.with_one_sided_test(decision, a.values, b.values)
        case MostOfGain():
            three = (("none", part.none), ("part", part.part), ("whole", part.whole))
            sides = tuple(reader.curve_side(name, run, part.measure, seeds) for name, run in three)
            none, some, whole = (side.values for side in sides)
            decision = curve_rules.most_of_the_gain(none, some, whole, curve_rules.DELTA[part.measure])
        case Fails() | Trains():
            sides = (reader.curve_side("run", part.run, "final accuracy", seeds),)
            decide = curve_rules.fails_to_train if isinstance(part, Fails) else curve_rules.trains
            decision = decide(sides[0].values, reader.body.classes(part.run.problem))
        case Share():
            sides = (reader.share_side(part, seeds),)
            decision = parameter_rules.at_least_or_below(sides[0].values, part.at_least, part.below)
        case Ratio():
            above = reader.quantity_side("numerator", part.numerator, seeds)
            under = reader.quantity_side("denominator", part.denominator, seeds)
            sides = (above, under)
            decision = parameter_rules.ratio(above.values, under.values, part)
        case Exceeds():
            first, second = (reader.quantity_side(name, q, seeds) for name, q in (("a", part.a), ("b", part.b)))
            sides = (first, second)
            decision = parameter_rules.exceeds(first.values, second.values)
        case Monotonic():
            values, sides = reader.monotonic(part, seeds)
            decision = parameter_rules.more_than(values, part.more_than)
        case Level():
            named_runs = [("a", part.a), *([("minus", part.minus)] if part.minus is not None else [])]
            sides = tuple(reader.curve_side(name, run, part.measure, seeds) for name, run in named_runs)
            decision = curve_rules.level(_less(sides), part.at_least, part.at_most)
        case ParameterLevel():
            sides = (reader.quantity_side("quantity", part.quantity, seeds),)
            decision = curve_rules.level(sides[0].values, part.at_least, part.at_most)
        case ProbeRatio():
            sides, readings = reader.probe_sides(part, seeds)
            decision = probe_rules.probe_ratio(readings, part.above, part.below)
        case other:
            assert_never(other)
    return sides, decision


def _less(sides: tuple[Side, ...]) -> Values:
    """The first side's values, less the second's where there is one."""
    if len(sides) == 1:
        return sides[0].values
    pairs = {seed: (value, sides[1].values[seed]) for seed, value in sides[0].values.items()}
    return {seed: None if a is None or b is None else a - b for seed, (a, b) in pairs.items()}


_COMPARED = (Greater, NotGreater, Similar)


def _table(part: Part) -> str:
    """The table that a part's rule reads."""
    match part:
        case Greater() | NotGreater() | Similar() | MostOfGain() | Fails() | Trains() | Level():
            return "curves"
        case Share() | Ratio() | Exceeds() | Monotonic() | ParameterLevel():
            return "affine"
        case ProbeRatio():
            return PROBE_QUANTITIES[part.quantity].table
        case other:
            assert_never(other)


_COMPARISONS = {
    "greater": curve_rules.greater,
    "not greater": curve_rules.not_greater,
    "similar": curve_rules.similar,
}


class _Reader:
    """What the rules need of a body of runs, read once."""

    def __init__(self, results: Results, body: Body) -> None:
        self.body = body
        self._results = results
        self._trajectories = TrajectoryReader(results)
        self._curves: dict[tuple[str, Split], CurveMeasures] = {}
        self._probed: dict[tuple[str, str], probe_rules.Series] = {}

    def records(self, run_ids: Sequence[str]) -> list[RunRecord]:
        """The records of these runs."""
        return [self._by_id[run_id] for run_id in run_ids]

    def curve_side(self, name: str, run: Run, measure: Measure, seeds: Sequence[int]) -> Side:
        """A measure of a run's training curve, for each seed."""
        found = self.body.find(run)
        split: Split = "test" if measure == "final test accuracy" else TRAINING_SPLIT
        return Side(name, run, {seed: _measure(self._curve(found[seed], split), measure) for seed in seeds})

    def quantity_side(self, name: str, quantity: Quantity, seeds: Sequence[int]) -> Side:
        """A number of γ or β of a run, for each seed."""

        def number(record: RunRecord) -> float | None:
            found, start = (
                self._channels(record, quantity.problem, quantity.parameter, at) for at in (quantity.at, "start")
            )
            return parameter_rules.statistic(found.pooled(quantity.slots), start.pooled(quantity.slots), quantity)

        return Side(name, quantity, self._each(quantity, seeds, number))

    def share_side(self, part: Share, seeds: Sequence[int]) -> Side:
        """The share of channels that meet a part's condition, for each seed."""

        def number(record: RunRecord) -> float | None:
            found = self._channels(record, part.run.problem, part.parameter, "end")
            return parameter_rules.share(found.pooled(part.slots), found.pooled("all"), part)

        return Side("run", part.run, self._each(part.run, seeds, number))

    def monotonic(self, part: Monotonic, seeds: Sequence[int]) -> tuple[Values, tuple[Side, ...]]:
        """The share of monotonic trajectories, for each seed over all the runs together, and run by run."""
        counts: dict[Run, Mapping[int, tuple[int, int] | None]] = {}
        for run in part.pooled:
            read = partial(self._trajectories.monotonic, places=self.body.places(run.problem), parameter=part.parameter)
            counts[run] = self._each(run, seeds, read)
        sides = tuple(
            Side("run", run, {seed: None if each is None else each[0] / each[1] for seed, each in own.items()})
            for run, own in counts.items()
        )
        pooled: dict[int, float | None] = {}
        for seed in seeds:
            each_run = [own[seed] for own in counts.values()]
            good = [each for each in each_run if each is not None]
            whole = sum(number for _, number in good)
            pooled[seed] = sum(count for count, _ in good) / whole if len(good) == len(each_run) else None
        return pooled, sides

    def probe_sides(
        self, part: ProbeRatio, seeds: Sequence[int]
    ) -> tuple[tuple[Side, ...], Mapping[int, probe_rules.Reading]]:
        """What a probe measured in both runs: for each seed the ratio's logarithm, and each side's median."""
        found = {name: self.body.find(run) for name, run in (("a", part.a), ("b", part.b))}
        series = {name: {seed: self._series(own[seed], part) for seed in seeds} for name, own in found.items()}
        readings = {
            seed: probe_rules.Reading(None, "diverged")
            if any(own[seed].status == "diverged" for own in found.values())
            else probe_rules.log_ratio(series["a"][seed], series["b"][seed], part.at, part.b_at)
            for seed in seeds
        }
        sides = tuple(
            Side(name, run, {seed: probe_rules.typical(series[name][seed], at) for seed in seeds})
            for name, run, at in (("a", part.a, part.at), ("b", part.b, part.at if part.b_at is None else part.b_at))
        )
        return sides, readings

    def _series(self, record: RunRecord, part: ProbeRatio) -> probe_rules.Series:
        quantity = PROBE_QUANTITIES[part.quantity]
        key = (record.identity.run_id, part.quantity)
        if key not in self._probed:
            columns = quantity.columns
            rows = self._results.table(quantity.table, columns=columns, run_id=record.identity.run_id)
            self._probed[key] = quantity.series(rows, self.body.classes(part.a.problem)) if len(rows) else {}
        return self._probed[key]

    def _each(self, run: Run, seeds: Sequence[int], number: Callable[[RunRecord], Found]) -> dict[int, Found | None]:
        """A number of the run in each seed; None where it diverged: its last snapshot is not an end of training."""
        found = self.body.find(run)
        return {seed: None if found[seed].status == "diverged" else number(found[seed]) for seed in seeds}

    def _channels(
        self, record: RunRecord, problem: str, parameter: NormaliserParameter, at: Moment | Literal["start"]
    ) -> SlotBySlot:
        ends = self._trajectories.ends(record, self.body.places(problem), parameter)
        return {"start": ends.start, "tenth": ends.tenth, "end": ends.end}[at]

    @cached_property
    def _by_id(self) -> dict[str, RunRecord]:
        return {record.identity.run_id: record for records in self.body.records.values() for record in records}

    def _curve(self, record: RunRecord, split: Split) -> CurveMeasures:
        run_id = record.identity.run_id
        if (run_id, split) not in self._curves:
            columns = ["epoch", "step", "split", "loss", "accuracy"]
            rows = self._results.curves(run_id=run_id, split=split, statistics=STATISTICS, columns=columns)
            diverged = record.status == "diverged"
            self._curves[run_id, split] = measure_curve(rows, epochs=record.epochs, diverged=diverged)
        return self._curves[run_id, split]


def _measure(measures: CurveMeasures, measure: Measure) -> float | None:
    """The measure, None where the run has none: it diverged, or its loss is not finite."""
    value = {
        "final accuracy": measures.final_train_accuracy,
        "early accuracy": measures.early_train_accuracy,
        "final loss": measures.final_train_loss,
        "final test accuracy": measures.final_test_accuracy,
    }[measure]
    return value if value is not None and math.isfinite(value) else None
