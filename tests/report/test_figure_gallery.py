from __future__ import annotations

from dataclasses import replace

import pytest

from bnbench.analysis.activity import activity_summary, average_over_seeds
from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.analysis.narrowing import narrowed
from bnbench.analysis.ranking import rank
from bnbench.analysis.wanted import Wanted, find_wanted
from bnbench.components.variants import VARIANTS as VARIANTS_TABLE
from bnbench.components.variants import Affine, AffineRule
from bnbench.errors import UserError
from bnbench.report.catalogue import study_figure, study_figures, thesis_figures
from bnbench.report.figures.drawing import NothingToDrawError, draw_kind
from bnbench.report.figures.registry import FIGURES
from bnbench.report.gallery import draw_study_figure
from bnbench.report.page import TEXT
from bnbench.study import find_study
from support.figure_runs import SEEDS, VARIANTS, accuracy, run
from support.synthetic_store import build_store


def draw(results, number: str, **options):
    return draw_study_figure(results, study_figure(number, thesis_figures()), **options)


def test_the_map_has_every_figure_of_the_thesis_once():
    figures = thesis_figures()
    numbers = [f"4.{n}" for n in range(1, 14)] + [f"A.{n}" for n in range(1, 19)]
    assert list(figures) == numbers
    kinds = {number: figure.kind for number, figure in figures.items()}
    assert [n for n in numbers if kinds[n] == "curves"] == [*numbers[:5], "A.1", "A.4", "A.7", "A.10", "A.13", "A.16"]
    assert [n for n in numbers if kinds[n] == "gamma"][:4] == ["4.7", "4.9", "4.11", "4.13"]
    assert figures["4.1"].parts == tuple(
        Wanted(problem, VARIANTS) for problem in ("cifar10_3c3d", "cifar100_3c3d", "cifar100_allcnnc")
    )
    assert figures["4.4"].parts == tuple(Wanted("cifar100_allcnnc", VARIANTS, "hidden", f) for f in (0.1, 10.0))
    assert figures["4.9"].parts == (Wanted("cifar100_allcnnc", ("bn_gamma_beta", "bn_gamma"), "every"),)
    assert figures["A.5"].parts == tuple(
        Wanted("cifar10_3c3d", ("bn_gamma_beta", "bn_beta"), placement) for placement in ("first:3", "last:3")
    )
    assert [part.placement for part in figures["A.16"].parts] == ["first:4", "last:4", "output:4"]
    assert [part.placement for part in figures["A.18"].parts] == ["first:4", "last:4"]


def test_a_part_of_a_figure_of_curves_and_none_of_contours():
    assert study_figure("4.1b", thesis_figures()).parts == (Wanted("cifar100_3c3d", VARIANTS),)
    for wrong in ("4.1d", "4.6a", "4.14", "", "a"):
        with pytest.raises(UserError, match="unknown figure"):
            study_figure(wrong, thesis_figures())


def test_a_caption_says_seeds_settings_and_data(three_seeds):
    caption = draw(three_seeds, "4.1a").caption
    assert caption.startswith("Figure 4.1a of Tsingunidis 2023: five variants on three problems.")
    assert "3 seeds (4842821, 42, 43)" in caption
    assert "training.epochs = 4" in caption, "not at the problem's own settings"
    assert "data 0000000" in caption
    assert "missing" not in caption


def test_parts_without_any_run_are_named(three_seeds):
    drawing = draw(three_seeds, "4.1")
    assert len(drawing.figure.axes) == 2
    assert drawing.caption.endswith("Not there at all: CIFAR-100 3C3D; CIFAR-100 ALL-CNN-C.")


def test_missing_variants_missing_seeds_and_divergence_are_named(patchy):
    drawing = draw(patchy, "4.2")
    assert "missing: BN_β; BN_γ; BN_γ,β seed 42" in drawing.caption
    assert "vanilla: 1 of 2 diverged, at step 17" in drawing.caption
    assert "Not there at all: CIFAR-10 3C3D, learning rate × 0.1" in drawing.caption
    (heading,) = drawing.figure.axes[0].texts
    assert heading.get_text().startswith("(b) "), "a part keeps its letter when the others are missing"


def test_a_model_keeps_its_letter_when_the_others_are_missing(tmp_path):
    results = open_results(build_store(tmp_path, [run("bn_beta", 42)]))
    drawing = draw(results, "4.10")
    (part,) = drawing.figure.subfigs
    assert part.get_suptitle() == "(B) BN$_{β}$"
    assert "missing: BN_γ,β" in drawing.caption


def test_without_any_run_the_message_names_the_command_that_makes_them(three_seeds):
    with pytest.raises(NothingToDrawError) as caught:
        draw(three_seeds, "A.13", size="tiny")
    assert caught.value.hint == "This makes them: bnbench study thesis --only fig-A.13 --size tiny"


def test_the_first_seed_that_both_models_have_is_drawn_unless_another_is_asked_for(three_seeds, patchy):
    assert "drawn is seed 4842821" in draw(three_seeds, "4.10").caption
    other = draw(three_seeds, "4.10", seed=43)
    assert "drawn is seed 43" in other.caption
    assert other.command == "bnbench plot --figure 4.10 --width text --seed 43"
    with pytest.raises(UserError, match="no run with seed 7") as caught:
        draw(three_seeds, "4.10", seed=7)
    assert caught.value.hint == "Recorded seeds: 4842821, 42, 43."


