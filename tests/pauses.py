"""Let the owner of a run fall asleep, or its disk fail, at every call that changes a file. Prints a table.

    python tests/pauses.py [--part records|runs|merges|sweeps] [--scenarios 3] [--sample 5] [--seed 1]

Asleep: a process is stopped before or after its n-th call. Another one, told that it was given up, brings the run to
its end; then the sleeper goes on. Every file of the results folder must then be what it was before it woke, and the
sleeper must end without an error: it lost the run, or says how it ended. Failing: the n-th call raises EIO or ENOSPC
(after half of the bytes, where it writes), or writes half of what it is given. The process must end with the run's own
result or one clear message, and a repetition must end in the same bytes as a run that nobody disturbed.

`records` drives the recorder without training: a run with checkpoints, one that diverges, one that fails, one that goes
on from a checkpoint, attempts that are cleared away. `runs` trains `digits_mlp`. With `--sample` each does so many
points, drawn with the seed; without, all, which takes about an hour on two cores. A folder in memory (TMPDIR=/dev/shm)
makes it faster.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bnbench.execution.options import RunOptions
from bnbench.storage.checkpoints import CheckpointHeader, resume_points
from bnbench.storage.lock import LockView, RunLock, acquire_lock, look_at_lock
from bnbench.storage.merge import STAGING, merge_stores
from bnbench.storage.processes import this_process
from bnbench.storage.recorder import RunRecorder, remove_progress
from bnbench.storage.repeating import forget_failure, start_afresh, tidy_result
from bnbench.storage.schema import SCHEMA_VERSION
from bnbench.storage.states import ended_document
from bnbench.storage.store import ResultStore
from bnbench.storage.sweeps import SWEEPS_FOLDER, SweepRecord, SweepRun, read_sweeps, tidy_sweeps, write_sweep
from bnbench.storage.workspace import LockLostError
from storage.conftest import EXAMPLE, described, identity_of, specification
from support.pausing import Child, Failure, Pause, alone

WITHOUT_PROBE = {key: value for key, value in specification().items() if key != "probes"}
IDENTITY = identity_of(WITHOUT_PROBE)
DOCUMENT = {**described(WITHOUT_PROBE), "provenance": {"device": "cpu"}}
RUN = IDENTITY.run_id
SHORT = tuple(call for index, call in enumerate(EXAMPLE.calls) if index in {0, 2, 3, 4, 10, 11, 13, 15})
"""Calls to a recorder for every table but `sparsity`, few of them: so many files less to write at every point."""
CALLS = len(SHORT)
CHECKPOINTS_AFTER = (1, 3, 6)
PAUSE_AFTER = 5
REPEATABLE = ("curves", "steps", "affine")
PARTS = ("records", "runs", "merges", "sweeps")

Act = Callable[[Path], str]
"""What a process does with a results folder; returns how it ended, in words."""
Tree = dict[str, bytes]


@dataclass(frozen=True)
class Scenario:
    """Something that changes a results folder, and what may happen meanwhile."""

    name: str
    prepare: Callable[[Path], object]
    """Makes the results folder as it is before."""
    own: Act
    """What the process does that falls asleep, or whose disk fails."""
    meanwhile: Act
    """What another process does while it sleeps."""
    again: Act
    """The repetition after a fault."""
    results: dict[str, Callable[[], Tree]]
    """How a run may end, and the tables that belong to it; empty for what has none."""
    keeps_failure: bool = False
    """Whether it may be that the run was recorded as failed before the sleep, and stays so."""
    adds: str | None = None
    """How the names of files begin that the sleeper may still add, since they are its own."""


def main() -> None:
    """Do everything, print what happened; exit code 1 if anything changed or was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--sample", type=int, help="so many points of each kind instead of all")
    parser.add_argument("--scenarios", type=int, help="so many scenarios of each part instead of all")
    parser.add_argument("--only", action="append", help="the scenario of this name")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        wrong = [
            each
            for part in options.part or PARTS
            for scenario in chosen(scenarios(part, Path(folder) / part), options.only, options.scenarios, chance)
            for each in try_scenario(scenario, Path(folder) / part / scenario.name, options.sample, chance)
        ]
    print(f"{len(wrong)} changed, lost or unclear")
    for each in wrong:
        print(f"  WRONG: {each}")
    if wrong:
        raise SystemExit(1)


