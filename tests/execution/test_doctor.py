"""The doctor: a good row passes every check, and each check finds what is wrong with a row that breaks its promise."""

from __future__ import annotations

import json

import pytest
import torch

from bnbench import measurement
from bnbench.execution.doctor.checks import CHECKS, USE
from bnbench.execution.doctor.examine import examine
from bnbench.execution.doctor.patient import Patient, admit, changes_for
from bnbench.execution.in_process import as_in_a_process_of_its_own
from bnbench.plugins import load_plugin
from bnbench.problem import find_problem
from bnbench.training.numerics import numerics
from support.command_line import invoke
from support.plugin_files import forgetting, normaliser, write

__all__ = ["forgetting"]
pytestmark = pytest.mark.usefixtures("forgetting")

HERE = [title for title in CHECKS if not title.startswith("works in")]


def patient(what: str, name: str, problem: str = "digits_mlp") -> Patient:
    return admit(what, name, find_problem(problem).problem("tiny", changes_for(what, name)))


def reason(what: str, name: str, title: str, problem: str = "digits_mlp") -> str | None:
    with numerics("fp32", torch.device("cpu"), 1), as_in_a_process_of_its_own():
        return CHECKS[title](patient(what, name, problem))


COUNTING = ("self.calls = self.calls + 1\nreturn x * (1 + 0.01 * self.calls)", "self.calls = 0")
BROKEN = {
    "keeps shapes": (
        normaliser("return x[..., :1]"),
        "slot conv1 gives (24, 16, 28, 1) and should give (24, 16, 28, 28)",
    ),
    "stays finite": (normaliser("return x / (x - x)"), "the training loss is not finite"),
    "is deterministic": (normaliser("return x + torch.rand(())"), "trained twice: other numbers in curves"),
    "lets gradients through": (normaliser("return x.detach()"), "no gradient reaches slots.conv1.linear.weight"),
    "leaves frozen what is frozen": (
        normaliser(
            "if self.training:\n    self.weight.data.add_(0.001)\nreturn x * self.weight.mean() + self.bias.mean()",
            "self.weight, self.bias = (nn.Parameter(torch.full((site.channels,), start)) for start in (1.0, 0.0))",
            ', affine="fused"',
        ),
        "slots.conv1.normaliser.weight, ",
    ),
    "survives a checkpoint": (normaliser(*COUNTING), "interrupted at step 3: other numbers in "),
    "replays only what stays the same": (
        normaliser(*COUNTING, ", replays=True"),
        "an update does aten.mul.Tensor",
    ),
    "works in a worker process": (
        normaliser("import multiprocessing\nassert multiprocessing.parent_process() is None, 'home'\nreturn x"),
        "the run failed: AssertionError: home",
    ),
    "works in a cluster job": (
        normaliser("from pathlib import Path\nreturn x * float(Path('scale.txt').read_text())"),
        "the run failed: FileNotFoundError: ",
    ),
}


@pytest.mark.parametrize("title", CHECKS)
def test_each_check_finds_the_row_that_breaks_its_promise(title, tmp_path, monkeypatch):
    source, told = BROKEN[title]
    (tmp_path / "scale.txt").write_text("0.5")
    monkeypatch.chdir(tmp_path)
    load_plugin(write(tmp_path, source))
    assert (reason("normalisers", "own", title, "digits_3c3d") or "").startswith(told)


@pytest.mark.parametrize("title", HERE)
def test_a_good_row_passes(title, tmp_path):
    load_plugin(write(tmp_path, normaliser()))
    assert reason("normalisers", "own", title) is None


@pytest.mark.long
def test_the_command_makes_every_check_and_says_why_one_fails(tmp_path):
    source = normaliser('if not self.training:\n    raise ValueError("no evaluation")\nreturn x')
    path = write(tmp_path, source)
    done = invoke("doctor", "own", "--plugin", path, "--problem", "digits_mlp", "--json")
    rows = {each["check"]: each for each in json.loads(done.stdout)["rows"]}
    assert done.exit_code == 1
    assert list(rows) == [USE, *CHECKS]
    assert rows[USE]["result"] == "passed"
    # It promises no replay, so there is nothing to be broken.
    told = {title: each["result"] for title, each in rows.items() if title != USE}
    assert told == dict.fromkeys(CHECKS, "failed") | {"replays only what stays the same": "passed"}
    assert "ValueError: no evaluation" in rows["keeps shapes"]["reason"]
    assert "ValueError: no evaluation" in rows["works in a cluster job"]["reason"]


