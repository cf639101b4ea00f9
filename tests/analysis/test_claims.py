"""The claims of the thesis on made-up runs: each once holds, once is refuted, once stays undecided."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from rich.console import Console

from bnbench.analysis.claims import Verdict, decide_claims
from bnbench.analysis.claims.evidence import DataUsed
from bnbench.analysis.claims.tables import claims_tables, data_in_words
from bnbench.analysis.frames import Results, open_results
from bnbench.analysis.measures import tenth
from bnbench.claim import Run, runs_of
from bnbench.components.placements import masked_slots
from bnbench.components.variants import VARIANTS
from bnbench.plan import DataFacts
from bnbench.problem import find_problem
from bnbench.storage.store import ResultStore
from bnbench.storage.third_parties import ThirdPartyRow
from bnbench.study import find_study, plan_study, study_problem_files, study_problems
from support.made_up_results import Curve, MadeUpResults, MadeUpRun
from support.synthetic_store import SyntheticRun, build_store

THESIS, CODE = find_study("thesis"), find_study("thesis_code")
FILES = study_problem_files(THESIS)
HOLDS, REFUTED, UNDECIDED, NO_DATA = Verdict.HOLDS, Verdict.REFUTED, Verdict.UNDECIDED, Verdict.NO_DATA
SEEDS = (4842821, 42, 43)
C10, C100, ALL = "cifar10_3c3d", "cifar100_3c3d", "cifar100_allcnnc"
BN, BETA, GAMMA, BOTH, VANILLA = "bn", "bn_beta", "bn_gamma", "bn_gamma_beta", "vanilla"


@cache
def planned(study="thesis", size="full", seeds=3, origin="official archive", overrides=(), fingerprint=None):
    """Every run of a study once, with the claims' name of it."""
    chosen = {"thesis": THESIS, "thesis_code": CODE}[study]
    problems = study_problems(chosen, FILES, size, dict(overrides))
    facts = {"cifar10": (10, 3, "a" * 64), "cifar100": (100, 3, "b" * 64), "digits": (10, 1, "d" * 64)}
    data = {}
    for name, problem in problems.items():
        classes, channels, usual = facts[problem.dataset]
        data[name] = DataFacts(problem.dataset, classes, channels, fingerprint or usual, origin)
    rates = {problem.name: problem.training.learning_rate for problem in problems.values()}
    return [
        (
            Run(
                problem=spec.problem,
                variant=spec.variant.name,
                placement="hidden" if spec.placement == "none" else spec.placement,
                lr_factor=round(spec.training.learning_rate / rates[spec.problem], 6),
            ),
            spec,
        )
        for spec in plan_study(chosen, problems, data, seeds=seeds).specs
    ]


def constant(run):
    return Curve()


def still(run, parameter, slots):
    """Every γ and β a little away from neutral, the same everywhere."""
    return [np.full(20, 1.05 if parameter == "gamma" else 0.05)] * slots


def results(curve=constant, parameters=still, shape=np.square, study="thesis", claim=None, **plan):
    """Made-up results of a whole study, or of what a claim looks at: what each run measured, as functions of it."""
    runs = []
    looked_at = {run for part in (THESIS.claim(claim).parts if claim else ()) for run in runs_of(part)}
    without_normaliser = {(run.problem, run.lr_factor) for run in looked_at if run.variant == VANILLA}
    for run, spec in planned(study, **plan):
        wanted = run in looked_at or (run.variant == VANILLA and (run.problem, run.lr_factor) in without_normaliser)
        if claim and not wanted:
            continue
        # Seeds differ by far more than variants do: only pairing finds the difference.
        shift = 0.01 * SEEDS.index(spec.seed)
        level = curve(run)
        level = replace(
            level,
            final=None if level.final is None else level.final + (0 if level.final < 0.1 else shift),
            early=None if level.early is None else level.early + shift,
            loss=level.loss + shift,
        )
        count = spec.mask.count("1")
        values = {
            name: parameters(run, name, count)
            for name, rule in (("gamma", spec.variant.gamma), ("beta", spec.variant.beta))
            if rule.status != "absent"
        }
        runs.append(MadeUpRun(spec, level, values, shape))
    return MadeUpResults(runs)


