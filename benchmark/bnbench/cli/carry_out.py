"""From what is to be run to what became of it: the part that `run` and `study` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.cluster_options import cluster_options, job_settings, submit_plan
from bnbench.cli.options import Command, with_options
from bnbench.cli.sweep import run_sweep
from bnbench.cli.sweep_options import SweepOptions, gather_sweep, parse_duration, sweep_options
from bnbench.cli.sweep_plan import SweepPlan, make_plan

if TYPE_CHECKING:
    from bnbench.execution.cluster_settings import JobSettings
    from bnbench.execution.single import Outcome
    from bnbench.plan import RunSpec


@dataclass(frozen=True)
class CarryingOut:
    """How runs are carried out: here, or by the jobs of a cluster."""

    sweep: SweepOptions
    jobs: JobSettings | None
    """None: trained on this machine, now."""


def carry_out_options(command: Command) -> Command:
    """The options of every command that trains; it makes a `CarryingOut` of them with `gather`."""
    return sweep_options(with_options(cluster_options(command), _OPTIONS))


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--run-timeout",
        callback=parse_duration,
        metavar="TIME",
        help="A run that takes longer is ended and recorded as failed: 90m, 2h.",
    ),
    click.option(
        "--checkpoint-every",
        callback=parse_duration,
        metavar="TIME",
        default="60s",
        show_default=True,
        help="What a kill costs a run at most.",
    ),
)


def gather(options: dict[str, Any]) -> CarryingOut:
    """These options from a command's keywords, which they are taken out of.

    Raises:
        UserError: options that contradict each other.
    """
    times = {name: options.pop(name) for name in ("run_timeout", "checkpoint_every")}
    cluster = {name: options.pop(name) for name in ("executor", "slurm", "cluster")}
    sweep = replace(gather_sweep(options), **times)
    return CarryingOut(sweep, job_settings(**cluster, sweep=sweep))


def require_data(specs: Sequence[RunSpec]) -> None:
    """Refuse to start when a data set is missing, with the commands that would bring it.

    Raises:
        MissingDataError: of the first data set that is.
    """
    from bnbench.data.store import missing

    for spec in specs:
        if spec.data.fingerprint is None:
            raise missing(spec.data.name)


def begin_early(specs: Sequence[RunSpec], results: Path, how: CarryingOut) -> None:
    """Let the server that runs are forked from load torch while the plan is made, where anything is to be trained here.

    Raises:
        UserError: the folder cannot be read, or holds runs of another schema version.
    """
    from bnbench.storage.store import ResultStore

    if how.jobs is None and not {spec.run_id for spec in specs} <= ResultStore(results).finished().keys():
        from bnbench.execution.fork_server import prepare

        prepare()


def plan_runs(specs: Sequence[RunSpec], results: Path, how: CarryingOut) -> SweepPlan:
    """How the runs stand in the results folder and what is to be done; says what is wrong with single ones there.

    Raises:
        UserError: the folder cannot be read, holds runs of another schema version, or the device does not exist.
    """
    from bnbench.storage.store import ResultStore

    for warning in ResultStore(results).warnings():
        click.echo(f"Warning: {warning}", err=True)
    # Where runs are sent away the device of this machine does not matter; it may have none to speak of.
    return make_plan(specs, results, how.sweep if how.jobs is None else replace(how.sweep, device="cpu"))


def carry_out(plan: SweepPlan, results: Path, how: CarryingOut) -> list[Outcome] | None:
    """Do what a plan says. A request to stop ends the command, with what is done intact.

    Returns:
        How the runs that were trained here ended; None where they were sent away and nothing can be said yet.

    Raises:
        UserError: the results folder cannot be written, a precision does not exist on the device, or jobs are refused.
        SystemExit: it was asked to stop.
    """
    from bnbench.execution.streams import outlive_readers

    outlive_readers()
    if not plan.todo:
        ended = "The run has" if len(plan.runs) == 1 else f"All {len(plan.runs)} runs have"
        click.echo(f"{ended} ended already; nothing to train.", err=True)
        return []
    if how.jobs is not None:
        submit_plan(plan, results, how.sweep, how.jobs)
        return None
    return run_sweep(plan, results, how.sweep)


def end_on_failures(plan: SweepPlan, outcomes: Sequence[Outcome]) -> None:
    """Name what failed, now or before, and exit with 1 if anything did.

    Raises:
        SystemExit: a run failed.
    """
    errors = {outcome.run_id: outcome.error for outcome in outcomes if outcome.status == "failed"}
    before = {
        run.spec.run_id: run.standing.error
        for run in plan.runs
        if run.standing is not None and run.standing.state == "failed" and not run.to_train
    }
    if not errors and not before:
        return
    click.echo(f"{len(errors) + len(before)} of {len(plan.runs)} runs failed:", err=True)
    for run_id, error in {**before, **errors}.items():
        earlier = "before; --retry failed tries it again: " if run_id in before else ""
        click.echo(f"  {run_id}: {earlier}{(error or '').strip().splitlines()[-1]}", err=True)
    raise SystemExit(1)
