"""A user's own arrays: what is read of a file, what is refused before anything is, and what is recorded of it."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import bnbench
from bnbench.data import npz
from bnbench.data.origin import is_evidence
from bnbench.data.own_arrays import dataset_of, read_own_arrays
from bnbench.errors import UserError
from bnbench.execution import sweep
from bnbench.execution.listening import Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.selection import Grid, identify, select
from bnbench.execution.slurm.job import Chunk
from bnbench.problem import find_problem
from support.command_line import invoke, table_bytes
from support.own_data import PROBLEM, own_arrays, write_own_problem


def saved(folder: Path, name: str = "stripes.npz", **arrays: object) -> Path:
    path = folder / name
    np.savez(path, **arrays)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        dataset_of("stripes", path)
    return str(caught.value)


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (5, 9, 3), (6, 6, 13)])
def test_the_arrays_are_read_as_numpy_reads_them(tmp_path, save, order, shape):
    arrays = {name: np.asarray(each, order=order) for name, each in own_arrays(shape=shape, valid=10).items()}
    save(tmp_path / "a.npz", **arrays)
    parts = read_own_arrays(tmp_path / "a.npz")
    assert set(parts) == {"train", "test", "valid"}
    for part, found in parts.items():
        images = arrays[f"{part}_images"].reshape(len(found), *shape[:2], shape[2] if len(shape) == 3 else 1)
        pairs = sorted(
            (image.tobytes(), int(label)) for image, label in zip(images, arrays[f"{part}_labels"], strict=True)
        )
        assert sorted((i.tobytes(), int(label)) for i, label in zip(found.pixels, found.labels, strict=True)) == pairs


def test_what_the_data_are_does_not_depend_on_their_order_nor_on_how_they_are_written(tmp_path):
    arrays = own_arrays(valid=12)
    facts = dataset_of("stripes", saved(tmp_path, **arrays)).facts(7)
    order = {part: np.random.default_rng(1).permutation(len(arrays[f"{part}_labels"])) for part in ("train", "test")}
    shuffled = {
        name: each[order[name.split("_")[0]]] if name.split("_")[0] in order else each for name, each in arrays.items()
    }
    shuffled["train_labels"] = shuffled["train_labels"].astype(">i2")
    (tmp_path / "other").mkdir()
    np.savez_compressed(tmp_path / "other" / "a.npz", **shuffled)
    other = dataset_of("stripes", tmp_path / "other" / "a.npz").facts(7)
    assert (facts.fingerprint, facts.mean, facts.std) == (other.fingerprint, other.mean, other.std)
    arrays["test_labels"] = (arrays["test_labels"] + 1) % 3
    assert dataset_of("stripes", saved(tmp_path, **arrays)).facts(7).fingerprint != facts.fingerprint


def test_the_same_bytes_in_another_shape_are_other_data(tmp_path):
    prints = set()
    for shape in ((8, 8), (4, 16), (16, 4), (4, 4, 4)):
        arrays = own_arrays(shape=(64,))
        arrays |= {name: each.reshape(-1, *shape) for name, each in arrays.items() if name.endswith("images")}
        prints.add(dataset_of("stripes", saved(tmp_path, **arrays)).facts().fingerprint)
    assert len(prints) == 4


def test_mean_and_standard_deviation_are_those_of_all_training_images(tmp_path):
    arrays = own_arrays(valid=10)
    facts = dataset_of("stripes", saved(tmp_path, **arrays)).facts()
    unit = arrays["train_images"].astype(np.float64) / 255
    np.testing.assert_allclose(facts.mean, unit.mean((0, 1, 2)), rtol=1e-14)
    np.testing.assert_allclose(facts.std, unit.std((0, 1, 2)), rtol=1e-13)


def test_a_fifth_of_the_training_images_validates_unless_others_are_there(tmp_path):
    row = dataset_of("stripes", saved(tmp_path, **own_arrays(train=60)))
    splits = row.splits(7)
    assert (len(splits.train), len(splits.train_eval), len(splits.valid), len(splits.test)) == (48, 12, 12, 21)
    assert not {image.tobytes() for image in splits.train.pixels} & {image.tobytes() for image in splits.valid.pixels}
    given = dataset_of("stripes", saved(tmp_path, **own_arrays(train=60, valid=15))).splits(7)
    assert (len(given.train), len(given.train_eval), len(given.valid), len(given.test)) == (60, 15, 15, 21)
    assert {image.tobytes() for image in given.train_eval.pixels} <= {image.tobytes() for image in given.train.pixels}


def test_own_arrays_are_never_evidence(tmp_path):
    facts = dataset_of("stripes", saved(tmp_path, **own_arrays())).facts()
    assert facts.origin == "own file"
    assert not is_evidence(facts.origin)


# --- what is refused ----------------------------------------------------------------------------------------------


GOOD = own_arrays()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"test_images": None, "test_labels": None}, "the arrays test_images, test_labels are not there"),
        ({"train_labels": None}, "the arrays train_labels are not there"),
        ({"valid_images": GOOD["test_images"]}, "the arrays valid_labels are not there"),
        ({"test_image": GOOD["test_images"]}, "unknown array 'test_image'. Did you mean 'test_images'?"),
        ({"train_images": GOOD["train_images"] / 255}, "train_images are float64 of shape (60, 9, 7, 2)"),
        ({"train_images": GOOD["train_images"][:, 0, 0]}, "train_images are uint8 of shape (60, 2)"),
        ({"train_images": GOOD["train_images"][:, :0]}, "train_images are uint8 of shape (60, 0, 7, 2)"),
        ({"train_images": np.zeros((60, 3, 9, 7), np.uint8)}, "images.transpose(0, 2, 3, 1)"),
        ({"test_images": GOOD["test_images"][:, 1:]}, "test_images are of shape (8, 7, 2), train_images of (9, 7, 2)"),
        ({"train_labels": GOOD["train_labels"][1:]}, "60 train_images have 59 train_labels"),
        ({"train_labels": GOOD["train_labels"].astype(float)}, "train_labels are float64"),
        ({"train_labels": np.eye(3, dtype=int)[GOOD["train_labels"]]}, "train_labels are int64 of shape (60, 3)"),
        ({"train_labels": np.array(["cat"] * 60)}, "train_labels are <U3"),
        ({"train_labels": GOOD["train_labels"] - 1}, "there is a label -1"),
        ({"train_labels": np.arange(60, dtype=np.uint64) + np.uint64(2**63)}, "there is a label 9223372036854"),
        ({"train_labels": GOOD["train_labels"] + 1}, "train_labels go up to 3 and leave out 0"),
        ({"train_labels": GOOD["train_labels"] * 10**12}, "leave out 1"),
        ({"train_labels": GOOD["train_labels"] * 0}, "name one class only: 0"),
        ({"test_labels": GOOD["test_labels"] + 1}, "test_labels go up to 3, train_labels to 2"),
        ({"train_images": GOOD["train_images"][:4], "train_labels": np.array([0, 1, 2, 0])}, "4 training images are"),
        ({"train_images": GOOD["train_images"] * [1, 0]}, "train_images are int64"),
        ({"train_images": (GOOD["train_images"] * [1, 0]).astype(np.uint8)}, "channel 1 of train_images has one value"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_data_set_are_refused_by_name(tmp_path, changes, told):
    arrays = {name: each for name, each in {**GOOD, **changes}.items() if each is not None}
    message = refusal(saved(tmp_path, **arrays))
    assert told in message
    assert message.startswith(f"{tmp_path / 'stripes.npz'}: ")


class Trap:
    """Unpickled, it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def test_nothing_is_unpickled(tmp_path):
    labels = np.array([Trap(tmp_path / "mark")] * 60, dtype=object)
    message = refusal(saved(tmp_path, **{**GOOD, "train_labels": labels}))
    assert "train_labels: holds Python objects" in message
    assert not (tmp_path / "mark").exists()