def verdict(claim, made_up, study=THESIS):
    report = decide_claims(made_up, study, FILES, only=[claim])
    return report.evidence.claims[0]


def finals(**levels):
    """Curves that differ in the final accuracy only; keys are variants."""
    return lambda run: Curve(final=levels.get(run.variant, 0.5))


def when(condition, then, otherwise=constant):
    return lambda run: then if condition(run) else otherwise(run)


def every(**levels):
    return lambda run: Curve(final=levels.get(run.variant, 0.5)) if run.placement == "every" else Curve()


def faster_and_higher(early, final):
    return lambda run: Curve(early=early, final=final) if run.variant == BOTH else Curve()


def failing_vanilla(fails, others=constant):
    """Vanilla at ten times the learning rate."""
    return when(lambda run: run.variant == VANILLA and run.lr_factor == 10, Curve(final=fails, early=0.01), others)


def c11(bn=0.4, vanilla=None, beta_early=0.4):
    levels = {BN: bn, GAMMA: 0.5, BETA: 0.5, BOTH: 0.6, VANILLA: 0.3}

    def curve(run):
        early = beta_early if run.variant == BETA else 0.3
        final = vanilla if run.variant == VANILLA and run.lr_factor == 10 else levels[run.variant]
        return Curve(final=final, early=early)

    return curve


def placed(placement, bn):
    """BN better than vanilla everywhere, but for one placement."""

    def curve(run):
        if run.variant != BN:
            return Curve()
        return Curve(final=bn if (run.problem, run.placement) == (C10, placement) else 0.6)

    return curve


CURVES = {
    "c1": (faster_and_higher(0.35, 0.5), faster_and_higher(0.25, 0.5)),
    "c2": (finals(), when(lambda run: run.variant == BOTH, Curve(loss=1.05))),
    "c3": (finals(), finals(bn=0.45)),
    "c4": (faster_and_higher(0.35, 0.55), faster_and_higher(0.35, 0.45)),
    "c5": (finals(), when(lambda run: run.variant == BN, Curve(early=0.2))),
    "c6": (faster_and_higher(0.35, 0.55), faster_and_higher(0.25, 0.55)),
    "c7": (when(lambda run: run.variant == BN, Curve(early=0.35)),
           when(lambda run: run.variant == BN, Curve(early=0.35, final=0.55))),
    "c8": (finals(bn=0.5, bn_gamma=0.55, bn_beta=0.6, bn_gamma_beta=0.65),
           finals(bn=0.5, bn_gamma=0.6, bn_beta=0.55, bn_gamma_beta=0.65)),
    "c9": (finals(vanilla=0.4), when(lambda run: run.variant == VANILLA and run.lr_factor == 10, Curve(final=0.6),
                                     finals(vanilla=0.4))),
    "c10": (failing_vanilla(0.015), failing_vanilla(0.2)),
    "c11": (c11(), c11(bn=0.7)),
    "c12": (every(bn=0.4), every(bn=0.6)),
    "c13": (every(bn_beta=0.4), every(bn_beta=0.6)),
    "c14": (every(bn=0.4, bn_beta=0.4, bn_gamma=0.6, bn_gamma_beta=0.7),
            every(bn=0.4, bn_beta=0.4, bn_gamma=0.45, bn_gamma_beta=0.7)),
    "c15": (finals(), every(bn_gamma_beta=0.55)),
    "c21": (placed("last:3", 0.6), placed("last:3", 0.4)),
    "c27": (finals(vanilla=0.3, bn=0.5, bn_gamma_beta=0.55), finals(vanilla=0.3, bn=0.35, bn_gamma_beta=0.55)),
}  # fmt: skip
"""Claim to curves with which it holds, and with which it is refuted."""


def across(low, high):
    return np.linspace(low, high, 20)


def signs(first, between, last):
    """β by slot: first, intermediate, last."""
    return lambda run, name, n: [first, *[between] * (n - 2), last] if name == "beta" else still(run, name, n)


