"""Figures by content: each kind drawn from whatever runs were selected, one drawing or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from bnbench.analysis.comparison import Comparison, by_placement, by_setting
from bnbench.analysis.frames import Results
from bnbench.report.export import Drawing
from bnbench.report.gallery import NothingToDrawError, draw_contours, draw_curves
from bnbench.report.layers import draw_activity, draw_sparsity
from bnbench.report.page import Page
from bnbench.report.summaries import comparable, draw_differences, draw_profile, draw_ranks, draw_sensitivity
from bnbench.storage.schema import TableName

Item = TypeVar("Item")

Draw = Callable[[Results, Sequence[Comparison], Page, int | None], list[Drawing]]
"""(results, groups, page, seed of runs that are drawn alone) to drawings; none where the runs do not allow it."""


@dataclass(frozen=True)
class Kind:
    """One kind of figure."""

    name: str
    summary: str
    draw: Draw
    lacks: str
    """What the runs must have been, where nothing could be drawn."""
    tables: tuple[TableName, ...] = ("curves",)
    """What is read of the runs: one of which such a table is damaged is left out."""


def draw_kind(
    results: Results, kind: Kind, groups: Sequence[Comparison], page: Page, seed: int | None = None
) -> list[Drawing]:
    """The drawings of one kind, at least one.

    Raises:
        NothingToDrawError: the runs do not allow it.
        UserError: no run has that seed, or a table is damaged.
    """
    left = [group.only(results.sound(group.records, *kind.tables)) for group in groups]
    sound = [group for group in left if group is not None]
    drawings = kind.draw(results, sound, page, seed) if sound else []
    if not drawings:
        raise NothingToDrawError(
            f"nothing to draw of kind {kind.name} in {results.path}: it needs {kind.lacks}",
            hint="`bnbench run digits_3c3d --variant all --seeds 3` makes such runs; --size, --problem, --placement "
            "and --lr-factor choose among those there are.",
        )
    return drawings


def in_pages(items: Sequence[Item], most: int) -> list[tuple[Sequence[Item], int | None]]:
    """Items in portions that fit on a page, numbered from 1 where there are several."""
    pages = [items[start : start + most] for start in range(0, len(items), most)]
    return [(part, number if len(pages) > 1 else None) for number, part in enumerate(pages, start=1)]


def _curves(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    return [
        draw_curves(results, part, page, number=number, whole=together)
        for together in by_setting(groups)
        for part, number in in_pages(together, 3 if page.wide else 5)
    ]


def _contours(parameter: str) -> Draw:
    def draw(results: Results, groups: Sequence[Comparison], page: Page, seed: int | None) -> list[Drawing]:
        return _there(draw_contours(results, group, parameter, page, seed) for group in groups)

    return draw


def _differences(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    return [
        draw_differences(results, part, page, number=number, whole=together)
        for together in by_setting(group for group in groups if comparable(group))
        for part, number in in_pages(together, 2 if page.wide else 5)
    ]


def _activity(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    return _there(draw_activity(results, group, page) for group in groups)


def _heat_map(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    return _there(draw_activity(results, group, page, heat_map=True) for group in groups)


def _sparsity(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    return _there(draw_sparsity(results, group, page) for group in groups)


def _ranks(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    usable = [group for group in groups if len(group.rows) > 1]
    return [draw_ranks(results, usable, page)] if usable else []


def _profile(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    return _there([draw_profile(results, groups, page)])


def _sensitivity(results: Results, groups: Sequence[Comparison], page: Page, _seed: int | None) -> list[Drawing]:
    swept = [own for own in by_placement(groups) if len({group.learning_rate for group in own}) > 1]
    return [
        draw_sensitivity(results, _flat(part), page, number=number, whole=_flat(swept))
        for part, number in in_pages(swept, 6)
    ]


def _flat(parts: Iterable[Sequence[Comparison]]) -> list[Comparison]:
    return [group for part in parts for group in part]


def _there(drawings: Iterable[Drawing | None]) -> list[Drawing]:
    return [drawing for drawing in drawings if drawing is not None]


_LEARNS = "a variant that learns it"
_AFFINE: tuple[TableName, ...] = ("affine",)
_KINDS = (
    Kind("curves", "training loss and accuracy, the variants in one pair of axes", _curves, "any run"),
    Kind("difference", "training accuracy minus vanilla's, with its interval", _differences,
         "vanilla and another variant"),
    Kind("gamma", "γ over training, a panel per BatchNorm layer", _contours("gamma"), _LEARNS, _AFFINE),
    Kind("beta", "β over training, a panel per BatchNorm layer", _contours("beta"), _LEARNS, _AFFINE),
    Kind("activity", "mean activity of γ and β per layer over training", _activity, "a variant that learns γ or β",
         ("curves", "affine")),
    Kind("heatmap", "the same as a heat map, layer × epoch", _heat_map, "a variant that learns γ or β",
         ("curves", "affine")),
    Kind("sparsity", "share of activations that each ReLU zeroes", _sparsity, "runs with the probe `sparsity`",
         ("sparsity",)),
    Kind("rank", "place of each variant in each comparison", _ranks, "two variants of a problem"),
    Kind("profile", "performance profile over problems", _profile, "two problems, one of them with a target"),
    Kind("sensitivity", "final accuracy over the learning rate", _sensitivity, "one placement at two learning rates"),
)  # fmt: skip

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
