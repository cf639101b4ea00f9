"""Ids that last: what is hashed, since when, and that a field that comes later moves none."""

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from bnbench import identity
from bnbench.components.architectures import (
    ARCHITECTURES,
    Architecture,
    Conv,
    Dense,
    Flatten,
    GlobalMean,
    MaxPool,
    Norm,
    Residual,
    Subsample,
    layers_digest,
)
from bnbench.components.variants import VARIANTS, AffineRule, Variant
from bnbench.data.dataset import DATASETS
from bnbench.identity import canonical_json, hashed, run_id_of, setting_id_of
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import Augmentation, Probes, Snapshots, Training, find_problem
from bnbench.shipped import shipped_folder
from bnbench.study import find_study, plan_study, study_problem_files, study_problems

# The ids that the runs of the founding study (made-up fingerprints) and of the shipped references have had since the
# first version. Never renewed: a change here makes strangers of results that people keep.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "run_ids.json").read_text(encoding="utf-8"))
FINGERPRINTS = {"cifar10": "10" * 32, "cifar100": "64" * 32}


def thesis_specs():
    study = find_study("thesis")
    problems = study_problems(study, study_problem_files(study), "full")
    data = {name: facts(problem.dataset, FINGERPRINTS[problem.dataset]) for name, problem in problems.items()}
    return plan_study(study, problems, data, seeds=1).specs


def facts(dataset, fingerprint):
    row = DATASETS.get(dataset)
    return DataFacts(dataset, row.classes, row.channels, fingerprint, "official archive")


def reference_specs(problem):
    stored = json.loads((shipped_folder("reference") / "tiny" / problem / "reference.json").read_text("utf-8"))
    wanted = find_problem(problem).problem("tiny")
    data = DATASETS.get(wanted.dataset).identify()
    for run in stored["runs"]:
        mask = (run["mask"],) if "1" in run["mask"] else ()
        factor = run["learning_rate"] / wanted.training.learning_rate
        variant = VARIANTS.get(run["variant"])
        yield from expand_grid(wanted, data, [variant], placements=mask, lr_factors=[factor], seeds=[run["seed"]])


def test_the_ids_of_the_founding_study_stay():
    assert [spec.run_id for spec in thesis_specs()] == GOLDEN["thesis"]
    assert len(GOLDEN["thesis"]) == 105


@pytest.mark.parametrize("problem", GOLDEN["references"])
def test_the_ids_of_the_shipped_references_stay(problem):
    assert [spec.run_id for spec in reference_specs(problem)] == GOLDEN["references"][problem]
    assert len(GOLDEN["references"][problem]) == 25


def test_there_is_a_golden_list_for_every_shipped_reference():
    shipped = {path.parent.name for path in shipped_folder("reference").glob("*/*/reference.json")}
    assert shipped == set(GOLDEN["references"])


class Warmth(StrEnum):
    COLD = "cold"


def grown(model):
    """The same model with a field that came later, and has a default."""
    return type(model.__name__, (model,), {"__annotations__": {"later": Annotated[float, Field(ge=0)]}, "later": 0.5,
                                           "__module__": __name__})  # fmt: skip


@pytest.mark.parametrize("model", [Training, Augmentation, Snapshots, Probes], ids=lambda model: model.__name__)
def test_a_setting_that_comes_later_moves_no_id(model):
    (spec,) = expand_grid(find_problem("digits_mlp").problem(), facts("digits", "ab" * 32), [VARIANTS.get("bn")])
    field = model.__name__.lower()
    before = getattr(spec, field)
    later = grown(model)(**before.model_dump())
    assert later.later == 0.5
    extended = dataclasses.replace(spec, **{field: later})
    assert (extended.run_id, extended.setting_id) == (spec.run_id, spec.setting_id)
    assert extended.resolved() == spec.resolved()
    changed = dataclasses.replace(spec, **{field: later.model_copy(update={"later": 0.25})})
    assert changed.run_id != spec.run_id
    assert changed.resolved()[field]["later"] == 0.25


@dataclasses.dataclass(frozen=True)
class LaterVariant(Variant):
    warmth: Warmth = Warmth.COLD
    groups: tuple[int, ...] = (1, 2)


