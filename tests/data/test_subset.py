"""Training on fewer images, and evaluating on fewer: which they are, and that too many are refused before anything."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from bnbench.data import subset as subset_module
from bnbench.data.images import LabelledImages, Splits
from bnbench.data.subset import subset
from bnbench.errors import UserError
from bnbench.execution.selection import Grid, Settings, select
from bnbench.problem import find_problem
from bnbench.specification import Specification
from bnbench.storage.speeds import Speed, add_speed, read_speeds
from support.command_line import invoke


def numbered(first: int, count: int) -> LabelledImages:
    """Images that are known by their label."""
    return LabelledImages(np.zeros((count, 1, 1, 1), np.uint8), np.arange(first, first + count, dtype=np.int64))


SPLITS = Splits(train=numbered(0, 40), train_eval=numbered(0, 10), valid=numbered(100, 12), test=numbered(200, 15))


def labels(splits: Splits) -> dict[str, list[int]]:
    return {name: getattr(splits, name).labels.tolist() for name in ("train", "train_eval", "valid", "test")}


def test_without_a_number_nothing_changes():
    assert labels(subset(SPLITS, 3)) == labels(SPLITS)


def test_fewer_images_are_among_more_and_the_seed_decides_which():
    ten, twenty, other = (labels(subset(SPLITS, seed, training=count)) for seed, count in ((3, 10), (3, 20), (4, 10)))
    assert len(ten["train"]) == 10
    assert set(ten["train"]) < set(twenty["train"]) < set(labels(SPLITS)["train"])
    assert ten["train"] != list(range(10))
    assert other["train"] != ten["train"]
    assert ten["train"] == sorted(ten["train"])
    assert (ten["valid"], ten["test"]) == (labels(SPLITS)["valid"], labels(SPLITS)["test"])


def test_train_eval_is_drawn_from_what_is_trained_on(monkeypatch):
    assert subset_module.LARGEST_TRAIN_EVAL == 10_000
    small = labels(subset(SPLITS, 3, training=30))
    assert small["train_eval"] == small["train"]
    monkeypatch.setattr(subset_module, "LARGEST_TRAIN_EVAL", 8)
    large = labels(subset(SPLITS, 3, training=30))
    assert len(large["train_eval"]) == 8
    assert set(large["train_eval"]) < set(large["train"])


def test_evaluation_bounds_validation_and_test_alone():
    found = labels(subset(SPLITS, 3, evaluation=5))
    assert (len(found["valid"]), len(found["test"])) == (5, 5)
    assert (found["train"], found["train_eval"]) == (labels(SPLITS)["train"], labels(SPLITS)["train_eval"])
    assert set(found["test"]) < set(labels(subset(SPLITS, 3, evaluation=9))["test"])


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"training": 41}, "training.images = 41: the split train has 40 images\nAsk for 1 to 40"),
        ({"evaluation": 13}, "evaluation.images = 13: the split valid has 12 images"),
    ],
)
def test_more_than_there_are_is_refused(wanted, told):
    with pytest.raises(UserError) as caught:
        subset(SPLITS, 3, **wanted)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("training.images=1078", "problem 'digits_mlp': training.images = 1078: the split train has 1077 images"),
        ("evaluation.images=361", "problem 'digits_mlp': evaluation.images = 361: the split valid has 360 images"),
        ("training.images=8", "training.images = 8: fewer than one batch of 32"),
        ("training.images=0", "training.images = 0: input should be greater than or equal to 1"),
        ("evaluation.images=1.5", "evaluation.images = 1.5"),
        ("evaluation.image=5", "Did you mean 'evaluation.images'?"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_is_written(tmp_path, setting, told):
    done = invoke("run", "digits_mlp", "--set", setting, "--results", tmp_path / "results")
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "results").exists()


def ids(*settings: str) -> tuple[str, str]:
    (spec,) = select(Grid(("digits_mlp",), ("bn",), settings=Settings(overrides=settings))).specs
    return spec.run_id, spec.setting_id


def test_both_numbers_are_part_of_run_and_setting_and_only_where_they_are_given():
    plain = ids()
    found = [plain, ids("training.images=500"), ids("training.images=600"), ids("evaluation.images=100")]
    assert len(set(found)) == len({run for run, _ in found}) == len({setting for _, setting in found}) == 4
    (spec,) = select(Grid(("digits_mlp",), ("bn",))).specs
    assert "images" not in json.dumps(spec.resolved())
    assert "evaluation" not in spec.resolved()


def test_a_speed_that_was_measured_on_all_images_is_not_that_of_fewer(tmp_path):
    speed = Speed(step_s=0.1, eval_s=1.0, steps_per_epoch=33)
    (whole,) = select(Grid(("digits_mlp",), ("bn",))).specs
    add_speed(tmp_path / "speeds.json", "here", whole, speed)
    speeds = read_speeds(tmp_path / "speeds.json", "here")
    assert speeds.of(whole) == speed
    for setting in ("training.images=500", "evaluation.images=100"):
        (fewer,) = select(Grid(("digits_mlp",), ("bn",), settings=Settings(overrides=(setting,)))).specs
        assert speeds.of(fewer) is None


def test_a_run_trains_and_evaluates_on_so_many_and_says_so(tmp_path):
    settings = ("--set", "training.images=80", "--set", "evaluation.images=50")
    done = invoke("run", "digits_mlp", "--size", "tiny", "--variant", "bn", *settings, "--results", tmp_path)
    assert done.exit_code == 0, done.output
    (path,) = tmp_path.glob("*/run.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    specification = Specification.model_validate(document["spec"])
    assert (specification.training.images, specification.evaluation.images) == (80, 50)
    batch = find_problem("digits_mlp").problem("tiny").training.batch_size
    steps = pq.read_table(path.parent / "steps.parquet")
    assert steps.num_rows == 80 // batch * specification.training.epochs
    curves = pq.read_table(path.parent / "curves.parquet").to_pylist()
    for row in curves:
        images = 80 if row["split"] == "train_eval" else 50
        assert round(row["accuracy"] * images, 6) % 1 == 0
    ranked = invoke("rank", "--results", tmp_path)
    assert "training.images = 80" in ranked.stdout
    assert "evaluation.images = 50" in ranked.stdout
