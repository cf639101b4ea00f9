"""`bnbench run`: train what is missing, record it, rank it, draw it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.options import Command, Grid, grid_options, results_option, select

if TYPE_CHECKING:
    from bnbench.cli.options import Selection
    from bnbench.execution.single import Outcome
    from bnbench.plan import RunSpec
    from bnbench.problem import Target
    from bnbench.storage.store import ResultStore


@dataclass(frozen=True)
class RunOptions:
    """How runs are executed; nothing of it decides their numbers but the number of threads."""

    device: str
    threads: int
    workers: int | None


def run_options(command: Command) -> Command:
    """The options of every command that trains; it takes them as keywords and makes `RunOptions` of them."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


_RUN_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="CPU threads of a run; decides its bits.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), help="Runs side by side; default: as many as cores, 1 on a GPU."
    ),
)


@click.command("run")
@grid_options
@results_option
@run_options
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop.")
def command(
    results: Path,
    device: str,
    threads: int,
    workers: int | None,
    dry_run: bool,
    **grid: Any,  # noqa: ANN401 -- the fields of Grid, as click hands them over
) -> None:
    """Train problems under variants of BatchNorm; runs that are finished are skipped.

    \b
    Examples:
      bnbench run digits_3c3d --variant all
      bnbench run cifar100_allcnnc --placement every --size tiny
      bnbench run ./mine.toml --variant bn_gamma --seeds 3 --set training.l2=0
    """
    selection = select(Grid(**grid))
    require_data(selection.specs)
    store, todo = missing_runs(selection.specs, results)
    if dry_run:
        _print_plan(selection, {spec.run_id for spec in todo})
        return
    outcomes = train_missing(todo, len(selection.specs), store, RunOptions(device, threads, workers))
    _report(selection, store)
    end_on_failures(outcomes, len(selection.specs))


def missing_runs(specs: Sequence[RunSpec], results: Path) -> tuple[ResultStore, list[RunSpec]]:
    """The results folder, and the runs that are not finished in it; says what is wrong with single runs there.

    Raises:
        UserError: the folder cannot be read, or holds runs of another schema version.
    """
    from bnbench.plan import pending
    from bnbench.storage.store import ResultStore

    store = ResultStore(results)
    contents = store.look()
    for warning in contents.warnings:
        click.echo(f"Warning: {warning}", err=True)
    return store, pending(specs, {document.run_id for document in contents.finished})


def train_missing(todo: list[RunSpec], asked: int, store: ResultStore, options: RunOptions) -> list[Outcome]:
    """Train these runs out of `asked`, with progress on stderr; Ctrl-C ends the command with what is done intact.

    Raises:
        UserError: no such device, or a folder that cannot be written.
    """
    if todo:
        return _train(todo, asked, store, options.device, options.threads, options.workers)
    click.echo(f"All {asked} runs are finished already; nothing to train.", err=True)
    return []


def end_on_failures(outcomes: Sequence[Outcome], asked: int) -> None:
    """End the command with exit code 1 if a run failed, and say why it did."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        click.echo(f"{len(failed)} of {asked} runs failed:", err=True)
        for outcome in failed:
            click.echo(f"  {outcome.run_id}: {(outcome.error or '').strip().splitlines()[-1]}", err=True)
        raise SystemExit(1)


def require_data(specs: Sequence[RunSpec]) -> None:
    """Refuse to start when a data set is missing, with the commands that would bring it.

    Raises:
        MissingDataError: of the first data set that is.
    """
    from bnbench.data.store import missing

    for spec in specs:
        if spec.data.fingerprint is None:
            raise missing(spec.data.name)


def _train(
    todo: list[RunSpec], asked: int, store: ResultStore, device: str, threads: int, workers: int | None
) -> list[Outcome]:
    from bnbench.cli.progress import sweep_progress
    from bnbench.execution.pool import default_workers, prepare, run_all
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
    try:
        with progress:
            return run_all(todo, store.path, Resources(str(chosen), threads), side_by_side, progress)
    except KeyboardInterrupt:
        finished = len(store.finished().keys() & {spec.run_id for spec in todo})
        click.echo(
            f"Interrupted: {finished} of {len(todo)} runs are finished and kept; the same command does the rest.",
            err=True,
        )
        raise SystemExit(130) from None


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
