"""Sweeps on a real Slurm: nodes that die, limits that are reached, jobs that are preempted and cancelled.

Whatever happens on the way, the tables at the end are those of the same sweep run here, byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from bnbench.components.variants import STUDIED, VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.execution.options import RunOptions
from bnbench.execution.run import execute
from bnbench.execution.slurm.queue import CLUSTER_FOLDER, Submission, look_at_queue, read_submissions
from bnbench.execution.slurm.settings import read_settings
from bnbench.execution.slurm.submit import submit_sweep
from bnbench.plan import RunSpec, expand_grid
from bnbench.problem import find_problem
from bnbench.storage.checkpoints import checkpoint_paths
from bnbench.storage.lock import acquire_lock
from bnbench.storage.store import ResultStore
from cluster.slurm import Slurm, wait_for
from support.command_line import invoke, start, table_bytes

pytest.importorskip("submitit")

PATIENCE = 300.0
"""For what takes seconds on a quiet machine."""

SHORT = ("run", "digits_mlp", "--size", "tiny", "--epochs", "2", "--device", "cpu")


@dataclass(frozen=True)
class Sweep:
    """A sweep that was submitted, and the cluster it went to."""

    slurm: Slurm
    store: Path
    specs: tuple[RunSpec, ...]
    submission: Submission

    @property
    def job(self) -> str:
        """The one job of a sweep that has one."""
        (only,) = self.submission.elements
        return only

    def log(self) -> str:
        """What the jobs have written."""
        folder = self.store / CLUSTER_FOLDER / self.submission.name
        return "\n".join(path.read_text() for path in sorted(folder.glob("*_log.out")))

    def wait_for_checkpoint(self) -> str:
        """Wait until the last run is under way and has left a checkpoint; the node it is trained on."""
        wait_for(lambda: checkpoint_paths(self._folder()), PATIENCE)
        return self.slurm.job(self.job)["NodeList"]

    def wait_for_requeue(self) -> None:
        """Wait until the job is back in the queue."""
        wait_for(lambda: self.slurm.job(self.job)["Restarts"] == "1", PATIENCE)

    def wait_for_end(self) -> None:
        """Wait until no job of it is in the queue any more."""
        wait_for(lambda: not set(self.submission.elements) & set(self.slurm.jobs()), PATIENCE)

    def require_equal_to_local(self, local: Path) -> None:
        """Every run is finished, with the tables of a run here."""
        assert set(ResultStore(self.store).finished()) == {spec.run_id for spec in self.specs}, self.log()
        expected = {
            key: value
            for key, value in table_bytes(local).items()
            if key.partition("/")[0] in {spec.run_id for spec in self.specs}
        }
        assert len(expected) == 3 * len(self.specs)
        assert table_bytes(self.store) == expected

    def _folder(self) -> Path:
        return self.store / self.specs[-1].run_id


@cache
def spec_of(variant: str, epochs: int) -> RunSpec:
    problem = find_problem("digits_mlp").problem("tiny", {"training.epochs": epochs})
    rows = [VARIANTS.get(variant)]
    (only,) = expand_grid(problem, DATASETS.get("digits").identify(), rows, seeds=problem.first_seeds(1))
    return only


@pytest.fixture(autouse=True, scope="module")
def talking_to(slurm: Slurm) -> Iterator[None]:
    """Commands of this process talk to the private cluster."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, slurm.environment[name])
        yield


@pytest.fixture
def submit(slurm, tmp_path):
    """Submits runs as one job that leaves checkpoints all the time."""

    def call(*specs: RunSpec, options: tuple[str, ...] = (), store: Path | None = None) -> Sweep:
        return submit_to(slurm, store or tmp_path / "results", specs, options)

    return call


def submit_to(slurm: Slurm, store: Path, specs: tuple[RunSpec, ...], options: tuple[str, ...]) -> Sweep:
    settings = read_settings(None, [f"runs-per-job={len(specs)}", *options])
    submission = submit_sweep(specs, store, RunOptions("cpu", 1, checkpoint_seconds=0.2), settings)
    return Sweep(slurm, store, specs, submission)


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """The same runs, trained in this process without any interruption."""
    store = tmp_path_factory.mktemp("local")
    specs = [*(spec_of(name, 2) for name in STUDIED), LIMITED, KILLED, PREEMPTED, CANCELLED]
    for spec in specs:
        assert execute(spec, store, RunOptions("cpu", 1), lambda event: None).status == "finished"
    return store


LIMITED, KILLED, PREEMPTED, CANCELLED = (
    spec_of(*each) for each in (("bn_beta", 100), ("bn_gamma_beta", 20), ("bn", 40), ("bn_gamma", 20))
)


@dataclass(frozen=True)
class UnderWay:
    """A sweep that something is done to while other tests run: waiting for Slurm takes most of the time here."""

    sweep: Sweep
    done: Future[None]
    """Raises what went wrong."""


@pytest.fixture(scope="module", autouse=True)
def limited(slurm, talking_to, tmp_path_factory) -> Iterator[UnderWay]:
    """A sweep on a node of its own that comes near its time limit in the middle of a run, and is requeued."""
    store = tmp_path_factory.mktemp("limited")
    with ThreadPoolExecutor(1) as background, ExitStack() as until_released:
        # Its run is kept waiting by somebody else's lock until the right moment.
        lock = acquire_lock(store / LIMITED.run_id)
        assert lock is not None
        until_released.enter_context(lock)
        # The limit is far off; with a warning of ten minutes one that is five minutes away is near.
        sweep = submit_to(slurm, store, (LIMITED,), ("partition=apart", "time=3-0", "warning-seconds=600"))
        yield UnderWay(sweep, background.submit(bring_to_its_limit, sweep, until_released.close))


