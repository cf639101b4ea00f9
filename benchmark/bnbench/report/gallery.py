"""The figures of a study by their number, drawn from recorded runs, each with caption and command."""

from __future__ import annotations

from collections import deque
from string import ascii_uppercase

from bnbench.analysis.frames import Results
from bnbench.analysis.naming import remark_of_runs, with_remark
from bnbench.analysis.wanted import find_wanted
from bnbench.components.placements import NOWHERE
from bnbench.report.captions import described, plot_command
from bnbench.report.catalogue import THESIS, StudyFigure
from bnbench.report.export import Drawing
from bnbench.report.figures.contours import about_contours, affine_contours, contour_models
from bnbench.report.figures.curves import ABOUT, curve_group, training_curves
from bnbench.report.figures.drawing import NothingToDrawError, foot
from bnbench.report.page import TEXT, Page
from bnbench.report.titles import planned_remark, title_of


def draw_study_figure(
    results: Results, figure: StudyFigure, size: str = "full", page: Page = TEXT, *, seed: int | None = None
) -> Drawing:
    """A figure of the study, of what there is; what is missing is named in the caption.

    Args:
        results: an opened results folder.
        figure: which.
        size: of the problems, "full", "short" or "tiny".
        page: the size of the figure.
        seed: of the runs whose γ and β are drawn; the first that all models of a placement have if None.

    Raises:
        NothingToDrawError: none of its runs is there.
        UserError: a table is damaged.
    """
    # A run whose table is damaged is found out first, so that the figure is of those that are left.
    for group in find_wanted(results.records, figure.parts, size):
        if group is not None:
            deque(results.sound(group.records, "curves" if figure.kind == "curves" else "affine"), maxlen=0)
    found = find_wanted(results.records, figure.parts, size)
    groups = [group for group in found if group is not None]
    if not groups:
        there = find_wanted(results.records, figure.parts, other := "full" if size == "tiny" else "tiny")
        of_other_size = any(group is not None for group in there)
        makes = f"This makes them: {study_command(figure, size)}"
        raise NothingToDrawError(
            f"figure {figure.number}: none of its runs is in {results.path}",
            hint=f"There are runs of it of size {other}: --size {other}." if of_other_size else makes,
        )
    absent = [
        title_of(each.problem, planned_remark(each.problem, size), each.placement, each.lr_factor, 0.0)
        for each, group in zip(figure.parts, found, strict=True)
        if group is None
    ]
    runs = [(each.problem, each.size, each.dataset) for each in groups]
    remark = remark_of_runs(runs)
    head = f"Figure {figure.number} of {figure.source}: {with_remark(figure.title, remark)}."
    tail = f" Not there at all: {'; '.join(absent)}." if absent else ""
    words = ["--study", figure.study] if figure.study != THESIS else []
    words += ["--figure", figure.number, *(["--size", size] if size != "full" else [])]
    command = plot_command(*words, page=page, seed=seed)
    name = f"figure-{figure.number}" + ("" if size == "full" else f"-{size}")
    if figure.study != THESIS:
        name = f"{figure.study}-{name}"
    if figure.kind == "curves":
        letters = [f"({letter}) " for letter, group in zip(figure.letters, found, strict=True) if group is not None]
        read = [curve_group(results, group, letter) for group, letter in zip(groups, letters, strict=True)]
        body, drawn = f"{ABOUT} {described(groups, letters)}", training_curves(read, page)
    else:
        wanted = [
            (group, [(letter, row) for letter, name in models for row in group.rows if row.name == name])
            for group, models in zip(found, _lettered_models(figure), strict=True)
            if group is not None
        ]
        models, sentences = contour_models(results, wanted, figure.kind, page, seed)
        body, drawn = f"{about_contours(figure.kind, models)} {sentences}", affine_contours(models, figure.kind, page)
    title = with_remark(f"Figure {figure.number}: {figure.title}", remark)
    return Drawing(name, title, f"{head} {body}{tail}", command, page, page.finish(drawn, foot(groups)))


def lacks_rivals(results: Results, figure: StudyFigure, size: str) -> bool:
    """Whether all that there is of a figure are runs without any normaliser, which belong to every placement.

    A study shares them between its figures: of one whose own runs have not begun they are there all the same.
    """
    found = [group for group in find_wanted(results.records, figure.parts, size) if group is not None]
    wanted = {name for part in figure.parts for name in part.variants}
    nowhere = {record.identity.placement == NOWHERE for group in found for record in group.records}
    return bool(found) and len(wanted) > 1 and nowhere == {True}


def study_command(figure: StudyFigure, size: str) -> str:
    """The command that trains a figure's runs."""
    return f"bnbench study {figure.study} --only {figure.experiment}" + ("" if size == "full" else f" --size {size}")


def _lettered_models(figure: StudyFigure) -> list[list[tuple[str, str]]]:
    """The models of each part of a figure of γ or β, (letter, variant); each keeps its letter, whoever is missing."""
    letters = iter(ascii_uppercase)
    return [[(next(letters), variant) for variant in part.variants] for part in figure.parts]