@dataclasses.dataclass(frozen=True)
class LaterRule(AffineRule):
    clipped: bool = False


def test_a_field_of_a_variant_or_of_its_rules_that_comes_later_moves_no_id():
    (spec,) = expand_grid(find_problem("digits_mlp").problem(), facts("digits", "ab" * 32), [VARIANTS.get("bn")])
    rule = LaterRule(**vars(spec.variant.gamma))
    extended = dataclasses.replace(spec, variant=LaterVariant(**{**vars(spec.variant), "gamma": rule}))
    assert extended.run_id == spec.run_id
    changed = dataclasses.replace(extended, variant=dataclasses.replace(extended.variant, groups=(4,)))
    assert changed.run_id != spec.run_id
    assert changed.setting_id == spec.setting_id
    assert changed.resolved()["variant"]["groups"] == [4]
    clipped = dataclasses.replace(extended.variant, gamma=dataclasses.replace(rule, clipped=True))
    assert dataclasses.replace(extended, variant=clipped).run_id != spec.run_id


def test_a_raised_revision_is_another_run():
    (spec,) = expand_grid(find_problem("digits_mlp").problem(), facts("digits", "ab" * 32), [VARIANTS.get("bn")])
    assert "revision" not in spec.resolved()["variant"]
    raised = dataclasses.replace(spec, variant=dataclasses.replace(spec.variant, revision=2))
    assert raised.run_id != spec.run_id
    assert raised.resolved()["variant"]["revision"] == 2


def test_every_founding_field_exists_and_is_hashed_at_its_default():
    for model in (Training, Augmentation, Snapshots):
        assert identity.FOUNDING[model.__name__] <= set(model.model_fields)
    (spec,) = expand_grid(find_problem("digits_mlp").problem(), facts("digits", "ab" * 32), [VARIANTS.get("bn")])
    assert set(hashed(spec.training)) == identity.FOUNDING["Training"]
    assert identity.FOUNDING["AffineRule"] <= {field.name for field in dataclasses.fields(AffineRule)}
    assert set(hashed(Augmentation())) == identity.FOUNDING["Augmentation"]
    for layer in (Conv("conv1", 3, 5), Dense("dense1", 3)):
        assert set(hashed(layer)) == identity.FOUNDING[type(layer).__name__]


def test_what_has_no_fields_or_no_json_form_is_refused():
    with pytest.raises(TypeError, match="no fields to hash"):
        hashed(3)
    with pytest.raises(TypeError, match="no JSON form"):
        hashed(dataclasses.make_dataclass("Odd", ["value"])(object()))


def test_ids_are_checked_from_the_mapping_alone():
    for spec in thesis_specs():
        mapping = json.loads(canonical_json(spec.resolved()))
        assert run_id_of(mapping, spec.placement) == spec.run_id
        assert setting_id_of(mapping) == spec.setting_id


@pytest.mark.parametrize(
    ("key", "value"),
    [("snapshots.schedule", "every:100"), ("probes.sparsity", True), ("training.population_statistics", True)],
)
def test_what_is_merely_recorded_makes_another_run_of_the_same_setting(key, value):
    file, data, bn = find_problem("digits_mlp"), facts("digits", "ab" * 32), [VARIANTS.get("bn")]
    (plain,) = expand_grid(file.problem(), data, bn)
    (other,) = expand_grid(file.problem(overrides={key: value}), data, bn)
    assert other.run_id != plain.run_id
    assert other.setting_id == plain.setting_id


# ---- a network of another package, changed under the same name (another run, another setting) ----


def narrow(channels):
    def layers(classes, width):
        return (Conv("conv1", channels, 3), Flatten(), Dense("dense1", classes, activation=False))

    return Architecture("own", "own", "a test's", "this test", image_size=8, layers=layers)


def planned_with(architecture, monkeypatch):
    """(run id, setting id, hashed mapping) of a run with that network."""
    monkeypatch.setitem(ARCHITECTURES._session, "own", architecture)
    problem = find_problem("digits_mlp").problem().model_copy(update={"architecture": "own"})
    (spec,) = expand_grid(problem, facts("digits", "ab" * 32), [VARIANTS.get("bn")])
    return spec.run_id, spec.setting_id, spec.resolved()


