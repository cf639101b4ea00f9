"""Run specifications: what their identities depend on, and the expansion of grids."""

import dataclasses
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.components.variants import STUDIED, VARIANTS, Affine, AffineRule, expand_variants
from bnbench.errors import UserError
from bnbench.identity import canonical_json
from bnbench.plan import NUMERICS_VERSION, DataFacts, expand_grid
from bnbench.problem import Augmentation, Probes, Problem, Snapshots, Target, Training, find_problem

DIGITS = DataFacts("digits", classes=10, channels=1, fingerprint="ab" * 32, origin="embedded")
CIFAR10 = DataFacts("cifar10", classes=10, channels=3, fingerprint="cd" * 32, origin="other copy")
CIFAR100 = DataFacts("cifar100", classes=100, channels=3, fingerprint="ef" * 32, origin="official archive")

PROBLEM = Problem(
    name="digits_3c3d",
    size="full",
    summary="a test's own",
    source="this test",
    dataset="digits",
    architecture="3c3d",
    width=0.5,
    placements=("hidden", "every"),
    seeds=(1, 2, 3),
    split_seed=7,
    training=Training(batch_size=32, epochs=5, learning_rate=0.1, l2=0.002),
    augmentation=Augmentation(crop_padding=2),
    snapshots=Snapshots(schedule="every:5"),
)
TARGET = {
    "metric": "loss", "split": "test", "level": 0.5,
    "source": {"run_ids": ["x"], "commit": "0123abc", "statistic": "median"},
}  # fmt: skip
ALL = expand_variants(("all",))


def one(problem=PROBLEM, data=DIGITS, variant="bn_gamma_beta", **grid):
    (spec,) = expand_grid(problem, data, [VARIANTS.get(variant)], **grid)
    return spec


def with_training(**changes):
    return PROBLEM.model_copy(update={"training": PROBLEM.training.model_copy(update=changes)})


# What a run's identity is made of, typed out; a change here makes every stored result a stranger.
GOLDEN = (
    '{"architecture":"3c3d","augmentation":{"brightness":0.0,"contrast":0.0,"crop_padding":2,"horizontal_flip":0.0,'
    '"saturation":0.0},"channels":1,"classes":10,"data":{"fingerprint":"' + "ab" * 32 + '","name":"digits"},'
    '"mask":"111110","numerics":1,"precision":"fp32","seed":1,"snapshots":{"schedule":"every:5"},"split_seed":7,'
    '"training":{"batch_size":32,"epochs":5,"l2":0.002,"learning_rate":0.1,"momentum":0.0,'
    '"population_statistics":false},"variant":{"beta":{"initial":0.0,"learned_in":null,"learning_rate_factor":1.0,'
    '"status":"learned"},"gamma":{"initial":1.0,"learned_in":null,"learning_rate_factor":1.0,"status":"learned"},'
    '"name":"bn_gamma_beta","normaliser":"batch","train_weights":true},"width":0.5}'
)


def test_the_ids_of_one_run_are_pinned():
    spec = one()
    assert canonical_json(spec.resolved()) == GOLDEN
    assert spec.run_id == "digits_3c3d-bn_gamma_beta-hidden-s1-b95098ba9680"
    assert spec.setting_id == "digits_3c3d-592afdf8be92"


def test_the_ids_are_hashes_of_the_resolved_specification():
    shared = json.loads(GOLDEN)
    run_hash = hashlib.sha256(GOLDEN.encode()).hexdigest()
    assert one().run_id.endswith(run_hash[:12])
    del shared["variant"], shared["mask"], shared["seed"], shared["training"]["learning_rate"]
    del shared["snapshots"], shared["training"]["population_statistics"]
    setting = json.dumps(shared, sort_keys=True, separators=(",", ":"))
    assert one().setting_id.endswith(hashlib.sha256(setting.encode()).hexdigest()[:12])


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"size": "tiny"}, {"summary": "other"}, {"source": "other"}, {"seeds": (1, 9)},
     {"placements": ("hidden",)}, {"targets": (Target.model_validate(TARGET),)}],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_names_prose_targets_and_the_seed_list_do_not_matter(changes):
    other = one(PROBLEM.model_copy(update=changes))
    assert (other.run_id, other.setting_id) == (one().run_id, one().setting_id)


