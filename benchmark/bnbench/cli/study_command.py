"""`bnbench study`: run a study, or say what it would run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.carry_out import begin_early, carry_out, carry_out_options, end_on_failures, gather, plan_runs
from bnbench.cli.options import (
    DEFAULT_RESULTS,
    check_precision_name,
    identify,
    parse_overrides,
    results_option,
    setting_options,
)
from bnbench.cli.output import print_json, print_tables
from bnbench.cli.sweep_plan import duration, summary
from bnbench.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnbench.cli.sweep_plan import SweepPlan
    from bnbench.plan import Precision, RunSpec
    from bnbench.problem import Size
    from bnbench.study import Study, StudyPlan


@click.command("study")
@click.argument("name", metavar="STUDY")
@click.option("--only", multiple=True, metavar="EXPERIMENT", help="Only this experiment, e.g. fig-4.1. Repeatable.")
@setting_options
@results_option
@carry_out_options
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
    **options: Any,  # noqa: ANN401 -- how runs are carried out, as click hands it over
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

    how = gather(options)
    check_precision_name(precision)
    study = find_study(name)
    problems = study_problems(study, study_problem_files(study), size, parse_overrides(overrides, epochs))
    data = {reference: identify(problem) for reference, problem in problems.items()}
    wanted = plan_study(study, problems, data, only=only, seeds=seeds, precision=precision)
    if not dry_run:
        _require_data(study, wanted)
        begin_early(wanted.specs, results, how)
    plan = plan_runs(wanted.specs, results, how)
    if dry_run:
        _show(study, wanted, plan, seeds, results, as_json=as_json)
        return
    _say_estimate(plan, results)
    outcomes = carry_out(plan, results, how)
    if outcomes is None:
        return
    where = "" if results == DEFAULT_RESULTS else f" --results {results}"
    click.echo(
        f"What the runs of study '{study.name}' say:\n"
        f"  bnbench rank --size {size}{where}\n  bnbench claims --study {name}{where}",
        err=True,
    )
    end_on_failures(plan, outcomes)


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


def _show(study: Study, wanted: StudyPlan, plan: SweepPlan, seeds: int, results: Path, *, as_json: bool) -> None:
    """What would run, an experiment a line: its runs, those that no experiment before it asks for, those to do."""
    ended = _ended(plan)
    rows = _counts(wanted, ended)
    absent = _missing_data(wanted.specs)
    if as_json:
        document = {
            "study": study.name,
            "reading": study.reading,
            "seeds": seeds,
            "experiments": rows,
            "runs": len(wanted.specs),
            "to_run": len(plan.todo),
            "missing_data": absent,
            "specs": [_spec_json(spec, ended) for spec in wanted.specs],
        }
        print_json(document)
        return

    from bnbench.analysis.table import Column, Kind, Table

    columns = (
        Column("experiment", "experiment", Kind.IDENTIFIER),
        Column("figures", "figures", Kind.PROSE, priority=2),
        Column("claims", "claims", Kind.PROSE, priority=1),
        Column("runs", "runs", Kind.NUMBER),
        Column("own", "of its own", Kind.NUMBER, priority=3),
        Column("finished", "finished", Kind.NUMBER),
    )
    shown = [
        (
            planned.experiment.id,
            " ".join(figure.number for figure in planned.experiment.figures),
            " ".join(planned.experiment.claims),
            len(planned.specs),
            row["own"],
            row["finished"],
        )
        for planned, row in zip(wanted.experiments, rows, strict=True)
    ]
    click.echo(f"{study.name}: {study.summary} ({study.source})\nreading: {study.reading}\n")
    print_tables([Table("experiments", columns, tuple(shown))])
    per_seed = f"{len(wanted.specs) // seeds} a seed, {counted(seeds, 'seed')}"
    click.echo(f"\n{len(wanted.specs)} runs ({per_seed}); {len(ended)} finished, {len(plan.todo)} to run")
    for name in absent:
        count = sum(spec.data.name == name for spec in wanted.specs)
        click.echo(
            f"! {count} of them need {name}, which is not on this machine: bnbench data fetch {name}, or bnbench data "
            f"import {name} PATH"
        )
    _say_estimate(plan, results)


def _ended(plan: SweepPlan) -> set[str]:
    """The runs that are results already."""
    return {
        run.spec.run_id
        for run in plan.runs
        if run.standing is not None and run.standing.state in {"finished", "diverged"}
    }


def _counts(plan: StudyPlan, finished: set[str]) -> list[dict[str, Any]]:
    seen: set[int] = set()
    rows: list[dict[str, Any]] = []
    for planned in plan.experiments:
        # Shared runs are one object in every experiment, with or without an id.
        own = {id(spec) for spec in planned.specs} - seen
        seen |= own
        ended = [s for s in planned.specs if s.data.fingerprint is not None and s.run_id in finished]
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


def _spec_json(spec: RunSpec, finished: set[str]) -> dict[str, object]:
    known = spec.data.fingerprint is not None
    return {
        "run_id": spec.run_id if known else None,
        "problem": spec.problem,
        "variant": spec.variant.name,
        "placement": spec.placement,
        "learning_rate": spec.training.learning_rate,
        "seed": spec.seed,
        "finished": known and spec.run_id in finished,
    }


# --- how long ---------------------------------------------------------------------------------------------------


def _say_estimate(plan: SweepPlan, results: Path) -> None:
    """How long the rest takes: from speeds that were measured, else from what such runs took in this folder."""
    if not plan.todo:
        return
    told = None if plan.seconds is not None else _from_finished_runs(plan, results)
    click.echo(told or summary(plan), err=True)


def _from_finished_runs(plan: SweepPlan, results: Path) -> str | None:
    """The time left by the epochs of finished runs of the same settings on this kind of device; None without any."""
    from bnbench.analysis.frames import Results
    from bnbench.storage.store import ResultStore

    todo = [spec for spec in plan.todo if spec.data.fingerprint is not None]
    found = Results(ResultStore(results))
    candidates = found.select(setting_id=sorted({spec.setting_id for spec in todo})) if todo else []
    measured = [record.identity.run_id for record in candidates if record.device == plan.device]
    if not measured:
        return None
    timing = found.timing(run_id=measured, columns=["setting_id", "train_s", "eval_s"])
    epoch_s = {
        str(setting): float((rows["train_s"] + rows["eval_s"]).mean())
        for setting, rows in timing.groupby("setting_id", observed=True)
    }
    known = [spec for spec in todo if spec.setting_id in epoch_s]
    seconds = sum(spec.training.epochs * epoch_s[spec.setting_id] for spec in known)
    side_by_side = min(plan.side_by_side, len(plan.todo))
    rest = len(plan.todo) - len(known)
    unknown = f", and {rest} runs of settings that have not been measured yet" if rest else ""
    return (
        f"estimate: about {duration(seconds / side_by_side)} of training for {len(known)} runs, {side_by_side} side by "
        f"side on {plan.device}, from what such runs took here{unknown}"
    )
