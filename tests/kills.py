"""Kill runs and sweeps of the tiny problems, over a hundred times, and compare what they end in. Prints a table.

    python tests/kills.py [--each 7] [--rounds 6] [--seed 1] [--part runs|sweeps]

Both architectures, all variants, placements hidden and every. First single runs: each is killed several times, at named
points and at random instants, and resumed in between. Then sweeps of all of them with `bnbench run`, two and four runs
at a time, and two sweeps on one folder: everything is killed at once, or the sweep without its runs, or one run.
It takes a quarter of an hour on two cores; the test suite has a small part of it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bnbench.plan import RunSpec
from bnbench.storage.lock import look_at_lock
from bnbench.storage.processes import process_is_here
from bnbench.storage.store import ResultStore
from support.killing import PLACES, in_one_go, kill_run, spread, table_bytes, tiny_specs, wait_until

PROBLEMS = ("digits_3c3d", "digits_allcnnc")
PLACEMENTS = ("hidden", "every")
ENOUGH = 10

Tables = dict[str, dict[str, bytes]]


def main() -> None:
    """Do everything, print what happened; exit code 1 if anything was lost or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=7, help="kills of each run")
    parser.add_argument("--rounds", type=int, default=6, help="kills of each of three kinds of sweep")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", choices=["runs", "sweeps"])
    options = parser.parse_args()
    chance = random.Random(options.seed)
    specs = tiny_specs(PROBLEMS, PLACEMENTS)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        reference: Tables = {spec.run_id: in_one_go(spec, Path(folder) / "whole") for spec in specs}
        print(f"{len(specs)} runs in one go, for comparison: {time.monotonic() - began:.0f} s", flush=True)
        if options.part != "sweeps":
            kill_runs(specs, Path(folder), reference, options.each, chance)
        if options.part != "runs":
            kill_sweeps(specs, Path(folder), reference, options.rounds, chance)


def kill_runs(specs: list[RunSpec], folder: Path, reference: Tables, each: int, chance: random.Random) -> None:
    """Single runs, killed at named points and random instants until every place has had enough."""
    fell: Counter[str] = Counter()
    named: Counter[str] = Counter()
    resumed = 0
    wrong: list[str] = []
    number = 0
    while number < len(specs) or min(fell[place] for place in PLACES) < ENOUGH or fell.total() < 100:
        spec = specs[number % len(specs)]
        traps = spread(each, chance)
        try:
            deaths = kill_run(spec, folder / f"killed-{number}", reference[spec.run_id], traps, chance)
        except AssertionError as error:
            wrong.append(f"{spec.run_id}: {error}")
            deaths = []
        fell.update(death.place for death in deaths)
        named.update(trap.place for trap, _ in zip(traps, deaths, strict=False) if trap is not None)
        resumed += sum(death.step > 0 for death in deaths)
        print(f"  {spec.run_id}: killed {', '.join(death.place for death in deaths)}", flush=True)
        number += 1
        if number > 5 * len(specs):
            break
    print(f"\n{number} runs, killed {fell.total()} times with SIGKILL, each compared with the same run in one go:")
    print(f"  {'where it fell':<24} {'kills':>5}  of them at a named point")
    for place in sorted(fell, key=[*PLACES, *fell].index):
        print(f"  {place:<24} {fell[place]:>5}  {named[place]:>5}")
    print("  (before the first step: of the process that was killed, which may have gone on from a checkpoint)")
    print(f"  {resumed} times the next process went on from a checkpoint, otherwise from the first step")
    report(wrong)


def kill_sweeps(specs: list[RunSpec], folder: Path, reference: Tables, rounds: int, chance: random.Random) -> None:
    """Sweeps by the command line, killed and started again until they are done."""
    print(f"\nsweeps of {len(specs)} runs by `bnbench run`, killed with SIGKILL and started again:")
    wrong: list[str] = []
    for name, workers, side_by_side in (("2 workers", 2, 1), ("4 workers", 4, 1), ("two sweeps at once", 2, 2)):
        results = folder / name.replace(" ", "-")
        killed: Counter[str] = Counter()
        under_way = 0
        for number in range(rounds):
            kind = ("everything", "the sweep alone", "one run")[number % 3]
            sweeps = [start(results, workers) for _ in range(side_by_side)]
            # Spread over the whole sweep, so that every run has its chance.
            under_way += kill_one(kind, sweeps, specs, results, len(specs) * number // rounds, chance)
            killed[kind] += 1
        codes = [sweep.wait() for sweep in [start(results, workers, "--retry", "failed") for _ in range(side_by_side)]]
        finished = ResultStore(results).finished()
        lost = [spec.run_id for spec in specs if spec.run_id not in finished]
        different = [
            f"{run_id}/{table}"
            for run_id in finished
            for table, data in table_bytes(results / run_id).items()
            if data != reference[run_id][table]
        ]
        wrong += [f"{name}: lost {run_id}" for run_id in lost] + [f"{name}: {each} differs" for each in different]
        if any(codes):
            wrong.append(f"{name}: the last command ended with exit codes {codes}")
        left = sorted({path.name for spec in specs for path in (results / spec.run_id).glob("*.lock")})
        wrong += [f"{name}: the lock {each} was left" for each in left]
        what = ", ".join(f"{count} x {kind}" for kind, count in killed.items())
        print(f"  {name:<20} killed {what} ({under_way} runs under way then)", flush=True)
    report(wrong)


def kill_one(
    kind: str,
    sweeps: list[subprocess.Popen[bytes]],
    specs: list[RunSpec],
    results: Path,
    ended: int,
    chance: random.Random,
) -> int:
    """Let sweeps work until so many runs have ended and a moment longer, then kill; none of their processes is left.

    Returns:
        How many runs were under way.
    """
    wait_until(lambda: len(list(results.glob("*/run.json"))) >= ended and bool(owners(specs, results)), 300)
    time.sleep(chance.uniform(0.0, 2.0))
    at_work = owners(specs, results)
    if kind == "the sweep alone":
        for sweep in sweeps:
            sweep.kill()
        # Its runs notice, leave a checkpoint and end.
        wait_until(lambda: not owners(specs, results), 30)
    elif kind == "one run" and at_work:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(at_work), signal.SIGKILL)
        time.sleep(1.0)
    for sweep in sweeps:
        with suppress(ProcessLookupError):
            os.killpg(sweep.pid, signal.SIGKILL)
        sweep.wait()
    return len(at_work)


def start(results: Path, workers: int, *options: str) -> subprocess.Popen[bytes]:
    """A sweep over everything, in a process group of its own."""
    placements = [option for placement in PLACEMENTS for option in ("--placement", placement)]
    sizes = ["--size", "tiny", "--epochs", "2", "--device", "cpu", "--variant", "all"]
    command = [sys.executable, "-m", "bnbench", "run", *PROBLEMS, *placements, *sizes]
    command += ["--workers", str(workers), "--checkpoint-every", "0.1", "--results", str(results), *options]
    with (results.parent / f"{results.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)


def owners(specs: list[RunSpec], results: Path) -> list[int]:
    """The processes that are training a run of a sweep now."""
    views = [look_at_lock(results / spec.run_id) for spec in specs]
    here = [view.owner for view in views if view is not None and view.owner is not None]
    return [owner.process for owner in here if process_is_here(owner)]


def report(wrong: list[str]) -> None:
    """Say that nothing was lost and nothing differs, or what."""
    lost = sum("differ" not in each for each in wrong)
    print(f"  {lost} lost, {len(wrong) - lost} that differ", flush=True)
    for each in wrong:
        print(f"  WRONG: {each}", flush=True)
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