def test_what_kind_of_copy_the_data_are_follows_from_the_fingerprint():
    other = one(data=dataclasses.replace(DIGITS, origin="other copy"))
    assert other.run_id == one().run_id


CHANGES = {
    "batch size": (with_training(batch_size=33), DIGITS, {}),
    "epochs": (with_training(epochs=6), DIGITS, {}),
    "l2": (with_training(l2=0.0), DIGITS, {}),
    "momentum": (with_training(momentum=0.9), DIGITS, {}),
    "augmentation": (PROBLEM.model_copy(update={"augmentation": Augmentation()}), DIGITS, {}),
    "width": (PROBLEM.model_copy(update={"width": 0.25}), DIGITS, {}),
    "split seed": (PROBLEM.model_copy(update={"split_seed": 8}), DIGITS, {}),
    "architecture": (PROBLEM.model_copy(update={"architecture": "mlp"}), DIGITS, {}),
    "fingerprint": (PROBLEM, dataclasses.replace(DIGITS, fingerprint="ac" * 32), {}),
    "classes": (PROBLEM, dataclasses.replace(DIGITS, classes=9), {}),
    "channels": (PROBLEM, dataclasses.replace(DIGITS, channels=3), {}),
    "precision": (PROBLEM, DIGITS, {"precision": "bf16"}),
}
RECORDED = {
    "population statistics": (with_training(population_statistics=True), DIGITS, {}),
    "schedule": (PROBLEM.model_copy(update={"snapshots": Snapshots(schedule="every:4")}), DIGITS, {}),
    "probes": (PROBLEM.model_copy(update={"probes": Probes(sparsity=True)}), DIGITS, {}),
}
COMPARED = {
    "learning rate": (with_training(learning_rate=0.10000000000000002), DIGITS, {}),
    "mask": (PROBLEM, DIGITS, {"placements": ["every"]}),
    "seed": (PROBLEM, DIGITS, {"seeds": [2]}),
    "variant": (PROBLEM, DIGITS, {"variant": "bn"}),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_decides_the_numbers_makes_another_run_and_another_setting(case):
    problem, data, grid = CHANGES[case]
    other = one(problem, data, **grid)
    assert other.run_id != one().run_id
    assert other.setting_id != one().setting_id


@pytest.mark.parametrize("case", [*COMPARED, *RECORDED])
def test_what_is_compared_or_merely_recorded_makes_another_run_of_the_same_setting(case):
    problem, data, grid = (COMPARED | RECORDED)[case]
    other = one(problem, data, **grid)
    assert other.run_id != one().run_id
    assert other.setting_id == one().setting_id


def test_only_a_probe_that_is_on_is_part_of_the_specification():
    assert one(PROBLEM.model_copy(update={"probes": Probes(sparsity=False)})).run_id == one().run_id
    on = one(PROBLEM.model_copy(update={"probes": Probes(sparsity=True)}))
    assert on.resolved() == {**one().resolved(), "probes": {"sparsity": True}}


@pytest.mark.parametrize("name", ["cifar10_3c3d", "cifar100_3c3d", "cifar100_allcnnc"])
@pytest.mark.parametrize("size", ["full", "tiny"])
def test_the_problems_of_the_study_have_the_sparsity_probe_on_and_it_can_be_turned_off(name, size):
    file = find_problem(name)
    assert one(file.problem(size)).resolved()["probes"] == {"sparsity": True}
    assert "probes" not in one(file.problem(size, {"probes.sparsity": False})).resolved()


def test_no_two_changes_make_the_same_run():
    specs = [
        one(),
        *(
            one(problem, data, **grid)
            for problem, data, grid in [*CHANGES.values(), *COMPARED.values(), *RECORDED.values()]
        ),
    ]
    assert len({spec.run_id for spec in specs}) == len(specs)
    assert len({spec.setting_id for spec in specs}) == 1 + len(CHANGES)


@pytest.mark.parametrize(
    "rule",
    [AffineRule(Affine.LEARNED, 0.5), AffineRule(Affine.LEARNED, 1.0, learning_rate_factor=0.1),
     AffineRule(Affine.LEARNED, 1.0, learned_in="last:2"), AffineRule(Affine.FIXED, 1.0)],
)  # fmt: skip
def test_every_field_of_a_variants_row_makes_another_run(rule):
    (other,) = expand_grid(PROBLEM, DIGITS, [dataclasses.replace(VARIANTS.get("bn_gamma_beta"), gamma=rule)])
    assert other.run_id != one().run_id
    assert other.setting_id == one().setting_id


@pytest.mark.parametrize("equal", [("first", "first:1", "conv1", "100000"), ("hidden", "last:5", "first:5", "111110")])
def test_equal_masks_are_one_run(equal):
    specs = expand_grid(PROBLEM, DIGITS, [VARIANTS.get("bn")], placements=equal)
    assert len(specs) == 1
    assert {one(variant="bn", placements=[each]).run_id for each in equal} == {specs[0].run_id}
    assert specs[0].placement == equal[0]


def test_vanilla_has_the_empty_mask_and_serves_every_placement():
    specs = expand_grid(PROBLEM, DIGITS, ALL, placements=["hidden", "every", "first"])
    vanilla = [spec for spec in specs if spec.variant.name == "vanilla"]
    assert [(spec.mask, spec.placement) for spec in vanilla] == [("000000", "none")]
    assert len(specs) == 1 + 4 * 3
    assert one(variant="vanilla", placements=["every"]).run_id == vanilla[0].run_id


def test_a_readable_stem_that_can_be_a_folders_name():
    assert one(placements=["last:3"]).run_id.startswith("digits_3c3d-bn_gamma_beta-last3-s1-")
    assert one(placements=["conv1,dense2"]).run_id.startswith("digits_3c3d-bn_gamma_beta-mask100010-s1-")
    assert one(variant="vanilla").run_id.startswith("digits_3c3d-vanilla-none-s1-")


def test_the_identity_columns():
    spec = one(placements=["last:3"], lr_factors=[10.0], seeds=[3])
    assert dataclasses.asdict(spec.identity) == {
        "run_id": spec.run_id, "setting_id": spec.setting_id, "problem": "digits_3c3d", "size": "full",
        "variant": "bn_gamma_beta", "placement": "last:3", "mask": "001110", "learning_rate": 1.0, "seed": 3,
    }  # fmt: skip


def test_the_document_holds_the_hashed_mapping_verbatim_and_the_names():
    spec = one()
    document = spec.document()
    assert canonical_json(document.pop("spec")) == GOLDEN
    assert document == {
        "problem": "digits_3c3d", "size": "full", "placement": "hidden", "data_origin": "embedded",
        "slots": ["conv1", "conv2", "conv3", "dense1", "dense2", "dense3"],
    }  # fmt: skip
    assert spec.resolved()["numerics"] == NUMERICS_VERSION


def test_without_the_data_a_plan_lists_runs_without_ids():
    absent = dataclasses.replace(CIFAR100, fingerprint=None, origin=None)
    problem = find_problem("cifar100_allcnnc").problem()
    specs = expand_grid(problem, absent, ALL, placements=["hidden", "every"])
    assert len(specs) == 9
    for name in ("run_id", "setting_id", "identity"):
        with pytest.raises(UserError, match="dataset 'cifar100' is not on this machine"):
            getattr(specs[0], name)


def test_a_grid_runs_seed_by_seed_then_rate_then_placement_then_variant():
    specs = expand_grid(
        PROBLEM, DIGITS, (VARIANTS.get(name) for name in ("bn", "vanilla")),
        placements=["every", "hidden"], lr_factors=[1.0, 0.1], seeds=[3, 1],
    )  # fmt: skip
    order = [(spec.seed, spec.training.learning_rate, spec.placement, spec.variant.name) for spec in specs]
    assert order == [
        (3, 0.1, "every", "bn"), (3, 0.1, "none", "vanilla"), (3, 0.1, "hidden", "bn"),
        (3, 0.1 * 0.1, "every", "bn"), (3, 0.1 * 0.1, "none", "vanilla"), (3, 0.1 * 0.1, "hidden", "bn"),
        (1, 0.1, "every", "bn"), (1, 0.1, "none", "vanilla"), (1, 0.1, "hidden", "bn"),
        (1, 0.1 * 0.1, "every", "bn"), (1, 0.1 * 0.1, "none", "vanilla"), (1, 0.1 * 0.1, "hidden", "bn"),
    ]  # fmt: skip


def test_repeats_in_a_grid_are_one_run():
    specs = expand_grid(
        PROBLEM, DIGITS, [*ALL, *ALL], placements=["hidden", "111110"], lr_factors=[1, 1.0], seeds=[1, 1]
    )
    assert [spec.variant.name for spec in specs] == list(STUDIED)


def test_the_defaults_are_the_problems_first_placement_and_seed():
    (spec,) = expand_grid(PROBLEM, DIGITS, [VARIANTS.get("bn")])
    assert (spec.placement, spec.seed, spec.precision, spec.training) == ("hidden", 1, "fp32", PROBLEM.training)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_no_positive_number_is_refused(factor):
    with pytest.raises(UserError, match=r"learning-rate factor .* makes no usable learning rate of 0.1"):
        expand_grid(PROBLEM, DIGITS, ALL, lr_factors=[1.0, factor])


@pytest.mark.parametrize(("rate", "factor"), [(1e300, 1e10), (1e-300, 1e-100)])
def test_a_learning_rate_that_leaves_the_range_of_float64_is_refused(rate, factor):
    with pytest.raises(UserError, match="makes no usable learning rate"):
        expand_grid(with_training(learning_rate=rate), DIGITS, ALL, lr_factors=[factor])


def test_a_placement_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="placement 'conv9' does not fit"):
        expand_grid(PROBLEM, DIGITS, ALL, placements=["hidden", "conv9"])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_json_keeps_a_float_to_the_last_bit(value):
    assert json.loads(canonical_json({"b": value, "a": 1})) == {"a": 1, "b": value}
    assert canonical_json({"b": value, "a": 1}) == canonical_json({"a": 1, "b": value})


