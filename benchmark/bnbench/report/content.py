"""Figures by content: each kind drawn from whatever runs were selected, one drawing or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bnbench.analysis.frames import Results
from bnbench.report.export import Drawing
from bnbench.report.gallery import NothingToDrawError, draw_contours, draw_curves
from bnbench.report.groups import RunGroup
from bnbench.report.page import Page


@dataclass(frozen=True)
class Kind:
    """One kind of figure."""

    name: str
    summary: str
    draw: Callable[[Results, Sequence[RunGroup], Page, int | None], list[Drawing]]
    """(results, groups, page, seed of runs that are drawn alone) to drawings; none where the runs do not allow it."""
    lacks: str
    """What the runs must have been, where nothing could be drawn."""


def draw_kind(
    results: Results, kind: Kind, groups: Sequence[RunGroup], page: Page, seed: int | None = None
) -> list[Drawing]:
    """The drawings of one kind, at least one.

    Raises:
        NothingToDrawError: the runs do not allow it.
        UserError: no run has that seed, or a table is damaged.
    """
    drawings = kind.draw(results, groups, page, seed) if groups else []
    if not drawings:
        raise NothingToDrawError(
            f"nothing to draw of kind {kind.name} in {results.path}: it needs {kind.lacks}",
            hint="`bnbench run digits_3c3d --variant all --seeds 3` makes such runs; --size, --problem, --placement "
            "and --lr-factor choose among those there are.",
        )
    return drawings


def by_setting(groups: Iterable[RunGroup]) -> list[list[RunGroup]]:
    """The groups of each setting together, in order."""
    found: dict[tuple[str, str, str], list[RunGroup]] = {}
    for group in groups:
        setting = group.records[0].identity.setting_id
        found.setdefault((group.problem, group.size, setting), []).append(group)
    return list(found.values())


def _curves(results: Results, groups: Sequence[RunGroup], page: Page, seed: int | None) -> list[Drawing]:
    most = 3 if page.wide else 5
    drawings = []
    for together in by_setting(groups):
        pages = [together[start : start + most] for start in range(0, len(together), most)]
        for number, part in enumerate(pages, start=1):
            drawings.append(draw_curves(results, part, page, number=number if len(pages) > 1 else None))
    return drawings


def _contours(parameter: str) -> Callable[[Results, Sequence[RunGroup], Page, int | None], list[Drawing]]:
    def draw(results: Results, groups: Sequence[RunGroup], page: Page, seed: int | None) -> list[Drawing]:
        drawn = [draw_contours(results, group, parameter, page, seed) for group in groups]
        return [drawing for drawing in drawn if drawing is not None]

    return draw


_KINDS = (
    Kind("curves", "training loss and accuracy, the variants in one pair of axes", _curves, "any run"),
    Kind("gamma", "γ over training, a panel per BatchNorm layer", _contours("gamma"), "a variant that learns γ"),
    Kind("beta", "β over training, a panel per BatchNorm layer", _contours("beta"), "a variant that learns β"),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