def chosen(known: list[Scenario], names: list[str] | None, count: int | None, chance: random.Random) -> list[Scenario]:
    """Those that are wanted."""
    named = known if names is None else [scenario for scenario in known if scenario.name in names]
    return named if count is None else chance.sample(named, min(count, len(named)))


def try_scenario(scenario: Scenario, folder: Path, sample: int | None, chance: random.Random) -> list[str]:
    """Every point of a scenario, or a sample; prints a line for each kind of trouble, returns what went wrong."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    prepared = folder / "prepared"
    prepared.mkdir()
    made = alone(lambda: scenario.prepare(prepared) and None)
    assert made.error is None, made.error
    quiet = folder / "quiet"
    shutil.copytree(prepared, quiet)
    calls = alone(lambda: scenario.own(quiet)).calls
    pauses = [Pause(number, moment) for number in range(len(calls)) for moment in ("before", "after")]
    failures = [
        Failure(number, fault)
        for number, kind in enumerate(calls)
        for fault in ("EIO", "ENOSPC", "short")
        if fault != "short" or kind == "write"
    ]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(calls).items()))
    print(f"{scenario.name}: {len(calls)} calls ({kinds})", flush=True)
    wrong: list[str] = []
    for name, points, attempt in (("asleep", pauses, fall_asleep), ("failing", failures, fail)):
        chosen = points if sample is None else chance.sample(points, min(sample, len(points)))
        ends: Counter[str] = Counter()
        for point in chosen:
            store = folder / "store"
            shutil.copytree(prepared, store)
            end, troubles = attempt(scenario, store, point)
            ends[end] += 1
            wrong += [f"{scenario.name}, {point} ({calls[point.number]}): {trouble}" for trouble in troubles]
            shutil.rmtree(store)
        said = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        print(f"  {name:<8} {len(chosen):>4} points: {said}", flush=True)
    print(f"  {time.monotonic() - began:.0f} s, {len(wrong)} wrong", flush=True)
    return wrong


def fall_asleep(scenario: Scenario, store: Path, point: Pause) -> tuple[str, list[str]]:
    """One process sleeps, another finishes, the first wakes: how it ended, and what is wrong."""
    sleeper = Child(lambda: scenario.own(store), point)
    if not sleeper.stopped():
        return "never came there", [f"it never came there: {sleeper.ended(waited=True)}"]
    try:
        other = alone(lambda: scenario.meanwhile(store))
        before = tree(store)
    finally:
        sleeper.wake()
    ended = sleeper.ended()
    wrong = [f"the other one ended with {other.error or other.value}"] if other.error else []
    wrong += judge_result(scenario, store, other.value)
    after = tree(store)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and not is_its_own(scenario, name, name in before):
            what = "appeared" if name not in before else "went" if name not in after else "changed"
            wrong.append(f"{name} {what} when it woke")
    if ended.error is not None or "elete" in str(ended.value):
        wrong.append(f"it ended with {ended.error or ended.value}")
    return str(ended.value), wrong


def is_its_own(scenario: Scenario, name: str, before: bool) -> bool:
    """Whether a file is nobody's business but the sleeper's: its unfinished copies, or what it adds."""
    if name.startswith(STAGING) or name.endswith(".tmp"):
        return True
    return scenario.adds is not None and name.startswith(scenario.adds) and not before


def fail(scenario: Scenario, store: Path, point: Failure) -> tuple[str, list[str]]:
    """A call fails; then the same is done again: how the first ended, and what is wrong."""
    known = ResultStore(store).warnings()
    ended = alone(lambda: scenario.own(store), point)
    wrong: list[str] = []
    if len(ended.calls) <= point.number:
        wrong.append(f"it never came there: {ended}")
    if ended.error is not None and not ended.error.startswith(("StorageError: ", "UserError: ")):
        wrong.append(f"it ended with {ended.error}")
    if point.fault == "short" and ended.error is not None:
        wrong.append(f"half a write is no error, and it ended with {ended.error}")
    if ended.value in scenario.results:
        wrong += judge_result(scenario, store, ended.value)
    wrong += [f"after the fault: {warning}" for warning in ResultStore(store).warnings() if warning not in known]
    again = alone(lambda: scenario.again(store))
    if again.error is not None:
        wrong.append(f"the repetition ended with {again.error}")
    wrong += judge_result(scenario, store, again.value, ended=True)
    return "an error, said clearly" if ended.error else str(ended.value), wrong


def judge_result(scenario: Scenario, store: Path, end: str | None, *, ended: bool = False) -> list[str]:
    """What is wrong with a run that is said to have ended so."""
    if not scenario.results:
        return []
    if end == "failed" and scenario.keeps_failure and not ended:
        return []
    if end not in scenario.results:
        return [f"the run ended as {end}"]
    found = ResultStore(store).finished()
    (folder,) = [path for path in store.iterdir() if not path.name.startswith(".")]
    if folder.name not in found:
        return [f"{folder.name} is no result"]
    wanted = scenario.results[end]()
    wrong = [
        f"{name} differs from the run that nobody disturbed"
        for name, data in wanted.items()
        if (folder / name).read_bytes() != data
    ]
    names = {path.name for path in folder.iterdir()} - {"set-aside", "timing.parquet", "run.json", *wanted}
    if ended and names:
        wrong.append(f"left beside the result: {sorted(names)}")
    return wrong


def tree(folder: Path) -> Tree:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- the recorder, driven as a run drives it


def record(
    store: Path, end: str = "finished", *, stop_after: int = CALLS, given_up: bool = False, retry: bool = False
) -> str:
    """What `execute` does with a run's folder, without training.

    Args:
        store: the results folder.
        end: how the run ends.
        stop_after: the call after which it pauses.
        given_up: take the run from its owner, whoever that is.
        retry: forget that it failed.
    """
    folder = store / RUN
    lock = acquire_lock(folder, given_up=look_at_lock(folder) if given_up else None)
    if lock is None:
        return "busy"
    with lock:
        try:
            if retry and ended_status(folder) == "failed":
                with lock.workspace.writing():
                    lock.workspace.discard(folder / "run.json")
            if (status := ended_status(folder)) is not None:
                if status != "failed":
                    with suppress(OSError):
                        remove_progress(lock.workspace)
                return status
            start, recorder = last_good_state(store, lock)
            for index in range(start, CALLS):
                SHORT[index](recorder)
                if index in CHECKPOINTS_AFTER or index == stop_after:
                    recorder.checkpoint(lambda next_part, step=index + 1: header(step, next_part), b"state")
                if index == stop_after:
                    return "paused"
            if end == "failed":
                recorder.fail({**DOCUMENT, "error": "boom"})
            elif end == "diverged":
                recorder.finish({**DOCUMENT, "status": "diverged", "diverged_at_step": 24})
            else:
                recorder.finish({**DOCUMENT, "status": "finished"})
        except LockLostError:
            return ended_status(folder) or "busy"
    return end


def ended_status(folder: Path) -> str | None:
    """How a run ended, if it did."""
    document = ended_document(folder)
    return None if document is None else document.status


def last_good_state(store: Path, lock: RunLock) -> tuple[int, RunRecorder]:
    """The call that a run goes on with, and its recorder."""
    with lock.workspace.writing():
        saved = next(resume_points(lock.workspace, IDENTITY, print), None)
    if saved is None:
        return 0, RunRecorder.open(store, IDENTITY, lock)
    return saved.header.step, RunRecorder.resume(store, IDENTITY, saved.header.next_part, lock)


def header(step: int, next_part: int) -> CheckpointHeader:
    """Of a checkpoint after so many calls."""
    return CheckpointHeader(
        schema=SCHEMA_VERSION,
        run_id=RUN,
        step=step,
        total_steps=CALLS,
        epoch=0,
        epochs=1,
        next_part=next_part,
        stretches=[],
    )


def lost_table(store: Path) -> None:
    """A result that has lost a table."""
    record(store)
    (store / RUN / "steps.parquet").unlink()


def unreadable(store: Path) -> None:
    """A run whose record makes no sense."""
    record(store)
    (store / RUN / "run.json").write_text("{")


def half_published(store: Path) -> None:
    """A run whose owner died when some of its tables had appeared."""
    record(store, stop_after=PAUSE_AFTER)
    (store / RUN / "curves.parquet").write_bytes(b"half")
    (store / RUN / "timing.parquet").write_bytes(b"half")


def leftovers(store: Path) -> None:
    """A result whose owner died before it had tidied up."""
    record(store, stop_after=PAUSE_AFTER)
    kept = {path: path.read_bytes() for path in (store / RUN).rglob("*") if path.is_file()}
    record(store)
    for path, data in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def forget(store: Path) -> str:
    return f"forgotten: {forget_failure(store / RUN)}"


def afresh(store: Path) -> str:
    return f"thrown away: {start_afresh(store / RUN)}"


def tidy(store: Path) -> str:
    tidy_result(store / RUN)
    return "tidied"


def scenarios(part: str, folder: Path) -> list[Scenario]:
    """The scenarios of a part; what they compare with is made in the folder."""
    record(folder / "first")  # what is slow the first time is then done in every process that is forked
    if part == "runs":
        return trained_runs(folder)
    if part == "sweeps":
        return [sweep_records()]
    results = {end: reference(folder / f"whole-{end}", end) for end in ("finished", "diverged")}
    run = Scenario(
        "run",
        prepare=lambda store: None,
        own=record,
        meanwhile=lambda store: record(store, given_up=True, retry=True),
        again=lambda store: record(store, retry=True),
        results={"finished": results["finished"]},
    )
    if part == "merges":
        return merges(folder, run)
    diverges = replace(
        run,
        name="run that diverges",
        own=lambda store: record(store, "diverged"),
        meanwhile=lambda store: record(store, "diverged", given_up=True),
        again=lambda store: record(store, "diverged"),
        results={"diverged": results["diverged"]},
    )
    paused = replace(run, prepare=lambda store: record(store, stop_after=PAUSE_AFTER))
    return [
        run,
        diverges,
        replace(run, name="run that fails", own=lambda store: record(store, "failed")),
        replace(
            run,
            name="run that fails and stays so",
            own=lambda store: record(store, "failed"),
            meanwhile=lambda store: record(store, given_up=True),
            keeps_failure=True,
        ),
        replace(paused, name="run that goes on"),
        replace(run, name="run that failed and goes on", prepare=failed, own=lambda store: record(store, retry=True)),
        replace(run, name="result that lost a table", prepare=lost_table),
        replace(run, name="record that cannot be read", prepare=unreadable),
        replace(run, name="tables half published", prepare=half_published),
        replace(run, name="forgetting a failure", prepare=failed, own=forget),
        replace(paused, name="starting afresh", own=afresh),
        replace(run, name="tidying a result", prepare=leftovers, own=tidy),
    ]


def failed(store: Path) -> None:
    """A run that failed behind two checkpoints."""
    record(store, "failed")


def reference(store: Path, end: str) -> Callable[[], Tree]:
    """The tables of a run that nobody disturbed."""
    made = alone(lambda: record(store, end))
    assert made.value == end, made
    tables = {f"{table}.parquet": (store / RUN / f"{table}.parquet").read_bytes() for table in REPEATABLE}
    return lambda: tables


# ---- merges


def merges(folder: Path, run: Scenario) -> list[Scenario]:
    """A finished run comes over to where there is none, or an attempt at it."""
    source = folder / "source"
    alone(lambda: record(source))

    def merge(store: Path) -> str:
        (merged,) = merge_stores(store, [source])
        return f"{merged.verdict} {merged.detail}".strip()

    def settled(store: Path) -> str:
        merge(store)
        return record(store)

    base = replace(run, own=merge, again=settled)
    merged_meanwhile = replace(base, meanwhile=settled)
    return [
        replace(base, name="merge where there is no run"),
        replace(merged_meanwhile, name="merge where there is no run, and another merge"),
        replace(base, name="merge over a failed run", prepare=failed),
        replace(base, name="merge over an unfinished run", prepare=lambda store: record(store, stop_after=PAUSE_AFTER)),
        replace(base, name="merge over a damaged run", prepare=lost_table),
        replace(base, name="merge over a record that cannot be read", prepare=unreadable),
    ]


# ---- records of sweeps


def sweep_records() -> Scenario:
    """One sweep goes on record, in place of one that stopped, while another does."""

    def sweep(*runs: str) -> SweepRecord:
        planned = tuple(SweepRun(run_id=run, setting_id="setting") for run in runs)
        return SweepRecord(command=f"bnbench {runs}", process=this_process(), side_by_side=1, runs=planned)

    def begin(store: Path, *runs: str) -> str:
        tidy_sweeps(store, {"ended"}, runs)
        write_sweep(store, sweep(*runs))
        return "on record"

    def prepare(store: Path) -> None:
        write_sweep(store, sweep("ended"))
        write_sweep(store, sweep("a1", "a2"))
        write_sweep(store, sweep("b1"))

    def look(store: Path, *wanted: str) -> str:
        found, warnings = read_sweeps(store)
        runs = {run.run_id for record in found.values() for run in record.runs}
        assert not warnings, warnings
        assert runs >= set(wanted), runs
        return "on record"

    def meanwhile(store: Path) -> str:
        begin(store, "a1", "a2", "c1")
        tidy_sweeps(store, {"b1"})
        return look(store, "a1", "a2", "c1")

    def again(store: Path) -> str:
        begin(store, "a1", "a2")
        return look(store, "a1", "a2", "b1")

    def own(store: Path) -> str:
        mine = begin(store, "a1", "a2")
        tidy_sweeps(store, {"ended"})
        return mine

    return Scenario("record of a sweep", prepare, own, meanwhile, again, results={}, adds=f"{SWEEPS_FOLDER}/")


# ---- real training


def trained_runs(folder: Path) -> list[Scenario]:
    """`digits_mlp` at its tiny size, one epoch, with two checkpoints at steps that do not depend on the clock."""

    from bnbench.execution import run as run_module  # noqa: PLC0415
    from execution.test_resume import make_spec  # noqa: PLC0415

    spec = make_spec(epochs=1)

    def execute(store: Path, given_up: LockView | None = None, error: str | None = None) -> str:
        steps = 0

        def wanted(attempt: object) -> bool:
            nonlocal steps
            steps += 1
            return steps in {15, 32}

        run_module._Attempt._checkpoint_wanted = wanted

        def listen(event: object) -> None:
            if error is not None and steps > 40:
                raise RuntimeError(error)

        outcome = run_module.execute(spec, store, RunOptions("cpu"), listen, given_up=given_up)
        if outcome.error is not None and outcome.error.splitlines()[-1] != "RuntimeError: boom":
            raise RuntimeError(outcome.error)
        return outcome.status

    def take_over(store: Path) -> str:
        return execute(store, look_at_lock(store / spec.run_id))

    def retry(store: Path) -> str:
        forget_failure(store / spec.run_id)
        return execute(store)

    whole = folder / "whole"
    alone(lambda: execute(whole))
    tables = {f"{table}.parquet": (whole / spec.run_id / f"{table}.parquet").read_bytes() for table in REPEATABLE}
    run = Scenario("training", lambda store: None, execute, take_over, retry, results={"finished": lambda: tables})
    fails = replace(run, name="training that fails", own=lambda store: execute(store, error="boom"), keeps_failure=True)
    return [run, fails]


if __name__ == "__main__":
    main()
