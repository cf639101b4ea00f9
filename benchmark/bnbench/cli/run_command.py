"""`bnbench run`: train what is missing, record it, rank it, draw it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.cluster_options import Executor, cluster_options, job_settings, submit_plan
from bnbench.cli.options import Grid, grid_options, results_option, select
from bnbench.cli.sweep import gather_sweep, make_plan, parse_duration, print_plan, run_sweep, sweep_options

if TYPE_CHECKING:
    from bnbench.cli.options import Selection
    from bnbench.cli.sweep import SweepPlan
    from bnbench.execution.single import Outcome
    from bnbench.problem import Target
    from bnbench.storage.store import ResultStore


@click.command("run")
@grid_options
@results_option
@sweep_options
@click.option(
    "--run-timeout",
    callback=parse_duration,
    metavar="TIME",
    help="A run that takes longer is ended and recorded as failed: 90m, 2h.",
)
@click.option(
    "--checkpoint-every",
    callback=parse_duration,
    metavar="TIME",
    default="60s",
    show_default=True,
    help="What a kill costs a run at most.",
)
@cluster_options
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop; as `bnbench plan`.")
def command(
    results: Path,
    run_timeout: float | None,
    checkpoint_every: float,
    executor: Executor,
    slurm: tuple[str, ...],
    cluster: Path | None,
    dry_run: bool,
    **options: Any,  # noqa: ANN401 -- the fields of Grid and SweepOptions, as click hands them over
) -> None:
    """Train problems under variants of BatchNorm.

    Runs that are finished are skipped, those that were interrupted go on from their last checkpoint, and those that
    another process is training are left to it. Runs that failed stay as they are, unless --retry failed.

    \b
    Examples:
      bnbench run digits_3c3d --variant all
      bnbench run cifar100_allcnnc --placement every --size tiny
      bnbench run ./mine.toml --variant bn_gamma --seeds 3 --set training.l2=0
      bnbench run cifar10_3c3d --gpus 0,1 --runs-per-gpu 2 --run-timeout 3h
      bnbench run cifar10_3c3d --seeds 10 --executor slurm --slurm partition=gpu --slurm gpus=1 --slurm time=12:00:00
    """
    from bnbench.storage.store import ResultStore

    sweep = replace(gather_sweep(options), run_timeout=run_timeout, checkpoint_every=checkpoint_every)
    jobs = job_settings(executor, slurm, cluster, sweep)
    selection = select(Grid(**options))
    if not dry_run:
        _require_data(selection)
    store = ResultStore(results)
    for warning in store.warnings():
        click.echo(f"Warning: {warning}", err=True)
    # Where runs are sent away the device of this machine does not matter; it may have none to speak of.
    plan = make_plan(selection.specs, results, sweep if jobs is None else replace(sweep, device="cpu"))
    if dry_run:
        print_plan(plan, as_json=False)
        return
    if jobs is not None and plan.todo:
        submit_plan(plan, results, sweep, jobs)
        return
    outcomes = run_sweep(plan, results, sweep) if plan.todo else []
    if not plan.todo:
        click.echo(f"All {len(plan.runs)} runs have ended already; nothing to train.", err=True)
    _report(selection, store)
    _report_failures(plan, outcomes)


def _report_failures(plan: SweepPlan, outcomes: Sequence[Outcome]) -> None:
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


def _require_data(selection: Selection) -> None:
    """Refuse to start when a data set is missing, with the commands that would bring it."""
    from bnbench.data.store import missing

    for spec in selection.specs:
        if spec.data.fingerprint is None:
            raise missing(spec.data.name)


def _report(selection: Selection, store: ResultStore) -> None:
    """The ranking of what was asked for, a picture of the curves, and where everything lies."""
    from bnbench.analysis.frames import open_results
    from bnbench.analysis.ranking import rank
    from bnbench.cli.picture import draw_training_curves
    from bnbench.cli.rank_command import print_ranking

    results = open_results(store.path)
    asked = [spec.run_id for spec in selection.specs]
    if not results.select(run_id=asked):
        return
    targets: dict[tuple[str, str], tuple[Target, ...]] = {
        (problem.name, problem.size): problem.targets for problem in selection.problems
    }
    print_ranking(rank(results, targets=lambda name, size: targets.get((name, size), ()), run_id=asked))
    picture = draw_training_curves(results, asked)
    click.echo(f"curves and γ/β trajectories  {store.path}{os.sep}<run>{os.sep}*.parquet", err=True)
    if picture is not None:
        click.echo(f"picture of the curves        {picture}", err=True)
