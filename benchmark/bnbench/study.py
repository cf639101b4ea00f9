"""Studies as data: named collections of experiments, the figures they make, the claims they decide (torch-free).

A study file says which problems are run under which variants, placements and learning rates. Runs that several
experiments ask for are run once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from bnbench.claim import RULES, Claim, Run, expand_part, runs_of
from bnbench.components.variants import STUDIED, VARIANTS, Variant
from bnbench.errors import UserError, cut, few, nearest, unknown
from bnbench.identity import canonical_json
from bnbench.paths import expand_home, given_path
from bnbench.plan import DataFacts, Precision, RunSpec, expand_grid
from bnbench.problem import Problem, ProblemFile, Size, find_problem, parse_override
from bnbench.shipped import shipped_folder
from bnbench.strict import Strict, to_tuple
from bnbench.toml_file import read_toml

FigureKind = Literal["curves", "beta", "gamma"]

_KINDS: Mapping[FigureKind, tuple[str, ...]] = {
    "curves": (),
    "beta": ("bn_gamma_beta", "bn_beta"),
    "gamma": ("bn_gamma_beta", "bn_gamma"),
}
"""The variants of which a figure of γ or β has a panel each, if it names none; curves show all of the experiment's."""


_Names = Annotated[tuple[str, ...], BeforeValidator(to_tuple)]
_OneOrMoreNames = Annotated[tuple[str, ...], BeforeValidator(to_tuple), Field(min_length=1)]
_Factors = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(to_tuple), Field(min_length=1)]


class Figure(Strict):
    """A figure of the study, by its number; what it leaves out is the experiment's."""

    number: str
    kind: FigureKind
    problems: _Names = ()
    placements: _Names = ()
    variants: _Names = ()
    """A figure of γ or β has a panel of each; where it names none, of the founding study's two."""


@dataclass(frozen=True)
class Panel:
    """One part of a figure: a pair of axes with a curve for each variant, or the γ or β of one model."""

    letter: str
    """a, b, … for curves; A, B, … for the models of a γ or β figure."""
    problem: str
    variants: tuple[str, ...]
    placement: str
    lr_factor: float


class OwnVariant(Strict):
    """A variant of the study's own: another row, but for what is named."""

    name: str
    base: str
    """The row that it is a change of."""
    changes: dict[str, Any]
    """Fields of the row; of `gamma` and `beta` only what changes of the rule (`Variant.replace`)."""

    def row(self) -> Variant:
        """The row.

        Raises:
            UserError: there is no such base, a field does not exist, or the name is one of the table's.
        """
        if self.name in VARIANTS:
            raise UserError(f"variant '{self.name}' is in the table already", hint="Give the study's own another name.")
        return VARIANTS.get(self.base).replace(name=self.name, **self.changes)