def npy_header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_a_header_that_promises_too_much_is_refused_before_anything_is_read(tmp_path):
    path = saved(tmp_path, **GOOD)
    with zipfile.ZipFile(path, "w") as archive:
        for name in GOOD:
            archive.writestr(f"{name}.npy", npy_header((10**12, 8, 8)) + b"few")
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "its header says uint8 of shape (1000000000000, 8, 8), which are not the 3 bytes that follow" in message
    assert peak < 1 << 22


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "stripes.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("train_images.npy", "w") as member,
    ):
        member.write(npy_header((128 << 20, 1, 1)))
        for _ in range(128):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "no images are packed more than 200 to 1" in message
    assert peak < 1 << 22


def test_a_directory_that_promises_more_than_memory_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "ARRAYS_LIMIT", 1000)
    assert "its arrays have" in (message := refusal(saved(tmp_path, **GOOD)))
    assert "all together may have 1,000" in message


def test_a_directory_larger_than_any_is_not_read_into_memory(tmp_path):
    path = tmp_path / "stripes.npz"
    size = 200 << 20
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 4, 4, size, 0, 0))
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "is not a readable .npz file: its directory has 209,715,200 bytes" in message
    assert peak < 1 << 22


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda content: b"", "is not a readable .npz file"),
        (lambda content: content[: len(content) // 2], "is not a readable .npz file"),
        (lambda content: content.replace(GOOD["train_images"].tobytes(), bytes(GOOD["train_images"].size)), "Bad CRC"),
        (lambda content: content.replace(b"train_images.npy", b"train_images.txt"), "which is no array"),
    ],
)
def test_a_damaged_file_gets_one_message(tmp_path, spoil, told):
    path = saved(tmp_path, **GOOD)
    spoiled = spoil(path.read_bytes())
    assert spoiled != path.read_bytes()
    path.write_bytes(spoiled)
    assert told in refusal(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"\x93NUMPY\x01", b"\x93NUMPY\x09", "its .npy header cannot be read"),
        (b"\x93NUMPY", b"\x93NUMPI", "its .npy header cannot be read"),
        (b"'descr'", b"(((((((", "its .npy header cannot be read"),
        (b"'|u1'", b"'|O' ", "holds Python objects"),
        (b"'shape': (60,", b"'shape': (61,", "which are not the"),
        (b"'shape': (60,", b"'shape': (-6,", "which are not the"),
    ],
)
def test_a_header_that_lies_gets_one_message(tmp_path, old, new, told):
    path = saved(tmp_path, **GOOD)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old in members["train_images.npy"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(old, new) if name == "train_images.npy" else content)
    assert told in refusal(path)


