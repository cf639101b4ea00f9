"""Drawings of a kind from whatever comparisons were chosen, one or several, with captions and commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from bnbench.analysis.comparison import Comparison, distinct
from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.errors import UserError
from bnbench.report.captions import described, file_name, joined, kind_command, lettered
from bnbench.report.export import Drawing
from bnbench.report.figures.kind import FigureKind, Labels, Portion, Request, labels_of, one_by_one
from bnbench.report.figures.registry import FIGURES
from bnbench.report.page import Page
from bnbench.report.titles import comparison_title, problem_label


def other_sizes(records: Iterable[RunRecord], found: Sequence[Comparison]) -> str | None:
    """Where nothing was chosen and there are runs all the same: of which size they are, and how to choose them."""
    sizes = distinct(record.identity.size for record in records if record.readable)
    if found or not sizes:
        return None
    return f"The runs there are of size {' and '.join(sizes)}: {' or '.join(f'--size {size}' for size in sizes)}."


class NothingToDrawError(UserError):
    """There are no runs for a figure; the message says which command makes them."""


def draw_kind(
    results: Results, kind: FigureKind, found: Sequence[Comparison], page: Page, seed: int | None = None
) -> list[Drawing]:
    """The drawings of one kind, at least one.

    Raises:
        NothingToDrawError: the runs do not allow it.
        UserError: no run has that seed, or the kind's frame is not tidy.
    """
    left = [each.only(results.sound(each.records, *kind.tables)) for each in found]
    portions = kind.portions([each for each in left if each is not None], page)
    drawings = [draw_portion(results, kind, each, page, seed) for each in portions if each.compared]
    drawn = [drawing for drawing in drawings if drawing is not None]
    if not drawn:
        raise NothingToDrawError(
            f"nothing to draw of kind {kind.name} in {results.path}: it needs {kind.lacks}",
            hint=other_sizes(results.records, found)
            or f"`{kind.makes}` makes such runs; --size, --problem, --placement and --lr-factor choose among those "
            "there are.",
        )
    return drawn


def draw_portion(
    results: Results,
    kind: FigureKind,
    portion: Portion,
    page: Page,
    seed: int | None = None,
    *,
    name: str | None = None,
) -> Drawing | None:
    """One drawing; None where the runs do not allow it.

    Args:
        results: an opened results folder.
        kind: which figure.
        portion: of which comparisons.
        page: the size of the figure.
        seed: of runs that are drawn alone; the first that there is if None.
        name: of the file; made from the kind and the comparisons if None.

    Raises:
        UserError: no run has that seed, or the kind's frame is not tidy.
    """
    found = portion.compared
    frame = kind.data(results, found, Request(page, seed))
    if frame.empty:
        return None
    labels = labels_of(frame, kind)
    title = labels.title or f"{kind.title}{kind.joint}{_of_what(kind, found)}"
    runs = labels.runs or described(found, lettered(found))
    return Drawing(
        name=name or file_name(kind.name, found, portion.number),
        title=title,
        caption=" ".join(part for part in (f"{title}.", labels.caption, runs) if part),
        command=kind_command(kind.name, portion.whole or found, page, seed if kind.seeded else None),
        page=page,
        figure=page.finish(kind.draw(frame, page), foot(found)),
    )


def foot(found: Sequence[Comparison]) -> str | None:
    """What a picture must say of the runs in it, wherever it is seen: size and data, where they must be said."""
    said = [problem_label(each.problem, each.remark) for each in found if each.remark is not None]
    return joined(dict.fromkeys(said)) if said else None


def usable_kinds() -> tuple[list[FigureKind], list[str]]:
    """Every kind of figure that can be loaded, and what is wrong with the others, a sentence each."""
    kinds, wrong = [], []
    for name in FIGURES:
        try:
            kinds.append(FIGURES.get(name))
        except UserError as error:
            wrong.append(error.problem)
    return kinds, wrong


def page_frames(results: Results, compared: Comparison) -> Iterator[tuple[FigureKind, pd.DataFrame, Labels]]:
    """What the kinds have to show of a comparison on the page: kind, tidy frame, and what stands beside it.

    Raises:
        UserError: a kind's frame is not tidy.
    """
    for kind in usable_kinds()[0]:
        if kind.web == "none":
            continue
        left = compared.only(results.sound(compared.records, *kind.tables))
        if left is None:
            continue
        frame = kind.data(results, [left], Request())
        if not frame.empty:
            yield kind, frame, labels_of(frame, kind)


def _of_what(kind: FigureKind, found: Sequence[Comparison]) -> str:
    if kind.portions is one_by_one:
        return comparison_title(found[0])
    return joined(dict.fromkeys(problem_label(each.problem, each.remark) for each in found))