def test_where_a_row_cannot_be_used_nothing_else_is_tried(tmp_path):
    path = write(tmp_path, normaliser(start='raise KeyError("no licence")'))
    done = invoke("doctor", "own_gamma_beta", "--plugin", path)
    assert done.exit_code == 1
    first, *others = done.stdout.splitlines()[4:]
    assert first.startswith(f"✗  {USE}  normaliser 'own' cannot be built: KeyError: 'no licence'. The function is")
    assert [line.split()[0] for line in others if line] == ["–"] * len(CHECKS)


def test_a_name_that_nobody_has_is_told(tmp_path):
    path = write(tmp_path, normaliser())
    done = invoke("doctor", "own_gama_beta", "--plugin", path)
    assert done.exit_code == 2
    assert "unknown row 'own_gama_beta'. Did you mean 'own_gamma_beta'?" in done.stderr
    assert invoke("doctor", "own", "--plugin", path, "--problem", "digits_mpl").exit_code == 2


OTHERS = """
from dataclasses import replace

import numpy as np

from bnbench.components.architectures import ARCHITECTURES, Dense, Flatten
from bnbench.data.dataset import DATASETS
from bnbench.measurement import Column, Table
from bnbench.components.optimisers import OPTIMISERS
from bnbench.components.probes import ProbeRow
from bnbench.components.rate_schedules import RATE_SCHEDULES
from bnbench.components.reparametrisations import REPARAMETRISATIONS
from bnbench.components.variants import VARIANTS

_calls = [0]


def _layers(classes, width):
    _calls[0] += 1
    return (Flatten(), Dense("dense1", 8 + _calls[0]), Dense("out", classes, activation=False))


def _noisy_splits(seed):
    found = DATASETS.get("digits").load_splits(seed)
    _calls[0] += 1
    return replace(found, train=replace(found.train, pixels=found.train.pixels ^ np.uint8(_calls[0] % 2)))


def forgetful(groups):
    import torch

    class Forgetful(torch.optim.SGD):
        done = 0

        def step(self, closure=None):
            self.done += 1
            for group in self.param_groups:
                group["lr"] = group["lr"] * (1 + self.done / 10)
            return super().step(closure)

    return Forgetful(groups)


def lost(options):
    from bnbench.training.events import Measured

    def measure(moment):
        yield Measured("lost", {"step": np.array([moment.step]), "value": np.array([np.nan])})

    return measure


def creeping(site, options):
    from bnbench.network.reparametrisations import Reparametrised

    class Creeping(Reparametrised):
        def forward(self, drawn):
            drawn.data.add_(0.001)
            return drawn

    return Creeping()


narrow = replace(ARCHITECTURES.get("mlp"), name="narrow", layers=_layers)
noise = replace(DATASETS.get("digits"), name="noise", load_splits=_noisy_splits,
                identify=lambda: replace(DATASETS.get("digits").identify(), name="noise"))
odd = replace(OPTIMISERS.get("sgd"), name="odd", build=f"{__name__}:forgetful", settings=())
below = replace(RATE_SCHEDULES.get("constant"), name="below", rate=lambda step, course: 0.1 - step)
nan = ProbeRow("nan", "nan", "nothing", moment="step", schedule="even:2", build=f"{__name__}:lost",
               tables=(Table("lost", "nothing", (Column("step", "int64", "step"), Column("value", "float64", "none")),
                             key=("step",)),))
crept = replace(REPARAMETRISATIONS.get("plain"), name="crept", build=f"{__name__}:creeping")
unlearned = VARIANTS.get("bn_gamma_beta").replace(name="unlearned", gamma={"learning_rate_factor": 1e-30})
"""


@pytest.mark.parametrize(
    ("what", "name", "title", "told"),
    [
        ("architectures", "narrow", "is deterministic", "trained twice: other numbers in "),
        ("datasets", "noise", "is deterministic", "trained twice: other numbers in "),
        ("optimisers", "odd", "survives a checkpoint", "interrupted at step 3: other numbers in "),
        ("rate_schedules", "below", "stays finite", "the learning rate of step 1 is -0.9"),
        ("probes", "nan", "stays finite", "table lost, column value holds a number that is not finite"),
        ("reparametrisations", "crept", "leaves frozen what is frozen", "slots.dense1.linear.weight"),
        ("variants", "unlearned", "lets gradients through", "slots.dense1.normaliser.weight, "),
    ],
)
def test_every_kind_of_row_is_looked_at(what, name, title, told, tmp_path, monkeypatch):
    monkeypatch.setattr(measurement, "TABLES", dict(measurement.TABLES))
    monkeypatch.setattr(measurement, "_declared_by", {})
    load_plugin(write(tmp_path, OTHERS))
    assert told in (reason(what, name, title) or "")


def test_what_a_row_needs_is_told_where_it_is_not_given():
    (first, *others) = examine("rate_schedules", "steps", "digits_mlp")
    assert "needs training.milestones" in (first.reason or "") and not any(each.made for each in others)