def test_no_flipped_byte_is_more_than_a_message(tmp_path):
    path = saved(tmp_path, **own_arrays(train=6, test=3, shape=(2, 2)))
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        try:
            dataset_of("stripes", path)
        except UserError:
            continue


def test_an_array_that_is_there_twice_is_refused(tmp_path):
    path = saved(tmp_path, **GOOD)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("train_labels.npy", b"")
    assert "holds the array 'train_labels' twice" in refusal(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    assert "not a regular file, but a named pipe" in refusal(tmp_path / "pipe.npz")
    assert "cannot be read: No such file" in refusal(tmp_path / "nowhere.npz")
    (tmp_path / "folder.npz").mkdir()
    assert "not a regular file, but a folder" in refusal(tmp_path / "folder.npz")


# --- in a problem -------------------------------------------------------------------------------------------------


def test_the_path_is_relative_to_the_problem_and_shown_nowhere(tmp_path, monkeypatch):
    path = write_own_problem(tmp_path / "problems")
    monkeypatch.chdir(tmp_path)
    problem = find_problem("problems/mine.toml").problem()
    monkeypatch.chdir("/")
    assert problem.dataset == "stripes"
    assert problem.dataset_file == tmp_path / "problems" / "stripes.npz"
    assert str(tmp_path) not in problem.model_dump_json()
    assert identify(problem).name == "stripes"
    told = invoke("list", path, "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)[0]["dataset"] == "stripes"
    assert str(tmp_path) not in told.stdout
    shown = invoke("show", path)
    assert "81 images of 9×7 pixels in 3 classes, from a file of your own" in shown.stdout
    assert str(tmp_path) not in shown.stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('dataset = "Stripes-1.npz"', "dataset: 'Stripes-1' cannot be a data set's name"),
        ('dataset = "stripes.npz"\ndataset_name = "My stripes"', "dataset_name: 'My stripes' cannot be"),
        ('dataset = "stripes.npz"\ndataset_name = 3', "dataset_name: 3 cannot be"),
        ('dataset = "digits"\ndataset_name = "mine"', "dataset_name = 'mine': is for arrays of your own"),
        ('dataset = "stripes.npz"\ndataset_file = "x"', "unknown key 'dataset_file'"),
        ('dataset = "a\\u0000.npz"', "is no path"),
        ('dataset = "nowhere.npz"', "nowhere.npz: cannot be read: No such file"),
        ('dataset = "stripes.npz"\ndataset_name = "digits"', "would be called 'digits', which another data set is"),
        ('dataset = "stripes.npy"', "Arrays of your own are named by their file, which ends in .npz."),
        ('dataset = "stripes.npz"\ndatasetname = "a"', "Did you mean 'dataset_name'?"),
    ],
)
def test_a_mistake_in_the_problem_gets_one_message(tmp_path, line, told):
    path = write_own_problem(tmp_path)
    path.write_text(PROBLEM.format(dataset="X").replace('dataset = "X"', line), encoding="utf-8")
    for command in (("show", path), ("run", path, "--results", tmp_path / "results", "--dry-run")):
        done = invoke(*command)
        assert done.exit_code == 2
        assert told in done.stderr
        assert done.stderr.startswith("Error: ")
    assert not (tmp_path / "results").exists()