def test_another_packages_network_that_changes_under_its_name_gets_other_ids(monkeypatch):
    before = planned_with(narrow(16), monkeypatch)
    assert planned_with(narrow(16), monkeypatch) == before
    after = planned_with(narrow(24), monkeypatch)
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert before[2]["layers"] == layers_digest(narrow(16).layers(10, 1.0), (1, 8, 8))
    revised = planned_with(dataclasses.replace(narrow(16), revision=2), monkeypatch)
    assert revised[1] != before[1]
    assert revised[2]["architecture_revision"] == 2


def test_the_digest_of_layers_sees_kind_fields_and_shapes():
    layers = narrow(4).layers(10, 1.0)
    same = layers_digest(layers, (1, 8, 8))
    assert layers_digest(narrow(4).layers(10, 1.0), (1, 8, 8)) == same
    others = [
        layers_digest(layers, (3, 8, 8)),
        layers_digest(layers, (1, 9, 8)),
        layers_digest((dataclasses.replace(layers[0], activation=False), *layers[1:]), (1, 8, 8)),
        layers_digest((dataclasses.replace(layers[0], padding="valid"), *layers[1:]), (1, 8, 8)),
        layers_digest((dataclasses.replace(layers[0], name="conv2"), *layers[1:]), (1, 8, 8)),
    ]
    assert len({same, *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("name", "image", "digest"),
    [
        ("3c3d", (3, 32, 32), "abf3128c5b1d"),
        ("allcnnc", (3, 32, 32), "5d080dde7b1e"),
        ("mlp", (1, 28, 28), "bbf6f1d9c848"),
    ],
)
def test_the_digests_of_tables_without_blocks_are_what_they_were_before_there_were_any(name, image, digest):
    assert layers_digest(ARCHITECTURES.get(name).layers(10, 1.0), image) == digest


def test_the_digest_of_layers_sees_what_is_in_a_block_and_where():
    one, two = Conv("one", 4, 3), Conv("two", 4, 3, activation=False)
    head = (GlobalMean(), Dense("out", 10, activation=False))
    tables = [
        (one, two, *head),
        (Residual("block", (one, two)), *head),
        (Residual("block", (two,), two) , *head),
        (Residual("block", (one, two), activation=False), *head),
        (Residual("other", (one, two)), *head),
        (Residual("block", (one,)), two, *head),
        (Residual("block", (one, MaxPool(1, 1), two)), *head),
        (Residual("block", (one, two), Subsample(1, 4)), *head),
        (Residual("block", (one, two, Norm("norm"))), *head),
        (Residual("block", (one, two, Norm("norm", activation=False))), *head),
        (Residual("block", (one, dataclasses.replace(two, initialiser="kaiming_normal"))), *head),
        (Residual("block", (one, dataclasses.replace(two, padding=1))), *head),
    ]  # fmt: skip
    assert len({layers_digest(table, (4, 8, 8)) for table in tables}) == len(tables)


# ---- what a placement looks like in a folder's name ----


@pytest.mark.parametrize(
    ("placement", "mask", "shown"),
    [("hidden", "110", "hidden"), ("first:2", "110", "first2"), ("conv1,out", "101", "mask101"),
     ("block_1", "100", "mask100"), ("residual-last", "0" * 30 + "1", "residuallast"), ("stage:2", "1" * 40, "stage2"),
     ("bn1,shortcut", "10" * 12, "mask" + "10" * 12), ("bn1,shortcut", "10" * 12 + "1", "maskx47b392be")],
)  # fmt: skip
def test_a_run_id_shows_a_placement_in_a_word_or_as_a_mask_or_as_a_digest_of_a_long_one(placement, mask, shown):
    mapping = {"data": {"name": "d"}, "architecture": "a", "variant": {"name": "bn"}, "seed": 1, "mask": mask}
    assert run_id_of(mapping, placement).startswith(f"d_a-bn-{shown}-s1-")
