"""A reference check told: as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from bnbench.analysis.reference.outcome import CheckReport, Difference, FinalCheck, RunCheck, Tier, TierOutcome
from bnbench.analysis.reference.published import TOLERANCE, Published, PublishedComparison
from bnbench.analysis.reference.spread import FALSE_ALARM_RATE
from bnbench.analysis.reference.stored import Reference
from bnbench.measurement import RunIdentity
from bnbench.words import counted

_REASONS = 2
"""How many reasons for leaving a tier out are told in the summary; JSON has each run's."""
_GOOD, _BAD, _SKIPPED = "ok", "FAIL", "–"


def as_text(report: CheckReport) -> str:
    """One line a run; what was obtained and expected only where it fails; then what the check amounts to."""
    titles = {id(run): _title(run.identity) for run in report.runs}
    width = max((len(title) for title in titles.values()), default=0)
    lines: list[str] = []
    for run in report.runs:
        marks = "  ".join(f"{outcome.tier} {_mark(outcome)}" for outcome in run.outcomes)
        lines.append(f"{_verdict(run):<4}  {titles[id(run)]:<{width}}  {marks or run.why_not}".rstrip())
        lines += _text_differences(run.differences)
    for final in report.finals:
        if final.failed:
            lines.append(f"{_BAD}  {_final_title(final)}")
            lines += _text_differences(final.differences)
    return "\n".join([*lines, "", *summary(report)])


def as_json(report: CheckReport) -> dict[str, object]:
    """The report as plain JSON values."""
    return {
        "ok": not report.failed,
        "tiers": list(report.tiers),
        "false_alarm_rate": FALSE_ALARM_RATE,
        "bands": report.bands,
        "band_level": report.band_level,
        "final_level": report.final_level,
        "references": [
            {
                "problem": reference.problem,
                "size": reference.size,
                "setting_id": reference.setting_id,
                "provenance": reference.provenance,
            }
            for reference in report.references
        ],
        "runs": [_json_run(run) for run in report.runs],
        "final_values": [_json_final(final) for final in report.finals],
    }


def summary(report: CheckReport) -> list[str]:
    """What the check amounts to, in a few sentences."""
    failed = sum(run.failed for run in report.runs)
    compared = sum(run.compared for run in report.runs)
    others = len(report.runs) - compared - sum(run.failed and not run.compared for run in report.runs)
    lines = [
        f"{counted(compared, 'run')} compared, {failed} failed"
        + (f"; {counted(others, 'run')} without a reference" * bool(others))
    ]
    if report.nothing:
        lines.append("Nothing was compared with a reference of this suite, and so nothing is confirmed.")
    else:
        lines += [_tier_line(report, tier) for tier in report.tiers]
    bad = sum(final.failed for final in report.finals)
    if report.finals:
        tests = sum(final.compared for final in report.finals)
        lines.append(
            f"final values: {len(report.finals)} variants, {tests} two-sample tests, each at p = "
            f"{report.final_level:.1e}: {bad} variants failed"
        )
    origins: dict[str, list[str]] = {}
    for reference in report.references:
        origins.setdefault(origin(reference), []).append(f"{reference.problem} {reference.size}")
    return [*lines, *(f"reference of {', '.join(names)}: {told}" for told, names in origins.items())]


def origin(reference: Reference) -> str:
    """Where a reference comes from: commit, version of torch, processor."""
    return f"{reference.commit}, {_versions(reference.provenance)}"


def published_lines(published: Published, comparisons: Sequence[PublishedComparison]) -> list[str]:
    """Each comparison with published curves, then what to bear in mind about them."""
    lines: list[str] = []
    for each in comparisons:
        verdict = _BAD if each.failed else _GOOD if each.p is not None else _SKIPPED
        lines.append(
            f"{verdict:<4}  {each.problem} vanilla lr {each.learning_rate:.3g} ({counted(each.seeds, 'seed')}) beside "
            f"DeepOBS lr {each.published_rate:.3g} ({counted(each.published_seeds, 'seed')}), epochs 0 to {each.epochs}"
        )
        shape = "too few epochs for one" if math.isnan(each.correlation) else f"{each.correlation:.3f}"
        lines.append(
            f"        shape   correlation of the mean test-accuracy curves {shape}; largest gap {each.largest_gap:.3f}"
        )
        deviation = "" if each.published_deviation is None else f" ± {each.published_deviation:.3f}"
        ours = "–" if each.final is None else f"{each.final:.3f}"
        verdict = each.why_no_test or f"p = {each.p:.1e}; up to {TOLERANCE} is explained by the conditions below"
        lines.append(
            f"        final   test accuracy {ours}, published {each.published_final:.3f}{deviation}: {verdict}"
        )
    if comparisons:
        lines += ["", f"Published by {published.source}. Other conditions there:"]
        lines += [f"  - {caveat}" for caveat in published.caveats]
    return lines


