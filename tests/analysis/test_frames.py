"""Results as DataFrames: what is in them, and that nothing else is read."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bnbench.analysis.frames import open_results
from bnbench.errors import UserError
from bnbench.problem import find_problem
from bnbench.storage.schema import IDENTITY, SCHEMAS
from support.synthetic_store import SyntheticRun, build_store

RATE = find_problem("digits_3c3d").problem().training.learning_rate
SLOTS = ("conv1", "conv2", "dense1")


def affine(channels, snapshots=3):
    steps = [5 * index for index in range(snapshots)]
    shape = (snapshots, channels)
    table = {}
    for place, (slot, parameter) in enumerate((s, p) for s in SLOTS for p in ("gamma", "beta")):
        table[slot, parameter] = (steps, np.arange(np.prod(shape)).reshape(shape) + 100.0 * place)
    return table


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    runs = [
        SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.5, 0.9], affine=affine(4), population_accuracy=[0.2] * 3),
        SyntheticRun("digits_3c3d", "bn", 43, [0.1, 0.6, 0.8], affine=affine(4)),
        SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.7, 0.8], placement="every", lr_factor=10.0, device="cuda"),
        SyntheticRun("digits_3c3d", "vanilla", 42, [0.1, 0.2], epochs=2, diverged_at_step=15),
        SyntheticRun(
            "digits_mlp",
            "bn",
            42,
            [0.1, 0.3, 0.4],
            zeroed={"dense1": [0.5, 0.6, 0.7], "dense2": [0.1, 0.2, 0.3]},
            overrides={"probes.sparsity": True},
        ),
        SyntheticRun("digits_mlp", "vanilla", 42, [0.1, 0.3, 0.4], error="Traceback: out of memory"),
    ]
    return open_results(build_store(tmp_path_factory.mktemp("results"), runs))


def test_runs_has_every_run_that_ended(results):
    runs = results.runs().set_index("run_id")
    assert sorted(runs["status"]) == ["diverged", "failed", *["finished"] * 4]
    failed = runs[runs["status"] == "failed"].iloc[0]
    assert (failed["problem"], failed["error"], failed["readable"]) == ("digits_mlp", "Traceback: out of memory", False)
    diverged = runs[runs["status"] == "diverged"].iloc[0]
    assert (diverged["diverged_at_step"], diverged["placement"], diverged["epochs"]) == (15, "none", 2)
    assert set(runs["device"]) == {"cpu", "cuda"}
    assert set(runs["overrides"]) == {"training.epochs = 2", "training.epochs = 2, probes.sparsity = true"}
    assert list(results.runs().columns[: len(IDENTITY)]) == list(IDENTITY)


def test_curves_have_the_diverged_runs_rows_and_no_failed_run(results):
    curves = results.curves(statistics="running", split="train_eval")
    failed = results.select(problem="digits_mlp", variant="vanilla")[0]
    assert failed.identity.run_id not in set(curves["run_id"])
    assert list(curves[curves["variant"] == "vanilla"]["accuracy"]) == [0.1, 0.2]
    assert len(curves) == 4 * 3 + 2
    assert list(curves.columns) == SCHEMAS["curves"].names


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ({"problem": "digits_3c3d", "split": "test"}, 11),
        ({"seed": 43, "split": "valid"}, 3),
        ({"seed": [42, 43], "split": ["valid", "test"], "variant": "bn", "problem": "digits_3c3d"}, 18),
        ({"placement": "every", "epoch": 2}, 3),
        ({"placement": "none", "split": "test"}, 2),
        ({"learning_rate": 10.0 * RATE, "split": "test"}, 3),
        ({"mask": "111110", "epoch": [0, 1], "split": "test"}, 4),
        ({"statistics": "population"}, 3),
        ({"variant": "bn_gamma"}, 0),
    ],
)
def test_filters_agree_with_filtering_everything_in_pandas(results, filters, rows):
    got = results.curves(**filters)
    everything = results.curves()
    for name, wanted in filters.items():
        everything = everything[everything[name].isin(wanted if isinstance(wanted, list) else [wanted])]
    columns = [name for name in got.columns if not isinstance(got[name].dtype, pd.CategoricalDtype)]
    pd.testing.assert_frame_equal(got[columns], everything[columns].reset_index(drop=True))
    assert [str(x) for x in got["run_id"]] == [str(x) for x in everything["run_id"]]
    assert len(got) == rows


def test_only_the_columns_asked_for(results):
    assert list(results.curves(columns=["loss", "epoch"], split="test").columns) == ["loss", "epoch"]
    assert list(results.curves(columns=["loss"], variant="bn_gamma").columns) == ["loss"]


def test_steps_and_timing(results):
    steps = results.steps(seed=43)
    assert list(steps["step"]) == list(range(20))
    assert steps["batch_loss"].dtype == np.float32
    assert list(results.steps(seed=43, step=[3, 5])["step"]) == [3, 5]
    assert len(results.steps(seed=43, epoch=1)) == 10
    assert list(results.timing(seed=43)["epoch"]) == [1, 2]


def test_sparsity_is_that_of_the_runs_with_the_probe(results):
    everything = results.sparsity()
    assert list(everything.columns) == SCHEMAS["sparsity"].names
    measured = everything[["epoch", "step", "slot", "zeroed"]].astype({"slot": str})
    assert list(measured.itertuples(index=False, name=None)) == [
        (0, 0, "dense1", 0.5), (0, 0, "dense2", 0.1), (1, 10, "dense1", 0.6),
        (1, 10, "dense2", 0.2), (2, 20, "dense1", 0.7), (2, 20, "dense2", 0.3),
    ]  # fmt: skip
    assert list(results.sparsity(slot="dense2", epoch=[1, 2], columns=["zeroed"])["zeroed"]) == [0.2, 0.3]
    without = results.sparsity(problem="digits_3c3d")
    assert len(without) == 0
    assert list(without.columns) == SCHEMAS["sparsity"].names


def test_affine_is_the_trajectory_asked_for(results):
    got = results.affine(seed=43, slot="conv2", parameter="gamma")
    steps, values = affine(4)["conv2", "gamma"]
    assert list(got["step"]) == steps
    assert np.array_equal(np.stack(list(got["values"])), values)
    last = results.affine(seed=43, step=10)
    assert len(last) == len(SLOTS) * 2


def test_trajectory_as_arrays(results):
    run_id = results.select(seed=43)[0].identity.run_id
    got = results.trajectory(run_id, "dense1", "beta")
    steps, values = affine(4)["dense1", "beta"]
    assert list(got.steps) == steps
    assert got.values.dtype == np.float32
    assert np.array_equal(got.values, values)
    with pytest.raises(UserError, match="has no gamma of slot 'dense9'"):
        results.trajectory(run_id, "dense9", "gamma")
    failed = results.select(problem="digits_mlp", variant="vanilla")[0]
    with pytest.raises(UserError, match="no finished run"):
        results.trajectory(failed.identity.run_id, "dense1", "gamma")


def test_mistakes_are_named(results):
    with pytest.raises(UserError, match=r"unknown filter 'problm'\. Did you mean 'problem'"):
        results.curves(problm="digits_3c3d")
    with pytest.raises(UserError, match="unknown filter 'slot'"):
        results.curves(slot="conv1")
    with pytest.raises(UserError, match=r"unknown column 'los'\. Did you mean 'loss'"):
        results.curves(columns=["los"])
    with pytest.raises(UserError, match="unknown filter 'epoch'"):
        results.runs(epoch=1)


def test_a_folder_without_results_is_said_to_be_one(tmp_path):
    with pytest.raises(UserError, match="no results in"):
        open_results(tmp_path)


def test_a_document_that_does_not_say_what_was_run(tmp_path):
    store = build_store(tmp_path, [SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.2])])
    (path,) = store.glob("*/run.json")
    document = json.loads(path.read_text())
    del document["spec"]["training"]["epochs"]
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"training\.epochs"):
        open_results(store)


def test_a_run_with_a_missing_table_is_listed_and_not_read(tmp_path):
    runs = [SyntheticRun("digits_3c3d", "bn", seed, [0.1, 0.2]) for seed in (42, 43)]
    store = build_store(tmp_path, runs)
    next(store.glob("*s43*/steps.parquet")).unlink()
    results = open_results(store)
    assert list(results.runs()["readable"]) == [True, False]
    assert set(results.curves()["seed"]) == {42}
    assert len(results.warnings) == 1


def test_one_trajectory_costs_the_memory_of_one_trajectory(tmp_path):
    # Twenty slots of 1 MB each, in noise that does not compress; one is asked for.
    rng = np.random.default_rng(0)
    snapshots, channels = 1000, 256
    table = {
        (f"conv{index}", "gamma"): (range(snapshots), rng.normal(size=(snapshots, channels)).astype(np.float32))
        for index in range(1, 21)
    }
    store = build_store(tmp_path, [SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.2], affine=table)])
    one = snapshots * channels * 4

    def peak(filters):
        # In a process of its own: Arrow's high-water mark is that of a process.
        code = (
            "import pyarrow; from bnbench.analysis.frames import open_results;"
            f"frame = open_results({str(store)!r}).affine(columns=['step', 'values'], **{filters});"
            "print(len(frame), pyarrow.default_memory_pool().max_memory())"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        return map(int, done.stdout.split())

    rows, highest = peak({"slot": "conv4", "parameter": "gamma"})
    assert rows == snapshots
    # The trajectory itself, and what decoding and filtering it take.
    assert one <= highest < 8 * one
    rows, everything = peak({})
    assert rows == 20 * snapshots
    assert everything > 20 * one


def test_reading_results_imports_no_torch(tmp_path):
    build_store(tmp_path, [SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.2])])
    code = (
        "import sys; from bnbench.analysis.frames import open_results; from bnbench.analysis.ranking import rank;"
        "from bnbench.analysis.ranking_tables import ranking_tables;"
        f"ranking_tables(rank(open_results({str(tmp_path)!r})));"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
