"""The made-up store of the measurements is one that every reader takes for real."""

from __future__ import annotations

from collections import Counter

from bnbench.analysis.activity import activity_summary
from bnbench.analysis.frames import open_results
from bnbench.analysis.ranking import rank
from bnbench.components.variants import expand_variants
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import find_problem
from measure.full_length_store import MadeUpRun, study_specs, write_run


def test_the_study_has_a_hundred_and_five_runs_a_seed():
    specs = study_specs(2)
    assert Counter(spec.seed for spec in specs) == {4842821: 105, 42: 105}
    assert Counter(spec.problem for spec in specs[:105]) == {
        "cifar10_3c3d": 31,
        "cifar100_3c3d": 31,
        "cifar100_allcnnc": 43,
    }


def test_what_is_written_can_be_read_ranked_and_measured(tmp_path):
    short = {"training.epochs": 3, "probes.sparsity": True}
    problem = find_problem("cifar100_3c3d").problem("full", short)
    data = DataFacts("cifar100", 100, 3, "64" * 32, origin="official archive")
    variants = expand_variants(("vanilla", "bn_beta"))
    for spec in expand_grid(problem, data, variants, placements=["penultimate"], lr_factors=[1.0, 10.0]):
        write_run(tmp_path, MadeUpRun(spec, every_snapshot=spec.variant.name == "bn_beta"))
    results = open_results(tmp_path)
    assert results.warnings == ()
    assert sorted(record.status for record in results.records) == ["diverged", *["finished"] * 3]
    assert len(rank(results).groups) == 2
    activity = activity_summary(results, parameter="beta")
    assert set(activity["snapshots"]) == {3 * 156 // 5 + 2}
    assert len(results.sparsity(variant="bn_beta", learning_rate=problem.training.learning_rate)) == 4 * 5
