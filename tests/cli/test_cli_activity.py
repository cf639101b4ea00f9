"""`bnbench activity` on recorded runs: tables, JSON, CSV, mistakes."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from support.command_line import invoke
from support.synthetic_store import SyntheticRun, build_store

STEPS = [0, 10, 20, 30, 40]
CURVE = [0.1, 0.5, 0.9]
PROBE = {"probes.sparsity": True}


def ramp(final, neutral):
    return np.linspace(0, 1, len(STEPS))[:, None] * (np.asarray(final) - neutral) + neutral


def affine(gamma, beta):
    return {
        ("conv1", "gamma"): (STEPS, ramp(gamma, 1.0)),
        ("conv1", "beta"): (STEPS, ramp(beta, 0.0)),
        ("dense2", "gamma"): (STEPS, ramp([1.25, 1.75], 1.0)),
        ("dense2", "beta"): (STEPS, ramp([-0.5, 0.75], 0.0)),
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    runs = [
        SyntheticRun(
            "digits_3c3d",
            "bn_gamma_beta",
            seed,
            CURVE,
            affine=affine([0.5, gamma], [0.5, -0.25]),
            zeroed={"conv1": [0.5, 0.4, 0.2], "dense2": [0.5, 0.6, 0.7]},
            overrides=PROBE,
        )
        for seed, gamma in ((42, 2.5), (43, 3.5))
    ]
    runs += [
        SyntheticRun("digits_3c3d", "vanilla", 42, CURVE, zeroed={"conv1": [0.5, 0.5, 0.875]}, overrides=PROBE),
        SyntheticRun(
            "digits_3c3d",
            "bn_beta",
            42,
            CURVE[:2],
            epochs=2,
            affine=affine([1, 1], [1, 1]),
            diverged_at_step=12,
            overrides=PROBE,
        ),
        SyntheticRun(
            "digits_3c3d",
            "bn_gamma",
            42,
            CURVE,
            placement="first",
            affine={("conv1", "gamma"): (STEPS, ramp([3.0, 1.5], 1.0))},
            overrides=PROBE,
        ),
    ]
    return build_store(tmp_path_factory.mktemp("results"), runs)


def words(text, start):
    (found,) = [line.split() for line in text.splitlines() if line.split()[: len(start)] == start]
    return found


def test_the_tables(store):
    text = invoke("activity", "--results", store).stdout
    assert max(map(len, text.splitlines())) <= 100
    assert "digits_3c3d · BatchNorm hidden · learning rate" in text
    assert "digits_3c3d · BatchNorm first · learning rate" in text
    # |0.5 - 1| and 2.5 - 1 are 1.0 on average, with 3.5 it is 1.5; mean and deviation over the seeds.
    row = words(text, ["BN_γ,β", "γ", "conv1"])
    assert row[3:] == ["1.250", "±0.354", "1.750", "1.750", "1.250", "0.500", "3.000", "50%", "0.00", "100%", "40"]
    assert "1 of 1 diverged" in text
    zeroed = text[text.index("zeroed by ReLU: digits_3c3d · BatchNorm hidden") :]
    assert words(zeroed[: zeroed.index("BatchNorm first")], ["conv1"]) == (
        ["conv1", "0.500", "→", "0.875", "0.500", "→", "0.200"]  # vanilla, then BN_γ,β
    )
    assert "crossings: of neutral, per channel, over training; dead band ± 5% of the slot's largest deviation" in text


def test_the_way_there(store):
    text = invoke("activity", "--over-training", "--variant", "bn_gamma_beta", "--results", store).stdout
    # The last snapshot within 1, 10, 25, 50, 75 and 100 % of 40 steps: 0, 0, 10, 20, 30 and 40.
    assert words(text, ["BN_γ,β", "γ", "conv1"])[3:] == ["0.000", "0.000", "0.312", "0.625", "0.938", "1.250"]


def test_json_has_the_means_and_what_they_mean(store):
    document = json.loads(invoke("activity", "--json", "--results", store).stdout)
    assert document["definitions"]["neutral"] == {"gamma": 1.0, "beta": 0.0, "bias": 0.0, "scale": 1.0}
    rows = {(row["variant"], row["parameter"], row["slot"]): row for row in document["rows"]}
    assert len(rows) == 2 + 4 + 1
    own = rows["bn_gamma_beta", "gamma", "conv1"]
    assert (own["seeds"], own["problems"], own["diverged"]) == ([42, 43], ["digits_3c3d"], 0)
    assert own["magnitude"] == pytest.approx(1.25)
    assert rows["bn_beta", "beta", "conv1"]["magnitude"] is None
    zeroed = {(row["variant"], row["slot"]): row["final"] for row in document["zeroed_by_relu"]}
    assert zeroed == {
        ("vanilla", "conv1"): 0.875,
        ("bn_gamma_beta", "conv1"): 0.2,
        ("bn_gamma_beta", "dense2"): 0.7,
    }
    runs = json.loads(invoke("activity", "--json", "--runs", "--slot", "conv1", "--results", store).stdout)["rows"]
    assert sorted((row["variant"], row["seed"], row["parameter"]) for row in runs) == [
        ("bn_beta", 42, "beta"),
        ("bn_gamma", 42, "gamma"),
        ("bn_gamma_beta", 42, "beta"),
        ("bn_gamma_beta", 42, "gamma"),
        ("bn_gamma_beta", 43, "beta"),
        ("bn_gamma_beta", 43, "gamma"),
    ]


def test_csv_is_the_same_rows(store):
    given = ("activity", "--parameter", "gamma", "--results", store)
    rows = list(csv.DictReader(io.StringIO(invoke(*given, "--csv").stdout)))
    document = json.loads(invoke(*given, "--json").stdout)
    assert [float(row["magnitude"]) for row in rows] == [row["magnitude"] for row in document["rows"]]
    assert rows[0]["seeds"] == "42 43"
    over = list(csv.DictReader(io.StringIO(invoke(*given, "--csv", "--over-training", "--slot", "conv1").stdout)))
    assert len(over) == 3 * len(STEPS)
    assert {row["step"] for row in over} == set(map(str, STEPS))


def test_a_selection(store):
    only = invoke("activity", "digits_3c3d", "--placement", "first", "--size", "full", "--results", store).stdout
    assert "BatchNorm first" in only
    assert "BatchNorm hidden" not in only
    beta = invoke("activity", "--parameter", "beta", "--slot", "dense2", "--results", store).stdout
    assert words(beta, ["BN_γ,β", "β", "dense2"])[3] == "0.625"
    assert "conv1" not in beta
    nothing = invoke("activity", "--variant", "vanilla", "--over-training", "--results", store)
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No learned γ or β" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("digits_3c3"), ("recorded problem 'digits_3c3'", "digits_3c3d")),
        (("--variant", "bn"), ("recorded variant 'bn'", "bn_beta")),
        (("--placement", "every"), ("recorded placement 'every'", "hidden")),
        (("--parameter", "gama"), ("gama", "gamma")),
        (("--json", "--csv"), ("two forms",)),
    ],
)
def test_mistakes(arguments, needles, store):
    arguments = (arguments,) if isinstance(arguments, str) else arguments
    result = invoke("activity", *arguments, "--results", store)
    assert result.exit_code == 2
    for needle in needles:
        assert needle in result.stderr
