"""Carrying out a sweep on this machine: from its plan to how its runs ended."""

from __future__ import annotations

import shlex
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.sweep_plan import slots_of
from bnbench.cli.typed import typed_command
from bnbench.words import counted

if TYPE_CHECKING:
    from bnbench.cli.sweep_options import SweepOptions
    from bnbench.cli.sweep_plan import SweepPlan
    from bnbench.execution.single import Outcome
    from bnbench.storage.store import ResultStore


def run_sweep(plan: SweepPlan, results: Path, sweep: SweepOptions) -> list[Outcome]:
    """Train what a plan says, with progress on stderr. A request to stop ends the command.

    Raises:
        UserError: the results folder cannot be written, or a precision does not exist on the device.
        SystemExit: it was asked to stop, by Ctrl-C or a signal.
    """
    from bnbench.cli.progress import sweep_progress
    from bnbench.execution.fork_server import prepare
    from bnbench.execution.pool import run_all
    from bnbench.execution.signals import STOP_SIGNALS, stop_on
    from bnbench.execution.single import Resources
    from bnbench.storage.store import ResultStore
    from bnbench.training.numerics import check_precision

    prepare()
    slots, device = slots_of(sweep)
    todo = plan.todo
    if not sweep.gpus:
        for spec in todo:
            check_precision(spec.precision, device)
    # Only now: a mistake leaves no folder behind.
    store = ResultStore.open(results, create=True)
    clear_the_way(plan, store, sweep)
    slots = slots[: len(todo)]
    if sweep.continues:
        _put_on_record(plan, store, len(slots))
    ended = sum(run.standing is not None and run.standing.state in {"finished", "diverged"} for run in plan.runs)
    skipped = f" ({ended} of {len(plan.runs)} are finished already)" if ended else ""
    where = f"GPUs {','.join(sweep.gpus)}" if sweep.gpus else str(device)
    click.echo(
        f"{counted(len(todo), 'run')} to train{skipped}, {len(slots)} side by side on {where}, "
        f"{counted(sweep.threads, 'CPU thread')} each",
        err=True,
    )
    progress = sweep_progress(todo)
    resources = Resources("cuda" if sweep.gpus else str(device), sweep.threads)
    outcomes: list[Outcome] = []
    # A second Ctrl-C raises: what runs is killed then, and goes on from its last checkpoint another time.
    with stop_on((signal.SIGINT, *STOP_SIGNALS)) as stop, progress, suppress(KeyboardInterrupt):
        outcomes = run_all(
            todo,
            store.path,
            resources,
            slots,
            progress,
            stop=stop,
            run_timeout=sweep.run_timeout,
            checkpoint_seconds=sweep.checkpoint_every,
        )
    _tidy_records(store)
    if stop():
        finished = len(store.finished().keys() & {spec.run_id for spec in todo})
        click.echo(
            f"Interrupted: {finished} of {len(todo)} runs are finished and kept{sweep.what_goes_on}.",
            err=True,
        )
        raise SystemExit(stop.exit_code)
    return outcomes


def _put_on_record(plan: SweepPlan, store: ResultStore, side_by_side: int) -> None:
    """Let `bnbench status` know what is to come. A sweep does without, if the record cannot be written."""
    from bnbench.errors import UserError
    from bnbench.storage.processes import this_process
    from bnbench.storage.sweeps import SweepRecord, SweepRun, tidy_sweeps, write_sweep

    runs = tuple(
        SweepRun(run_id=run.spec.run_id, setting_id=run.spec.setting_id, seconds=run.whole_seconds)
        for run in plan.runs
        if run.to_train
    )
    # Typed with --fresh again, it would throw away what there is by then.
    command = shlex.join(word for word in shlex.split(typed_command()) if word != "--fresh")
    record = SweepRecord(command=command, process=this_process(), side_by_side=side_by_side, runs=runs)
    try:
        tidy_sweeps(store.path, _ended(store), superseding={run.run_id for run in runs})
        write_sweep(store.path, record)
    except UserError as error:
        click.echo(f"Warning: `bnbench status` will not know what is to come: {error}", err=True)


def _tidy_records(store: ResultStore) -> None:
    from bnbench.errors import UserError
    from bnbench.storage.sweeps import tidy_sweeps

    # What cannot be removed says nothing wrong: its runs have ended.
    with suppress(UserError):
        tidy_sweeps(store.path, _ended(store))


def _ended(store: ResultStore) -> set[str]:
    contents = store.look()
    failed = (document for document in contents.documents if not document.is_result)
    return {document.run_id for document in (*contents.finished, *failed)}


def clear_the_way(plan: SweepPlan, store: ResultStore, sweep: SweepOptions) -> None:
    """Forget failures that are to be tried again, throw away progress that is not wanted, tidy up after kills."""
    from bnbench.storage.repeating import forget_failure, start_afresh, tidy_result

    for run in plan.runs:
        if run.standing is None:
            continue
        folder = store.run_folder(run.spec.run_id)
        if run.standing.state == "failed" and sweep.retry_failed:
            forget_failure(folder)
        if run.to_train and sweep.fresh:
            start_afresh(folder)
        if run.standing.state in {"finished", "diverged"}:
            tidy_result(folder)
