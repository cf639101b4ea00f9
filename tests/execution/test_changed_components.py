"""A network or a split of one's own that changes under its name: its runs are other runs, from plan to ranking."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from bnbench.analysis.frames import open_results
from bnbench.analysis.ranking import rank
from bnbench.components.architectures import ARCHITECTURES, Architecture, Conv, Dense, GlobalMean
from bnbench.data.dataset import DATASETS
from bnbench.data.images import LabelledImages, Splits
from bnbench.execution.executors import InProcess
from bnbench.execution.listening import Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.selection import Grid, select
from bnbench.execution.sweep import Sweep
from bnbench.plan import DataFacts
from bnbench.problem import find_problem
from bnbench.storage.merge import merge_stores
from bnbench.storage.store import ResultStore

HERE = RunOptions("cpu", workers=0)


@pytest.fixture(autouse=True)
def no_session(monkeypatch):
    monkeypatch.setattr(ARCHITECTURES, "_session", {})
    monkeypatch.setattr(DATASETS, "_session", {})


def network(channels):
    def layers(classes, width):
        return (Conv("conv1", channels, 3), GlobalMean(), Dense("dense1", classes, activation=False))

    return Architecture("own", "own", "a test's", "this test", image_size=8, layers=layers)


def data(share):
    """The digits, of which such a share is trained on."""
    digits = DATASETS.get("digits")

    def split(seed):
        images = len(digits.load_splits(seed).train)
        return {
            "train": np.arange(int(share * images)), "train_eval": np.arange(100),
            "valid": np.arange(int(share * images), images), "test": np.arange(100),
        }  # fmt: skip

    def splits(seed):
        images = digits.load_splits(seed).train
        return Splits(**{name: images.take(indices.astype(np.int64)) for name, indices in split(seed).items()})

    def identify():
        return DataFacts("own_data", 10, 1, "0d" * 32, "other copy")

    return dataclasses.replace(
        digits, name="own_data", identify=identify, load_splits=splits, own_split=split
    )  # fmt: skip


def sweep(store, **changes):
    problem = find_problem("digits_mlp").problem("tiny", {"training.epochs": 1}).model_copy(update=changes)
    return Sweep(select(Grid((problem,), variants=("bn", "vanilla"))).specs, store, HERE, InProcess(), Silent())


def states(store, **changes):
    return [run.state.name for run in sweep(store, **changes).plan().runs]


CASES = {
    "network": (ARCHITECTURES, lambda: network(16), lambda: network(24), {"architecture": "own"}, ("layers",)),
    "split": (DATASETS, lambda: data(0.7), lambda: data(0.6), {"dataset": "own_data"}, ("data", "split")),
}


@pytest.mark.parametrize("case", CASES)
def test_what_changed_under_its_name_is_trained_and_stands_apart(tmp_path, case):
    registry, before, after, changes, key = CASES[case]
    registry.register_for_session(before())
    sweep(tmp_path, **changes).run()
    assert states(tmp_path, **changes) == ["finished", "finished"]
    registry.register_for_session(before())
    assert states(tmp_path, **changes) == ["finished", "finished"], "the same once more is the same"
    registry.register_for_session(after())
    assert states(tmp_path, **changes) == ["new", "new"]
    sweep(tmp_path, **changes).run()
    assert states(tmp_path, **changes) == ["finished", "finished"]

    documents = ResultStore(tmp_path).documents()
    settings = {document.setting_id for document in documents}
    assert (len(documents), len(settings)) == (4, 2)
    assert len(rank(open_results(tmp_path)).groups) == 2, "no comparison mixes them"

    # A digest that is not what the ids are hashes of is damage, and no result.
    damaged = documents[0]
    path = tmp_path / damaged.run_id / "run.json"
    document = json.loads(path.read_text())
    other = next(each for each in documents if each.setting_id != damaged.setting_id).spec
    place, theirs = document["spec"], other
    for part in key[:-1]:
        place, theirs = place[part], theirs[part]
    assert place[key[-1]] != theirs[key[-1]]
    place[key[-1]] = theirs[key[-1]]
    path.write_text(json.dumps(document))
    contents = ResultStore(tmp_path).look()
    assert contents.damaged == (damaged.run_id,)
    (warning,) = contents.warnings
    assert f"the specification is that of the run {damaged.run_id.rpartition('-')[0]}-" in warning
    merged = {run.run_id: run.verdict for run in merge_stores(tmp_path / "merged", [tmp_path])}
    assert merged[damaged.run_id] == "damaged"
    assert sorted(merged.values()) == ["copied"] * 3 + ["damaged"]


def test_the_images_of_the_split_are_those_that_are_trained_on():
    own = data(0.6)
    assert isinstance(own.splits(5).train, LabelledImages)
    assert own.facts(5).sizes.train == len(own.splits(5).train)