def c17(last_on_cifar10):
    def values(run, name, n):
        if name == "beta":
            return still(run, name, n)
        last = last_on_cifar10 if run.problem == C10 else np.full(20, 1.5)
        return [*[np.full(20, 1.05)] * (n - 1), last]

    return values


def c18(others):
    def values(run, name, n):
        if name == "beta":
            return still(run, name, n)
        last = 2.0 if run.placement == "every" else 1.5
        return [*[np.full(20, others)] * (n - 1), np.full(20, last)]

    return values


def ranges(**by_variant):
    """The same range in every slot, by variant (and `every` for that placement)."""

    def values(run, name, n):
        own = by_variant.get(f"{run.variant}_every") if run.placement == "every" else None
        chosen = own or by_variant.get(run.variant)
        return [across(*chosen)] * n if chosen else still(run, name, n)

    return values


def ablated(shift, problem=C100):
    """Mid-ranges: the ablated parameter's is higher, but for one problem where it is shifted otherwise."""

    def values(run, name, n):
        neutral = 1.0 if name == "gamma" else 0.0
        up = 0.0 if run.variant == BOTH else shift if run.problem == problem else 0.1
        return [across(neutral + up - 0.5, neutral + up + 0.5)] * n

    return values


def active(allcnnc, threec3d):
    def values(run, name, n):
        distance = allcnnc if run.problem == ALL else threec3d
        return [np.full(20, (1.0 if name == "gamma" else 0.0) + distance)] * n

    return values


HALF_EACH = np.repeat([0.2, -0.2], 10)
PARAMETERS = {
    "c16": (signs(HALF_EACH, np.full(20, -0.1), np.full(20, 0.5)),
            signs(HALF_EACH, np.full(20, 0.2), np.full(20, 0.5))),
    "c17": (c17(np.repeat([0.5, 1.5], 10)), c17(np.full(20, 1.5))),
    "c18": (c18(1.05), c18(1.4)),
    "c19": (ranges(bn_gamma_beta=(-1.0, 0.5), bn_beta=(-0.5, 1.0)),
            ranges(bn_gamma_beta=(-1.0, 0.5), bn_beta=(-1.0, 1.0))),
    "c23": (ranges(bn_beta=(-1.0, 1.0), bn_beta_every=(-1.0, 0.5)),
            ranges(bn_beta=(-1.0, 1.0), bn_beta_every=(-1.0, 1.0))),
    "c24": (ranges(bn_gamma=(0.5, 1.5), bn_gamma_beta=(0.4, 1.6)),
            ranges(bn_gamma=(0.5, 1.5), bn_gamma_beta=(0.0, 2.0))),
    "c25": (ablated(0.1), ablated(-0.1)),
    "c26": (active(0.3, 0.1), active(0.1, 0.3)),
}  # fmt: skip


def zigzag(way):
    """There and back and there again."""
    return np.abs(np.sin(2.5 * np.pi * way))


SHAPES = {"c20": (np.square, zigzag), "c28": (np.square, lambda way: np.minimum(1.0, 5 * way))}


def scenario(claim, index, **plan):
    """Results with which the claim holds (0) or is refuted (1)."""
    if claim in CURVES:
        return results(curve=CURVES[claim][index], claim=claim, **plan)
    if claim in PARAMETERS:
        return results(parameters=PARAMETERS[claim][index], claim=claim, **plan)
    return results(shape=SHAPES[claim][index], claim=claim, **plan)


DECIDABLE = [claim.id for claim in THESIS.claims if claim.parts]


def test_there_is_a_scenario_for_every_claim_that_can_be_decided():
    assert sorted([*CURVES, *PARAMETERS, *SHAPES]) == sorted(DECIDABLE)
    assert len(DECIDABLE) == 27


@pytest.mark.parametrize("claim", DECIDABLE)
def test_a_claim_holds(claim):
    result = verdict(claim, scenario(claim, 0))
    assert {part.decision.verdict for part in result.parts} == {HOLDS}
    assert (result.verdict, result.seeds) == (HOLDS, 3)


