"""`plan`, `estimate`, `status`, and the options of a sweep: what they say is what is there, and what is then done."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from bnbench.analysis.frames import open_results
from bnbench.components.variants import STUDIED
from bnbench.execution.estimate import schedule_seconds
from bnbench.execution.options import RunOptions, Shard
from bnbench.execution.planning import SweepPlan
from bnbench.execution.run import execute, record_failure
from bnbench.storage.lock import acquire_lock, look_at_lock
from bnbench.storage.processes import this_process
from bnbench.storage.sweeps import SWEEPS_FOLDER, SweepRecord, SweepRun, write_sweep
from bnbench.training.events import StepReached
from bnbench.words import duration
from execution.test_resume import make_spec
from support.command_line import invoke, table_bytes

GRID = ("digits_mlp", "--size", "tiny", "--epochs", "3")
CPU = RunOptions("cpu")


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """No speeds measured yet."""
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "data"))


def pause_at(spec, store, step):
    reached = []

    def listen(event):
        if isinstance(event, StepReached):
            reached.append(event.step)

    outcome = execute(spec, store, CPU, listen, stop=lambda: bool(reached) and reached[-1] >= step)
    assert outcome.status == "paused"


@pytest.fixture
def folder(tmp_path):
    """A run in each state; vanilla has not been begun."""
    store = tmp_path / "results"
    execute(make_spec(variant="bn"), store, CPU, lambda event: None)
    pause_at(make_spec(variant="bn_beta"), store, 60)
    record_failure(make_spec(variant="bn_gamma"), store, CPU, "it is\nout of luck")
    running = store / make_spec(variant="bn_gamma_beta").run_id
    with acquire_lock(running, beat_seconds=0.01) as lock:
        lock.progress(90, 132, 2, 3)
        until = time.monotonic() + 20
        # The next heartbeat brings it to disk.
        while (view := look_at_lock(running)) is None or view.owner is None or view.owner.step != 90:
            assert time.monotonic() < until, "no heartbeat"
            time.sleep(0.005)
        yield store


def states(*arguments):
    result = invoke("plan", *GRID, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return {record["variant"]: record for record in json.loads(result.stdout)}


def test_a_plan_tells_every_state_and_writes_nothing(folder, tmp_path):
    def everything():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix != ".lock"}

    before = everything()
    found = states("--results", folder)
    assert {name: (record["state"], record["to_train"]) for name, record in found.items()} == {
        "vanilla": ("new", True),
        "bn": ("finished", False),
        "bn_beta": ("resumable", True),
        "bn_gamma": ("failed", False),
        "bn_gamma_beta": ("running", True),
    }
    assert (found["bn_beta"]["step"], found["bn_beta"]["epoch"], found["bn_beta"]["epochs"]) == (62, 1, 3)
    assert {record["seconds"] for record in found.values()} == {None}
    text = invoke("plan", *GRID, "--results", folder)
    dry = invoke("run", *GRID, "--dry-run", "--results", folder)
    assert (text.stdout, text.stderr) == (dry.stdout, dry.stderr)
    lines = text.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines][:4] == ["to run", "finished", "resumable epoch 1/3", "failed"]
    assert lines[4].startswith("running epoch ")
    assert "3 of 5 runs to train (1 resumable, 1 running)" in text.stderr
    assert "bnbench estimate" in text.stderr
    assert "1 failed before and stay as they are; --retry failed" in text.stderr
    assert everything() == before


def test_what_is_tried_again_or_afresh(folder):
    retried = states("--results", folder, "--retry", "failed")
    assert (retried["bn_gamma"]["state"], retried["bn_gamma"]["to_train"]) == ("failed", True)
    fresh = states("--results", folder, "--fresh")
    assert (fresh["bn_beta"]["state"], fresh["bn_beta"]["step"]) == ("new", 0)
    assert fresh["bn"]["state"] == "finished", "a result stays"


def test_status_tells_the_same_while_a_sweep_runs(folder):
    records = {record["run_id"].split("-")[1]: record for record in json.loads(status(folder, "--json"))}
    assert {name: record["status"] for name, record in records.items()} == {
        "bn": "finished", "bn_beta": "resumable", "bn_gamma": "failed", "bn_gamma_beta": "running",
    }  # fmt: skip
    running = records["bn_gamma_beta"]
    assert (running["step"], running["total_steps"], running["epoch"], running["epochs"]) == (90, 132, 2, 3)
    lines = status(folder, "--runs").splitlines()
    ending = {line.split("-")[1]: line.split(" ", 1)[1].strip() for line in lines[1:]}
    assert ending == {
        "bn": "finished",
        "bn_beta": "resumable, epoch 1/3",
        "bn_gamma": "failed: out of luck",
        "bn_gamma_beta": "running, epoch 2/3",
    }
    assert "Not ended: 1 running, 1 resumable;" in status(folder)


@pytest.fixture
def damaged(folder):
    """The folder, after a file of one result was cut short and a record came to be nonsense; the runs' ids."""
    bn, vanilla = make_spec(variant="bn").run_id, make_spec(variant="vanilla").run_id
    os.truncate(folder / bn / "affine.parquet", 1000)
    (folder / vanilla).mkdir()
    (folder / vanilla / "run.json").write_text("{", encoding="utf-8")
    return bn, vanilla


