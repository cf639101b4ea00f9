"""A store with everything that can happen to a run, its report, and a browser to read it with."""

from __future__ import annotations

import numpy as np
import pytest

from bnbench.analysis.frames import open_results
from bnbench.problem import find_problem
from bnbench.report.webpage.build import report_page
from support.browser import Browser, find_chromium
from support.synthetic_store import SyntheticRun, build_store

SEEDS = (4842821, 42, 43)
STUDIED = ("vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta")
SLOTS = ("conv1", "conv2", "conv3", "dense1", "dense2")
"""Those that carry a BatchNorm where it is `hidden`."""
LEARNS = {"bn": (), "bn_beta": ("beta",), "bn_gamma": ("gamma",), "bn_gamma_beta": ("beta", "gamma"), "vanilla": ()}
HOSTILE = """zz<img src=x onerror="window.stolen='all'">&amp;'\"</script><b>bold"""
"""What somebody might call a problem who wishes the reader ill."""


def curve(variant, seed, epochs=20):
    """Accuracies that rise from chance, each variant and seed a little differently."""
    height = 0.7 + 0.05 * STUDIED.index(variant) + 0.002 * SEEDS.index(seed)
    return [0.1 + (height - 0.1) * (1 - 0.7**epoch) for epoch in range(epochs + 1)]


def affine(variant, seed, slots=SLOTS, snapshots=30, channels=12):
    """γ and β that drift away from where they do nothing, in the slots of `hidden`; nothing of vanilla."""
    if variant == "vanilla":
        return {}
    steps = [5 * index for index in range(snapshots)]
    generator = np.random.default_rng([len(variant), seed])
    found = {}
    for slot in slots:
        for parameter in ("gamma", "beta"):
            centre = 1.0 if parameter == "gamma" else 0.0
            drift = generator.normal(size=channels) if parameter in LEARNS[variant] else np.zeros(channels)
            found[slot, parameter] = (steps, [centre + drift * step / 200 for step in steps])
    return found


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "runs"
    runs = [
        SyntheticRun("digits_3c3d", variant, seed, curve(variant, seed), affine=affine(variant, seed))
        for variant in STUDIED
        for seed in SEEDS
    ]
    # Another placement, a seed short.
    runs += [
        SyntheticRun("digits_3c3d", variant, seed, curve(variant, seed), placement="every")
        for variant in ("bn", "bn_gamma_beta")
        for seed in SEEDS
        if (variant, seed) != ("bn", 43)
    ]
    # A learning rate at which one seed diverges.
    runs += [SyntheticRun("digits_3c3d", "vanilla", seed, curve("vanilla", seed), lr_factor=10.0) for seed in SEEDS[:2]]
    runs.append(
        SyntheticRun(
            "digits_3c3d",
            "vanilla",
            43,
            [0.1, 0.4, 0.3],
            loss=[2.3, 1.5, float("inf")],
            epochs=20,
            lr_factor=10.0,
            diverged_at_step=17,
        )
    )
    runs += [SyntheticRun("digits_3c3d", "bn", seed, curve("bn", seed), lr_factor=10.0) for seed in SEEDS]
    runs.append(SyntheticRun("digits_mlp", "bn", 42, [0.1], epochs=20, error="Traceback\nMemoryError: <b>no room</b>"))
    runs += [SyntheticRun("digits_mlp", variant, 4842821, curve(variant, 4842821)) for variant in ("vanilla", "bn")]
    mischief = find_problem("digits_allcnnc").problem("full").model_copy(update={"name": HOSTILE})
    runs.append(SyntheticRun(mischief, "bn", 42, curve("bn", 42)))
    build_store(folder, runs)
    (folder / "digits_3c3d-bn-hidden-s44-000000000000" / "work-0123456789abcdef").mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def page_text(store):
    return report_page(open_results(store))


@pytest.fixture(scope="session")
def page_path(page_text, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser():
    if find_chromium() is None:
        pytest.skip("there is no Chromium on this machine (BNBENCH_CHROMIUM can name one)")
    with Browser() as started:
        yield started
