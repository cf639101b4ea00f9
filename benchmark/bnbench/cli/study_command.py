"""`bnbench study`: run a study, or say what it would run."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.console import (
    end_on_failures,
    ended_by_a_stop,
    print_warnings,
    say_that_it_begins,
    size_in_words,
    summary,
    sweep_of,
)
from bnbench.cli.options import DEFAULT_RESULTS, plugin_option, results_option, setting_options, settings_of
from bnbench.cli.output import print_json, print_tables, say
from bnbench.cli.run_options import executor_of, run_options_of, training_options
from bnbench.words import counted

if TYPE_CHECKING:
    from bnbench.execution.planning import SweepPlan
    from bnbench.plan import RunSpec
    from bnbench.study import Study, StudyPlan


@click.command("study")
@click.argument("name", metavar="STUDY")
@click.option("--only", multiple=True, metavar="EXPERIMENT", help="Only this experiment, e.g. fig-4.1. Repeatable.")
@click.option("--problem", "problems", multiple=True, metavar="NAME", help="Only on this problem. Repeatable.")
@setting_options
@results_option
@training_options
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: machine-readable.")
@plugin_option
def command(
    name: str,
    only: tuple[str, ...],
    problems: tuple[str, ...],
    results: Path,
    dry_run: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 -- settings, and how runs are carried out, as click hands them over
) -> None:
    """Run a study: every experiment of its file, runs that several share once, finished ones not again.

    STUDY is the name of one that ships (`bnbench list` shows them) or the path of a file of your own.

    \b
    Examples:
      bnbench study thesis --dry-run
      bnbench study thesis --only fig-4.1 --seeds 3
      bnbench study thesis --size short --only fig-4.1 --problem cifar10_3c3d
      bnbench study thesis --size tiny
    """
    from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL
    from bnbench.execution.selection import require_study_data, select_study
    from bnbench.study import find_study

    how = run_options_of(options)
    executor = executor_of(options, how)
    settings = settings_of(options)
    study = find_study(name)
    wanted = select_study(study, settings, only, problems)
    sweep = sweep_of(wanted.specs, results, how, executor, tell_estimate=True)
    if dry_run:
        print_warnings(sweep.plan())
        _show(study, wanted, sweep.plan(), settings.seeds, as_json=as_json)
        if not as_json and _too_few_seeds(wanted, settings.seeds):
            enough = select_study(study, replace(settings, seeds=SEEDS_FOR_INTERVAL), only)
            forecast = summary(sweep_of(enough.specs, results, how, executor).plan())
            told = f"with --seeds {SEEDS_FOR_INTERVAL}: {forecast}"
            say(f"Its claims need {SEEDS_FOR_INTERVAL} seeds; {told}", err=True)
        return
    require_study_data(study, wanted)
    say_that_it_begins()
    if _too_few_seeds(wanted, settings.seeds):
        say(
            f"Its claims need {SEEDS_FOR_INTERVAL} seeds; the forecast is for {settings.seeds}. "
            f"--seeds {SEEDS_FOR_INTERVAL} trains the others too, now or later.",
            err=True,
        )
    with ended_by_a_stop(sweep):
        outcomes = sweep.run()
    if sweep.plan().todo and executor.sends_away:
        return
    where = "" if results == DEFAULT_RESULTS else f" --results {results}"
    say(
        f"What the runs of study '{study.name}' say:\n"
        f"  bnbench rank --size {settings.size}{where}\n  bnbench claims --study {name}{where}",
        err=True,
    )
    end_on_failures(sweep.plan(), outcomes)


def _too_few_seeds(wanted: StudyPlan, seeds: int) -> bool:
    """Whether claims rest on these runs that so many seeds leave undecided."""
    from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL

    return any(each.experiment.claims for each in wanted.experiments) and seeds < SEEDS_FOR_INTERVAL


# --- dry run ----------------------------------------------------------------------------------------------------


def _show(study: Study, wanted: StudyPlan, plan: SweepPlan, seeds: int, *, as_json: bool) -> None:
    """What would run, an experiment a line: its runs, those that no experiment before it asks for, those to do."""
    from bnbench.execution.selection import absent_data

    ended = plan.ended
    rows = _counts(wanted, ended)
    absent = absent_data(wanted.specs)
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
    say(f"{study.name}: {study.summary} ({study.source})\nreading: {study.reading}\n")
    for line in size_in_words(wanted.problems):
        say(line)
    print_tables([Table("experiments", columns, tuple(shown))])
    per_seed = f"{len(wanted.specs) // seeds} a seed, {counted(seeds, 'seed')}"
    say(f"\n{len(wanted.specs)} runs ({per_seed}); {len(ended)} finished, {len(plan.todo)} to run")
    for name in absent:
        count = sum(spec.data.name == name for spec in wanted.specs)
        say(
            f"! {count} of them need {name}, which is not on this machine: bnbench data fetch {name}, or bnbench data "
            f"import {name} PATH"
        )
    if plan.todo:
        say(summary(plan), err=True)


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
