"""How much of a study has been run: its experiments, and how many of their runs count as evidence."""

from __future__ import annotations

from dataclasses import dataclass

from bnbench.analysis.claims.evidence import Body
from bnbench.analysis.comparison import USUAL_PLACEMENT
from bnbench.analysis.table import NOTHING, Cell, Column, Kind, Table, Tone, whole
from bnbench.claim import Run
from bnbench.study import Experiment, Study


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
        seeds = [set(evidence.find(run)) for run in {_as_it_is_run(study, run) for run in experiment.runs}]
        found.append(
            ExperimentCoverage(
                experiment, len(seeds), sum(bool(each) for each in seeds), tuple(sorted(set.intersection(*seeds)))
            )
        )
    return tuple(found)


def coverage_table(study: Study, found: tuple[ExperimentCoverage, ...]) -> Table:
    """One row for each experiment of a study."""
    return Table(
        name=f"study-{study.name}",
        title=f"Study {study.name}: what has been run of its {len(study.experiments)} experiments",
        columns=(
            Column("experiment", "experiment"),
            Column("what", "what", Kind.PROSE),
            Column("figures", "figures"),
            Column("runs_a_seed", "runs a seed", Kind.NUMBER, show=whole),
            Column("recorded", "recorded", Kind.NUMBER, show=whole, hint="Of these, in at least one seed"),
            Column(
                "complete_seeds", "complete seeds", Kind.NUMBER, show=whole, hint="Seeds in which all of them are there"
            ),
        ),
        rows=tuple(
            (
                each.experiment.id,
                each.experiment.summary,
                ", ".join(figure.number for figure in each.experiment.figures),
                each.runs,
                _or_none(each.recorded),
                _or_none(len(each.complete_seeds)),
            )
            for each in found
        ),
        notes=("Only runs at the problems' own full settings on the official data are counted.",),
    )


def _or_none(number: int) -> Cell:
    return Cell(number, None if number else NOTHING, tone=None if number else Tone.QUIET)


def _as_it_is_run(study: Study, run: Run) -> Run:
    """The same run under the one name that all placements have for it, where the placement makes no difference."""
    alters = study.variant(run.variant).alters_slots
    return run if alters else run.model_copy(update={"placement": USUAL_PLACEMENT})
