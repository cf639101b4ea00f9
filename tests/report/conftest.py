"""Small results folders with every circumstance that a figure has to cope with."""

from __future__ import annotations

import pytest

from bnbench.analysis.frames import open_results
from support.figure_runs import SEEDS, VARIANTS, run
from support.synthetic_store import build_store


@pytest.fixture(scope="session")
def three_seeds(tmp_path_factory):
    """CIFAR-10 3C3D, five variants, three seeds."""
    runs = [run(variant, seed) for variant in VARIANTS for seed in SEEDS]
    return open_results(build_store(tmp_path_factory.mktemp("three"), runs))


@pytest.fixture(scope="session")
def patchy(tmp_path_factory):
    """The same at ten times the learning rate, with one variant missing, one diverged and a seed lacking."""
    stops = {"accuracy": [0.1, 0.2], "loss": [2.3, 5.0], "diverged_at_step": 17, "epochs": 4}
    runs = [
        run("vanilla", 4842821, lr_factor=10.0, **stops),
        run("vanilla", 42, lr_factor=10.0),
        run("bn", 4842821, lr_factor=10.0),
        run("bn", 42, lr_factor=10.0),
        run("bn_gamma_beta", 4842821, lr_factor=10.0, loss=[2.3, 92.0, 1.0, 0.9, float("nan")]),
    ]
    return open_results(build_store(tmp_path_factory.mktemp("patchy"), runs))
