"""What a variant makes of each slot, before anything is built; and what is refused then."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner

from bnbench.cli import main
from bnbench.components.architectures import (
    ARCHITECTURES,
    Architecture,
    Conv,
    Dense,
    Flatten,
    GlobalMean,
    slot_places,
    trace,
)
from bnbench.components.normalisers import NORMALISERS
from bnbench.components.placements import parse_placement
from bnbench.components.variants import VARIANTS, Affine, AffineRule, Variant
from bnbench.components.variants.families import ABLATIONS, ablations
from bnbench.errors import UserError
from bnbench.identity import run_id_of
from bnbench.network.build import Network
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import find_problem
from bnbench.slot_plan import has_bias, hashed_variant, plan_slots
from bnbench.specification import VariantSpecification
from bnbench.storage.document import document_text, make_document, read_document

DIGITS = DataFacts("digits", 10, 1, "ab" * 32, "embedded")
OWN = [name for name in VARIANTS if not VARIANTS.is_third_party(name)]
LEARNED = AffineRule(Affine.LEARNED, 1.0), AffineRule(Affine.LEARNED, 0.0)


def planned(variant, problem="digits_3c3d", placement="hidden", **fields):
    row = VARIANTS.get(variant) if isinstance(variant, str) else variant
    chosen = find_problem(problem).problem().model_copy(update=fields)
    (spec,) = expand_grid(chosen, DIGITS, [row], placements=[placement])
    return spec


def mine(normaliser="batch", **fields):
    return Variant("mine", "M", "a test's", normaliser, *LEARNED, **fields)


# ---- rows ----


def test_the_four_ablations_of_a_family_differ_in_what_is_learned_and_in_nothing_else():
    for family, normaliser, weights in (
        ("ln", "layer", "plain"), ("in", "instance", "plain"), ("gn", "group", "plain"), ("wn", "none", "weight_norm"),
    ):  # fmt: skip
        rows = [VARIANTS.get(f"{family}{suffix}") for suffix in ABLATIONS]
        assert [(row.gamma.is_learned, row.beta.is_learned) for row in rows] == [
            (False, False), (False, True), (True, False), (True, True),
        ]  # fmt: skip
        for row in rows:
            assert (row.normaliser, row.weights, row.gamma.initial, row.beta.initial) == (normaliser, weights, 1.0, 0.0)
    derived = ablations("bn", "BN", "x", normaliser="batch")
    for row, suffix in zip(derived, ABLATIONS, strict=True):
        assert hashed_variant(row) == hashed_variant(VARIANTS.get(f"bn{suffix}"))
        assert row.symbol == VARIANTS.get(f"bn{suffix}").symbol


def test_names_and_symbols_are_each_rows_own():
    rows = [VARIANTS.get(name) for name in OWN]
    assert len({row.symbol for row in rows}) == len(rows)
    assert len({json.dumps({**hashed_variant(row), "name": ""}, sort_keys=True) for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("variant", "fields"),
    [("bn_last_only", {"gamma.learned_in": "last:1", "beta.learned_in": "last:1"}),
     ("bn_output_only", {"gamma.learned_in": "output", "beta.learned_in": "output"}),
     ("bn_gamma_output", {"gamma.learned_in": "output", "beta.learned_in": None, "beta.status": "learned"}),
     ("bn_g01", {"gamma.initial": 0.1, "gamma.learning_rate_factor": 1.0}),
     ("bn_slow_gamma", {"gamma.initial": 1.0, "gamma.learning_rate_factor": 0.01}),
     ("bn_davis", {"gamma.initial": 0.1, "gamma.learning_rate_factor": 0.01}),
     ("bn_g01_fixed", {"gamma.initial": 0.1, "gamma.status": "fixed", "beta.status": "learned"}),
     ("bn_u", {"gamma.initial": 0.0, "gamma.initial_until": 1.0, "gamma.status": "learned"}),
     ("bn_u_frozen", {"gamma.initial_until": 1.0, "gamma.status": "fixed", "beta.status": "fixed"}),
     ("bn_only", {"train_weights": False, "weights_in": None, "gamma.initial_until": 1.0}),
     ("bn_only_output", {"train_weights": False, "weights_in": "output", "gamma.initial_until": 1.0}),
     ("output_only", {"train_weights": False, "weights_in": "output", "gamma.status": "fixed"}),
     ("bn_only_ones", {"train_weights": False, "gamma.initial": 1.0, "gamma.initial_until": None}),
     ("affine", {"normaliser": "none", "gamma.status": "learned", "beta.status": "learned"}),
     ("affine_only", {"normaliser": "none", "train_weights": False, "gamma.status": "learned"}),
     ("bias_only", {"normaliser": "none", "train_weights": False, "gamma.status": "fixed", "beta.status": "learned"}),
     ("bn_zero_last", {"gamma.initial": 1.0, "gamma.initial_in": ("residual-last", 0.0)}),
     ("bn_beta1", {"beta.initial": 1.0, "gamma.initial": 1.0})],
)  # fmt: skip
def test_rows_of_the_literature(variant, fields):
    row = VARIANTS.get(variant)
    for path, value in fields.items():
        found = row
        for part in path.split("."):
            found = getattr(found, part)
        assert found == value, path


# ---- bias and counts ----


@pytest.mark.parametrize(
    ("variant", "bias"),
    [("vanilla", True), ("bn", False), ("ln", False), ("in_gamma_beta", False), ("gn_beta", False), ("affine", False),
     ("affine_gamma", False), ("bias_only", False), ("wn", False), ("wn_gamma", False), ("wn_beta", True),
     ("wn_gamma_beta", True), ("ws_gn", False), ("ws_scaled", True), ("random_entries", False)],
)  # fmt: skip
def test_whether_a_slot_has_a_bias(variant, bias):
    row = VARIANTS.get(variant)
    assert has_bias(row, carries=True) is bias
    assert has_bias(row, carries=False)
    told = hashed_variant(row)
    assert told.get("bias") == (None if row.normaliser != "none" or bias else False)


@pytest.mark.parametrize("architecture", ["3c3d", "allcnnc", "mlp"])
def test_every_row_is_built_as_it_was_planned(architecture):
    layers = ARCHITECTURES.get(architecture).layers(10, 0.25)
    size = ARCHITECTURES.get(architecture).image_size
    image = (1, size, size)
    places = slot_places(layers)
    for name in OWN:
        row = VARIANTS.get(name)
        for placement in ("hidden", "every", "first", "last:2"):
            mask = parse_placement(placement, places) if row.alters_slots else "0" * len(places)
            try:
                plans = plan_slots(row, trace(layers, image), places, mask)
            except UserError as error:
                assert name.startswith("in") or name == "bn_zero_last", (name, error)
                continue
            with torch.device("meta"):
                built = Network(layers, image, mask, row)
            for plan in plans:
                slot = built.slots[plan.site.slot]
                assert (slot.linear.bias is not None) is plan.bias, (name, placement, plan)
                learned = sum(each.numel() for each in slot.parameters() if each.requires_grad)
                assert learned == plan.learned, (name, placement, plan)
                own = slot.roles()
                assert sorted(map(id, slot.parameters())) == sorted(id(each) for role in own.values() for each in role)


def test_normalisers_of_a_family_have_equally_many_parameters():
    totals = {}
    for family in ("bn", "ln", "gn", "in"):
        for suffix in ABLATIONS:
            spec = planned(f"{family}{suffix}", placement="first:3")
            totals[family, suffix] = sum(plan.learned for plan in spec.slot_plans())
    for suffix in ABLATIONS:
        assert len({totals[family, suffix] for family in ("bn", "ln", "gn", "in")}) == 1
    assert totals["ln", "_gamma_beta"] - totals["ln", ""] == 2 * (16 + 24 + 32)
    entries = sum(plan.learned for plan in planned("random_entries", placement="first:3").slot_plans())
    assert entries == 2 * (16 + 24 + 32)


# ---- options ----


def test_options_come_to_something_at_every_slot_and_are_kept():
    spec = planned("gn_gamma_beta", problem="digits_allcnnc", width=0.5)
    options = spec.document()["slot_options"]
    assert options == {f"conv{k}": {"groups": 24 if k < 4 else 32} for k in range(1, 9)}
    assert "slot_options" not in planned("bn").document()
    assert planned("bn_ghost16", placement="first").document()["slot_options"] == {"conv1": {"chunk": 16}}
    assert planned("wn_init", placement="first").document()["slot_options"] == {"conv1": {"start": "batch"}}


def test_given_options_are_hashed_as_they_are_read_and_defaults_are_not():
    plain = planned(mine("batch_noisy"))
    whole, number = (planned(mine("batch_noisy", options={"shift": value})) for value in (1, 1.0))
    assert "options" not in plain.resolved()["variant"]
    assert whole.resolved()["variant"]["options"] == {"shift": 1.0}
    assert whole.run_id == number.run_id != plain.run_id
    assert hash(mine("group", options={"groups": 4})) == hash(mine("group", options={"groups": 4}))
    assert mine("group", options={"groups": 4}) != mine("group", options={"groups": 8})


def test_a_later_revision_of_a_component_is_another_run(monkeypatch):
    before = planned("gn").run_id
    revised = dataclasses.replace(NORMALISERS.get("group"), revision=2)
    monkeypatch.setitem(NORMALISERS._rows, "group", revised)
    assert planned("gn").run_id != before
    assert planned("gn").resolved()["variant"]["normaliser_revision"] == 2


@pytest.mark.parametrize("name", OWN)
def test_what_is_hashed_of_a_row_can_be_read_back(name):
    told = json.loads(json.dumps(hashed_variant(VARIANTS.get(name))))
    read = VariantSpecification.model_validate(told)
    assert read.model_dump(mode="json", exclude_unset=True) == told
    assert sorted(read.placements()) == sorted(VARIANTS.get(name).placements().values())


def document(**changes):
    spec = planned("gn_gamma_beta")
    fields = {
        "run_id": spec.run_id, "setting_id": spec.setting_id, **spec.document(), "status": "failed",
        "error": "a test's", "provenance": {},
    }  # fmt: skip
    return make_document({**fields, **changes})


def test_run_json_keeps_the_options_and_reads_them_strictly(tmp_path):
    kept = document()
    assert kept.slot_options["conv1"] == {"groups": 8}
    folder = tmp_path / kept.run_id
    folder.mkdir()
    (folder / "run.json").write_text(document_text(kept), encoding="utf-8")
    assert read_document(folder) == kept
    assert "slot_options" not in document_text(document(slot_options={}))
    for wrong, message in (
        ({"dense3": {"groups": 2}}, "the slot dense3, which carries nothing"),
        ({"conv9": {"groups": 2}}, "the slot conv9, which carries nothing"),
        ({"conv1": {}}, "at least 1 item"), ({"conv1": {"Groups": 2}}, "match pattern"),
        ({"conv1": {"groups": [2]}}, "slot_options"), ({"conv1": 2}, "slot_options"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            document(slot_options=wrong)


def test_ids_of_rows_with_a_placement_of_their_own_are_checked_from_the_mapping():
    for name in ("bn_last_only", "bn_only_output", "affine"):
        spec = planned(name)
        assert run_id_of(json.loads(json.dumps(spec.resolved())), spec.placement) == spec.run_id


# ---- what cannot be ----


def tiny(*layers):
    return Architecture("tiny", "Tiny", "a test's", "a test", 8, lambda classes, width: layers)


REFUSED = [
    (mine("grup"), {}, "variant 'mine': unknown normaliser 'grup'. Did you mean 'group'?\nKnown normalisers: none,"),
    (mine(weights="weigth_norm"), {}, "unknown reparametrisation 'weigth_norm'. Did you mean 'weight_norm'?"),
    (mine("group", options={"group": 4}), {},
     "variant 'mine': normaliser 'group': unknown option 'group'. Did you mean 'groups'?"),
    (mine("group", options={"groups": 0}), {},
     "normaliser 'group': option groups = 0: should be a whole number, at least 1"),
    (mine("group", options={"groups": 4.0}), {}, "option groups = 4.0: should be a whole number"),
    (mine("group", options={"groups": True}), {}, "option groups = True: should be a whole number"),
    (mine("batch_noisy", options={"shift": float("inf")}), {}, "option shift = inf: should be a finite number"),
    (mine("batch", options={"groups": 4}), {}, "normaliser 'batch' has no options of its own, so no 'groups'"),
    ("in", {}, "variant 'in': Instance Normalization cannot be at dense1, dense2 (a dense slot, which has no map)\n"
     "Choose a placement without: --placement conv1,conv2,conv3."),
    ("bn_ghost16", {"training.batch_size": 40}, "Ghost Batch Normalization cannot be at conv1, conv2, conv3, dense1, "
     "dense2 (a chunk of 16 images does not divide a batch of 40)\nUse a batch that it divides"),
    (mine("none", weights="weight_standardisation"), {}, "weight standardization needs a normaliser behind it"),
    (mine("batch", weights="weight_norm"), {}, "takes γ and β itself, so normaliser should be 'none'"),
    (dataclasses.replace(mine("none", weights="weight_norm"), gamma=AffineRule(Affine.LEARNED, 0.5)), {},
     "weight normalization takes γ and β itself, as its scale and the slot's bias"),
    (mine("none", weights="weight_norm", weights_options={"start": "bach"}), {},
     "option start = 'bach': should be 'drawn' or 'batch'"),
    ("bn_zero_last", {}, "variant 'bn_zero_last': gamma.initial_in: placement 'residual-last' does not fit"),
    (mine(train_weights=False, weights_in="outputs"), {}, "weights_in: placement 'outputs' does not fit"),
]  # fmt: skip


@pytest.mark.parametrize(("variant", "changes", "message"), REFUSED)
def test_what_cannot_be_is_refused_when_it_is_planned(variant, changes, message):
    problem = find_problem("digits_3c3d").problem(overrides=changes)
    row = VARIANTS.get(variant) if isinstance(variant, str) else variant
    with pytest.raises(UserError) as caught:
        expand_grid(problem, DIGITS, [VARIANTS.get("bn"), row])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "variant", "message"),
    [((Conv("conv1", 4, 7, padding="valid"), Conv("conv2", 4, 2, padding="valid"), Flatten(), Dense("dense1", 10)),
      "in", "cannot be at conv2 (a map of 1 position, fewer than 4)\nChoose a placement without: --placement conv1."),
     ((Conv("conv1", 4, 1), GlobalMean(), Dense("dense1", 10)), "ws_gn", "cannot be at conv1 (one weight a channel"),
     ((Flatten(), Dense("dense1", 3), Dense("dense2", 10)), "ln", "cannot be at dense1 (3 numbers an image"),
     ((Flatten(), Dense("dense1", 1), Dense("dense2", 10)), "gn", "cannot be at dense1 (1 number an image"),
     ((Conv("conv1", 4, 1), GlobalMean(), Dense("dense1", 10)), "random_entries", "1 weights a channel, fewer than 2")],
)  # fmt: skip
def test_slots_that_are_too_small_are_named(layers, variant, message, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES._rows, "tiny", tiny(*layers))
    with pytest.raises(UserError) as caught:
        planned(variant, architecture="tiny", width=1.0)
    assert message in str(caught.value)


def invoke(*arguments):
    done = CliRunner().invoke(main, arguments)
    return done.exit_code, done.output


def test_the_command_line_refuses_with_exit_code_2_and_writes_nothing(tmp_path):
    code, output = invoke("run", "digits_3c3d", "--variant", "in", "--size", "tiny", "--results", str(tmp_path / "R"))
    assert code == 2
    assert "Instance Normalization cannot be at dense1, dense2" in output
    assert not (tmp_path / "R").exists()


def test_show_says_what_options_come_to_and_what_is_learned_where():
    code, output = invoke("show", "digits_3c3d", "--variant", "gn_gamma_beta")
    assert code == 0
    assert "groups 8" in output
    code, output = invoke("show", "digits_3c3d", "--variant", "bn_last_only")
    assert code == 0
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip().startswith(("conv", "dense"))}
    assert "fixed" in lines["conv1"]
    assert "learned" not in lines["conv1"]
    assert "learned" in lines["dense2"]
    assert "options" not in output
