"""Nothing in a figure is cut off: not at the width of a column, not with many variants, not with long names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.components.variants import VARIANTS as TABLE
from bnbench.problem import RunsSource, Target, find_problem
from bnbench.report.catalogue import study_figure, thesis_figures
from bnbench.report.figures.drawing import draw_kind
from bnbench.report.figures.registry import FIGURES
from bnbench.report.gallery import draw_study_figure
from bnbench.report.page import COLUMN, TEXT
from support.figure_canvas import cut_off
from support.figure_runs import SEEDS, SLOTS, STEPS, VARIANTS, affine
from support.probed_runs import PROBES, TABLES
from support.synthetic_store import SyntheticRun, build_store

SHARES = {slot: [0.5, 0.6, 0.7, 0.7, 0.8] for slot in SLOTS}
JOINT = {"curves", "difference", "rank", "profile", "sensitivity", "disabled", "families"}
"""Kinds that draw several comparisons together, or only some of them."""
WIDTHS = (COLUMN, TEXT)
ODD_PLACE = "conv1,conv3,dense1"


def tiny(problem: str, variant, seed: int, **changes) -> SyntheticRun:
    """A run at the tiny size of a problem, which may be on other data than its name says."""
    name = variant if isinstance(variant, str) else "bn_gamma_beta"
    parameters = {} if name == "vanilla" else affine(name, seed)
    if "gamma" in name:
        parameters["conv2", "gamma"] = (STEPS, [[1, 1, 0.001, 0]] * len(STEPS))
    tables = {table: recorded(name, seed) for table, recorded in TABLES.items()} if name in VARIANTS else {}
    fields = {
        "accuracy": [0.1, 0.3, 0.4, 0.45, 0.5],
        "zeroed": SHARES,
        "affine": parameters,
        "probed": {**tables, "probe_notes": [(10, "landscape", "the loss is not finite")]},
        "overrides": {**PROBES, "probes.sparsity": True},
        **changes,
    }
    return SyntheticRun(problem, variant, seed, size="tiny", **fields)


@pytest.fixture(scope="module")
def tiny_runs(tmp_path_factory):
    """CIFAR-100 3C3D at its tiny size, on digits: two rates, a placement with a long name, a seed that diverged."""
    runs = [tiny("cifar100_3c3d", variant, seed) for variant in VARIANTS for seed in SEEDS[:2]]
    runs += [
        tiny("cifar100_3c3d", variant, SEEDS[0], lr_factor=10.0, accuracy=[0.1, 0.2], epochs=4, diverged_at_step=17)
        for variant in VARIANTS
    ]
    runs += [tiny("cifar100_3c3d", name, seed) for name in ("ln", "ln_gamma_beta") for seed in SEEDS[:2]]
    odd = {slot: value for slot, value in affine("bn_gamma_beta", 42).items() if slot[0] in ODD_PLACE.split(",")}
    runs += [tiny("cifar100_3c3d", name, 42, placement=ODD_PLACE, affine=odd) for name in ("bn", "bn_gamma_beta")]
    return open_results(build_store(tmp_path_factory.mktemp("tiny"), runs))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Two problems with a target, under the five variants and 24 of one's own."""
    source = RunsSource(run_ids=("one",), commit="0123456", statistic="median over seeds")
    target = Target(metric="accuracy", split="train_eval", level=0.3, source=source)
    problems = [
        find_problem(name).problem("full").model_copy(update={"name": name, "targets": (target,)})
        for name in ("cifar10_3c3d", "cifar100_3c3d")
    ]
    own = [replace(TABLE.get("bn"), name=f"own_{n:02}_normaliser", symbol=f"own_{n:02}") for n in range(24)]
    runs = [
        SyntheticRun(problem, variant, 42, [0.1, *np.linspace(0.2, 0.3 + 0.02 * place, 4).round(4)])
        for problem in problems
        for place, variant in enumerate([*VARIANTS, *own])
    ]
    return open_results(build_store(tmp_path_factory.mktemp("many"), runs))


KINDS = [name for name in FIGURES if name not in {"profile", "beta"}]
TRIED = [(kind, COLUMN) for kind in KINDS] + [(kind, TEXT) for kind in ("curves", "gamma", "landscape", "rank")]
"""The narrow page is the hard one; the wide one is tried on a sample."""


@pytest.mark.parametrize(("kind", "page"), TRIED, ids=lambda each: getattr(each, "name", each))
def test_nothing_leaves_the_canvas(tiny_runs, kind, page):
    found = comparisons(tiny_runs.records)
    for drawing in draw_kind(tiny_runs, FIGURES.get(kind), found if kind in JOINT else found[1:2], page):
        assert cut_off(drawing) == []


@pytest.mark.parametrize("page", [COLUMN], ids=lambda page: page.name)
@pytest.mark.parametrize("kind", ["curves", "difference", "rank", "profile"])
def test_nothing_leaves_the_canvas_with_many_variants(many, kind, page):
    (drawing, *_) = draw_kind(many, FIGURES.get(kind), comparisons(many.records)[: 2 if kind in JOINT else 1], page)
    assert cut_off(drawing) == []


@pytest.mark.parametrize("page", WIDTHS, ids=lambda page: page.name)
def test_nothing_leaves_the_canvas_of_a_study_figure(tiny_runs, page):
    drawing = draw_study_figure(tiny_runs, study_figure("4.1", thesis_figures()), "tiny", page)
    assert cut_off(drawing) == []


def test_the_check_sees_what_is_cut_off(tiny_runs):
    (drawing, *_) = draw_kind(tiny_runs, FIGURES.get("difference"), comparisons(tiny_runs.records), COLUMN)
    right = drawing.figure.axes[1]
    right.set_xlabel("a label that is a good deal wider than the axes that it stands below, and leaves the page")
    assert cut_off(drawing) == [right.get_xlabel()]
