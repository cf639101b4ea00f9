"""A figure of many layers: which of them it shows, and what its caption says of the others."""

import numpy as np
import pandas as pd
import pytest

from bnbench.analysis.comparison import comparisons
from bnbench.api import Results
from bnbench.components.architectures import ARCHITECTURES, slot_places
from bnbench.components.placements import SlotPlace, masked_places, parse_placement
from bnbench.problem import Problem
from bnbench.report.drawn_slots import MOST_SLOTS, drawn_slots, left_out
from bnbench.report.figures.kind import Request, labels_of
from bnbench.report.figures.registry import FIGURES
from bnbench.report.webpage.affine_section import activity_figure, affine_table
from bnbench.report.webpage.sections import Section
from bnbench.report.webpage.trajectories import affine_of
from bnbench.storage.store import ResultStore
from support.synthetic_store import SyntheticRun, build_store


def places_of(name):
    return slot_places(ARCHITECTURES.get(name).layer_table(10, 1.0))


def drawn(name, placement="hidden"):
    places = places_of(name)
    there = [place.name for place in masked_places(parse_placement(placement, places), places)]
    return drawn_slots(places, there)


def test_a_network_with_few_layers_is_shown_whole():
    plain = [SlotPlace(f"conv{number}") for number in range(12)]
    assert drawn_slots(plain, [place.name for place in plain]) == [place.name for place in plain]
    assert drawn("resnet8") == [place.name for place in places_of("resnet8")[:-1]]
    assert drawn("resnet50", "shortcut") == ["s1b1sc", "s2b1sc", "s3b1sc", "s4b1sc"]


def test_of_many_layers_each_stage_shows_equally_many_from_its_first_to_its_last():
    assert drawn("resnet20") == [
        "stem", "s1b1c1", "s1b2c1", "s1b3c2", "s2b1c1", "s2b2c1", "s2b3c2", "s3b1c1", "s3b2c1", "s3b3c2",
    ]  # fmt: skip
    assert drawn("resnet50", "every") == [
        "stem", "s1b1c1", "s1b3c3", "s2b1c1", "s2b4c3", "s3b1c1", "s3b6c3", "s4b1c1", "s4b3c3", "out",
    ]  # fmt: skip
    assert drawn("resnet110", "bn1") == [f"s{stage}b{block}c1" for stage in (1, 2, 3) for block in (1, 7, 12, 18)]


def test_of_a_long_network_without_stages_layers_are_spread_evenly():
    plain = [SlotPlace(f"conv{number}") for number in range(34)]
    assert drawn_slots(plain, [place.name for place in plain]) == [f"conv{number}" for number in range(0, 34, 3)]


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet56a", "resnet110", "resnet29b"])
@pytest.mark.parametrize("placement", ["hidden", "every", "bn1", "main", "residual-last", "stage:1"])
def test_there_are_never_more_than_a_figure_can_hold(name, placement):
    names = [place.name for place in places_of(name)]
    shown = drawn(name, placement)
    assert 1 < len(shown) <= MOST_SLOTS
    assert shown == sorted(shown, key=names.index)


def test_many_stages_are_spread_over_too():
    places = [SlotPlace(f"s{stage}c{k}", "bn1", stage, f"s{stage}") for stage in range(1, 21) for k in (1, 2)]
    shown = drawn_slots(places, [place.name for place in places])
    assert len(shown) == MOST_SLOTS
    assert shown[0] == "s1c1"
    assert shown[-1] == "s20c2"


def test_what_is_left_out_is_said():
    assert left_out(["a", "b"], ["a", "b"]) == ""
    assert "Of 3 layers 2 are drawn" in left_out(["a", "c"], ["a", "b", "c"])
    assert "a, c" in left_out(["a", "c"], ["a", "b", "c"])


PROBLEM = Problem.model_validate(
    {
        "name": "cifar10_resnet20", "size": "full", "summary": "", "source": "a test", "dataset": "cifar10",
        "architecture": "resnet20", "placements": ["hidden"], "seeds": [1, 2], "split_seed": 1,
        "training": {"batch_size": 128, "epochs": 4, "learning_rate": 0.1, "l2": 0.0001},
        "probes": {"sparsity": True},
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    steps = tuple(range(0, 50, 10))
    places = places_of("resnet20")
    random = np.random.default_rng(3)
    runs = []
    for seed in (1, 2):
        affine = {}
        for depth, place in enumerate(places[:-1]):
            drift = random.normal(size=5) * (1 + depth) / 20
            for parameter, neutral in (("gamma", 1.0), ("beta", 0.0)):
                affine[place.name, parameter] = (steps, [[neutral + each * step for each in drift] for step in steps])
        sites = [name for block in range(1, 10) for name in (f"s{(block + 2) // 3}b{(block - 1) % 3 + 1}c1",
                                                             f"s{(block + 2) // 3}b{(block - 1) % 3 + 1}")]  # fmt: skip
        zeroed = {site: [0.5, *(0.4 + 0.02 * index for _ in range(4))] for index, site in enumerate(["stem", *sites])}
        runs.append(
            SyntheticRun(PROBLEM, "bn_gamma_beta", seed, [0.1, 0.3, 0.5, 0.6, 0.7], affine=affine, zeroed=zeroed)
        )
    folder = build_store(tmp_path_factory.mktemp("residual"), runs)
    return Results(ResultStore(folder))


@pytest.mark.parametrize("kind", ["gamma", "beta", "activity", "heatmap", "sparsity"])
def test_figures_of_residual_networks_hold_what_they_can_and_say_what_they_leave_out(kind, residual):
    (figure,) = residual.plots(kind)
    shown = drawn("resnet20")
    labels = labels_of(FIGURES.get(kind).data(residual, comparisons(residual.records), Request()), FIGURES.get(kind))
    said = f"Of {19 if kind == 'sparsity' else 21} layers 10 are drawn, spread from the first to the last: stem, "
    assert said in f"{labels.caption} {labels.runs}"
    if kind in {"gamma", "beta"}:
        titles = [axes.get_title() for axes in figure.axes if axes.get_visible() and axes.get_title()]
        assert titles == shown
        rows = {round(axes.get_position().y0, 2) for axes in figure.axes if axes.get_title()}
        assert len(rows) == 2
    elif kind == "heatmap":
        (first, *_) = figure.axes
        assert [label.get_text() for label in first.get_yticklabels()] == shown
    else:
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(names) <= MOST_SLOTS
        assert names[:2] == ["stem", "s1b1c1"]
        assert names[-1] == ("s3b3c2" if kind == "activity" else "s3b3")


def test_the_pages_figures_and_captions_follow_the_same_rule_and_its_tables_have_all(residual):
    (group,) = comparisons(residual.records)
    section = Section("one", group)
    affine = affine_of(residual, section)
    assert [panel.slot for panel in affine.figures[0].maps[1].panels] == drawn("resnet20")
    rows = affine.activity_rows()
    assert list(pd.unique(rows["series"])) == drawn("resnet20")
    assert "Of 21 layers 10 are drawn" in activity_figure(section, affine).caption
    assert len(affine_table(section, affine).rows) >= 2 * 21
