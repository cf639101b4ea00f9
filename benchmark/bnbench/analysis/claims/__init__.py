"""What recorded runs make of a study's claims: which runs count, the rules, the verdicts.

    report = decide_claims(results, find_study("thesis"))
    report.evidence.claims[0].verdict

The rules were fixed before any full-length run and there are no others. On `train_eval`, running statistics; *final* is
the mean over the last tenth of the epochs, *early* that over the first tenth, epoch 0 excluded; differences are paired
by seed, with a 95 % t interval; fewer than three seeds leave everything undecided.
"""

from bnbench.analysis.claims.decide import BodyOfRuns, ClaimResult, ClaimsReport, PartResult, decide_claims
from bnbench.analysis.claims.verdict import Decision, Verdict

__all__ = ["BodyOfRuns", "ClaimResult", "ClaimsReport", "Decision", "PartResult", "Verdict", "decide_claims"]
