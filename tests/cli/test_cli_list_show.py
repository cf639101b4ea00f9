"""What answers without training: help, list, show, data, env."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import bnbench
from bnbench.execution.components import REGISTRIES
from support.command_line import invoke
from support.synthetic_cifar import install_synthetic

COMMANDS = ("list", "show", "run", "status", "rank", "activity", "doctor", "data", "env")


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("list",), ("run", "--help"), ("list", "--variants"), ("list", "--datasets"), ("list", "--probes")],
    ids=" ".join,
)
def test_help_and_list_do_without_torch(arguments):
    code = f"""
import sys
from bnbench.cli import main
try:
    main({list(arguments)!r}, prog_name="bnbench")
except SystemExit as end:
    print(end.code, "torch" in sys.modules, "pandas" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == "0 False False"
    assert any(word in done.stdout for word in ("bnbench", "digits_mlp", "bn_gamma_beta", "digits", "landscape"))


def test_the_group_names_every_command_and_where_to_start():
    text = invoke("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert "bnbench run digits_3c3d --variant all" in text
    assert invoke("--version").stdout == f"bnbench, version {bnbench.__version__}\n"


@pytest.mark.parametrize(
    "path",
    [
        *((name,) for name in COMMANDS if name not in ("data", "env")),
        ("data", "fetch"),
        ("data", "import"),
        ("data", "verify"),
    ],
    ids=" ".join,
)
def test_help_shows_an_example(path):
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"  bnbench {' '.join(path)}" in result.stdout


def test_list_has_a_row_for_each_placement():
    listed = json.loads(invoke("list", "--json").stdout)
    table = invoke("list").stdout.split("\n\n")[0]  # the studies stand below
    assert [each["name"] for each in listed] == [line.split()[0] for line in table.splitlines() if "(default)" in line]
    assert {"cifar10_3c3d", "cifar100_3c3d", "cifar100_allcnnc", "digits_mlp"} <= {each["name"] for each in listed}
    rows = len(table.splitlines()) - 1
    assert rows == sum(len(each["placements"]) for each in listed)
    some = invoke("list", "cifar100_*").stdout
    assert "cifar100_allcnnc" in some
    assert "digits" not in some


def test_list_has_a_table_for_everything_that_runs_are_made_of():
    for what, registry in REGISTRIES.items():
        flag = f"--{what.replace('_', '-')}"
        listed = json.loads(invoke("list", flag, "--json").stdout)
        assert [each["name"] for each in listed["rows"]] == registry.names()
        assert flag in invoke("list", "--help").stdout
    shown = invoke("list", "--normalisers", "group", "batch_g*").stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["name", "group", "batch_ghost"]
    assert "Wu & He 2018" in shown and "groups = 32" in shown and "chunk = 16" in shown
    misspelt = invoke("list", "--optimisers", "adamv")
    assert misspelt.exit_code == 2
    assert misspelt.stderr == "Error: unknown optimiser 'adamv'. Did you mean 'adamw'?\nKnown optimisers: sgd, adamw.\n"


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (("cifar10_3c3d", "--variant", "vanilla"), "895,210"),
        (("cifar100_allcnnc", "--variant", "vanilla"), "1,387,108"),
    ],
)
def test_show_counts_the_parameters(arguments, parameters):
    total = next(line for line in invoke("show", *arguments).stdout.splitlines() if line.strip().startswith("in all"))
    assert parameters in total


def test_show_marks_the_slots_of_the_placement():
    lines = invoke("show", "digits_mlp", "--placement", "first", "--variant", "bn_gamma").stdout.splitlines()
    slots = {line.split()[0]: line for line in lines if line.strip().startswith("dense")}
    assert "learned" in slots["dense1"]
    assert all("learned" not in line for name, line in slots.items() if name != "dense1")
    assert any("no target" in line for line in lines)


def test_show_takes_settings_and_says_what_memory_a_probe_needs(tmp_path):
    shown = invoke("show", "cifar10_3c3d", "--set", "probes.spectrum=true", "--set", "training.epochs=7").stdout
    assert "7 epochs" in shown
    (probes,) = [line.split("probes", 1)[1].strip() for line in shown.splitlines() if line.split()[:1] == ["probes"]]
    needed = re.search(r"^sparsity, spectrum \(up to ([\d.]+) GB\)$", probes)
    assert needed is not None
    # The number is the one by which a run is refused.
    settings = ("--size", "tiny", "--set", "probes.spectrum=true")
    shown = invoke("show", "cifar10_3c3d", *settings).stdout
    (told,) = re.findall(r"spectrum \(up to ([\d.]+) GB\)", shown)
    refused = invoke("run", "cifar10_3c3d", *settings, "--probe-memory", "0.0001", "--results", tmp_path)
    assert refused.exit_code == 2
    assert f"probe 'spectrum' needs {told} GB" in refused.stderr


def test_env_names_versions_and_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "here"))
    lines = dict(line.split(maxsplit=1) for line in invoke("env").stdout.splitlines())
    assert lines["bnbench"].startswith(bnbench.__version__)
    assert lines["data"] == str(tmp_path / "here")
    assert {"torch", "python", "processor", "problems"} <= lines.keys()


def test_data_lists_and_verifies(monkeypatch, tmp_path):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path))
    manifest = install_synthetic(tmp_path, "cifar10", train=20, test=10)
    listed = invoke("data", "list")
    rows = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert manifest.fingerprint[:12] in rows["cifar10"]
    assert "bnbench data fetch cifar100" in listed.stderr
    assert "bnbench data fetch cifar10`" not in listed.stderr
    intact = invoke("data", "verify", "cifar10")
    assert intact.exit_code == 0
    assert manifest.fingerprint in intact.stdout


def test_data_verify_finds_a_changed_pixel(monkeypatch, tmp_path):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path))
    install_synthetic(tmp_path, "cifar10", train=20, test=10)
    pixels = max(tmp_path.rglob("*.npy"), key=lambda path: path.stat().st_size)
    content = bytearray(pixels.read_bytes())
    content[-1] ^= 1
    pixels.chmod(0o644)
    pixels.write_bytes(content)
    damaged = invoke("data", "verify", "cifar10")
    assert damaged.exit_code == 1
    assert "DAMAGED" in damaged.stderr