class Experiment(Strict):
    """A grid of runs, what it is drawn as, and what it decides."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
    summary: str
    problems: _OneOrMoreNames
    """Names of problems that ship, or paths of problem files, relative to the study's file."""
    variants: _OneOrMoreNames = ("all",)
    placements: _OneOrMoreNames
    lr_factors: _Factors = (1.0,)
    figures: Annotated[tuple[Figure, ...], BeforeValidator(to_tuple)] = ()
    claims: _Names = ()

    def panels(self, figure: Figure) -> tuple[Panel, ...]:
        """The parts of one of the experiment's figures, in order."""
        problems = figure.problems or self.problems
        placements = figure.placements or self.placements
        models = figure.variants or _KINDS[figure.kind]
        curves = figure.kind == "curves"
        shown: list[tuple[str, ...]] = [models or self.variant_names] if curves else [(each,) for each in models]
        grid = [
            (problem, variants, placement, factor)
            for problem in problems
            for placement in placements
            for factor in self.lr_factors
            for variants in shown
        ]
        first = ord("a" if curves else "A")
        return tuple(Panel(chr(first + index), *each) for index, each in enumerate(grid))

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The variants, `all` written out."""
        return tuple(dict.fromkeys(name for each in self.variants for name in (STUDIED if each == "all" else (each,))))

    @property
    def runs(self) -> frozenset[Run]:
        """The runs a seed, as claims name them."""
        return frozenset(
            Run(problem=problem, variant=variant, placement=placement, lr_factor=factor)
            for problem in self.problems
            for variant in self.variant_names
            for placement in self.placements
            for factor in self.lr_factors
        )


class Study(Strict):
    """A study: experiments, claims, and the reading of its source that they stand for."""

    name: str
    summary: str
    source: str
    extends: str | None = None
    """The study over whose file this one is laid: another reading of the same source."""
    reading: str
    """Which of several readings of the source this is; every verdict names it."""
    overrides: Annotated[tuple[str, ...], BeforeValidator(to_tuple)] = ()
    """Settings laid over every problem, as with --set: "training.l2=0"."""
    overrides_at: dict[Size, Annotated[tuple[str, ...], BeforeValidator(to_tuple)]] = Field(default_factory=dict)
    """By size: settings laid over these, such as a probe's schedule that fits a tiny run."""
    variants: Annotated[tuple[OwnVariant, ...], BeforeValidator(to_tuple)] = ()
    """Rows that this study alone has."""
    experiments: Annotated[tuple[Experiment, ...], BeforeValidator(to_tuple), Field(min_length=1)]
    claims: Annotated[tuple[Claim, ...], BeforeValidator(to_tuple)] = ()

    @property
    def problem_references(self) -> tuple[str, ...]:
        """The problems of all experiments, each once, in order."""
        return tuple(dict.fromkeys(name for each in self.experiments for name in each.problems))

    def variant(self, name: str) -> Variant:
        """A row by its name: the study's own, or one of the table.

        Raises:
            UserError: there is none.
        """
        own = {each.name: each for each in self.variants}
        if name in own:
            return own[name].row()
        if name not in VARIANTS:
            raise unknown("variant", name, [*VARIANTS, *own])
        return VARIANTS.get(name)

    def chosen_problems(self, names: Sequence[str]) -> tuple[str, ...]:
        """The problems of these names, as the study refers to them, in its order; all of them if none is named.

        A problem that the study names by a path has its file's name.

        Raises:
            UserError: the study has no such problem.
        """
        by_name = {Path(each).stem if each.endswith(".toml") else each: each for each in self.problem_references}
        for name in names:
            if name not in by_name and name not in self.problem_references:
                error = unknown("problem", name, by_name)
                raise UserError(f"study '{self.name}': {error.problem}", hint=error.hint)
        return tuple(each for name, each in by_name.items() if not names or name in names or each in names)

    def claim(self, claim_id: str) -> Claim:
        """A claim by its id.

        Raises:
            UserError: there is none.
        """
        by_id = {claim.id: claim for claim in self.claims}
        if claim_id not in by_id:
            raise unknown("claim", claim_id, by_id)
        return by_id[claim_id]

    def chosen(self, only: Sequence[str]) -> tuple[Experiment, ...]:
        """The experiments of these ids, in the study's order; all of them if none is named.

        Raises:
            UserError: there is no such experiment.
        """
        ids = [each.id for each in self.experiments]
        for name in only:
            if name not in ids:
                raise unknown("experiment", name, ids)
        return tuple(each for each in self.experiments if not only or each.id in only)


@dataclass(frozen=True)
class PlannedExperiment:
    """An experiment as runs."""

    experiment: Experiment
    specs: tuple[RunSpec, ...]
    """Every run that the experiment needs, those it shares with others included; each once."""


@dataclass(frozen=True)
class StudyPlan:
    """A study as runs."""

    problems: tuple[Problem, ...]
    """At their size, overrides applied."""
    experiments: tuple[PlannedExperiment, ...]
    specs: tuple[RunSpec, ...]
    """Every run of the study once: seed by seed, and for each seed in the order of the experiments, so that a study
    that is cut short has complete comparisons."""


def study_problems(
    study: Study, files: Mapping[str, ProblemFile], size: Size, overrides: Mapping[str, Any] | None = None
) -> dict[str, Problem]:
    """The study's problems at a size: the study's own settings over the file's, a user's over both.

    Args:
        study: the study.
        files: its problem files by the names it uses, or of some of them.
        size: the size.
        overrides: dotted keys to values.

    Raises:
        UserError: a problem has no such size, or an override does not fit.
    """
    own = (*study.overrides, *study.overrides_at.get(size, ()))
    changes = {**dict(parse_override(text) for text in own), **(overrides or {})}
    return {name: file.problem(size, changes) for name, file in files.items()}


