"""The figures of a study by their number, and what each is drawn from: read from the study's file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from bnbench.analysis.settings import is_of_the_setting
from bnbench.analysis.wanted import Wanted
from bnbench.errors import unknown
from bnbench.problem import parse_override
from bnbench.report.captions import joined
from bnbench.report.style import GREEK
from bnbench.report.titles import problem_label
from bnbench.study import Experiment, Figure, FigureKind, Study, find_study

THESIS = "thesis"


@dataclass(frozen=True)
class StudyFigure:
    """One figure: what kind it is, and the runs of its parts, in order."""

    study: str
    source: str
    """What the study reproduces."""
    experiment: str
    """The id of the experiment that makes its runs."""
    number: str
    kind: FigureKind
    title: str
    parts: tuple[Wanted, ...]
    """A pair of axes each for curves; for γ and β the models (A, B), (C, D)."""
    letters: str
    """Of the parts of a figure of curves; empty for γ and β."""


@cache
def thesis_figures() -> Mapping[str, StudyFigure]:
    """The figures of results of the founding study, by number, chapters before appendices.

    Raises:
        UserError: the study's file is not valid.
    """
    return study_figures(find_study(THESIS))


def study_figures(study: Study) -> dict[str, StudyFigure]:
    """Every figure of a study, by number, chapters before appendices."""
    found = [_study_figure(study, each, figure) for each in study.experiments for figure in each.figures]
    return {figure.number: figure for figure in sorted(found, key=lambda figure: _order(figure.number))}


def study_figure(number: str, figures: Mapping[str, StudyFigure]) -> StudyFigure:
    """A figure by its number, "4.6", or a part of a figure of curves, "4.1a".

    Raises:
        UserError: the study has no such figure of results.
    """
    if number in figures:
        return figures[number]
    whole, letter = figures.get(number[:-1]), number[-1:]
    if whole is not None and letter and letter in whole.letters:
        return replace(whole, number=number, parts=(whole.parts[whole.letters.index(letter)],), letters=letter)
    raise unknown("figure", number, figures, hint="A part of a figure of curves is named like 4.1a.")


def _study_figure(study: Study, experiment: Experiment, figure: Figure) -> StudyFigure:
    panels = experiment.panels(figure)
    # The models of a γ or β figure that share everything but the variant are one group of runs.
    models: dict[tuple[str, str, float], list[str]] = {}
    for panel in panels:
        models.setdefault((panel.problem, panel.placement, panel.lr_factor), []).extend(panel.variants)
    changed = tuple(key for key, _ in map(parse_override, study.overrides) if is_of_the_setting(key))
    parts = tuple(
        Wanted(problem, tuple(variants), placement, factor, changed)
        for (problem, placement, factor), variants in models.items()
    )
    letters = "".join(panel.letter for panel in panels) if figure.kind == "curves" else ""
    title = experiment.summary if figure.kind == "curves" else _contour_title(figure.kind, parts)
    return StudyFigure(study.name, study.source, experiment.id, figure.number, figure.kind, title, parts, letters)


def _contour_title(kind: FigureKind, parts: Sequence[Wanted]) -> str:
    problems = joined(dict.fromkeys(problem_label(part.problem) for part in parts))
    return f"{GREEK[kind]}, {problems}, placement {joined(dict.fromkeys(part.placement for part in parts))}"


def _order(number: str) -> tuple[object, ...]:
    """4.10 after 4.9, and appendices after chapters."""
    return tuple((not part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"[.]", number))
