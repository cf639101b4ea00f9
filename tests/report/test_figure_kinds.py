"""Kinds of figures: every one gives a tidy frame, and another package's is drawn like one of our own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.errors import UserError
from bnbench.report.figures.drawing import draw_kind
from bnbench.report.figures.kind import COLUMNS, FigureKind, Labels, Request, labelled, labels_of
from bnbench.report.figures.registry import FIGURES
from bnbench.report.page import TEXT
from support.figure_runs import SEEDS, STEPS, VARIANTS, affine, run
from support.probed_runs import PROBES, probed
from support.synthetic_store import build_store
from test_registry import install

DRAWN_TOGETHER = {"profile", "sensitivity"}
"""What a single comparison does not allow."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """One comparison with whatever a kind may ask for."""
    shares = {"conv1": [0.5, 0.6, 0.7, 0.7, 0.8]}
    own = {"zeroed": shares, "overrides": {**PROBES, "probes.sparsity": True}}
    runs = [probed(variant, seed, **own) for variant in VARIANTS for seed in SEEDS[:2]]
    runs += [run(variant, seed, **own) for variant in ("ln", "ln_gamma_beta") for seed in SEEDS[:2]]
    return open_results(build_store(tmp_path_factory.mktemp("everything"), runs))


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in DRAWN_TOGETHER])
def test_every_kind_gives_a_tidy_frame(everything, name):
    kind = FIGURES.get(name)
    frame = kind.data(everything, comparisons(everything.records), Request())
    assert set(COLUMNS) <= set(frame.columns)
    assert len(frame)
    assert labels_of(frame, kind).caption
    panels = frame["panel"].unique()
    if name in {"gamma", "beta"}:
        (first, *_) = panels
        own = frame[frame["panel"] == first]
        assert list(own["series"].unique()) == list(STEPS)
        assert own["x"].max() == len(affine("bn_gamma", 42)["conv1", "gamma"][1][0])
    elif name in {"curves", "difference", "rank"}:
        assert set(frame["series"]) <= {*VARIANTS, "ln", "ln_gamma_beta"}


def test_the_frame_of_curves_has_the_recorded_numbers(three_seeds):
    frame = FIGURES.get("curves").data(three_seeds, comparisons(three_seeds.records), Request())
    recorded = three_seeds.curves(split="train_eval", statistics="running")
    for metric in ("loss", "accuracy"):
        shown = frame[frame["metric"] == metric].set_index(["series", "seed", "x"])["y"].sort_index()
        expected = recorded.astype({"variant": str}).set_index(["variant", "seed", "epoch"])[metric].sort_index()
        np.testing.assert_array_equal(shown, expected)
    assert [panel.partition(", ")[2] for panel in frame["panel"].unique()] == [
        "training loss [nats]", "training accuracy [%]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"x": [1], "series": ["bn"]}), "has no column y, panel"),
        (pd.DataFrame({**{name: [1] for name in COLUMNS}, "low": [0]}), "has no column high"),
        (pd.DataFrame({name: [1] for name in COLUMNS}), "has no labels"),
    ],
)
def test_a_frame_that_is_not_tidy_is_refused_with_what_it_lacks(three_seeds, frame, said):
    kind = replace(FIGURES.get("curves"), name="mine", data=lambda *_: frame)
    with pytest.raises(UserError, match=f"the frame of the figure 'mine' {said}"):
        draw_kind(three_seeds, kind, comparisons(three_seeds.records), TEXT)


def test_an_empty_frame_is_nothing_to_draw(three_seeds):
    empty = labelled(pd.DataFrame(columns=COLUMNS), Labels("x", "y", "nothing"))
    kind = FigureKind("mine", "Mine", "mine", lambda *_: empty, lambda *_: None, lacks="what there is not")
    with pytest.raises(UserError, match="it needs what there is not"):
        draw_kind(three_seeds, kind, comparisons(three_seeds.records), TEXT)


DOCUMENT = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^    # batch_figures.py\n(.*?)^    # pyproject.toml$", DOCUMENT, re.S | re.M)
PLUGIN = f'{textwrap.dedent(EXAMPLE)}\nbroken = "not a kind"\n'
"""The package that docs/figures.md shows, and one kind more."""
ENTRY_POINTS = """
    [bnbench.figures]
    batches = batch_figures:batches
    broken = batch_figures:broken
"""


@pytest.fixture
def plugged(tmp_path):
    """What a new interpreter says that sees another package's figures: exit code, standard output and error."""
    store = build_store(tmp_path / "store", [run(variant, 42) for variant in ("vanilla", "bn_gamma")])
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, "batch-figures", PLUGIN, ENTRY_POINTS)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def ask(*words):
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return store, ask


@pytest.mark.long
def test_another_packages_kind_is_drawn_listed_and_put_where_the_page_finds_it(plugged, tmp_path):
    store, ask = plugged
    code, out, said = ask("-m", "bnbench", "plot", "--kind", "batches", "--results", store, "--json")
    assert code == 0, said
    (drawn,) = json.loads(out)
    assert drawn["name"].startswith("batches-cifar10_3c3d")
    assert drawn["caption"].startswith("Batch loss, CIFAR-10 3C3D. Loss of every batch. CIFAR-10 3C3D: learning rate")
    assert drawn["command"].startswith("bnbench plot --kind batches --problem cifar10_3c3d")
    assert (tmp_path / drawn["files"][0]).read_bytes().startswith(b"\x89PNG")
    code, out, said = ask("-m", "bnbench", "plot", "--kind", "batchs", "--results", store)
    assert (code, "Did you mean 'batches'?" in said) == (2, True), said
    program = f"""
        import json
        from bnbench.analysis.comparison import comparisons
        from bnbench.analysis.frames import open_results
        from bnbench.report.figures.drawing import page_frames

        results = open_results({str(store)!r})
        (compared,) = comparisons(results.records)
        ((kind, frame, labels),) = page_frames(results, compared)
        print(json.dumps([kind.name, kind.web, labels.x, len(frame), sorted(frame["series"].unique())]))
    """
    code, out, said = ask("-c", textwrap.dedent(program))
    assert code == 0, said
    assert json.loads(out) == ["batches", "lines", "step [updates]", 80, ["bn_gamma", "vanilla"]]
    code, _, said = ask("-m", "bnbench", "report", "--results", store, "--output", tmp_path / "page.html")
    assert code == 0, said
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Batch loss. Loss of every batch." in page
    assert re.search(r'id="data-c1-batches"', page), "what it is drawn from is on the page"


def test_another_packages_broken_kind_breaks_itself_alone(plugged):
    store, ask = plugged
    code, _, said = ask("-m", "bnbench", "plot", "--kind", "broken", "--results", store)
    assert (code, "is a str, not a FigureKind" in said) == (2, True), said
    code, out, said = ask("-m", "bnbench", "plot", "--list", "--results", store)
    assert code == 0, said
    assert "loss of every batch" in out
    assert "is a str, not a FigureKind" in out
