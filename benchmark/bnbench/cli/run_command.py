"""`bnbench run`: train what is missing, record it, rank it, draw it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.cluster_options import Executor, cluster_options, job_settings, submit_runs
from bnbench.cli.options import Grid, grid_options, results_option, select

if TYPE_CHECKING:
    from bnbench.cli.options import Selection
    from bnbench.execution.single import Outcome
    from bnbench.plan import RunSpec
    from bnbench.problem import Target
    from bnbench.storage.store import ResultStore


@click.command("run")
@grid_options
@results_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPU threads of a run; decides its bits.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Runs side by side; default: as many as cores, 1 on a GPU.")
@cluster_options
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop.")
def command(
    results: Path,
    device: str,
    threads: int,
    workers: int | None,
    executor: Executor,
    slurm: tuple[str, ...],
    cluster: Path | None,
    dry_run: bool,
    **grid: Any,  # noqa: ANN401 -- the fields of Grid, as click hands them over
) -> None:
    """Train problems under variants of BatchNorm; runs that are finished are skipped.

    \b
    Examples:
      bnbench run digits_3c3d --variant all
      bnbench run cifar100_allcnnc --placement every --size tiny
      bnbench run ./mine.toml --variant bn_gamma --seeds 3 --set training.l2=0
      bnbench run cifar10_3c3d --seeds 10 --executor slurm --slurm partition=gpu --slurm gpus=1 --slurm time=12:00:00
    """
    from bnbench.plan import pending
    from bnbench.storage.store import ResultStore

    settings = job_settings(executor, slurm, cluster)
    selection = select(Grid(**grid))
    _require_data(selection)
    store = ResultStore(results)
    contents = store.look()
    for warning in contents.warnings:
        click.echo(f"Warning: {warning}", err=True)
    todo = pending(selection.specs, {document.run_id for document in contents.finished})
    if dry_run:
        _print_plan(selection, {spec.run_id for spec in todo})
        return
    if settings is not None and todo:
        submit_runs(todo, store.path, settings, device=device, threads=threads)
        return
    outcomes = _train(todo, len(selection.specs), store, device, threads, workers) if todo else []
    if not todo:
        click.echo(f"All {len(selection.specs)} runs are finished already; nothing to train.", err=True)
    _report(selection, store)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        click.echo(f"{len(failed)} of {len(selection.specs)} runs failed:", err=True)
        for outcome in failed:
            click.echo(f"  {outcome.run_id}: {(outcome.error or '').strip().splitlines()[-1]}", err=True)
        raise SystemExit(1)


def _require_data(selection: Selection) -> None:
    """Refuse to start when a data set is missing, with the commands that would bring it."""
    from bnbench.data.store import missing

    for spec in selection.specs:
        if spec.data.fingerprint is None:
            raise missing(spec.data.name)


def _train(
    todo: list[RunSpec], asked: int, store: ResultStore, device: str, threads: int, workers: int | None
) -> list[Outcome]:
    from bnbench.cli.progress import sweep_progress
    from bnbench.execution.pool import cpu_slots, default_workers, prepare, run_all
    from bnbench.execution.signals import STOP_SIGNALS, stop_on
    from bnbench.execution.single import Resources
    from bnbench.storage.store import ResultStore
    from bnbench.training.numerics import check_precision, choose_device

    prepare()
    chosen = choose_device(device)
    for spec in todo:
        check_precision(spec.precision, chosen)
    # Only now: a mistake leaves no folder behind.
    ResultStore.open(store.path, create=True)
    side_by_side = min(workers or default_workers(str(chosen), threads), len(todo))
    skipped = f" ({asked - len(todo)} of {asked} are finished already)" if len(todo) < asked else ""
    click.echo(
        f"{len(todo)} runs to train{skipped}, {side_by_side} side by side on {chosen}, {threads} CPU thread(s) each",
        err=True,
    )
    progress = sweep_progress(todo)
    outcomes: list[Outcome] = []
    # A second Ctrl-C raises: what runs is killed then, and goes on from its last checkpoint another time.
    with stop_on((signal.SIGINT, *STOP_SIGNALS)) as stop, progress, suppress(KeyboardInterrupt):
        outcomes = run_all(
            todo, store.path, Resources(str(chosen), threads), cpu_slots(side_by_side), progress, stop=stop
        )
    if stop():
        finished = len(store.finished().keys() & {spec.run_id for spec in todo})
        click.echo(
            f"Interrupted: {finished} of {len(todo)} runs are finished and kept; the same command does the rest.",
            err=True,
        )
        raise SystemExit(stop.exit_code)
    return outcomes


def _print_plan(selection: Selection, missing: set[str]) -> None:
    from bnbench.cli.progress import title

    for spec in selection.specs:
        click.echo(f"{'to run  ' if spec.run_id in missing else 'finished'}  {title(spec)}  {spec.run_id}")
    click.echo(f"{len(missing)} of {len(selection.specs)} runs to train.", err=True)


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
