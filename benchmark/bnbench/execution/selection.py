"""From words to runs: what a user asked for, by whichever door, and the specifications that it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnbench.components.variants import ALL, Variant, expand_variants
from bnbench.data.own_arrays import dataset_of
from bnbench.data.store import missing
from bnbench.data.subset import subset
from bnbench.errors import MissingDataError, UserError, unknown
from bnbench.plan import PRECISIONS, DataFacts, Precision, RunSpec, expand_grid
from bnbench.problem import Problem, Size, find_problems, parse_override
from bnbench.study import Study, StudyPlan, plan_study, study_problem_files, study_problems


@dataclass(frozen=True)
class Settings:
    """What changes every run of a sweep."""

    size: Size = "full"
    seeds: int = 1
    """The first so many of each problem's list."""
    precision: Precision = "fp32"
    overrides: tuple[str, ...] = ()
    """KEY=VALUE each, as of `--set`."""
    epochs: int | None = None
    """Short for the override of training.epochs."""

    @property
    def changes(self) -> dict[str, Any]:
        """Dotted keys to values.

        Raises:
            UserError: an override is no setting, or there is no such precision.
        """
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        changes = dict(parse_override(text) for text in self.overrides)
        return changes if self.epochs is None else {**changes, "training.epochs": self.epochs}


@dataclass(frozen=True)
class Grid:
    """Problems and the axes of a sweep, in words."""

    problems: tuple[str | Problem, ...]
    """Names, patterns, paths of problem files; or problems at a size, which the settings leave as they are."""
    variants: tuple[str | Variant, ...] = (ALL,)
    """Names, "all", or rows."""
    placements: tuple[str, ...] = ()
    """Expressions of the grammar; none means each problem's default."""
    lr_factors: tuple[float, ...] = (1.0,)
    settings: Settings = Settings()
    own_seeds: tuple[int, ...] | None = None
    """In place of the first of each problem's list."""


@dataclass(frozen=True)
class Selection:
    """What that means: the problems at their size, and every run once."""

    problems: tuple[Problem, ...]
    specs: tuple[RunSpec, ...]


def select(grid: Grid) -> Selection:
    """Every run of a grid, once, with the facts of its data.

    Raises:
        UserError: something in the grid does not exist or does not fit.
    """
    settings = grid.settings
    changes = settings.changes
    variants = _rows(grid.variants)
    if grid.own_seeds is not None:
        check_seeds(grid.own_seeds)
    problems = _problems(grid.problems, settings.size, changes)
    specs: list[RunSpec] = []
    for problem in problems:
        specs += expand_grid(
            problem,
            identify(problem),
            variants,
            placements=grid.placements,
            lr_factors=grid.lr_factors,
            seeds=problem.first_seeds(settings.seeds) if grid.own_seeds is None else grid.own_seeds,
            precision=settings.precision,
        )
    return Selection(problems, tuple(specs))


def select_study(study: Study, settings: Settings, only: Sequence[str] = (), problems: Sequence[str] = ()) -> StudyPlan:
    """Every run of a study, or of some of its experiments or problems, once.

    Args:
        study: the study.
        settings: laid over its own.
        only: ids of experiments; none means all.
        problems: names of its problems; none means all.

    Raises:
        UserError: an experiment or a problem does not exist, or a setting does not fit.
    """
    asked = study.chosen_problems(problems)
    needed = {name for experiment in study.chosen(only) for name in experiment.problems}
    files = study_problem_files(study, [name for name in asked if name in needed] or asked)
    chosen = study_problems(study, files, settings.size, settings.changes)
    data = {reference: identify(problem) for reference, problem in chosen.items()}
    return plan_study(study, chosen, data, only=only, seeds=settings.seeds, precision=settings.precision)


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse what the tables cannot hold.

    Raises:
        UserError: there is none, or one is no whole number from 0 to 2⁶³ - 1.
    """
    if not seeds:
        raise UserError("no seed given", hint="The first so many of each problem's list: seeds=3.")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise UserError(f"seed {seed!r}: a whole number from 0 to 2⁶³ - 1 is needed")


def identify(problem: Problem) -> DataFacts:
    """The facts of a problem's data.

    Raises:
        UserError: no such data set is known, its file cannot be used, or it has fewer images than the problem asks
            for; names the problem.
    """
    try:
        dataset = dataset_of(problem.dataset, problem.dataset_file)
    except UserError as error:
        raise UserError(f"problem '{problem.name}', key 'dataset': {error.problem}", hint=error.hint) from error
    facts = dataset.facts(problem.split_seed)
    training, evaluation = problem.training.images, problem.evaluation.images
    if facts.fingerprint is not None and (training is not None or evaluation is not None):
        try:
            subset(dataset.splits(problem.split_seed), problem.split_seed, training=training, evaluation=evaluation)
        except UserError as error:
            raise UserError(f"problem '{problem.name}': {error.problem}", hint=error.hint) from error
    return facts


def absent_data(specs: Iterable[RunSpec]) -> list[str]:
    """The data sets of these runs that are not on this machine, in order."""
    return list(dict.fromkeys(spec.data.name for spec in specs if spec.data.fingerprint is None))


def require_data(specs: Iterable[RunSpec]) -> None:
    """Refuse to start when a data set is missing, with the commands that would bring it.

    Raises:
        MissingDataError: of the first data set that is.
    """
    for name in absent_data(specs):
        raise missing(name)


def require_study_data(study: Study, plan: StudyPlan) -> None:
    """Refuse to start when a data set of a study is missing: how to get it, and what can be run without it.

    Raises:
        MissingDataError: of the first data set that is.
    """
    absent = absent_data(plan.specs)
    if not absent:
        return
    error = missing(absent[0])
    possible = [each.experiment.id for each in plan.experiments if not absent_data(each.specs)]
    without = f"Without it: --only {' --only '.join(possible)}." if possible else "Without it: --size tiny."
    raise MissingDataError(f"study '{study.name}': {error.problem}", hint=f"{error.hint}\n{without}")


def as_overrides(changes: Mapping[str, object]) -> tuple[str, ...]:
    """Settings of a mapping, dotted keys to values, as `--set` takes them."""
    return tuple(f"{key}={_spelled(value)}" for key, value in changes.items())


def _spelled(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_spelled, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problems(wanted: Sequence[str | Problem], size: Size, changes: Mapping[str, Any]) -> tuple[Problem, ...]:
    if not wanted:
        raise UserError("no problem given", hint="`bnbench list` shows those that ship.")
    names = tuple(each for each in wanted if isinstance(each, str))
    named = [file.problem(size, changes) for file in find_problems(names)] if names else []
    return (*named, *(each for each in wanted if isinstance(each, Problem)))


def _rows(wanted: Sequence[str | Variant]) -> list[Variant]:
    """Names and rows as rows, in order, each once."""
    if not wanted:
        return expand_variants(())
    rows: dict[str, Variant] = {}
    for each in wanted:
        for row in expand_variants((each,)) if isinstance(each, str) else [each]:
            rows[row.name] = row
    return list(rows.values())