@pytest.mark.parametrize("claim", DECIDABLE)
def test_a_claim_is_refuted(claim):
    result = verdict(claim, scenario(claim, 1))
    assert result.verdict is REFUTED
    assert result.deciding.decision.verdict is REFUTED


@pytest.mark.parametrize("claim", DECIDABLE)
@pytest.mark.parametrize("index", [0, 1])
def test_with_two_seeds_a_claim_is_undecided_whatever_the_numbers(claim, index):
    result = verdict(claim, scenario(claim, index, seeds=2))
    assert {part.decision.verdict for part in result.parts} == {UNDECIDED}
    assert (result.verdict, result.seeds) == (UNDECIDED, 2)


@pytest.mark.parametrize("claim", [each for each in CURVES if each != "c10"])
def test_with_noise_a_comparison_is_undecided(claim):
    clean = scenario(claim, 0)
    rng = np.random.default_rng(1)
    noisy = [
        replace(run, curve=replace(run.curve, **{
            name: None if value is None else value + 0.4 * rng.standard_normal()
            for name, value in (("final", run.curve.final), ("early", run.curve.early), ("loss", run.curve.loss))
        }))
        for run in clean._runs.values()
    ]  # fmt: skip
    result = verdict(claim, MadeUpResults(noisy))
    # Of many parts, one may be refuted by chance; none may be decided by pretending that the noise is not there.
    assert UNDECIDED in {part.decision.verdict for part in result.parts}
    assert result.verdict is not HOLDS


def test_the_conjecture_has_no_data_and_says_why():
    result = verdict("c22", results())
    assert (result.verdict, result.parts) == (NO_DATA, ())
    assert "bnbench claims --study thesis_outlook" in result.notes[0]


def test_numbers_behind_a_verdict():
    (part,) = verdict("c1", scenario("c1", 0)).parts
    assert part.decision.effect == pytest.approx(0.05)
    assert (part.decision.interval.low, part.decision.interval.high) == pytest.approx((0.05, 0.05))
    assert part.seeds == tuple(sorted(SEEDS))
    assert len(part.run_ids) == 6
    a, b = part.sides
    assert [a.run.variant, b.run.variant] == [BOTH, VANILLA]
    assert a.values == pytest.approx({4842821: 0.35, 42: 0.36, 43: 0.37})
    ratio = verdict("c19", scenario("c19", 0)).parts[1]
    assert ratio.decision.effect == pytest.approx(2.0)
    assert ratio.decision.interval is None


def test_a_claim_reads_no_run_that_it_does_not_look_at():
    made_up = results()
    verdict("c1", made_up)
    assert len(made_up.read) == 6


# --- what is evidence -------------------------------------------------------------------------------------------


def test_an_empty_store_has_no_data_for_any_claim(tmp_path):
    report = decide_claims(Results(ResultStore(tmp_path / "none")), THESIS)
    assert [result.verdict for result in report.evidence.claims] == [NO_DATA] * 28
    assert report.apart == ()
    assert report.evidence.data == ()


def bodies(made_up, study=THESIS, claim="c1"):
    """Label to verdict, of everything that is no evidence; and the verdict on the evidence."""
    report = decide_claims(made_up, study, FILES, only=[claim])
    return report.evidence.claims[0].verdict, {body.label: body.claims[0].verdict for body in report.apart}


def test_a_short_run_is_never_evidence_and_goes_by_its_size():
    assert bodies(scenario("c1", 0, size="short")) == (NO_DATA, {"short": HOLDS})
    assert bodies(scenario("c1", 1, size="short")) == (NO_DATA, {"short": REFUTED})
    changed = results(CURVES["c1"][0], size="short", overrides=(("training.momentum", 0.9),))
    assert bodies(changed) == (NO_DATA, {"short, training.momentum = 0.9": HOLDS})


def test_a_tiny_run_is_never_evidence():
    assert bodies(scenario("c1", 0, size="tiny")) == (NO_DATA, {"tiny": HOLDS})
    assert bodies(scenario("c1", 1, size="tiny")) == (NO_DATA, {"tiny": REFUTED})


