"""The measures of one run, computed by hand."""

import itertools
import math

import pandas as pd
import pytest

from bnbench.analysis.frames import open_results
from bnbench.analysis.measures import measure_curve, measure_runs, tenth
from bnbench.problem import RunsSource, Target
from support.synthetic_store import SyntheticRun, build_store

SOURCE = RunsSource(run_ids=("a-run",), commit="0123abc", statistic="made up")


def target(level, metric="accuracy", split="train_eval"):
    return Target(metric=metric, split=split, level=level, source=SOURCE)


def frame(accuracy, loss=None, split="train_eval", steps_per_epoch=7):
    epochs = range(len(accuracy))
    return pd.DataFrame(
        {
            "epoch": epochs,
            "step": [epoch * steps_per_epoch for epoch in epochs],
            "split": split,
            "loss": loss or [1.0 - value for value in accuracy],
            "accuracy": accuracy,
        }
    )


@pytest.mark.parametrize(("epochs", "count"), [(1, 1), (2, 1), (19, 1), (20, 2), (30, 3), (100, 10), (350, 35)])
def test_a_tenth_is_at_least_one_epoch(epochs, count):
    assert tenth(epochs) == count


def test_final_early_best_and_area_by_hand():
    # Twenty epochs: final is the mean of epochs 19 and 20, early that of 1 and 2; epoch 0 is in neither.
    accuracy = [0.9, 0.2, 0.4] + [0.5] * 15 + [0.8, 0.6, 0.7]
    loss = [3.0] * 18 + [0.1, 0.5, 0.3]
    got = measure_curve(frame(accuracy, loss), epochs=20)
    assert got.final_train_accuracy == pytest.approx(0.65)
    assert got.final_train_loss == pytest.approx(0.4)
    assert got.early_train_accuracy == pytest.approx(0.3)
    assert got.best_train_accuracy == 0.9
    assert got.best_train_loss == 0.1
    trapezoids = sum((a + b) / 2 for a, b in itertools.pairwise(accuracy))
    assert got.area == pytest.approx(trapezoids / 20)


def test_splits_are_kept_apart():
    curve = pd.concat([frame([0.1, 0.9]), frame([0.1, 0.6], split="valid"), frame([0.1, 0.5], split="test")])
    got = measure_curve(curve, epochs=1)
    assert (got.final_train_accuracy, got.final_valid_accuracy, got.final_test_accuracy) == (0.9, 0.6, 0.5)
    assert measure_curve(frame([0.1, 0.9]), epochs=1).final_test_accuracy is None


def test_rows_may_come_in_any_order():
    curve = frame([0.1, 0.4, 0.3, 0.8])
    shuffled = curve.sample(frac=1, random_state=1)
    assert measure_curve(shuffled, epochs=3, targets=(target(0.4),)) == measure_curve(
        curve, epochs=3, targets=(target(0.4),)
    )


def test_time_to_target_is_the_first_evaluation_at_it():
    curve = frame([0.1, 0.5, 0.4, 0.5, 0.8], loss=[3.0, 2.0, 1.0, 0.5, 0.5])
    wanted = (target(0.5), target(0.9), target(0.5, "loss"), target(0.05))
    reached, missed, loss, at_once = measure_curve(curve, epochs=4, targets=wanted).times
    assert (reached.epochs, reached.steps) == (1, 7)  # exactly at the level is reached
    assert (missed.epochs, missed.steps) == (math.inf, math.inf)
    assert (loss.epochs, loss.steps) == (3, 21)
    assert (at_once.epochs, at_once.steps) == (0, 0)


def test_a_diverged_run_has_no_final_number_and_no_time():
    curve = frame([0.1, 0.6, 0.7, 0.1], loss=[2.0, 1.0, 0.8, math.nan])
    got = measure_curve(curve, epochs=20, diverged=True, targets=(target(0.5),))
    assert got.final_train_loss is got.final_train_accuracy is got.final_test_accuracy is got.area is None
    assert got.times[0].epochs == math.inf
    # What was recorded before is a fact all the same.
    assert got.best_train_accuracy == 0.7
    assert got.best_train_loss == 0.8
    assert got.early_train_accuracy == pytest.approx(0.65)
    assert measure_curve(frame([0.1, 0.6]), epochs=20, diverged=True).early_train_accuracy is None


def test_a_run_that_diverged_at_once_has_nothing():
    got = measure_curve(frame([]), epochs=20, diverged=True, targets=(target(0.5),))
    assert got.best_train_accuracy is None
    assert got.area is None
    assert got.times[0].steps == math.inf


def test_a_non_finite_evaluation_is_not_divergence():
    got = measure_curve(frame([0.1, 0.5], loss=[2.0, math.inf]), epochs=1)
    assert got.final_train_loss == math.inf
    assert got.final_train_accuracy == 0.5
    assert got.best_train_loss == 2.0


def test_runs_of_a_store_are_measured_on_running_statistics(tmp_path):
    runs = [
        SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.5, 0.9], population_accuracy=[1.0, 1.0, 1.0]),
        SyntheticRun("digits_3c3d", "vanilla", 42, [0.1], epochs=2, diverged_at_step=3, device="cuda"),
        SyntheticRun("digits_3c3d", "bn_beta", 42, [0.1, 0.2, 0.3], error="Traceback …"),
    ]
    asked = []

    def targets(problem, size):
        asked.append((problem, size))
        return (target(0.5),)

    bn, vanilla = measure_runs(open_results(build_store(tmp_path, runs)), targets=targets)
    assert (bn.run.variant, vanilla.run.variant) == ("bn", "vanilla")
    assert bn.measures.final_train_accuracy == 0.9
    assert bn.measures.times[0].epochs == 1
    assert (bn.record.diverged_at_step, bn.record.device, bn.epochs) == (None, "cpu", 2)
    assert (vanilla.record.diverged_at_step, vanilla.record.device, vanilla.epochs) == (3, "cuda", 2)
    assert vanilla.measures.final_train_accuracy is None
    assert asked == [("digits_3c3d", "full")]
