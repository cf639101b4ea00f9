"""`bnbench study`: run a study, or say what it would run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import check_precision_name, identify, parse_overrides, results_option, setting_options
from bnbench.cli.run_command import RunOptions, end_on_failures, missing_runs, run_options, train_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnbench.plan import Precision, RunSpec
    from bnbench.problem import Size
    from bnbench.storage.store import ResultStore
    from bnbench.study import Study, StudyPlan


@click.command("study")
@click.argument("name", metavar="STUDY")
@click.option("--only", multiple=True, metavar="EXPERIMENT", help="Only this experiment, e.g. fig-4.1. Repeatable.")
@setting_options
@results_option
@run_options
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: machine-readable.")
def command(
    name: str,
    only: tuple[str, ...],
    seeds: int,
    size: Size,
    epochs: int | None,
    overrides: tuple[str, ...],
    precision: Precision,
    results: Path,
    device: str,
    threads: int,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a study: every experiment of its file, runs that several share once, finished ones not again.

    STUDY is the name of one that ships (`bnbench list` shows them) or the path of a file of your own.

    \b
    Examples:
      bnbench study thesis --dry-run
      bnbench study thesis --only fig-4.1 --seeds 3
      bnbench study thesis --size tiny
    """
    from bnbench.study import find_study, plan_study, study_problem_files, study_problems

    check_precision_name(precision)
    study = find_study(name)
    problems = study_problems(study, study_problem_files(study), size, parse_overrides(overrides, epochs))
    data = {reference: identify(problem) for reference, problem in problems.items()}
    plan = plan_study(study, problems, data, only=only, seeds=seeds, precision=precision)
    if dry_run:
        _show(study, plan, seeds, results, as_json=as_json)
        return
    _require_data(study, plan)
    store, todo = missing_runs(plan.specs, results)
    _say_estimate(store, todo, device, threads, workers)
    outcomes = train_missing(todo, len(plan.specs), store, RunOptions(device, threads, workers))
    where = "" if results == Path("results/runs") else f" --results {results}"
    click.echo(
        f"What the runs of study '{study.name}' say:\n"
        f"  bnbench rank --size {size}{where}\n  bnbench claims --study {name}{where}",
        err=True,
    )
    end_on_failures(outcomes, len(plan.specs))


def _missing_data(specs: Sequence[RunSpec]) -> list[str]:
    return list(dict.fromkeys(spec.data.name for spec in specs if spec.data.fingerprint is None))


def _require_data(study: Study, plan: StudyPlan) -> None:
    """Refuse to start when a data set is missing: how to get it, and what can be run without it."""
    from bnbench.data.store import missing
    from bnbench.errors import MissingDataError

    absent = _missing_data(plan.specs)
    if not absent:
        return
    error = missing(absent[0])
    possible = [each.experiment.id for each in plan.experiments if not _missing_data(each.specs)]
    without = f"Without it: --only {' --only '.join(possible)}." if possible else "Without it: --size tiny."
    raise MissingDataError(f"study '{study.name}': {error.problem}", hint=f"{error.hint}\n{without}")


# --- dry run ----------------------------------------------------------------------------------------------------