def test_a_shortened_run_is_never_evidence():
    short = results(CURVES["c1"][0], overrides=(("training.epochs", 20),))
    assert bodies(short) == (NO_DATA, {"training.epochs = 20": HOLDS})


def test_an_overridden_run_is_never_evidence():
    wide = results(CURVES["c1"][0], overrides=(("width", 0.5),))
    assert bodies(wide) == (NO_DATA, {"width = 0.5": HOLDS})
    both = results(CURVES["c1"][0], size="tiny", overrides=(("training.momentum", 0.9),))
    assert bodies(both) == (NO_DATA, {"tiny, training.momentum = 0.9": HOLDS})


def test_a_run_on_other_images_is_never_evidence():
    assert bodies(scenario("c1", 0, origin="other copy")) == (NO_DATA, {"not the official data": HOLDS})


def test_official_pixels_are_evidence_and_the_verdict_says_what_was_compared():
    made_up = scenario("c1", 0, origin="official pixels")
    assert bodies(made_up) == (HOLDS, {})
    result = verdict("c1", made_up)
    words = "cifar10 aaaaaaaaaaaa (official pixels: constants of the training images, test images by count only)"
    assert data_in_words(result.data) == words
    report = decide_claims(made_up, THESIS, FILES, only=["c1"])
    shown = io.StringIO()
    Console(width=200, file=shown).print(*claims_tables(report))
    assert f"data: {words}" in shown.getvalue()


def test_each_reading_has_its_own_evidence():
    with_l2, without = scenario("c1", 0), scenario("c1", 1, study="thesis_code")
    mixed = MadeUpResults([*with_l2._runs.values(), *without._runs.values()])
    assert bodies(mixed) == (HOLDS, {"training.l2 = 0.0": REFUTED})
    assert bodies(mixed, CODE) == (REFUTED, {"at the problem file's own settings": HOLDS})
    assert decide_claims(mixed, CODE, FILES).reading != decide_claims(mixed, THESIS, FILES).reading


def test_results_from_different_images_are_never_mixed():
    one = scenario("c1", 0, origin="other copy", fingerprint="e" * 64)
    other = scenario("c1", 1, origin="other copy", fingerprint="f" * 64)
    mixed = MadeUpResults([*one._runs.values(), *other._runs.values()])
    assert bodies(mixed) == (
        NO_DATA,
        {
            "not the official data (cifar10 eeeeeeeeeeee)": HOLDS,
            "not the official data (cifar10 ffffffffffff)": REFUTED,
        },
    )


def test_evidence_is_known_by_its_setting_and_not_by_the_problems_name():
    renamed = [replace(run, name="mine") for run in scenario("c1", 0)._runs.values()]
    assert bodies(MadeUpResults(renamed)) == (HOLDS, {})


def test_a_variant_that_was_defined_otherwise_does_not_count():
    other = replace(VARIANTS.get(BOTH), gamma=replace(VARIANTS.get(BOTH).gamma, initial=0.5))
    runs = [
        replace(run, spec=replace(run.spec, variant=other)) if run.spec.variant.name == BOTH else run
        for run in scenario("c1", 0)._runs.values()
    ]
    assert verdict("c1", MadeUpResults(runs)).verdict is NO_DATA


def test_a_failed_run_is_no_data():
    runs = [replace(run, failed=run.spec.seed == 42) for run in scenario("c1", 0)._runs.values()]
    result = verdict("c1", MadeUpResults(runs))
    assert (result.verdict, result.seeds) == (UNDECIDED, 2)


def without(made_up, lost):
    return MadeUpResults([run for run in made_up._runs.values() if not lost(run.spec)])


def test_a_missing_run_is_named():
    made_up = without(scenario("c8", 0), lambda spec: spec.variant.name == GAMMA)
    result = verdict("c8", made_up)
    assert result.verdict is UNDECIDED
    assert result.notes == ("2 of 3 parts have no data",)
    assert [run.variant for part in result.parts for run in part.missing] == [GAMMA, GAMMA]
    nothing = verdict("c8", without(made_up, lambda spec: spec.variant.name in {BN, BETA}))
    assert nothing.verdict is NO_DATA