def bring_to_its_limit(sweep: Sweep, release: Callable[[], None]) -> None:
    slurm = sweep.slurm
    wait_for(lambda: "another process is training it" in sweep.log(), PATIENCE)
    # The job is up. Its run begins a few seconds before the controller looks at the time, every thirty seconds.
    while not 5.0 < (left := slurm.seconds_to_next_look()) < 6.0:
        time.sleep((left - 5.5) % 30)
    release()
    hours, minutes, _ = (int(part) for part in slurm.job(sweep.job)["RunTime"].split(":"))
    slurm.output("scontrol", "update", f"JobId={sweep.job}", f"TimeLimit={hours * 60 + minutes + 5}")
    sweep.wait_for_requeue()
    slurm.output("scontrol", "update", f"JobId={sweep.job}", "TimeLimit=3-0")


@pytest.fixture(scope="module")
def on_a_dead_node(slurm, talking_to, tmp_path_factory) -> tuple[Sweep, str]:
    """A sweep whose node has died in the middle of its run, which Slurm has yet to find out; and the node."""
    sweep = submit_to(slurm, tmp_path_factory.mktemp("killed"), (KILLED,), ())
    node = sweep.wait_for_checkpoint()
    slurm.kill_node(node)
    assert slurm.jobs()[sweep.job] == "RUNNING", "nobody has noticed yet"
    return sweep, node


def test_a_sweep_on_two_nodes_outlives_its_submitter(slurm, local, tmp_path):
    store = tmp_path / "results"
    options = ("--executor", "slurm", "--slurm", "runs-per-job=3", "--slurm", "time=5", "--results", store)
    submitter = start(*SHORT, *options, **{name: slurm.environment[name] for name in ("SLURM_CONF", "PATH")})
    _, stderr = submitter.communicate(timeout=PATIENCE)
    assert submitter.returncode == 0, stderr
    assert "Submitted 5 runs in 2 jobs" in stderr
    ((submission,), warnings) = read_submissions(store)
    assert warnings == []
    assert [len(runs) for runs in submission.elements.values()] == [3, 2]

    # The same command again, from another process: what is in the queue is not submitted twice.
    again = invoke(*SHORT, *options)
    assert again.exit_code == 0, again.output
    assert "Submitted" not in again.stderr
    sweep = Sweep(slurm, store, tuple(spec_of(name, 2) for name in STUDIED), submission)
    sweep.wait_for_end()
    sweep.require_equal_to_local(local)
    nodes = {slurm.job(job_id)["NodeList"] for job_id in submission.elements}
    assert nodes == {"n1", "n2"}
    assert {slurm.job(job_id)["JobState"] for job_id in submission.elements} == {"COMPLETED"}
    assert [element.state for element in look_at_queue([submission])] == [None] * 2
    assert "nothing to train" in invoke(*SHORT, *options).stderr


@pytest.mark.long
def test_a_preempted_job_leaves_a_checkpoint_and_comes_back(submit, slurm, local):
    sweep = submit(PREEMPTED)
    node = sweep.wait_for_checkpoint()
    slurm.output("sbatch", "--partition=urgent", f"--nodelist={node}", "--output=/dev/null", "--wrap", "sleep 1")
    sweep.wait_for_requeue()
    assert "asked to stop by SIGTERM" in sweep.log()
    sweep.wait_for_end()
    sweep.require_equal_to_local(local)
    assert "goes on from step" in sweep.log()


@pytest.mark.long
def test_a_cancelled_job_stays_away_until_the_same_command_submits_it_again(on_a_dead_node, submit, slurm, local):
    sweep = submit(CANCELLED)
    sweep.wait_for_checkpoint()
    slurm.output("scancel", f"--name={sweep.submission.name}")
    sweep.wait_for_end()
    assert slurm.job(sweep.job)["JobState"] == "CANCELLED"
    assert ResultStore(sweep.store).unfinished() == [CANCELLED.run_id]
    assert "1 paused" in sweep.log()
    again = submit(CANCELLED, store=sweep.store)
    again.wait_for_end()
    again.require_equal_to_local(local)
    assert "goes on from step" in again.log()
    assert slurm.job(sweep.job)["Restarts"] == "0"


@pytest.mark.long
def test_a_node_that_dies_costs_one_checkpoint_interval(on_a_dead_node, slurm, local):
    sweep, node = on_a_dead_node
    sweep.wait_for_requeue()
    sweep.wait_for_end()
    sweep.require_equal_to_local(local)
    assert "goes on from step" in sweep.log()
    ended = slurm.job(sweep.job)
    assert (ended["JobState"], {node, ended["NodeList"]}) == ("COMPLETED", {"n1", "n2"})
    slurm.start_node(node)
    slurm.wait_idle((node,))


@pytest.mark.long
def test_a_job_at_its_time_limit_goes_back_into_the_queue(limited, local):
    limited.done.result(PATIENCE)
    sweep = limited.sweep
    sweep.wait_for_end()
    sweep.require_equal_to_local(local)
    for said in ("asked to stop by SIGUSR2", "requeued", "goes on from step"):
        assert said in sweep.log()