def plan_study(
    study: Study,
    problems: Mapping[str, Problem],
    data: Mapping[str, DataFacts],
    *,
    only: Sequence[str] = (),
    seeds: int = 1,
    precision: Precision = "fp32",
) -> StudyPlan:
    """Every run of a study, or of some of its experiments, once.

    Args:
        study: the study.
        problems: its problems by the names the study uses, or some of them: the others are left out.
        data: the data set of each problem, by the same names.
        only: ids of experiments; none means all.
        seeds: the first so many seeds of each problem.
        precision: the arithmetic.

    Raises:
        UserError: an experiment does not exist, a placement does not fit, a problem has fewer seeds.
    """
    planned = []
    order: dict[str, tuple[int, RunSpec]] = {}
    for experiment in study.chosen(only):
        own: dict[str, RunSpec] = {}
        for name in experiment.problems:
            if name not in problems:
                continue
            problem = problems[name]
            wanted = problem.first_seeds(seeds)
            for spec in expand_grid(
                problem,
                data[name],
                [study.variant(each) for each in experiment.variant_names],
                placements=experiment.placements,
                lr_factors=experiment.lr_factors,
                seeds=wanted,
                precision=precision,
            ):
                key = canonical_json(spec.resolved())
                _, shared = order.setdefault(key, (wanted.index(spec.seed), spec))
                own[key] = shared
        if own:
            planned.append(PlannedExperiment(experiment, tuple(own.values())))
    if not planned:
        able = [each.id for each in study.experiments if any(name in problems for name in each.problems)]
        raise UserError(
            f"study '{study.name}': {', '.join(only)}: no run of {', '.join(problems)}",
            hint=f"Experiments with it: {', '.join(able)}.",
        )
    by_seed = sorted(order.values(), key=lambda pair: pair[0])
    used = {name for each in planned for name in each.experiment.problems}
    return StudyPlan(
        problems=tuple(problems[name] for name in study.problem_references if name in used & problems.keys()),
        experiments=tuple(planned),
        specs=tuple(spec for _, spec in by_seed),
    )


# --- files ------------------------------------------------------------------------------------------------------


def study_files() -> dict[str, Path]:
    """The studies that ship with the package: name to file, sorted by name."""
    return {path.stem: path for path in sorted((shipped_folder("problems") / "studies").glob("*.toml"))}


def find_study(reference: str) -> Study:
    """A study by name, or by the path of its file (anything that ends in .toml).

    Raises:
        UserError: no such study, or its file is not valid.
    """
    return read_study(_study_path(reference))


def study_problem_files(study: Study, names: Sequence[str] = ()) -> dict[str, ProblemFile]:
    """The problem file behind each name that a study uses.

    Args:
        study: the study.
        names: of the problems that are wanted; none means all.

    Raises:
        UserError: a problem does not exist or its file is not valid.
    """
    return {name: find_problem(name) for name in study.chosen_problems(names)}


def read_study(path: Path) -> Study:
    """Read and check a study file, and those it extends.

    Raises:
        UserError: it cannot be read, is no TOML, does not describe a study, or its parts contradict each other.
    """
    raw = _raw_study(path, ())
    try:
        study = Study.model_validate({**_expanded(path, raw), "name": path.stem})
    except ValidationError as error:
        raise UserError(few(error.errors(), lambda detail: _explain(path, detail))) from error
    _check(path, study)
    return study


def _study_path(reference: str) -> Path:
    if reference.endswith(".toml"):
        return given_path(reference, "the study file")
    files = study_files()
    if reference not in files:
        raise unknown("study", reference, files, hint="A study of your own is named by the path of its .toml file.")
    return files[reference]


def _raw_study(path: Path, below: tuple[str, ...]) -> dict[str, Any]:
    """The file's tables over those of the study it extends."""
    raw = read_toml(path)
    if "name" in raw:
        raise UserError(f"{path}: unknown key 'name'.", hint="A study's name is its file's.")
    raw = _resolved_paths(path, raw)
    if "extends" not in raw:
        return raw
    reference = raw.pop("extends")
    if not isinstance(reference, str):
        raise UserError(f"{path}: extends = {reference!r}: should be the name of a study, or the path of its file.")
    base = path.parent / expand_home(reference) if reference.endswith(".toml") else _study_path(reference)
    # Not Path.resolve, which raises over a link to itself; reading says what is wrong with that.
    chain = (*below, os.path.realpath(path))
    if os.path.realpath(base) in chain:
        raise UserError(f"{path}: extends = {reference!r}: a study cannot extend itself.")
    return {**_raw_study(base, chain), **raw, "extends": base.stem}


