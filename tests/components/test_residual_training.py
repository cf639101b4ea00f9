"""A residual network from a problem file to tables: trained, recorded, read, shown."""

import json
from pathlib import Path

import pandas as pd
import pytest

import bnbench
from bnbench.analysis.frames import open_results
from bnbench.components.architectures import (
    ARCHITECTURES,
    Architecture,
    Conv,
    Dense,
    GlobalMean,
    Norm,
    Residual,
    Subsample,
)
from bnbench.storage.document import read_document
from support.command_line import invoke

PROBLEM = Path(__file__).with_name("digits_resnet8.toml")
PLACEMENTS = ("residual-last", "bn1,shortcut")
SITES = ["stem", "s1b1c1", "s1b1", "s2b1c1", "s2b1", "s3b1c1", "s3b1"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    bnbench.run(
        str(PROBLEM), ["vanilla", "bn_gamma_beta"], placements=PLACEMENTS, results=folder, workers=0, progress=False
    )
    return folder


def records(store):
    return {record.identity.placement: record for record in open_results(store).records}


def test_runs_are_recorded_under_plain_names_with_the_roles_of_their_slots(store):
    names = sorted(folder.name for folder in store.iterdir() if (folder / "run.json").exists())
    shown = [name.rpartition("-s1-")[0] for name in names]
    assert shown == [
        "digits_resnet8-bn_gamma_beta-bn2",
        "digits_resnet8-bn_gamma_beta-mask0101101100",
        "digits_resnet8-vanilla-none",
    ]
    for name in names:
        written = json.loads((store / name / "run.json").read_text("utf-8"))
        assert [each["role"] for each in written["roles"]] == [
            "stem", "bn1", "bn2", "shortcut", "bn1", "bn2", "shortcut", "bn1", "bn2", "output",
        ]  # fmt: skip
        assert "roles" not in json.dumps(written["spec"])
        assert read_document(store / name).places[3].block == "s2b1"
    assert set(records(store)) == {"bn2", "bn1,shortcut", "none"}
    assert records(store)["bn1,shortcut"].normalised_slots == ["s1b1c1", "s2b1sc", "s2b1c1", "s3b1sc", "s3b1c1"]


def test_nothing_is_trained_twice_whatever_the_placement_is_called(store):
    again = invoke("run", PROBLEM, "--variant", "bn_gamma_beta", "--placement", "shortcut,bn1", "--placement", "bn2",
                   "--results", store, "--dry-run")  # fmt: skip
    assert again.exit_code == 0, again.output
    assert "finished" in again.output
    assert "new" not in again.output


def test_gamma_beta_and_biases_are_in_every_slot_where_they_are(store):
    record = records(store)["bn2"]
    found = open_results(store).trajectory_names(record.identity.run_id)
    assert [slot for slot, parameter in found if parameter == "gamma"] == ["s1b1c2", "s2b1c2", "s3b1c2"]
    assert [slot for slot, parameter in found if parameter == "bias"] == [
        "out", "s1b1c1", "s2b1c1", "s2b1sc", "s3b1c1", "s3b1sc", "stem",
    ]  # fmt: skip


def test_sparsity_has_a_row_for_every_relu_and_epoch_in_the_networks_order(store):
    for record in open_results(store).records:
        rows = pd.read_parquet(store / record.identity.run_id / "sparsity.parquet")
        assert list(rows["slot"]) == SITES * 2
        assert rows["zeroed"].between(0, 1).all()


def test_the_tables_of_activity_and_sparsity_name_slots_and_blocks(store):
    shown = invoke("activity", "--results", store, "--placement", "bn2")
    assert shown.exit_code == 0, shown.output
    affine, _, sparsity = shown.output.partition("zeroed by ReLU")
    assert all(slot in affine for slot in ("s1b1c2", "s3b1c2"))
    lines = [line.split()[0] for line in sparsity.splitlines() if line.split()]
    assert [line for line in lines if line in SITES] == SITES


def test_show_prints_what_is_in_a_block_indented_with_roles():
    result = invoke("show", PROBLEM, "--placement", "bn1,shortcut")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert "placement bn1,shortcut (mask 0101101100)" in result.output
    assert lines["s2b1"].startswith("s2b1 ")
    assert "stage 2" in lines["s2b1"]
    assert "block: body plus the shortcut, ReLU" in lines["s2b1"]
    assert lines["s2b1sc"].startswith("  s2b1sc  shortcut")
    assert "conv 1×1/2 pad 0" in lines["s2b1sc"]
    assert "learned" in lines["s2b1sc"]
    assert "learned" not in lines["s2b1c2"]
    assert lines["stem"].startswith("stem ")
    assert "block: body plus its input, ReLU" in lines["s1b1"]
    total = sum(int(lines[name].split()[-2].replace(",", "")) for name in lines if name[:1] == "s" and name[2:] in {
        "em", "b1c1", "b1c2", "b1sc"})  # fmt: skip
    out = int(lines["out"].split()[-2].replace(",", ""))
    assert f"{total + out:,}" in lines["in"]


def test_show_counts_nothing_for_a_normaliser_that_stands_alone_and_is_not_placed(tmp_path, monkeypatch):
    monkeypatch.setattr(ARCHITECTURES, "_session", {})

    def layers(classes, width):
        block = Residual("one", (Norm("before"), Conv("conv", 3, 3, activation=False)), Subsample(1, 3))
        return (Norm("input", activation=False), block, GlobalMean(), Dense("out", classes, activation=False))

    bnbench.register_architecture(Architecture("alone", "Alone", "", "this test", 8, layers))
    problem = tmp_path / "alone.toml"
    problem.write_text(
        PROBLEM.read_text("utf-8").replace("resnet8", "alone").replace('"residual-last"', '"before"'), "utf-8"
    )
    result = invoke("show", problem, "--placement", "before")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split() for line in result.output.splitlines() if line.split()}
    assert lines["input"][:3] == ["input", "stem", "normaliser"]
    assert lines["input"][-2:] == ["0", "0.0"]
    assert lines["before"][-2:] == ["2", "0.0"]  # γ and β of one channel
    assert "shortcut: every pixel of 1, zeros to 3 channels" in result.output


def test_a_misspelt_role_or_slot_is_a_users_mistake_with_the_grammar(tmp_path):
    for placement, meant in (("bn3", "bn"), ("shortcuts", "shortcut"), ("s1b1cc", "s1b1c")):
        result = invoke("run", PROBLEM, "--placement", placement, "--results", tmp_path / "none")
        assert result.exit_code == 2
        assert (
            f"'{placement}' is neither a placement nor a slot of this network; did you mean '{meant}" in result.output
        )
        assert "residual-last" in result.output
        assert not (tmp_path / "none").exists()