def published_json(comparison: PublishedComparison) -> dict[str, object]:
    """A comparison with published curves as plain JSON values."""
    correlation = None if math.isnan(comparison.correlation) else comparison.correlation
    return {**asdict(comparison), "correlation": correlation, "ok": not comparison.failed}


def _verdict(run: RunCheck) -> str:
    return _BAD if run.failed else _GOOD if run.compared else _SKIPPED


def _mark(outcome: TierOutcome) -> str:
    return "✗" if outcome.failed else "✓" if outcome.compared else _SKIPPED


def _title(identity: RunIdentity) -> str:
    where = "" if identity.placement == "none" else f" {identity.placement}"
    rate = f"lr {identity.learning_rate:.3g}"
    return f"{identity.problem} {identity.size} {identity.variant}{where} {rate} seed {identity.seed}"


def _final_title(final: FinalCheck) -> str:
    who = _title(final.identity).rpartition(" seed ")[0]
    return f"{who}, final values of {counted(final.seeds, 'seed')} against {counted(final.reference_seeds, 'seed')}"


def _text_differences(differences: Sequence[Difference]) -> Iterator[str]:
    width = max((len(each.what) for each in differences), default=0)
    for each in differences:
        told = f"        {each.tier:<6}  {each.what:<{width}}  obtained {each.obtained}  expected {each.expected}"
        yield f"{told}  difference {each.difference}" if each.difference else told


def _tier_line(report: CheckReport, tier: Tier) -> str:
    outcomes = [outcome for run in report.runs for outcome in run.outcomes if outcome.tier == tier]
    applied = [outcome for outcome in outcomes if outcome.compared]
    bad = sum(outcome.failed for outcome in applied)
    line = f"{tier}: {counted(len(applied), 'run')} compared, {bad} failed"
    if tier is Tier.SPREAD and report.bands:
        line += (
            f"; {report.bands} points of curves, each inside its band with probability 1 - {report.band_level:.1e}, so "
            f"that with the tests of final values a check of sound results is red at most once in "
            f"{round(1 / FALSE_ALARM_RATE)}"
        )
    reasons = list(dict.fromkeys(outcome.why_not for outcome in outcomes if outcome.why_not))
    if reasons:
        told = [str(reason) for reason in reasons[:_REASONS]] + ["…"] * (len(reasons) > _REASONS)
        line += f"; not applied to {len(outcomes) - len(applied)}: {' | '.join(told)}"
    return line


def _versions(provenance: object) -> str:
    versions = provenance.get("versions") if isinstance(provenance, dict) else None
    platform = provenance.get("platform") if isinstance(provenance, dict) else None
    torch = f"torch {versions['torch']}" if isinstance(versions, dict) and "torch" in versions else "torch unknown"
    machine = platform.get("processor") if isinstance(platform, dict) else None
    return f"{torch} on {machine or 'an unknown processor'}"


def _json_run(run: RunCheck) -> dict[str, object]:
    return {
        **_json_identity(run.identity),
        "run_id": run.identity.run_id,
        "seed": run.identity.seed,
        "ok": not run.failed,
        "compared": run.compared,
        "why_not": run.why_not,
        "tiers": {
            outcome.tier: {"compared": outcome.compared, "why_not": outcome.why_not, "ok": not outcome.failed}
            for outcome in run.outcomes
        },
        "differences": [_json_difference(each) for each in run.differences],
    }


def _json_final(final: FinalCheck) -> dict[str, object]:
    return {
        **_json_identity(final.identity),
        "seeds": final.seeds,
        "reference_seeds": final.reference_seeds,
        "compared": final.compared,
        "ok": not final.failed,
        "differences": [_json_difference(each) for each in final.differences],
    }


def _json_identity(identity: RunIdentity) -> dict[str, object]:
    names = ("problem", "size", "setting_id", "variant", "placement", "mask", "learning_rate")
    return {name: getattr(identity, name) for name in names}


def _json_difference(each: Difference) -> dict[str, object]:
    names = ("tier", "what", "obtained", "expected", "difference")
    return {name: str(getattr(each, name)) for name in names}
