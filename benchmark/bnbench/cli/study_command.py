"""`bnbench study`: run a study, or say what it would run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.options import (
    DEFAULT_RESULTS,
    check_precision_name,
    identify,
    parse_overrides,
    results_option,
    setting_options,
)
from bnbench.cli.sweep import summary
from bnbench.cli.training import carry_out, gather_orders, plan_orders, report_failures, training_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnbench.cli.sweep import PlannedRun, SweepPlan
    from bnbench.plan import Precision, RunSpec
    from bnbench.problem import Size
    from bnbench.study import Study, StudyPlan


@click.command("study")
@click.argument("name", metavar="STUDY")
@click.option("--only", multiple=True, metavar="EXPERIMENT", help="Only this experiment, e.g. fig-4.1. Repeatable.")
@setting_options
@results_option
@training_options
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
    dry_run: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 -- the fields of Orders, as click hands them over
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

    orders = gather_orders(options)
    check_precision_name(precision)
    study = find_study(name)
    problems = study_problems(study, study_problem_files(study), size, parse_overrides(overrides, epochs))
    data = {reference: identify(problem) for reference, problem in problems.items()}
    expanded = plan_study(study, problems, data, only=only, seeds=seeds, precision=precision)
    if not dry_run:
        _require_data(study, expanded)
    plan = plan_orders(expanded.specs, results, orders)
    if dry_run:
        _show(study, expanded, plan, seeds, as_json=as_json)
        return
    click.echo(summary(plan), err=True)
    outcomes = carry_out(plan, results, orders)
    where = "" if results == DEFAULT_RESULTS else f" --results {results}"
    click.echo(
        f"What the runs of study '{study.name}' say:\n"
        f"  bnbench rank --size {size}{where}\n  bnbench claims --study {name}{where}",
        err=True,
    )
    report_failures(plan, outcomes or [])


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


def _show(study: Study, expanded: StudyPlan, plan: SweepPlan, seeds: int, *, as_json: bool) -> None:
    """What would run, an experiment a line: its runs, those that no experiment before it asks for, those that ended."""
    ended = {run.spec.run_id for run in plan.runs if run.standing is not None and not run.to_train}
    rows = _counts(expanded, ended)
    absent = _missing_data(expanded.specs)
    if as_json:
        document = {
            "study": study.name,
            "reading": study.reading,
            "seeds": seeds,
            "experiments": rows,
            "runs": len(plan.runs),
            "to_run": len(plan.todo),
            "seconds": plan.seconds,
            "missing_data": absent,
            "specs": [_run_json(run) for run in plan.runs],
        }
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table("experiment", "figures", "claims", "runs", "of its own", "ended", box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for planned, row in zip(expanded.experiments, rows, strict=True):
        each = planned.experiment
        figures = " ".join(figure.number for figure in each.figures)
        table.add_row(each.id, figures, " ".join(each.claims), *(str(row[key]) for key in ("runs", "own", "ended")))
    click.echo(f"{study.name}: {study.summary} ({study.source})\nreading: {study.reading}\n")
    Console(width=100).print(table)
    count = len(expanded.specs)
    click.echo(f"\n{count} runs ({count // seeds} a seed, {seeds} seed{'s' if seeds > 1 else ''})")
    for name in absent:
        needing = sum(spec.data.name == name for spec in expanded.specs)
        click.echo(
            f"! {needing} of them need {name}, which is not on this machine: bnbench data fetch {name}, or bnbench "
            f"data import {name} PATH"
        )
    click.echo(summary(plan))


def _counts(expanded: StudyPlan, ended: set[str]) -> list[dict[str, object]]:
    seen: set[int] = set()
    rows: list[dict[str, object]] = []
    for planned in expanded.experiments:
        # Shared runs are one object in every experiment, with or without an id.
        own = {id(spec) for spec in planned.specs} - seen
        seen |= own
        each = planned.experiment
        rows.append(
            {
                "id": each.id,
                "summary": each.summary,
                "runs": len(planned.specs),
                "own": len(own),
                "ended": sum(spec.data.fingerprint is not None and spec.run_id in ended for spec in planned.specs),
                "claims": list(each.claims),
                "figures": [
                    {"number": figure.number, "kind": figure.kind, "panels": [asdict(p) for p in each.panels(figure)]}
                    for figure in each.figures
                ],
            }
        )
    return rows


def _run_json(run: PlannedRun) -> dict[str, object]:
    spec = run.spec
    return {
        "run_id": None if run.standing is None else spec.run_id,
        "problem": spec.problem,
        "variant": spec.variant.name,
        "placement": spec.placement,
        "learning_rate": spec.training.learning_rate,
        "seed": spec.seed,
        "state": None if run.standing is None else run.standing.state,
        "to_run": run.to_train,
    }
