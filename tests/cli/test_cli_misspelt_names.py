"""A misspelt name of anything that runs are made of: one message, which says what was meant and what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command_line import invoke
from support.plugin_files import forgetting, write

__all__ = ["forgetting"]

RESIDUAL = """
summary = "x"
source = "this test"
dataset = "digits"
architecture = "resnet8"
placements = ["hidden"]
seeds = [1]
split_seed = 2

[training]
batch_size = 4
epochs = 1
learning_rate = 0.1
"""
ROWS = """
from bnbench.components.variants import VARIANTS

_gn = VARIANTS.get("gn_gamma_beta")
option = _gn.replace(name="option", options={"group": 8})
value = _gn.replace(name="value", options={"groups": 0.5})
normaliser = _gn.replace(name="normaliser", normaliser="groop")
weights = _gn.replace(name="weights", weights="weight_nrom")
learned = _gn.replace(name="learned", gamma={"learned_in": "outptu"})
"""


def refused(*arguments: object, results: Path) -> str:
    done = invoke("run", *arguments, "--results", results)
    assert done.exit_code == 2
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert not results.exists(), "nothing was written"
    return done.stderr.removeprefix("Loading torch and looking at what is there …\n")


@pytest.mark.parametrize(
    ("arguments", "problem", "known"),
    [
        (("--variant", "gn_gama"), "unknown variant 'gn_gama'. Did you mean 'gn_gamma'?", "Known variants: vanilla, "),
        (("--set", "training.optimiser=adamv"), "unknown optimiser 'adamv'. Did you mean 'adamw'?", ": sgd, adamw."),
        (("--set", "training.schedule=cosin"), "rate schedule 'cosin'. Did you mean 'cosine'?", "steps, cosine."),
        (("--set", "training.momentun=1"), "Did you mean 'training.momentum'?", "Known keys: training.batch_size, "),
        (("--set", "training.optimiser_options.x=1"), "optimiser 'sgd' has no options of its own, so no 'x'", ""),
        (("--set", "probes.landscap=true"), "Did you mean 'probes.landscape'?", "probes.spectrum.order"),
        (("--set", "probes.spectrum.ordre=9"), "Did you mean 'probes.spectrum.order'?", "probes.spectrum.order"),
        (("--placement", "hiden"), "a slot of this network; did you mean 'hidden'?", "A placement is one of\n  hidden"),
        (("--placement", "conv11"), "did you mean 'conv1'?", "This network's slots: conv1 conv2 conv3 dense1 "),
        (("--placement", "first:9"), "placement 'first:9' does not fit: ", "This network's slots: conv1 conv2 "),
    ],
)
def test_of_a_command(arguments, problem, known, tmp_path):
    told = refused("digits_3c3d", *arguments, results=tmp_path / "results")
    assert told.startswith("Error: ") and problem in told.splitlines()[0] and known in told


@pytest.mark.parametrize(
    ("role", "problem"),
    [
        ("bn4", "did you mean 'bn1'?"),
        ("shortcuts", "did you mean 'shortcut'?"),
        ("residual-lats", "did you mean 'residual-last'?"),
        ("stage:9", "here the K of stage:K is a number from 1 to 3."),
        ("s9b1c1", "did you mean 's1b1c1'?"),
    ],
)
def test_of_a_role(role, problem, tmp_path):
    (tmp_path / "residual.toml").write_text(RESIDUAL, encoding="utf-8")
    told = refused(tmp_path / "residual.toml", "--placement", role, results=tmp_path / "results")
    assert problem in told.splitlines()[0]
    assert "residual-last     the last slot of each block's body" in told and "slots: stem s1b1c1 s1b1c2" in told


@pytest.mark.parametrize(
    ("right", "wrong", "problem", "known"),
    [
        (
            "resnet8",
            "resnet8b",
            "unknown architecture 'resnet8b'. Did you mean 'resnet8",
            "Known architectures: 3c3d, ",
        ),
        ("digits", "digit", "unknown dataset 'digit'. Did you mean 'digits'?", "Known datasets: cifar10, "),
    ],
)
def test_of_a_problem_file(right, wrong, problem, known, tmp_path):
    (tmp_path / "mine.toml").write_text(RESIDUAL.replace(f'"{right}"', f'"{wrong}"'), encoding="utf-8")
    told = refused(tmp_path / "mine.toml", results=tmp_path / "results")
    assert problem in told.splitlines()[0] and known in told


@pytest.mark.usefixtures("forgetting")
@pytest.mark.parametrize(
    ("name", "problem", "known"),
    [
        ("option", "unknown option 'group'. Did you mean 'groups'?", "Known options: groups."),
        ("value", "normaliser 'group': option groups = 0.5: should be a whole number", "groups: groups of channels"),
        ("normaliser", "unknown normaliser 'groop'. Did you mean 'group'?", "Known normalisers: none, batch, "),
        ("weights", "unknown reparametrisation 'weight_nrom'. Did you mean 'weight_norm'?", "Known reparametrisations"),
        ("learned", "gamma.learned_in: placement 'outptu' does not fit", "did you mean 'output'?"),
    ],
)
def test_of_a_row(name, problem, known, tmp_path):
    plugin = write(tmp_path, ROWS)
    told = refused("digits_3c3d", "--plugin", plugin, "--variant", name, results=tmp_path / "results")
    assert told.startswith(f"Error: variant '{name}': ") and problem in told.splitlines()[0] and known in told