def test_a_name_of_the_problems_own(tmp_path):
    path = write_own_problem(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace('stripes.npz"', 'stripes.npz"\ndataset_name = "lines"') + "\n[tiny]\n", encoding="utf-8"
    )
    file = find_problem(str(path))
    assert [file.problem(size).dataset for size in ("full", "tiny")] == ["lines", "lines"]
    path.write_text(path.read_text(encoding="utf-8") + 'dataset = "digits"\n', encoding="utf-8")
    assert [find_problem(str(path)).problem(size).dataset for size in ("full", "tiny")] == ["lines", "digits"]


def test_a_run_on_own_arrays_is_recorded_without_their_place(tmp_path, monkeypatch):
    """Trained by two workers from another folder; ranked, reported and checked where the file is gone."""
    folder, results = tmp_path / "somewhere", tmp_path / "results"
    path = write_own_problem(folder)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    arguments = ("run", "../somewhere/mine.toml", "--variant", "vanilla", "--variant", "bn", "--results", results)
    done = invoke(*arguments, "--workers", 2)
    assert done.exit_code == 0, done.stderr
    documents = [json.loads(each.read_text(encoding="utf-8")) for each in results.glob("*/run.json")]
    assert len(documents) == 2
    facts = identify(find_problem(str(path)).problem())
    for document in documents:
        assert document["run_id"].startswith("stripes_mlp-")
        assert document["data_origin"] == "own file"
        assert document["spec"]["data"] == {"name": "stripes", "fingerprint": facts.fingerprint}
        assert document["provenance"]["data"] == {
            "name": "stripes", "fingerprint": facts.fingerprint, "origin": "own file",
            "mean": list(facts.mean), "std": list(facts.std),
        }  # fmt: skip
    for file in results.rglob("*"):
        assert not file.is_file() or b"somewhere" not in file.read_bytes() or "sweep" in file.name, file

    here = tmp_path / "here"
    bnbench.run(str(path), ["vanilla", "bn"], results=here, workers=0, progress=False)
    assert table_bytes(here) == table_bytes(results)

    (folder / "stripes.npz").unlink()
    ranked = invoke("rank", "--results", results)
    assert ranked.exit_code == 0, ranked.stderr
    assert "BN" in ranked.stdout
    assert invoke("report", "--results", results, "--output", tmp_path / "page.html").exit_code == 0
    checked = invoke("check", "--results", results)
    assert "Traceback" not in checked.output
    again = invoke(*arguments)
    assert again.exit_code == 2
    assert "stripes.npz: cannot be read: No such file" in again.stderr