def _show(study: Study, plan: StudyPlan, seeds: int, results: Path, *, as_json: bool) -> None:
    """What would run, an experiment a line: its runs, those that no experiment before it asks for, those to do."""
    present = [spec for spec in plan.specs if spec.data.fingerprint is not None]
    store, todo = missing_runs(present, results)
    todo_ids = {spec.run_id for spec in todo}
    rows = _counts(plan, todo_ids)
    absent = _missing_data(plan.specs)
    if as_json:
        document = {
            "study": study.name,
            "reading": study.reading,
            "seeds": seeds,
            "experiments": rows,
            "runs": len(plan.specs),
            "to_run": len(plan.specs) - (len(present) - len(todo)),
            "missing_data": absent,
            "specs": [_spec_json(spec, todo_ids) for spec in plan.specs],
        }
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table("experiment", "figures", "claims", "runs", "of its own", "finished", box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for planned, row in zip(plan.experiments, rows, strict=True):
        each = planned.experiment
        figures = " ".join(figure.number for figure in each.figures)
        table.add_row(each.id, figures, " ".join(each.claims), *(str(row[key]) for key in ("runs", "own", "finished")))
    click.echo(f"{study.name}: {study.summary} ({study.source})\nreading: {study.reading}\n")
    Console(width=100).print(table)
    per_seed = f"{len(plan.specs) // seeds} a seed, {seeds} seed{'s' if seeds > 1 else ''}"
    finished = len(present) - len(todo)
    click.echo(f"\n{len(plan.specs)} runs ({per_seed}); {finished} finished, {len(plan.specs) - finished} to run")
    for name in absent:
        count = sum(spec.data.name == name for spec in plan.specs)
        click.echo(
            f"! {count} of them need {name}, which is not on this machine: bnbench data fetch {name}, or bnbench data "
            f"import {name} PATH"
        )
    _say_estimate(store, todo, "auto", 1, None)


def _counts(plan: StudyPlan, todo: set[str]) -> list[dict[str, object]]:
    seen: set[int] = set()
    rows: list[dict[str, object]] = []
    for planned in plan.experiments:
        # Shared runs are one object in every experiment, with or without an id.
        own = {id(spec) for spec in planned.specs} - seen
        seen |= own
        ended = [s for s in planned.specs if s.data.fingerprint is not None and s.run_id not in todo]
        each = planned.experiment
        rows.append(
            {
                "id": each.id,
                "summary": each.summary,
                "runs": len(planned.specs),
                "own": len(own),
                "finished": len(ended),
                "claims": list(each.claims),
                "figures": [
                    {"number": figure.number, "kind": figure.kind, "panels": [asdict(p) for p in each.panels(figure)]}
                    for figure in each.figures
                ],
            }
        )
    return rows


def _spec_json(spec: RunSpec, todo: set[str]) -> dict[str, object]:
    known = spec.data.fingerprint is not None
    return {
        "run_id": spec.run_id if known else None,
        "problem": spec.problem,
        "variant": spec.variant.name,
        "placement": spec.placement,
        "learning_rate": spec.training.learning_rate,
        "seed": spec.seed,
        "finished": known and spec.run_id not in todo,
    }


# --- how long ---------------------------------------------------------------------------------------------------


def _say_estimate(store: ResultStore, todo: list[RunSpec], device: str, threads: int, workers: int | None) -> None:
    """How long the rest takes, from what runs of the same setting took in this folder; nothing is guessed."""
    from bnbench.analysis.frames import Results

    if not todo:
        return
    results = Results(store)
    settings = {spec.setting_id for spec in todo}
    candidates = results.select(setting_id=sorted(settings))
    if not candidates:
        click.echo("estimate: none, since no run of these settings has been measured yet", err=True)
        return

    from bnbench.execution.pool import default_workers
    from bnbench.execution.single import describe_device
    from bnbench.training.numerics import choose_device

    chosen = choose_device(device)
    kind = describe_device(chosen)
    measured = [record.identity.run_id for record in candidates if record.device == kind]
    timing = results.timing(run_id=measured, columns=["setting_id", "train_s", "eval_s"])
    epoch_s = {
        str(setting): float((rows["train_s"] + rows["eval_s"]).mean())
        for setting, rows in timing.groupby("setting_id", observed=True)
    }
    unmeasured = sum(spec.setting_id not in epoch_s for spec in todo)
    seconds = sum(spec.training.epochs * epoch_s.get(spec.setting_id, 0.0) for spec in todo)
    side_by_side = min(workers or default_workers(str(chosen), threads), len(todo))
    if unmeasured == len(todo):
        click.echo(f"estimate: none, since no run of these settings has been measured on {kind} yet", err=True)
        return
    rest = f", and {unmeasured} runs of settings that have not been measured yet" if unmeasured else ""
    click.echo(
        f"estimate: {_duration(seconds / side_by_side)} of training for {len(todo) - unmeasured} runs, {side_by_side} "
        f"side by side on {kind}, from what such runs took here{rest}",
        err=True,
    )


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