# ---- the founding study: eleven experiments, 105 runs a seed ----

FACTS = {"cifar10_3c3d": CIFAR10, "cifar100_3c3d": CIFAR100, "cifar100_allcnnc": CIFAR100}
EVERYWHERE = tuple(FACTS)
THREE_C_THREE_D = ("cifar10_3c3d", "cifar100_3c3d")
DEFAULT = ("hidden",)

# (figures, problems, placements, learning-rate factors, runs a seed beyond those of the rows above)
EXPERIMENTS = [
    ("4.1", EVERYWHERE, DEFAULT, (1.0,), 15),
    ("4.2, 4.3, 4.4", EVERYWHERE, DEFAULT, (0.1, 10.0), 30),
    ("4.5", ("cifar100_allcnnc",), ("every",), (1.0,), 4),
    ("A.1, A.7", THREE_C_THREE_D, ("first", "penultimate"), (1.0,), 16),
    ("A.4, A.10", THREE_C_THREE_D, ("first:3", "last:3"), (1.0,), 16),
    ("A.13", ("cifar100_allcnnc",), ("first", "penultimate", "output"), (1.0,), 12),
    ("A.16", ("cifar100_allcnnc",), ("first:4", "last:4", "output:4"), (1.0,), 12),
]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_study_has_105_runs_a_seed_with_shared_runs_shared(seeds):
    known: set[str] = set()
    new = {}
    for figures, problems, placements, factors, _ in EXPERIMENTS:
        runs = set()
        for name in problems:
            problem = find_problem(name).problem()
            specs = expand_grid(
                problem, FACTS[name], ALL, placements=placements, lr_factors=factors, seeds=problem.first_seeds(seeds)
            )
            runs |= {spec.run_id for spec in specs}
        new[figures] = len(runs - known)
        known |= runs
    assert new == {figures: count * seeds for figures, *_, count in EXPERIMENTS}
    assert len(known) == 105 * seeds


def test_every_placement_of_the_study_is_registered_with_its_problem():
    for _, problems, placements, _, _ in EXPERIMENTS:
        for name in problems:
            assert set(placements) <= set(find_problem(name).problem().placements)
