"""The studies of the literature that ship: what they run, and that their claims can be decided by what they run."""

import math
from functools import cache

import pytest

from bnbench.analysis.claims import Verdict, decide_claims
from bnbench.analysis.claims.evidence import bodies_of_runs
from bnbench.analysis.claims.ledger import ledger
from bnbench.analysis.wanted import find_wanted
from bnbench.claim import ProbeRatio, runs_of
from bnbench.plan import DataFacts
from bnbench.report.catalogue import study_figures
from bnbench.study import find_study, plan_study, study_files, study_problem_files, study_problems
from support.made_up_results import Curve, MadeUpResults, MadeUpRun

LITERATURE = ["davis2021", "frankle2020", "ghorbani2019", "normalisers", "parts", "peerthum2023", "santurkar2018"]
CLASSES = {"cifar10": (10, 3), "cifar100": (100, 3), "digits": (10, 1)}
PRINTS = {"cifar10": "a" * 64, "cifar100": "b" * 64, "digits": "d" * 64}
RUNS = {  # a seed: counted by hand from the studies' tables
    "davis2021": 5 + 1,
    "frankle2020": 5 * 7 + 2 * 2,
    "ghorbani2019": 7 + 1,
    "normalisers": 13 + 13 + 4 + 2,
    "parts": 2 * 7,
    "peerthum2023": 4 * 5 + 2,
    "santurkar2018": 2 * 7,
}


@cache
def planned(name, size="full", seeds=1, origin="official archive"):
    study = find_study(name)
    problems = study_problems(study, study_problem_files(study), size)
    data = {
        key: DataFacts(each.dataset, *CLASSES[each.dataset], PRINTS[each.dataset], origin)
        for key, each in problems.items()
    }
    return plan_study(study, problems, data, seeds=seeds)


def test_every_study_of_the_literature_is_tested_here():
    assert set(LITERATURE) == {name for name in study_files() if not name.startswith("thesis")}


@pytest.mark.parametrize("name", LITERATURE)
def test_a_study_plans_as_many_runs_as_its_tables_say_at_every_size(name):
    study = find_study(name)
    assert len(planned(name).specs) == RUNS[name]
    for size in ("short", "tiny"):
        assert 0 < len(planned(name, size).specs) <= RUNS[name]
    assert study.source
    assert study.reading
    # Each claim is decided by some experiment, and what nobody read decides nothing.
    asked = {claim for each in study.experiments for claim in each.claims}
    assert asked == {claim.id for claim in study.claims}
    assert all(claim.parts for claim in study.claims)


@pytest.mark.parametrize("name", LITERATURE)
def test_what_a_claim_reads_of_a_probe_is_measured_in_the_runs_it_names(name):
    study = find_study(name)
    probes = {run.problem: planned(name).specs[0].probes for claim in study.claims for part in claim.parts
              if isinstance(part, ProbeRatio) for run in runs_of(part)}  # fmt: skip
    needed = {
        "covariate shift": "covariate_shift",
        "eigenvalue ratio": "spectrum",
        "gradient share": "spectrum",
        **dict.fromkeys(("loss variation", "gradient change", "effective smoothness"), "landscape"),
    }
    for claim in study.claims:
        for part in claim.parts:
            if isinstance(part, ProbeRatio):
                assert needed[part.quantity] in probes[part.a.problem].on


@pytest.mark.parametrize("name", [*LITERATURE, "thesis", "thesis_outlook"])
def test_every_run_that_a_claim_names_is_found_among_those_that_the_study_makes(name):
    """By the row as `run.json` has it: with what the row does not say, too, such as the bias that it leaves out."""
    study, specs = find_study(name), planned(name).specs
    files = study_problem_files(study)
    body, _ = bodies_of_runs(MadeUpResults([MadeUpRun(spec) for spec in specs]), study, files)
    for claim in study.claims:
        for part in claim.parts:
            for run in runs_of(part):
                assert body.find(run), (claim.id, run)


@pytest.mark.parametrize("size", ["full", "short"])
@pytest.mark.parametrize("name", [*LITERATURE, "thesis", "thesis_code", "thesis_outlook"])
def test_every_figure_is_drawn_of_the_runs_that_the_study_makes(name, size):
    """With probes on and settings changed, as the study has it."""
    study = find_study(name)
    records = MadeUpResults([MadeUpRun(spec) for spec in planned(name, size).specs]).records
    for figure in study_figures(study).values():
        for part, found in zip(figure.parts, find_wanted(records, figure.parts, size), strict=True):
            assert found is not None, (figure.number, part)
            assert not found.missing, (figure.number, part)