def test_a_cluster_job_finds_the_arrays_and_refuses_changed_ones(tmp_path, monkeypatch, capfd):
    """The chunk as the submitter pickles it, in another folder: the path of the arrays travels with the runs."""
    path = write_own_problem(tmp_path / "problems")
    specs = select(Grid((str(path),), ("vanilla", "bn"))).specs
    sent = [pickle.dumps(Chunk((spec,), tmp_path / "results", RunOptions("cpu", workers=1))) for spec in specs]
    monkeypatch.chdir("/")
    pickle.loads(sent[0])()
    assert [each.parent.name for each in (tmp_path / "results").glob("*/run.json")] == [specs[0].run_id]
    write_own_problem(tmp_path / "problems", arrays=own_arrays(seed=1))
    with pytest.raises(SystemExit) as end:
        pickle.loads(sent[1])()
    assert end.value.code == 1
    assert "dataset 'stripes' changed after the run was planned" in capfd.readouterr().out
    assert len(list((tmp_path / "results").glob("*/run.json"))) == 1


def test_another_file_of_the_same_name_makes_another_run(tmp_path):
    path = write_own_problem(tmp_path)
    before = bnbench.plan(str(path), ["vanilla"], results=tmp_path / "results").run_id[0]
    write_own_problem(tmp_path, arrays=own_arrays(seed=1))
    after = bnbench.plan(str(path), ["vanilla"], results=tmp_path / "results").run_id[0]
    assert before != after
    assert before.rpartition("-")[0] == after.rpartition("-")[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_changes_under_a_planned_run_is_refused(tmp_path, monkeypatch, workers):
    """The plan is made on one file, and the run finds another there."""
    path = write_own_problem(tmp_path)
    planned = sweep.make_plan

    def plan_then_change(*arguments):
        made = planned(*arguments)
        write_own_problem(tmp_path, arrays=own_arrays(seed=1))
        return made

    monkeypatch.setattr(sweep, "make_plan", plan_then_change)
    told = "dataset 'stripes' changed after the run was planned"
    if workers:
        done = invoke("run", path, "--variant", "vanilla", "--results", tmp_path / "results", "--workers", workers)
        assert done.exit_code != 0
        assert told in done.stderr
    else:
        ended: list[str | None] = []
        listener = Silent()
        monkeypatch.setattr(listener, "ended", lambda spec, outcome: ended.append(outcome.error))
        bnbench.run(str(path), ["vanilla"], results=tmp_path / "results", workers=0, progress=listener)
        assert told in ended[0]
    assert not list((tmp_path / "results").glob("*/run.json"))


STUDY = """
summary = "own arrays"
source = "a test"
reading = "as it stands"

[[experiments]]
id = "hidden"
summary = "the default placement"
problems = ["mine.toml"]
variants = ["vanilla", "bn"]
placements = ["hidden"]
claims = ["better"]

[[claims]]
id = "better"
figure = "1"
text = "BN ends higher than vanilla"
[[claims.parts]]
rule = "greater"
measure = "final accuracy"
problem = "mine.toml"
a = "bn"
b = "vanilla"
"""


def test_a_study_on_own_arrays_decides_nothing_as_evidence(tmp_path, monkeypatch):
    write_own_problem(tmp_path / "own")
    (tmp_path / "own" / "mystudy.toml").write_text(STUDY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ran = invoke("study", "own/mystudy.toml", "--results", "results", "--workers", 1)
    assert ran.exit_code == 0, ran.output
    told = json.loads(invoke("claims", "--study", "own/mystudy.toml", "--results", "results", "--json").stdout)
    assert "no data" in json.dumps(told)
    shown = invoke("claims", "--study", "own/mystudy.toml", "--results", "results")
    assert shown.exit_code == 0, shown.output
    assert "1 no data" in shown.stdout
    assert "not the official data" in shown.output