def test_one_refuted_part_refutes_though_others_have_no_data():
    made_up = without(scenario("c4", 1), lambda spec: False)
    assert verdict("c4", made_up).verdict is REFUTED
    made_up = without(scenario("c8", 1), lambda spec: spec.variant.name == BOTH)
    assert verdict("c8", made_up).verdict is REFUTED


def test_runs_without_a_common_seed_decide_nothing():
    made_up = without(scenario("c1", 0), lambda spec: (spec.variant.name == BOTH) == (spec.seed == 42))
    (part,) = verdict("c1", made_up).parts
    assert (part.decision.verdict, part.decision.says) == (UNDECIDED, "no seed in common")


def test_data_and_devices_are_named():
    runs = [
        replace(run, device="NVIDIA H200" if run.spec.variant.name == BN else "cpu") for run in results()._runs.values()
    ]
    result = verdict("c26", MadeUpResults(runs))
    assert result.data == (DataUsed("cifar100", "b" * 64, "official archive"),)
    assert result.devices == ("cpu",)
    parts = verdict("c3", MadeUpResults(runs)).parts
    said = "no seed in common on one kind of device (NVIDIA H200, cpu)"
    assert {part.decision.says for part in parts if BN in {run.variant for run in runs_of(part.part)}} == {said}


def test_runs_of_different_devices_are_never_mixed_in_one_verdict():
    """Of the kinds of device that have all the runs of a part, the one with most seeds decides."""
    runs = [
        replace(run, device="NVIDIA H200" if run.spec.seed == SEEDS[-1] else "cpu")
        for run in scenario("c1", 0)._runs.values()
    ]
    (part,) = verdict("c1", MadeUpResults(runs)).parts
    assert (part.decision.verdict, part.seeds) == (UNDECIDED, tuple(sorted(SEEDS[:2])))
    assert part.decision.says.endswith("on cpu alone; runs on NVIDIA H200 left out")


def test_a_verdict_over_several_states_of_a_plug_in_says_so():
    def of(state):
        return (ThirdPartyRow("dataset", "cifar", "mine.py", sha256=state * 64),)

    runs = [
        replace(run, third_parties=of("b" if run.spec.seed == SEEDS[0] else "a"))
        for run in scenario("c1", 0)._runs.values()
    ]
    result = verdict("c1", MadeUpResults(runs))
    assert result.verdict is HOLDS
    assert result.notes == (
        "the dataset 'cifar' is not the same in all of these runs: mine.py (SHA-256 aaaaaaaaaaaa…), "
        "mine.py (SHA-256 bbbbbbbbbbbb…)",
    )
    assert verdict("c1", MadeUpResults([replace(run, third_parties=of("a")) for run in runs])).notes == ()


# --- divergence -------------------------------------------------------------------------------------------------


def diverging(variant, seeds=SEEDS, lr_factor=None, curve=constant):
    made_up = results(curve)
    chosen = {
        spec.run_id
        for run, spec in planned()
        if run.variant == variant and spec.seed in seeds and lr_factor in (None, run.lr_factor)
    }
    return MadeUpResults(
        [
            replace(run, curve=replace(run.curve, final=None)) if run.spec.run_id in chosen else run
            for run in made_up._runs.values()
        ]
    )


def test_a_diverged_variant_fails_to_train_and_loses():
    assert verdict("c10", diverging(VANILLA, lr_factor=10)).verdict is HOLDS
    assert verdict("c10", diverging(BN, lr_factor=10)).verdict is REFUTED
    some = verdict("c10", diverging(BETA, seeds=(42,), lr_factor=10, curve=CURVES["c10"][0]))
    assert some.verdict is UNDECIDED
    assert verdict("c12", diverging(BN)).verdict is HOLDS
    assert verdict("c12", diverging(VANILLA)).verdict is REFUTED
    assert verdict("c3", diverging(BN, seeds=(43,))).verdict is REFUTED
    assert verdict("c21", diverging(BN, seeds=(43,))).verdict is REFUTED
    # Both sides of every comparison with itself: nothing can be said.
    assert verdict("c15", diverging(BOTH)).verdict is UNDECIDED


