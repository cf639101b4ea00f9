"""The reference check: recorded runs against stored ones, in three tiers, each of which sees what the others cannot.

- *bits*: under the same circumstances (machine, versions, threads) the same run gives the same bits.
- *start*: what has hardly been through rounding must agree everywhere: the loss before the first step, on every split,
  and the batch loss of the first updates.
- *spread*: what rounding has amplified must still look like another seed: each curve inside a band over the
  reference's seeds, final values by a two-sample test, with a stated false-alarm rate (`spread`).

What none of them sees is listed in docs/reference-check.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.reference.outcome import CheckReport, RunCheck, Tier, TierOutcome
from bnbench.analysis.reference.platform import circumstances_that_differ
from bnbench.analysis.reference.spread import FALSE_ALARM_RATE
from bnbench.analysis.reference.stored import Reference
from bnbench.analysis.reference.subject import Subject, as_subject, load_measured
from bnbench.analysis.reference.tiers import check_bits, check_finals, check_spread, check_start
from bnbench.measurement import TABLES, RunIdentity
from bnbench.storage.digests import repeatable
from bnbench.storage.store import ResultStore


def check_results(
    results: Results,
    references: Sequence[Reference],
    *,
    tiers: Collection[Tier] = tuple(Tier),
    problems: Collection[str] = (),
    size: str | None = None,
    complete: bool = False,
) -> CheckReport:
    """Compare every recorded run that has a reference.

    Args:
        results: an opened results folder.
        references: stored results; see `read_references`.
        tiers: which comparisons to make.
        problems: only these; all if empty.
        size: only this size; any if None.
        complete: whether a run without a reference is a failure, as it is for runs made in order to be checked.

    Raises:
        UserError: a reference is damaged.
    """
    store = ResultStore(results.path)
    documents = {document.run_id: document for document in store.documents()}

    def chosen() -> list[RunRecord]:
        return [
            record
            for record in results.records
            if (not problems or record.identity.problem in problems) and size in {None, record.identity.size}
        ]

    # A run with a damaged table is found out, and among the records as one, before anything of it is compared.
    deque(results.sound(chosen(), *repeatable(TABLES)), maxlen=0)
    subjects = [
        as_subject(record, documents[record.identity.run_id], references, complete, results.disagreement(record))
        for record in chosen()
    ]
    load_measured(results, [subject for subject in subjects if subject.reference is not None])
    bands = sum(len(subject.points) for subject in subjects) if Tier.SPREAD in tiers else 0
    level = FALSE_ALARM_RATE / 2 / max(1, bands)
    runs = [_check_run(subject, store, tiers, level) for subject in subjects]
    finals = check_finals(subjects) if Tier.SPREAD in tiers else []
    used = {id(subject.reference): subject.reference for subject in subjects if subject.reference is not None}
    return CheckReport(
        tiers=tuple(tier for tier in Tier if tier in tiers),
        runs=tuple(sorted(runs, key=lambda run: _order(run.identity))),
        finals=tuple(sorted(finals, key=lambda final: _order(final.identity))),
        bands=bands,
        references=tuple(sorted(used.values(), key=lambda each: (each.problem, each.size))),
    )


def _check_run(subject: Subject, store: ResultStore, tiers: Collection[Tier], level: float) -> RunCheck:
    identity = subject.record.identity
    if subject.reference is None:
        return RunCheck(identity, None, (), subject.why_not, subject.wrong)
    differing = circumstances_that_differ(subject.document.provenance, subject.reference.provenance)
    outcomes: list[TierOutcome] = []
    if Tier.BITS in tiers:
        outcomes.append(check_bits(subject, store, differing))
    if Tier.START in tiers:
        outcomes.append(check_start(subject, same_circumstances=not differing))
    if Tier.SPREAD in tiers:
        outcomes.append(check_spread(subject, level))
    return RunCheck(identity, subject.reference, tuple(outcomes))


def _order(identity: RunIdentity) -> tuple[str, str, str, str, float, int]:
    return (
        identity.problem,
        identity.size,
        identity.variant,
        identity.mask,
        identity.learning_rate,
        identity.seed,
    )
