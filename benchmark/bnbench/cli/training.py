"""Carrying runs out, whatever asked for them: the options, the plan, training here or on a cluster, what failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bnbench.cli.cluster_options import cluster_options, job_settings, submit_plan
from bnbench.cli.sweep import SweepOptions, gather_sweep, make_plan, parse_duration, run_sweep, sweep_options

if TYPE_CHECKING:
    from bnbench.cli.sweep import SweepPlan
    from bnbench.execution.cluster_settings import JobSettings
    from bnbench.execution.single import Outcome
    from bnbench.plan import RunSpec

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Orders:
    """How runs are to be carried out."""

    sweep: SweepOptions
    jobs: JobSettings | None
    """Of the cluster's jobs; None where runs are trained here."""


def training_options(command: Command) -> Command:
    """The options of every command that trains; it takes them as keywords and makes `Orders` with `gather_orders`."""
    for option in (cluster_options, _CHECKPOINT_EVERY, _RUN_TIMEOUT, sweep_options):
        command = option(command)
    return command


_RUN_TIMEOUT: Callable[[Any], Any] = click.option(
    "--run-timeout",
    callback=parse_duration,
    metavar="TIME",
    help="A run that takes longer is ended and recorded as failed: 90m, 2h.",
)
_CHECKPOINT_EVERY: Callable[[Any], Any] = click.option(
    "--checkpoint-every",
    callback=parse_duration,
    metavar="TIME",
    default="60s",
    show_default=True,
    help="What a kill costs a run at most.",
)


def gather_orders(options: dict[str, Any]) -> Orders:
    """The orders from a command's keywords, which they are taken out of.

    Raises:
        UserError: options that contradict each other.
    """
    executor, slurm, cluster = (options.pop(name) for name in ("executor", "slurm", "cluster"))
    times = {name: options.pop(name) for name in ("run_timeout", "checkpoint_every")}
    sweep = replace(gather_sweep(options), **times)
    return Orders(sweep, job_settings(executor, slurm, cluster, sweep))


def require_data(specs: Sequence[RunSpec]) -> None:
    """Refuse to start when a data set is missing, with the commands that would bring it.

    Raises:
        MissingDataError: of the first data set that is.
    """
    from bnbench.data.store import missing

    for spec in specs:
        if spec.data.fingerprint is None:
            raise missing(spec.data.name)


def plan_orders(specs: Sequence[RunSpec], results: Path, orders: Orders) -> SweepPlan:
    """What the orders would do; says what is wrong with single runs in the results folder. Writes nothing.

    Raises:
        UserError: the results cannot be read, or the device does not exist.
    """
    from bnbench.storage.store import ResultStore

    for warning in ResultStore(results).warnings():
        click.echo(f"Warning: {warning}", err=True)
    # Where runs are sent away the device of this machine does not matter; it may have none to speak of.
    return make_plan(specs, results, orders.sweep if orders.jobs is None else replace(orders.sweep, device="cpu"))


def carry_out(plan: SweepPlan, results: Path, orders: Orders) -> list[Outcome] | None:
    """Train what a plan says, or submit it.

    Returns:
        How each run that was trained ended; None where they were sent to a cluster.

    Raises:
        UserError: the results folder cannot be written, or jobs cannot be submitted.
        SystemExit: it was asked to stop, by Ctrl-C or a signal.
    """
    if not plan.todo:
        click.echo(f"All {len(plan.runs)} runs have ended already; nothing to train.", err=True)
        return []
    if orders.jobs is not None:
        submit_plan(plan, results, orders.sweep, orders.jobs)
        return None
    return run_sweep(plan, results, orders.sweep)


def report_failures(plan: SweepPlan, outcomes: Sequence[Outcome]) -> None:
    """Name what failed, now or before, and exit with 1 if anything did."""
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
