"""How much of a study has been run: its experiments, and how many of their runs count as evidence."""

from __future__ import annotations

from dataclasses import dataclass

from bnbench.analysis.claims.evidence import Body
from bnbench.claim import Run
from bnbench.report.groups import USUAL_PLACEMENT
from bnbench.report.webpage.comparisons import Commands
from bnbench.report.webpage.markup import NOTHING, Cell, Column, Table, count, tag, text, words
from bnbench.study import Experiment, Study
from bnbench.variant import VARIANTS


@dataclass(frozen=True)
class ExperimentCoverage:
    """One experiment: the runs that it asks for in each seed, and those that are there."""

    experiment: Experiment
    runs: int
    """A seed; vanilla, which has no placement, once for all placements."""
    recorded: int
    """Of these, how many are there in at least one seed."""
    complete_seeds: tuple[int, ...]
    """The seeds in which all of its runs are there."""


def coverage(study: Study, evidence: Body) -> tuple[ExperimentCoverage, ...]:
    """What there is of every experiment of a study.

    Args:
        study: the study.
        evidence: the runs at its own full settings on the official data.
    """
    found = []
    for experiment in study.experiments:
        seeds = [set(evidence.find(run)) for run in {_as_it_is_run(run) for run in experiment.runs}]
        found.append(
            ExperimentCoverage(
                experiment, len(seeds), sum(bool(each) for each in seeds), tuple(sorted(set.intersection(*seeds)))
            )
        )
    return tuple(found)


def coverage_table(study: Study, found: tuple[ExperimentCoverage, ...], commands: Commands) -> Table:
    """One row for each experiment of a study."""
    return Table(
        name=f"study-{study.name}",
        caption=text(f"Study {study.name}: what has been run of its {len(study.experiments)} experiments"),
        columns=(
            Column(text("experiment"), "experiment"),
            Column(text("what"), "what"),
            Column(text("figures"), "figures"),
            Column(text("runs a seed"), "runs_a_seed", number=True),
            Column(text("recorded"), "recorded", number=True, hint="Of these, in at least one seed"),
            Column(text("complete seeds"), "complete_seeds", number=True, hint="Seeds in which all of them are there"),
        ),
        rows=tuple(
            (
                words(each.experiment.id),
                Cell(tag("div", text(each.experiment.summary), class_="prose"), each.experiment.summary),
                words(", ".join(figure.number for figure in each.experiment.figures)),
                count(each.runs),
                count(each.recorded) if each.recorded else Cell(NOTHING, "0", number=True),
                count(len(each.complete_seeds)) if each.complete_seeds else Cell(NOTHING, "0", number=True),
            )
            for each in found
        ),
        notes=(text("Only runs at the problems' own full settings on the official data are counted."),),
        command=commands.line("study", study.name, "--dry-run"),
    )


def _as_it_is_run(run: Run) -> Run:
    """The same run under the one name that all placements have for it, where the placement makes no difference."""
    return run if VARIANTS.get(run.variant).alters_slots else run.model_copy(update={"placement": USUAL_PLACEMENT})
