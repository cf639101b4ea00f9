"""Breaks the maths on purpose, in a process of its own, and asks the reference check whether it notices.

    python tests/faults/planted.py                 every fault; prints what `bnbench check` says of each
    python tests/faults/planted.py --into FOLDER NAME...   only trains, into FOLDER/NAME

`PLANTED` are mistakes that an implementation of this study could make; the check has to notice each without comparing
bits. `SUBTLE` are smaller or rarer ones, to find out what it cannot see: docs/reference-check.md lists the outcome.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
import sklearn.model_selection
import torch

from bnbench.components.variants import VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.execution import run as run_module
from bnbench.execution.options import RunOptions
from bnbench.execution.run import execute
from bnbench.network import batch_parts, normalisers
from bnbench.network.build import Network
from bnbench.network.layers import Slot
from bnbench.plan import RunSpec, expand_grid
from bnbench.problem import find_problem
from bnbench.storage.recorder import RunRecorder
from bnbench.training import evaluation, loop, optimiser

PROBLEM = "digits_mlp"
Fault = Callable[[], AbstractContextManager[object]]


def _replaced(owner: object, name: str, wrap: Callable[[Callable], Callable]) -> AbstractContextManager[object]:
    """Put something in the place of a function: what `wrap` makes of the original."""
    return mock.patch.object(owner, name, wrap(getattr(owner, name)))


def wrong_epsilon() -> AbstractContextManager[object]:
    """ε of another library."""
    return mock.patch.object(batch_parts, "EPSILON", 1e-3)


def missing_bias() -> AbstractContextManager[object]:
    """As if no layer had a bias: it stays 0. (Without the parameter the run would not even start.)"""

    def wrap(original):
        def build(self, *arguments):
            original(self, *arguments)
            if self.linear.bias is not None:
                self.linear.bias.requires_grad_(False)

        return build

    return _replaced(Slot, "__init__", wrap)


def gamma_unfrozen() -> AbstractContextManager[object]:
    """γ is learned where it should stay 1."""

    def wrap(original):
        def start(parameter, rule):
            original(parameter, rule)
            parameter.requires_grad_(parameter.requires_grad or rule.initial == 1.0)

        return start

    return _replaced(normalisers, "_start", wrap)


def another_split() -> AbstractContextManager[object]:
    """The images are divided otherwise."""

    def wrap(original):
        return lambda *arrays, random_state, **options: original(*arrays, random_state=random_state + 1, **options)

    return _replaced(sklearn.model_selection, "train_test_split", wrap)


def changed_initialisation() -> AbstractContextManager[object]:
    """Kaiming's variance in the place of Xavier's."""

    def wrap(original):
        def initialise(self, *generators):
            with (
                mock.patch.object(torch.nn.init, "xavier_normal_", torch.nn.init.kaiming_normal_),
                mock.patch.object(torch.nn.init, "xavier_uniform_", torch.nn.init.kaiming_uniform_),
            ):
                original(self, *generators)

        return initialise

    return _replaced(Network, "initialise", wrap)


def _scaled_groups(**factors: float) -> Fault:
    """The optimiser's settings times a factor."""

    def wrap(original):
        def groups(*arguments):
            return [
                group | {key: group[key] * factor for key, factor in factors.items()} for group in original(*arguments)
            ]

        return groups

    return lambda: _replaced(optimiser, "parameter_groups", wrap)


def _decay_everywhere() -> AbstractContextManager[object]:
    """ℓ2 on biases, γ and β too."""

    def wrap(original):
        def groups(network, variant, training):
            return [group | {"weight_decay": training.l2} for group in original(network, variant, training)]

        return groups

    return _replaced(optimiser, "parameter_groups", wrap)


def _biased_running_variance() -> AbstractContextManager[object]:
    """Running variances of 1/m in the place of 1/(m - 1), by scaling what evaluation uses."""

    def wrap(original):
        def evaluate(network, *arguments):
            normalisers = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
            changed = [module for module in normalisers if module.num_batches_tracked > 0]
            for module in changed:
                module.running_var.mul_(23 / 24)
            try:
                return original(network, *arguments)
            finally:
                for module in changed:
                    module.running_var.mul_(24 / 23)

        return evaluate

    return _replaced(evaluation, "evaluate", wrap)


def _stream_from(stream: str, start: int) -> Fault:
    """Other random numbers in one stream from an epoch on."""

    def wrap(original):
        def generator(seed, name, *keys):
            later = name == stream and isinstance(keys[0], int) and keys[0] >= start
            return original(seed + 1 if later else seed, name, *keys)

        return generator

    return lambda: _replaced(loop, "generator", wrap)


