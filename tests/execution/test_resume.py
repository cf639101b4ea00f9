"""A run that is interrupted and goes on: the same bytes as in one go, whatever happened to its files meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from bnbench.components.variants import VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.execution import run as run_module
from bnbench.execution.options import RunOptions
from bnbench.execution.run import Notice, Outcome, execute, record_failure
from bnbench.execution.signals import STOP_SIGNALS, stop_on
from bnbench.plan import expand_grid
from bnbench.problem import find_problem
from bnbench.storage.checkpoints import checkpoint_paths
from bnbench.storage.files import StorageError
from bnbench.storage.lock import acquire_lock
from bnbench.storage.repeating import forget_failure, start_afresh, tidy_result
from bnbench.storage.store import ResultStore
from bnbench.training.events import EpochEvaluated, StepReached
from support.command_line import table_bytes

CPU = RunOptions("cpu")


def make_spec(problem="digits_mlp", variant="bn_gamma_beta", epochs=3):
    file = find_problem(problem).problem("tiny", {"training.epochs": epochs})
    (only,) = expand_grid(file, DATASETS.get("digits").identify(), [VARIANTS.get(variant)], seeds=file.first_seeds(1))
    return only


@pytest.fixture(scope="module")
def spec():
    return make_spec()


@pytest.fixture(scope="module")
def whole(spec, tmp_path_factory):
    """The tables of an uninterrupted run."""
    store = tmp_path_factory.mktemp("whole")
    assert execute(spec, store, CPU, lambda event: None).status == "finished"
    return table_bytes(store)


class Steps:
    """A listener that asks for a stop after so many steps, and remembers what it was told."""

    def __init__(self, patience):
        self.patience = patience
        self.said = []
        self.step = 0

    def __call__(self, event):
        if isinstance(event, Notice):
            self.said.append(event.text)
        if isinstance(event, StepReached):
            self.step = event.step

    def stop(self):
        return self.step >= self.patience


def attempt(spec, store, patience, **options):
    listener = Steps(patience)
    outcome = execute(spec, store, RunOptions("cpu", **options), listener, stop=listener.stop)
    return outcome, listener


def test_a_run_that_is_stopped_again_and_again_ends_in_the_same_bytes(spec, whole, tmp_path):
    stops, step = 0, 0
    while True:
        outcome, listener = attempt(spec, tmp_path, step + 13)
        if outcome.status == "finished":
            break
        assert outcome == Outcome(spec.run_id, "paused")
        assert ResultStore(tmp_path).finished() == {}
        assert ResultStore(tmp_path).unfinished() == [spec.run_id]
        stops, step = stops + 1, listener.step
    assert stops >= 8
    assert table_bytes(tmp_path) == whole
    names = sorted(path.name for path in (tmp_path / spec.run_id).iterdir())
    assert names == ["affine.parquet", "curves.parquet", "run.json", "steps.parquet", "timing.parquet"]
    stretches = json.loads((tmp_path / spec.run_id / "run.json").read_text())["provenance"]["stretches"]
    assert len(stretches) == stops + 1
    steps = [each["from_step"] for each in stretches]
    assert steps == sorted(set(steps))
    assert {each["device"] for each in stretches} == {"cpu"}


def test_variables_that_decide_bits_are_recorded_and_a_change_of_them_is_said(spec, tmp_path, monkeypatch):
    for name in ("MKL_CBWR", "DNNL_MAX_CPU_ISA", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    attempt(spec, tmp_path, 20)
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.delenv("MKL_CBWR")
    heard = []
    assert execute(spec, tmp_path, CPU, heard.append).status == "finished"
    assert [each.text for each in heard if isinstance(each, Notice) and "was begun" in each.text] == [
        "was begun with DNNL_MAX_CPU_ISA unset and goes on with AVX2: its last digits may differ",
        "was begun with MKL_CBWR COMPATIBLE and goes on with unset: its last digits may differ",
    ]
    provenance = json.loads((tmp_path / spec.run_id / "run.json").read_text())["provenance"]
    assert provenance["flags"]["DNNL_MAX_CPU_ISA"] == "AVX2"
    assert provenance["flags"]["NVIDIA_TF32_OVERRIDE"] == "0"
    assert provenance["flags"].keys() & {"MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG"} == set()
    first, second = provenance["stretches"]
    assert first["MKL_CBWR"] == "COMPATIBLE"
    assert "MKL_CBWR" not in second


def test_checkpoints_taken_all_the_time_change_nothing(spec, whole, tmp_path):
    outcome, _ = attempt(spec, tmp_path, 1e9, checkpoint_seconds=0.02)
    assert outcome.status == "finished"
    assert table_bytes(tmp_path) == whole


@pytest.fixture(scope="module")
def interrupted(spec, tmp_path_factory):
    """The folder of a run that has two checkpoints and is not at its end."""
    return paused(spec, tmp_path_factory.mktemp("interrupted"))


@pytest.fixture
def folder(interrupted, tmp_path):
    """A copy of it, in the results folder `tmp_path`."""
    return shutil.copytree(interrupted, tmp_path / interrupted.name)


def paused(spec, store, step=100):
    for patience in (step - 20, step):
        outcome, _ = attempt(spec, store, patience)
        assert outcome.status == "paused"
    folder = store / spec.run_id
    assert len(checkpoint_paths(folder)) == 2
    return folder


def flip(path, position=-100):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x20
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


def newest(folder):
    return checkpoint_paths(folder)[0]


def part(number, table="steps"):
    return lambda folder: sorted(folder.glob(f"work-*/{table}-*.parquet"))[number]


def flush_record(number):
    return lambda folder: next(folder.glob(f"work-*/flush-{number:06}.json"))


@pytest.mark.parametrize(
    ("victims", "damage", "goes_on_from"),
    [
        ((newest,), flip, "previous"),
        ((newest,), cut, "previous"),
        ((newest,), lambda path: flip(path, 3), "previous"),
        ((newest,), lambda path: flip(path, 80), "previous"),
        ((newest,), lambda path: path.write_bytes(b""), "previous"),
        ((lambda folder: checkpoint_paths(folder)[1],), flip, "newest"),
        ((newest, lambda folder: checkpoint_paths(folder)[1]), flip, "zero"),
        ((part(-1),), flip, "previous"),
        ((part(-1, "affine"),), cut, "previous"),
        ((part(0),), flip, "zero"),
        ((part(0),), lambda path: path.unlink(), "zero"),
        ((flush_record(0),), lambda path: path.write_text("{"), "zero"),
        ((flush_record(1),), lambda path: path.unlink(), "previous"),
    ],
)
def test_what_is_damaged_is_set_aside_and_never_gives_a_wrong_result(
    spec, whole, folder, tmp_path, victims, damage, goes_on_from
):
    steps = [int(path.name[5:14]) for path in checkpoint_paths(folder)]
    for path in [victim(folder) for victim in victims]:
        damage(path)
    outcome, listener = attempt(spec, tmp_path, 1e9)
    assert outcome.status == "finished"
    assert table_bytes(tmp_path) == whole
    begun = {"newest": steps[0], "previous": steps[1], "zero": None}[goes_on_from]
    assert [line for line in listener.said if line.startswith("goes on")] == (
        [] if begun is None else [f"goes on from step {begun} of 132 (epoch {begun // 44})"]
    )
    if goes_on_from == "newest":
        assert len(listener.said) == 1
        return
    warnings = [line for line in listener.said if not line.startswith("goes on")]
    assert warnings
    kept = sorted(path.name for path in (folder / "set-aside").iterdir()) if (folder / "set-aside").exists() else []
    for line in warnings:
        assert "set aside as set-aside/" in line or "missing" in line
    assert kept or "missing" in " ".join(warnings)


def test_a_checkpoint_of_another_run_is_set_aside(spec, whole, folder, tmp_path, tmp_path_factory):
    other = make_spec(variant="bn_gamma")
    elsewhere = tmp_path_factory.mktemp("theirs")
    assert attempt(other, elsewhere, 60)[0].status == "paused"
    newest(folder).write_bytes(newest(elsewhere / other.run_id).read_bytes())
    outcome, listener = attempt(spec, tmp_path, 1e9)
    assert outcome.status == "finished"
    assert f"it belongs to the run {other.run_id}" in listener.said[0]
    assert table_bytes(tmp_path) == whole


def test_a_checkpoint_that_training_cannot_read_is_set_aside(spec, whole, tmp_path, monkeypatch):
    """Whole by its checksum, and still of no use: of another format, say."""
    real = run_module.checkpoint_bytes
    first, _ = attempt(spec, tmp_path, 50)
    monkeypatch.setattr(run_module, "checkpoint_bytes", lambda trainer: real(trainer)[:-10])
    second, _ = attempt(spec, tmp_path, 70)
    assert (first.status, second.status) == ("paused", "paused")
    outcome, listener = attempt(spec, tmp_path, 1e9)
    assert outcome.status == "finished"
    assert "is of no use" in listener.said[0]
    assert "goes on from step 5" in listener.said[1]
    assert table_bytes(tmp_path) == whole


def test_a_record_that_cannot_be_read_is_set_aside_and_the_run_repeated(spec, whole, tmp_path):
    execute(spec, tmp_path, CPU, lambda event: None)
    document = tmp_path / spec.run_id / "run.json"
    for text in ("{", "[]", '{"schema": 2}'):
        document.write_text(text)
        assert ResultStore(tmp_path).warnings()
        assert execute(spec, tmp_path, CPU, lambda event: None).status == "finished"
        assert table_bytes(tmp_path) == whole
    assert [path.read_text() for path in sorted((document.parent / "set-aside").iterdir())] == [
        "{",
        "[]",
        '{"schema": 2}',
    ]


@pytest.mark.parametrize("table", ["curves", "steps", "affine"])
def test_a_table_that_was_cut_makes_the_run_repeat(spec, whole, tmp_path, table):
    execute(spec, tmp_path, CPU, lambda event: None)
    cut(tmp_path / spec.run_id / f"{table}.parquet")
    assert ResultStore(tmp_path).finished() == {}
    outcome = execute(spec, tmp_path, CPU, lambda event: None)
    assert (outcome.status, outcome.elsewhere) == ("finished", False)
    assert table_bytes(tmp_path) == whole


def test_a_flipped_bit_in_a_table_is_found_before_it_is_read(spec, whole, tmp_path):
    execute(spec, tmp_path, CPU, lambda event: None)
    flip(tmp_path / spec.run_id / "steps.parquet", 500)
    with pytest.raises(StorageError, match="is damaged: its contents are not those that were written"):
        ResultStore(tmp_path).read(spec.run_id, "steps")


def test_a_run_that_another_process_is_training_is_left_to_it(spec, tmp_path):
    with acquire_lock(tmp_path / spec.run_id):
        assert execute(spec, tmp_path, CPU, lambda event: None) == Outcome(spec.run_id, "busy")
        assert record_failure(spec, tmp_path, CPU, "it died").status == "busy"


def test_a_run_that_is_taken_over_writes_no_more(spec, whole, tmp_path):
    """As after a long sleep: another process has the lock, and may be writing."""
    folder = tmp_path / spec.run_id
    before = []

    def listen(event):
        if isinstance(event, EpochEvaluated) and event.epoch == 1:
            (folder / "writer-000002.lock").write_bytes(b"somebody else's")
            before.extend(sorted(path for path in folder.rglob("*")))

    assert execute(spec, tmp_path, RunOptions("cpu", checkpoint_seconds=0.01), listen) == Outcome(spec.run_id, "busy")
    assert sorted(path for path in folder.rglob("*") if path.name != "writer-000001.lock") == [
        path for path in before if path.name != "writer-000001.lock"
    ]
    (folder / "writer-000002.lock").unlink()
    assert execute(spec, tmp_path, CPU, lambda event: None).status == "finished"
    assert table_bytes(tmp_path) == whole


def test_a_failed_run_goes_on_from_its_last_good_state_once_it_is_to(spec, whole, folder, tmp_path):
    assert record_failure(spec, tmp_path, CPU, "its process was ended by SIGKILL").status == "failed"
    assert attempt(spec, tmp_path, 1e9)[0].status == "failed"
    assert not start_afresh(folder)
    assert forget_failure(folder)
    outcome, listener = attempt(spec, tmp_path, 1e9)
    assert outcome.status == "finished"
    assert listener.said[0].startswith("goes on from step 10")
    assert table_bytes(tmp_path) == whole


def test_a_run_can_be_made_to_start_from_its_first_step(spec, whole, folder, tmp_path):
    assert start_afresh(folder)
    outcome, listener = attempt(spec, tmp_path, 1e9)
    assert (outcome.status, listener.said) == ("finished", [])
    assert table_bytes(tmp_path) == whole
    assert not start_afresh(folder), "a result stays"
    assert table_bytes(tmp_path) == whole


def test_leftovers_beside_a_result_are_tidied_away(spec, whole, folder, tmp_path):
    left = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    attempt(spec, tmp_path, 1e9)
    for path, contents in left.items():  # as after a kill between run.json and the end
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents)
    (folder / "writer-000001.lock").write_bytes(b"")
    tidy_result(folder)
    assert checkpoint_paths(folder), "a lock that may be somebody's is respected"
    (folder / "writer-000001.lock").unlink()
    tidy_result(folder)
    assert len(list(folder.iterdir())) == 5
    assert table_bytes(tmp_path) == whole


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signals_leave_a_checkpoint(spec, whole, tmp_path, number):
    before = signal.getsignal(number)

    def listen(event):
        if isinstance(event, StepReached) and event.step == 56:
            os.kill(os.getpid(), number)

    with stop_on(STOP_SIGNALS) as stop:
        outcome = execute(spec, tmp_path, CPU, listen, stop=stop)
    assert (outcome.status, stop.exit_code) == ("paused", 128 + number)
    assert signal.getsignal(number) == before
    # Said at snapshot steps; heard after the next step.
    assert [path.name for path in checkpoint_paths(tmp_path / spec.run_id)] == ["step-000000057.checkpoint"]
    outcome, listener = attempt(spec, tmp_path, 1e9)
    assert outcome.status == "finished"
    assert listener.said == ["goes on from step 57 of 132 (epoch 1)"]
    assert table_bytes(tmp_path) == whole


def test_a_hangup_that_is_ignored_stays_so():
    """As nohup leaves it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on(STOP_SIGNALS) as stop:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