def _resolved_paths(path: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Paths of problem files, as the study's file gives them, made to hold from the current folder."""

    def resolved(value: Any) -> Any:  # noqa: ANN401 -- anything that TOML can say
        if isinstance(value, dict):
            names = {"problem", "problems"}
            return {key: named(each) if key in names else resolved(each) for key, each in value.items()}
        return [resolved(each) for each in value] if isinstance(value, list) else value

    def named(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, list):
            return [named(each) for each in value]
        return str(path.parent / expand_home(value)) if isinstance(value, str) and value.endswith(".toml") else value

    return {key: resolved(value) for key, value in raw.items()}


def _expanded(path: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The raw study with every part of every claim written out."""
    claims = raw.get("claims", [])
    if not isinstance(claims, list):
        raise UserError(f"{path}: claims = {cut(repr(claims))}: should be tables, [[claims]].")
    expanded = []
    for claim in claims:
        parts = claim.get("parts", []) if isinstance(claim, dict) else []
        if isinstance(parts, list) and all(isinstance(part, dict) for part in parts) and parts:
            claim = {**claim, "parts": [each for part in parts for each in expand_part(part)]}  # noqa: PLW2901
        expanded.append(claim)
    return {**raw, "claims": expanded}


def _explain(path: Path, detail: Any) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, a TypedDict of its own
    key = cut(".".join(str(part) for part in detail["loc"]))
    if detail["type"] == "extra_forbidden":
        known = {
            1: list(Study.model_fields.keys() - {"name"}),
            3: list((Experiment if detail["loc"][0] == "experiments" else Claim).model_fields),
        }.get(len(detail["loc"]), [])
        guess = nearest(str(detail["loc"][-1]), known)
        meant = f" Did you mean '{guess}'?" if guess else ""
        return f"{path}: unknown key '{key}'.{meant}"
    if detail["type"] == "missing":
        return f"{path}: the key '{key}' is missing."
    if detail["type"].startswith("union_tag"):
        return f"{path}: {key}: a part needs one of the rules: {', '.join(RULES)}."
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{path}: {key} = {cut(repr(detail['input']))}: {message[:1].lower()}{message[1:]}."


def _check(path: Path, study: Study) -> None:
    """What the types cannot say: names that must exist and differ, claims whose runs are asked for."""
    for kind, ids in (
        ("experiment", [each.id for each in study.experiments]),
        ("claim", [each.id for each in study.claims]),
        ("figure", [figure.number for each in study.experiments for figure in each.figures]),
        ("variant", [each.name for each in study.variants]),
    ):
        twice = next((name for name in ids if ids.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{path}: {kind} '{twice}' is there twice")
    for text in itertools.chain(study.overrides, *study.overrides_at.values()):
        _refer(path, "overrides", lambda text=text: parse_override(text))
    for own in study.variants:
        _refer(path, "variants", own.row)
    claims = {claim.id: claim for claim in study.claims}
    for experiment in study.experiments:
        _refer(path, experiment.id, lambda each=experiment: [study.variant(name) for name in each.variant_names])
        for name in experiment.claims:
            if name not in claims:
                raise UserError(f"{path}: {experiment.id}: {unknown('claim', name, claims)}")
        for figure in experiment.figures:
            _check_figure(path, experiment, figure)
    for claim in study.claims:
        _check_claim(path, study, claim)


def _refer(path: Path, where: str, look_up: Any) -> None:  # noqa: ANN401 -- any function of no argument
    try:
        look_up()
    except UserError as error:
        raise UserError(f"{path}: {where}: {error.problem}", hint=error.hint) from error


def _check_figure(path: Path, experiment: Experiment, figure: Figure) -> None:
    for kind, names, known in (
        ("problem", figure.problems, experiment.problems),
        ("placement", figure.placements, experiment.placements),
        ("variant", figure.variants or _KINDS[figure.kind], experiment.variant_names),
    ):
        for name in names:
            if name not in known:
                raise UserError(
                    f"{path}: figure {figure.number}: {experiment.id} has no {kind} '{name}'",
                    hint=f"It has {', '.join(known)}.",
                )


def _check_claim(path: Path, study: Study, claim: Claim) -> None:
    deciding = [each for each in study.experiments if claim.id in each.claims]
    asked = _runs(deciding)
    for part in claim.parts:
        for run in runs_of(part):
            if not _covered(run, asked):
                raise UserError(
                    f"{path}: claim {claim.id} looks at {_in_words(run)}, which no experiment that names it runs",
                    hint="List the claim under `claims` of the experiment that runs it.",
                )


def _runs(experiments: Iterable[Experiment]) -> frozenset[Run]:
    return frozenset(run for each in experiments for run in each.runs)


def _covered(run: Run, asked: frozenset[Run]) -> bool:
    """Whether the run is among those; vanilla has no BatchNorm anywhere and serves every placement."""
    if run.variant != "vanilla":
        return run in asked
    return any((run.problem, run.variant, run.lr_factor) == (x.problem, x.variant, x.lr_factor) for x in asked)


def _in_words(run: Run) -> str:
    return f"{run.problem} {run.variant} {run.placement} at learning rate × {run.lr_factor:g}"