@contextmanager
def _evaluates_with_batch_statistics() -> Iterator[None]:
    def wrap(original):
        def evaluate(network, batches, precision):
            with mock.patch.object(network, "eval", network.train):
                return original(network, batches, precision)

        return evaluate

    with _replaced(evaluation, "evaluate", wrap):
        yield


def _wrong_test_labels(share: float) -> Fault:
    """Some labels of the test split are wrong."""

    def wrap(original):
        def load(spec, device):
            pipeline = original(spec, device)
            test = pipeline._evaluated["test"]
            count = max(1, round(share * len(test.labels)))
            test.labels[:count] = (test.labels[:count] + 1) % DATASETS.get(spec.data.name).classes
            return pipeline

        return load

    return lambda: _replaced(run_module, "load_pipeline", wrap)


def _other_trajectories() -> AbstractContextManager[object]:
    """γ, β and biases are recorded one per cent too large; training is sound."""

    def wrap(original):
        def add(recorder, table, columns):
            scaled = {"values": columns["values"] * np.float32(1.01)} if table == "affine" else {}
            return original(recorder, table, {**columns, **scaled})

        return add

    return _replaced(RunRecorder, "add", wrap)


PLANTED: Mapping[str, Fault] = {
    "wrong epsilon": wrong_epsilon,
    "missing bias": missing_bias,
    "gamma unfrozen": gamma_unfrozen,
    "another split": another_split,
    "changed initialisation": changed_initialisation,
}
SUBTLE: Mapping[str, Fault] = {
    "epsilon 1.1e-5": lambda: mock.patch.object(batch_parts, "EPSILON", 1.1e-5),
    "epsilon 2e-5": lambda: mock.patch.object(batch_parts, "EPSILON", 2e-5),
    "learning rate 1.0001 times": _scaled_groups(lr=1.0001),
    "learning rate 1.01 times": _scaled_groups(lr=1.01),
    "l2 1.1 times": _scaled_groups(weight_decay=1.1),
    "l2 left out": _scaled_groups(weight_decay=0.0),
    "l2 on biases, gamma and beta too": _decay_everywhere,
    "running momentum 0.11": lambda: mock.patch.object(normalisers, "RUNNING_MOMENTUM", 0.11),
    "running momentum 0.01": lambda: mock.patch.object(normalisers, "RUNNING_MOMENTUM", 0.01),
    "biased running variance": _biased_running_variance,
    "evaluation with batch statistics": _evaluates_with_batch_statistics,
    "evaluation in batches of 128": lambda: mock.patch.object(evaluation, "EVALUATION_BATCH", 128),
    "order of epoch 2 on": _stream_from("order", 2),
    "augmentation of epoch 2 on": _stream_from("augmentation", 2),
    "one wrong test label": _wrong_test_labels(0.0),
    "1 % wrong test labels": _wrong_test_labels(0.01),
    "trajectories recorded 1.01 times": _other_trajectories,
}
SOUND = "nothing changed"
ALL: Mapping[str, Fault] = {SOUND: nullcontext, **PLANTED, **SUBTLE}


def specs(seeds: int, variants: tuple[str, ...]) -> list[RunSpec]:
    """The runs that a fault is looked for in."""
    problem = find_problem(PROBLEM).problem("tiny")
    return expand_grid(
        problem,
        DATASETS.get(problem.dataset).identify(),
        [VARIANTS.get(name) for name in variants],
        seeds=problem.first_seeds(seeds),
    )


def train(name: str, folder: Path, seeds: int = 1, variants: tuple[str, ...] = ("vanilla", "bn")) -> None:
    """Train with a fault planted."""
    with ALL[name]():
        for spec in specs(seeds, variants):
            execute(spec, folder, RunOptions("cpu", 1), lambda _: None)


def main() -> None:
    """Train, and unless told otherwise check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ALL)}; default: all")
    parser.add_argument("--into", type=Path, help="only train, into this folder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--variants", nargs="+", default=["vanilla", "bn"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.into or Path(temporary)
        for name in asked.names or ALL:
            train(name, folder / name, asked.seeds, tuple(asked.variants))
            if asked.into is None:
                report(name, folder / name)


def report(name: str, results: Path) -> None:
    """What the check says of a fault, bits apart."""
    check = [sys.executable, "-m", "bnbench", "check", "--results", str(results), "--tier", "start", "--tier", "spread"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    values = json.loads(
        subprocess.run([*check, "--format", "json"], capture_output=True, text=True, check=False).stdout
    )
    tiers = {each["tier"] for part in ("runs", "final_values") for run in values[part] for each in run["differences"]}
    seen = f"noticed by {' and '.join(sorted(tiers))}" if tiers else "NOT noticed"
    sys.stdout.write(f"=== {name}: {seen} (exit code {done.returncode})\n{done.stdout}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