def test_studies_of_one_literature_share_their_runs_with_the_thesis():
    """A probe changes nothing that is learned: its runs are comparable with the founding study's."""
    thesis = {spec.setting_id for spec in planned("thesis").specs if spec.problem == "cifar10_3c3d"}
    for name in ("santurkar2018", "parts", "normalisers"):
        own = {spec.setting_id for spec in planned(name).specs if spec.problem == "cifar10_3c3d"}
        assert own == thesis


# --- decided by made-up runs --------------------------------------------------------------------------------------


def landscape(steps, variation):
    """Rows of the probe `landscape` whose loss varies by so much at each step, and whose gradient hardly changes."""
    return [
        {
            "step": step,
            "step_size": size,
            "loss": 1.0 + variation * size,
            "gradient_norm": 1.0,
            "gradient_distance": size,
        }
        for step in steps
        for size in (0.0, 0.5, 1.0)
    ]


def shifts(steps, value):
    return [{"step": step, "slot": slot, "relative_shift": value} for step in steps for slot in ("conv2", "conv3")]


def santurkar(variation, shift, accuracy=None):
    """Made-up runs of `santurkar2018` on 3C3D: functions of the variant."""
    runs = []
    for spec in planned("santurkar2018", seeds=3).specs:
        if spec.problem != "cifar10_3c3d":
            continue
        name = spec.variant.name
        steps = range(0, 31_201, 1_040)
        tables = {"landscape": landscape(steps, variation(name)), "covariate_shift": shifts(steps, shift(name))}
        final = 0.5 if accuracy is None else accuracy(name)
        runs.append(MadeUpRun(spec, Curve(early=final, final=final), {}, tables=tables))
    return MadeUpResults(runs)


def parts_of(claim, results):
    report = decide_claims(results, find_study("santurkar2018"), only=[claim])
    return [part for part in report.evidence.claims[0].parts if part.decision.verdict is not Verdict.NO_DATA]


def test_a_ratio_of_probes_decides_a_claim():
    halved = santurkar(lambda name: 0.5 if name == "bn_gamma_beta" else 1.0, lambda name: 1.0)
    (part,) = parts_of("s1", halved)
    assert part.decision.verdict is Verdict.HOLDS
    assert part.decision.effect == pytest.approx(0.5)
    assert [side.values[42] for side in part.sides] == pytest.approx([0.5, 1.0])
    doubled = santurkar(lambda name: 2.0 if name == "bn_gamma_beta" else 1.0, lambda name: 1.0)
    assert parts_of("s1", doubled)[0].decision.verdict is Verdict.REFUTED
    same = santurkar(lambda name: 1.0, lambda name: 1.0)
    assert parts_of("s1", same)[0].decision.verdict is Verdict.UNDECIDED  # no difference at all: on the bound itself


def test_covariate_shift_that_is_as_large_is_not_reduced():
    assert parts_of("s4", santurkar(lambda _: 1.0, lambda _: 1.0))[0].decision.verdict is Verdict.HOLDS
    less = santurkar(lambda _: 1.0, lambda name: 0.1 if name == "bn_gamma_beta" else 1.0)
    assert parts_of("s4", less)[0].decision.verdict is Verdict.REFUTED


def test_what_a_probe_could_not_measure_is_a_missing_seed_with_its_reason():
    odd = santurkar(lambda name: math.nan if name == "vanilla" else 1.0, lambda _: 1.0)
    report = decide_claims(odd, find_study("santurkar2018"), only=["s1"])
    says = [part.decision.says for part in report.evidence.claims[0].parts]
    assert "0 of 27 probed steps count" in says[0]


def test_half_a_literature_is_no_data_until_the_other_problem_is_there():
    made_up = santurkar(lambda name: 0.5 if name == "bn_gamma_beta" else 1.0, lambda _: 1.0)
    book = ledger(made_up, [find_study("santurkar2018"), find_study("parts")])
    by_id = {(each.report.study, each.result.claim.id): each for each in book.entries}
    assert by_id["santurkar2018", "s1"].result.verdict is Verdict.NO_DATA
    assert "s1" not in [each.result.claim.id for each in book.decided]
    (report,) = [each for each in book.reports if each.study == "santurkar2018"]
    (claim,) = [each for each in report.evidence.claims if each.claim.id == "s1"]
    assert claim.verdict is Verdict.NO_DATA
    assert [part.decision.verdict for part in claim.parts] == [Verdict.HOLDS, Verdict.NO_DATA]