def test_damaged_runs_are_damaged_in_every_answer(folder, damaged, sweep_of):
    records = {record["run_id"]: record for record in json.loads(status(folder, "--json"))}
    assert [records[run_id]["status"] for run_id in damaged] == ["damaged", "damaged"]
    assert records[damaged[0]]["variant"] == "bn"
    lines = {line.split()[0]: line.split()[1:] for line in status(folder, "--runs").splitlines()[1:]}
    assert [lines[run_id] for run_id in damaged] == [["damaged"], ["damaged"]]
    heading, counts, *others = status(folder).splitlines()
    assert heading.split()[3:] == ["finished", "diverged", "failed", "damaged"]
    assert counts.split()[3:] == ["0", "0", "1", "1"]  # a record that is nonsense tells no problem
    assert others == [
        "Damaged: 2 runs; the command that trained them, typed again, trains them once more. --runs names them.",
        "Not ended: 1 running, 1 resumable; the command that started them does the rest. --runs names them.",
    ]
    found = states("--results", folder)
    assert {name: (found[name]["state"], found[name]["to_train"]) for name in ("bn", "vanilla")} == {
        "bn": ("damaged", True), "vanilla": ("damaged", True),
    }  # fmt: skip
    plan = invoke("plan", *GRID, "--results", folder)
    assert "4 of 5 runs to train (2 damaged, 1 resumable, 1 running)" in plan.stderr
    assert [line.split("  ")[0] for line in plan.stdout.splitlines()][:2] == ["to run (damaged)"] * 2
    assert states("--results", folder, "--fresh")["bn"]["state"] == "damaged"
    assert list(open_results(folder).runs()["status"]) == ["damaged", "failed"]
    sweep_of(this_process())
    assert "1 of 5 runs ended, 2 damaged, 1 running, 1 resumable; about" in status(folder)
    assert "Damaged:" not in status(folder), "the sweep tells of them"


def test_damaged_runs_are_trained_again(folder, damaged):
    done = invoke("run", *GRID, "--variant", "bn", "--variant", "vanilla", "--results", folder)
    assert done.exit_code == 0, done.output
    assert "2 runs to train" in done.stderr
    assert "damaged" not in status(folder).lower()
    counts = status(folder).splitlines()[1].split()
    assert counts[3:] == ["2", "0", "1"]


def test_a_damaged_run_that_is_being_trained_again_is_running(folder, damaged):
    with acquire_lock(folder / damaged[0]):
        records = {record["run_id"]: record["status"] for record in json.loads(status(folder, "--json"))}
        assert (records[damaged[0]], records[damaged[1]]) == ("running", "damaged")
        assert status(folder).splitlines()[1].split()[3:] == ["0", "0", "1", "0"]


@pytest.fixture
def sweep_of(folder):
    """Puts a sweep over all five variants on record, by a process."""

    def put(process):
        runs = tuple(
            SweepRun(run_id=spec.run_id, setting_id=spec.setting_id, seconds=100.0)
            for spec in (make_spec(variant=variant) for variant in STUDIED)
        )
        record = SweepRecord(command="bnbench run 'my problem'", process=process, side_by_side=2, runs=runs)
        write_sweep(folder, record)

    return put


def test_status_tells_what_a_sweep_has_left_and_how_long_that_takes(folder, sweep_of):
    sweep_of(this_process())
    waiting = make_spec(variant="vanilla").run_id
    text = status(folder)
    told = "$ bnbench run 'my problem'\n2 of 5 runs ended, 1 running, 1 resumable, 1 waiting; about "
    assert told in text
    assert " left, 2 side by side" in text.partition(told)[2]
    assert "Not ended" not in text
    assert status(folder, "--runs").splitlines()[5].split() == [waiting, "waiting"]
    records = json.loads(status(folder, "--json"))
    assert [record for record in records if record["status"] == "waiting"] == [{"run_id": waiting, "status": "waiting"}]