def test_the_problems_own_setting_is_drawn_where_there_are_several(tmp_path):
    overridden = [run(variant, seed, overrides={"training.l2": 0.0}) for variant in VARIANTS for seed in SEEDS]
    points = [0.1, *([0.5] * 100)]
    own = [run("vanilla", 42, accuracy=points, loss=points)]
    results = open_results(build_store(tmp_path, [*overridden, *own]))
    (group,) = find_wanted(results.records, [Wanted("cifar10_3c3d", VARIANTS)], "full")
    assert [record.overrides for record in group.records] == [()]
    assert group.missing == VARIANTS[1:]


def test_a_study_with_settings_of_its_own_draws_only_runs_that_have_them(tmp_path):
    code = study_figures(find_study("thesis_code"))["4.1"]
    assert {part.overrides for part in code.parts} == {("training.l2",)}
    plain = [run("vanilla", seed) for seed in SEEDS]
    results = open_results(build_store(tmp_path / "plain", plain))
    with pytest.raises(NothingToDrawError) as caught:
        draw_study_figure(results, code)
    assert caught.value.hint == "This makes them: bnbench study thesis_code --only fig-4.1"
    changed = [run("vanilla", 42, overrides={"training.l2": 0.0})]
    results = open_results(build_store(tmp_path / "both", [*plain, *changed]))
    drawing = draw_study_figure(results, code)
    assert "1 seed (42)" in drawing.caption
    assert "training.l2 = 0.0" in drawing.caption
    assert drawing.name == "thesis_code-figure-4.1"
    assert drawing.command == "bnbench plot --study thesis_code --figure 4.1 --width text"


def test_vanilla_belongs_to_every_placement_and_equal_masks_are_one(tmp_path):
    runs = [
        run("vanilla", 42),
        *(run("bn", 42, placement=placement, affine={}) for placement in ("hidden", "first", "conv2")),
    ]
    results = open_results(build_store(tmp_path, runs))
    groups = comparisons(results.records)
    assert [(group.placement, group.variants) for group in groups] == [
        (placement, ["vanilla", "bn"]) for placement in ("hidden", "conv2", "first")
    ]
    (chosen,) = narrowed(groups, "full", placements=["first:1"])
    assert chosen.placement == "first"
    assert narrowed(groups, "full", factors=[10.0]) == []
    with pytest.raises(UserError, match="fits no recorded network"):
        narrowed(groups, "full", placements=["first:9"])
    setting = chosen.setting_id
    assert narrowed(groups, "full", settings=[setting.rpartition("-")[2]]) == groups
    with pytest.raises(UserError, match="unknown recorded setting 'zero'"):
        narrowed(groups, "full", settings=["zero"])
    with pytest.raises(UserError, match="unknown recorded full problem"):
        narrowed(groups, "full", problems=["digits_mlp"])


def test_two_definitions_of_a_variant_are_drawn_apart_as_they_are_ranked_apart(tmp_path):
    other = replace(VARIANTS_TABLE.get("bn_gamma"), gamma=AffineRule(Affine.LEARNED, 0.5))
    runs = [run("bn_gamma", 42), replace(run("bn_gamma", 43), variant=other), run("vanilla", 42), run("vanilla", 43)]
    results = open_results(build_store(tmp_path, runs))
    (ranked,) = rank(results).groups
    (group,) = comparisons(results.records)
    labels = {run_id: row.variant for row in ranked.rows for run_id in (each.run.run_id for each in row.runs)}
    assert group.labels == labels
    assert group.variants == ["vanilla", "bn_gamma#1", "bn_gamma#2"]
    assert [row.seeds for row in group.rows[1:]] == [(43,), (42,)], "0.5 before 1.0, in JSON"
    said = "the variant 'bn_gamma' was defined differently in some of these runs: shown apart"
    assert said in ranked.notes
    for kind in ("curves", "gamma", "difference", "rank"):
        (drawing,) = draw_kind(results, FIGURES.get(kind), [group], TEXT)
        assert said in drawing.caption
    (curves,) = draw_kind(results, FIGURES.get("curves"), [group], TEXT)
    drawn = {line.get_label(): list(line.get_ydata()) for line in curves.figure.axes[1].lines}
    assert drawn["bn_gamma#1"] == accuracy("bn_gamma", 43)
    assert drawn["bn_gamma#2"] == accuracy("bn_gamma", 42)
    legend = [text.get_text() for text in curves.figure.legends[0].get_texts()]
    assert legend == ["vanilla", "BN$_{γ}$#1", "BN$_{γ}$#2"]
    # Whatever part of the runs is asked for, the names stay.
    (alone,) = rank(results, seed=42).groups
    assert {row.variant for row in alone.rows} == {"vanilla", "bn_gamma#2"}
    means = average_over_seeds(activity_summary(results, seed=43))
    assert set(means["variant"]) == {"bn_gamma#1"}
    # A figure of the study has both definitions of the variant it names.
    drawing = draw(results, "4.1a")
    assert said in drawing.caption
    assert {"bn_gamma#1", "bn_gamma#2"} <= {line.get_label() for line in drawing.figure.axes[0].lines}
