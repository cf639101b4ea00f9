"""Results as DataFrames: what is in them, and that nothing else is read."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bnbench.analysis.frames import IdentityFilters, open_results
from bnbench.errors import UserError
from bnbench.measurement import EVERY_RUN, IDENTITY, TABLES
from bnbench.problem import find_problem
from bnbench.storage.schema import SCHEMAS
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
    assert set(runs["overrides"]) == {"training.epochs = 2"}
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


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {*EVERY_RUN, "sparsity"}))
def test_a_table_that_no_run_has_is_empty(results, name):
    assert list(results.table(name).columns) == SCHEMAS[name].names
    assert len(results.table(name)) == 0


@pytest.mark.parametrize("name", [*EVERY_RUN, "sparsity"])
def test_every_table_of_the_runs_can_be_read_with_all_its_columns(results, name):
    table = results.table(name)
    assert len(table)
    assert list(table.columns) == SCHEMAS[name].names
    pd.testing.assert_frame_equal(table, getattr(results, name)())


def test_a_table_that_is_not_declared(results):
    with pytest.raises(UserError, match=r"unknown table 'curve'\. Did you mean 'curves'") as caught:
        results.table("curve")
    assert str(caught.value).endswith(f"Known tables: {', '.join(TABLES)}.")


@pytest.mark.parametrize(
    ("table", "filters", "message"),
    [
        (
            "curves",
            {"variant": "bn_gama"},
            r"unknown variant 'bn_gama'\.\nKnown variants: bn, vanilla\.",
        ),
        ("curves", {"variant": ["bn", "bn_gama"]}, "unknown variant 'bn_gama'"),
        ("curves", {"problem": "digits_3c3"}, r"unknown problem 'digits_3c3'\. Did you mean 'digits_3c3d'"),
        ("steps", {"size": "ful"}, r"unknown size 'ful'\..*\nKnown sizes: full\."),
        ("timing", {"placement": "hiden"}, r"unknown placement 'hiden'\. Did you mean 'hidden'"),
        ("curves", {"seed": 44}, r"unknown seed '44'\..*\nKnown seeds: 42, 43\."),
        ("curves", {"seed": "42"}, r"unknown seed '42'"),
        ("steps", {"learning_rate": 0.123}, r"unknown learning rate '0\.123'"),
        ("affine", {"mask": "1"}, r"unknown mask '1'"),
        ("curves", {"split": "train"}, r"unknown split 'train'\..*\nKnown splits: train_eval, valid, test\."),
        (
            "curves",
            {"statistics": ["running", "batch"]},
            r"unknown statistics 'batch'\.\nKnown statistics: running, population\.",
        ),
        ("affine", {"parameter": "gama"}, r"unknown parameter 'gama'\. Did you mean 'gamma'"),
        ("affine", {"slot": "conv9"}, r"unknown slot 'conv9'\..*\nKnown slots: conv1, conv2, dense1\."),
        ("affine", {"slot": ["conv1", "conv9"], "columns": ["step"]}, r"unknown slot 'conv9'"),
        ("sparsity", {"slot": "conv1"}, r"unknown slot 'conv1'\..*\nKnown slots: dense1, dense2\."),
    ],
)
def test_a_value_that_nothing_has_is_named_with_those_that_there_are(results, table, filters, message):
    with pytest.raises(UserError, match=message):
        results.table(table, **filters)
    with pytest.raises(UserError, match=message):
        getattr(results, table)(**filters)
    if set(filters) <= set(IDENTITY):
        with pytest.raises(UserError, match=message):
            results.select(**filters)


def test_what_could_be_there_and_is_not_is_no_mistake(results):
    for filters in (
        {"variant": "bn_beta"},
        {"problem": "cifar10_3c3d"},
        {"size": "tiny"},
        {"placement": "none", "variant": "bn"},
        {"run_id": "a run that is planned"},
        {"epoch": 99},
    ):
        assert len(results.curves(**filters)) == 0
    # A bias is a parameter, conv1 is a slot, and there is none of the two together.
    assert len(results.affine(slot="conv1", parameter="bias")) == 0
    # Runs without the probe have no slots to be wrong about.
    assert len(results.sparsity(problem="digits_3c3d", slot="dense7")) == 0


def test_the_typed_filters_are_the_identity_columns():
    assert list(IdentityFilters.__annotations__) == list(IDENTITY)


def test_a_folder_without_results_is_said_to_be_one(tmp_path):
    with pytest.raises(UserError, match="no results in"):
        open_results(tmp_path)


def test_a_document_that_does_not_say_what_was_run_is_that_runs_warning(tmp_path):
    store = build_store(tmp_path, [SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.2])])
    (path,) = store.glob("*/run.json")
    document = json.loads(path.read_text())
    del document["spec"]["training"]["epochs"]
    path.write_text(json.dumps(document))
    results = open_results(store)
    assert results.records == ()
    assert "spec.training.epochs: Field required" in results.warnings[0]


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