@pytest.fixture
def stopped():
    """A process of this machine that has ended."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    return this_process().model_copy(update={"process": gone.pid})


def test_a_sweep_that_was_killed_says_how_to_go_on_and_how_to_forget_it(tmp_path, stopped):
    run = SweepRun(run_id="digits_mlp-bn-hidden-s1-0123456789ab", setting_id="digits_mlp-0123456789ab", seconds=100.0)
    write_sweep(tmp_path, SweepRecord(command="bnbench run x", process=stopped, side_by_side=2, runs=(run,)))
    (path,) = (tmp_path / SWEEPS_FOLDER).iterdir()
    text = status(tmp_path)
    assert (
        f"1 not begun. It runs no more; typed again where it was typed, it does the rest. To forget it: rm {path}"
        in text
    )
    assert "side by side" not in text
    assert json.loads(status(tmp_path, "--json")) == [{"run_id": run.run_id, "status": "not begun"}]
    # Of a process on another machine nothing is known as long as no run of it shows signs of life.
    other = stopped.model_copy(update={"machine": "0123456789abcdef"})
    path.unlink()
    write_sweep(tmp_path, SweepRecord(command="bnbench run x", process=other, side_by_side=2, runs=(run,)))
    assert "1 waiting. No sign of it from here; if it runs no more, typed again it does the rest." in status(tmp_path)


def test_a_sweep_whose_runs_another_process_trains_is_not_called_over(folder, sweep_of, stopped):
    sweep_of(stopped)
    text = status(folder)
    assert "2 of 5 runs ended, 1 running, 1 resumable, 1 waiting" in text
    assert "runs no more" not in text


def test_a_damaged_table_costs_no_more_than_the_measured_time(folder, sweep_of):
    sweep_of(this_process())
    (table,) = folder.glob("digits_mlp-bn-*/timing.parquet")
    size = table.stat().st_size
    table.write_bytes(bytes(size))
    assert "about 100 s left, 2 side by side" in status(folder)


def status(folder, *arguments):
    result = invoke("status", *arguments, "--results", folder)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_runs_that_failed_stay_until_they_are_tried_again(tmp_path):
    spec = make_spec(variant="bn")
    store = tmp_path / "results"
    pause_at(spec, store, 60)
    record_failure(spec, store, CPU, "out of luck")
    arguments = ("run", *GRID, "--variant", "bn", "--device", "cpu", "--results", store)
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert "1 of 1 runs failed" in result.stderr
    assert "before; --retry failed tries it again: out of luck" in result.stderr
    result = invoke(*arguments, "--retry", "failed")
    assert result.exit_code == 0, result.output
    assert "goes on from step 62 of 132 (epoch 1)" in result.stderr
    execute(spec, tmp_path / "whole", CPU, lambda event: None)
    assert table_bytes(store) == table_bytes(tmp_path / "whole")


def test_an_estimate_is_kept_and_used(tmp_path):
    store = tmp_path / "results"
    measured = invoke("estimate", *GRID, "--device", "cpu", "--json", "--results", store)
    assert measured.exit_code == 0, measured.output
    records = json.loads(measured.stdout)
    assert [record["variant"] for record in records] == ["vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta"]
    assert all(record["step_s"] > 0 and record["eval_s"] > 0 for record in records)
    assert {record["steps_per_epoch"] for record in records} == {44}
    assert str(tmp_path / "data" / "speeds.json") in measured.stderr
    assert not store.exists()
    planned = states("--device", "cpu", "--results", store)
    for record in records:
        whole = 3 * 44 * record["step_s"] + 4 * record["eval_s"]
        assert planned[record["variant"]]["seconds"] == pytest.approx(whole)
    # Another learning rate is as fast; another batch is not known to be.
    other = states("--device", "cpu", "--results", store, "--lr-factor", "3")
    assert all(record["seconds"] for record in other.values())
    other = states("--device", "cpu", "--results", store, "--set", "training.batch_size=30")
    assert {record["seconds"] for record in other.values()} == {None}
    # Where BatchNorm sits elsewhere, the slowest that was measured is taken.
    elsewhere = states("--device", "cpu", "--results", store, "--placement", "every", "--variant", "bn")
    slowest = max(records, key=lambda record: record["step_s"])
    assert elsewhere["bn"]["seconds"] == pytest.approx(3 * 44 * slowest["step_s"] + 4 * slowest["eval_s"])
    pause_at(make_spec(variant="bn"), store, 60)
    rest = states("--device", "cpu", "--results", store)["bn"]
    speed = records[1]
    assert rest["seconds"] == pytest.approx((3 * 44 - 62) * speed["step_s"] + 2 * speed["eval_s"])


def test_an_estimate_beside_data_that_may_not_be_written_is_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "file" / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = ("digits_mlp", "--size", "tiny", "--variant", "bn", "--device", "cpu", "--results", tmp_path / "results")
    measured = invoke("estimate", *asked)
    assert measured.exit_code == 0, measured.output
    (own,) = (tmp_path / "cache" / "bnbench").iterdir()
    assert f"kept in {own}" in measured.stderr
    assert "about" in invoke("plan", *asked).stderr
    # Nor there: what was measured is printed all the same.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    measured = invoke("estimate", *asked)
    assert measured.exit_code == 0, measured.output
    assert " ms a step " in measured.stdout
    assert f"could not be kept: {tmp_path / 'file' / 'data'} cannot be written" in measured.stderr
    assert "BNBENCH_DATA" in measured.stderr
    assert "--results" not in measured.stderr


def test_single_seeds_are_planned_each_once(tmp_path):
    asked = ("plan", *GRID, "--variant", "bn", "--json", "--results", tmp_path / "results")
    records = json.loads(invoke(*asked, "--seed", "47", "--seed", "0", "--seed", "47").stdout)
    assert [record["seed"] for record in records] == [47, 0]
    first = json.loads(invoke(*asked).stdout)[0]
    named = json.loads(invoke(*asked, "--seed", first["seed"]).stdout)
    assert [record["run_id"] for record in named] == [first["run_id"]]


def test_a_plan_without_the_data_lists_runs_without_ids(tmp_path):
    result = invoke("plan", "cifar10_3c3d", "--results", tmp_path / "results")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("to run (no data)") and line.endswith(" -") for line in lines)
    assert "5 have no id yet" in result.stderr
    records = json.loads(invoke("plan", "cifar10_3c3d", "--json", "--results", tmp_path / "results").stdout)
    assert {record["run_id"] for record in records} == {None}
    assert not (tmp_path / "results").exists()


def test_shards_part_a_sweep_without_rest(tmp_path):
    def ids(*arguments):
        records = json.loads(invoke("plan", *GRID, "--seeds", 4, "--json", "--results", tmp_path, *arguments).stdout)
        return [record["run_id"] for record in records]

    everything = ids()
    parts = [ids("--shard", f"{index}/3") for index in (1, 2, 3)]
    assert sorted(run_id for part in parts for run_id in part) == sorted(everything)
    assert sorted(len(part) for part in parts) == [6, 7, 7]
    assert ids("--shard", "2/3") == parts[1]
    assert Shard(1, 1).of([]) == []


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (("--shard", "0/2"), "'0/2' is no shard"),
        (("--shard", "3/2"), "'3/2' is no shard"),
        (("--shard", "half"), "'half' is no shard"),
        (("--gpus", "0,0"), "each once"),
        (("--gpus", "a"), "no list of GPUs"),
        (("--run-timeout", "soon"), "'soon' is no duration"),
        (("--run-timeout", "0"), "'0' is no duration"),
        (("--retry", "finished"), "failed"),
        (("--runs-per-gpu", "0"), "--runs-per-gpu"),
        (("--gpus", "0", "--workers", "2"), "--workers and --gpus contradict"),
        (("--gpus", "0", "--device", "cpu"), "--gpus and --device cpu contradict"),
    ],
)
def test_mistakes_in_the_options_of_a_sweep(arguments, needle, tmp_path):
    result = invoke("run", *GRID, *arguments, "--results", tmp_path / "results")
    assert result.exit_code == 2
    assert needle in result.stderr
    assert not (tmp_path / "results").exists()


def test_times_are_told_in_two_units():
    told = [duration(seconds) for seconds in (None, 0.4, 119, 121, 3599, 3600, 12000, 100_000, 1e6)]
    assert told == ["?", "0 s", "119 s", "2 min", "1 h 0 min", "1 h 0 min", "3 h 20 min", "1 d 4 h", "11 d 14 h"]


def test_the_end_of_a_sweep_is_that_of_its_last_run():
    assert schedule_seconds([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert schedule_seconds([1.0, 1.0, 3.0], 2) == 4.0
    assert schedule_seconds([], 4) == 0.0
    assert SweepPlan((), 2, "here", "cpu").seconds == 0.0