def test_a_run_that_diverged_late_was_as_fast_as_it_was():
    made_up = diverging(BOTH, curve=CURVES["c1"][0])
    assert verdict("c1", made_up).verdict is HOLDS
    at_once = [
        replace(run, curve=Curve(final=None, early=None)) if run.spec.variant.name == BOTH else run
        for run in made_up._runs.values()
    ]
    assert verdict("c1", MadeUpResults(at_once)).verdict is REFUTED


def test_the_parameters_of_a_diverged_run_decide_nothing():
    for claim in ("c19", "c20", "c28"):
        result = verdict(claim, diverging(BOTH, seeds=(42,)))
        assert result.verdict is UNDECIDED
        assert "1 of 3 seeds without a value" in result.deciding.decision.says


# --- a real results folder --------------------------------------------------------------------------------------


def on_disk(made_up, folder, claims):
    """The same runs, as far as the claims look at them, recorded by the real recorder."""
    wanted = {
        run_id
        for result in decide_claims(made_up, THESIS, FILES, only=claims).evidence.claims
        for part in result.parts
        for run_id in part.run_ids
    }
    runs = []
    for name, spec in planned():
        if spec.run_id not in wanted:
            continue
        run = made_up._runs[spec.run_id]
        epochs = spec.training.epochs
        accuracy = [0.0] + [run.curve.early] * tenth(epochs) + [run.curve.final] * (epochs - tenth(epochs))
        layers = [layer.name for layer in spec.layers() if hasattr(layer, "activation")]
        affine = {}
        for parameter, (place, slot) in itertools.product(run.parameters, enumerate(masked_slots(spec.mask, layers))):
            trajectory = run.trajectory(place, parameter)
            affine[slot, parameter] = (trajectory.steps, trajectory.values)
        runs.append(
            SyntheticRun(
                spec.problem,
                spec.variant,
                spec.seed,
                accuracy,
                placement=name.placement,
                lr_factor=name.lr_factor,
                loss=[run.curve.loss] * len(accuracy),
                affine=affine,
                fingerprint=spec.data.fingerprint,
                steps_per_epoch=1,
            )
        )  # fmt: skip
    return build_store(folder, runs)


def test_a_real_results_folder_says_the_same(tmp_path):
    curve, parameters = CURVES["c1"][0], PARAMETERS["c19"][1]
    claims = ["c1", "c19"]
    made_up = results(curve, parameters)
    report = decide_claims(open_results(on_disk(made_up, tmp_path, claims)), THESIS, only=[*claims, "c20", "c28"])
    expected = decide_claims(made_up, THESIS, FILES, only=[*claims, "c20", "c28"])
    got = {result.claim.id: result for result in report.evidence.claims}
    want = {result.claim.id: result for result in expected.evidence.claims}
    assert [got[name].verdict for name in claims] == [HOLDS, REFUTED]
    for name in claims:
        for ours, theirs in zip(got[name].parts, want[name].parts, strict=True):
            assert ours.seeds == theirs.seeds
            assert ours.run_ids == theirs.run_ids
            assert ours.decision.effect == pytest.approx(theirs.decision.effect, rel=1e-6)
    # Of c20 and c28, the runs that are there: the same numbers from trajectories that were read.
    for name in ("c20", "c28"):
        for ours, theirs in zip(got[name].parts, want[name].parts, strict=True):
            if ours.seeds:
                assert ours.decision.effect == pytest.approx(theirs.decision.effect, rel=1e-5)
    assert any(part.seeds for part in got["c28"].parts)


def test_the_problem_files_are_the_ones_that_ship():
    assert {name: file.problem() for name, file in FILES.items()} == {
        name: find_problem(name).problem() for name in (C10, C100, ALL)
    }
