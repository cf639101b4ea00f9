"""Faults planted in the maths are noticed by the reference check although it compares no bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import invoke

SCRIPT = Path(__file__).with_name("planted.py")
FAULTS = ("wrong epsilon", "missing bias", "gamma unfrozen", "another split", "changed initialisation")
SOUND = "nothing changed"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of digits_mlp with each fault, and with none, trained in one process that is none of ours."""
    folder = tmp_path_factory.mktemp("faults")
    command = [sys.executable, str(SCRIPT), "--into", str(folder), SOUND, *FAULTS]
    tests = str(SCRIPT.parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def check(folder, *options):
    done = invoke("check", "--results", folder, "--tier", "start", "--tier", "spread", "--format", "json", *options)
    return done.exit_code, json.loads(done.stdout)


def test_what_is_sound_passes(trained):
    code, report = check(trained / SOUND)
    assert code == 0
    assert [run["compared"] for run in report["runs"]] == [True, True]
    assert all(tier["compared"] for run in report["runs"] for tier in run["tiers"].values())


@pytest.mark.parametrize(
    ("fault", "variants", "first_sign"),
    [
        ("wrong epsilon", {"bn"}, "train_eval loss before training"),
        ("missing bias", {"bn", "vanilla"}, "batch loss at step 1"),
        ("gamma unfrozen", {"bn"}, "batch loss at step 1"),
        ("another split", {"bn", "vanilla"}, "train_eval loss before training"),
        ("changed initialisation", {"bn", "vanilla"}, "train_eval loss before training"),
    ],
)
def test_a_planted_fault_is_noticed_without_comparing_bits(trained, fault, variants, first_sign):
    code, report = check(trained / fault)
    assert code == 1
    assert set(report["runs"][0]["tiers"]) == {"start", "spread"}
    failed = {run["variant"]: [each["what"] for each in run["differences"]] for run in report["runs"] if not run["ok"]}
    assert set(failed) == variants
    assert all(first_sign in signs for signs in failed.values())
