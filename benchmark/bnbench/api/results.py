"""The runs of a results folder, and what the suite makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from bnbench.analysis.frames import IdentityFilters
from bnbench.analysis.frames import Results as RecordedResults
from bnbench.analysis.ranking import Ranking as RankedVariants
from bnbench.api.rows import use_plugins
from bnbench.api.words import OneOrMore, Plugins
from bnbench.errors import UserError, unknown
from bnbench.problem import Size
from bnbench.storage.store import ResultStore, StoreContents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bnbench.analysis.activity import ActivityFilters
    from bnbench.analysis.claims.decide import ClaimsReport


class Ranking(RankedVariants):
    """A ranking, as `Results.rank` gives it."""

    def to_frame(self) -> pd.DataFrame:
        """One row a variant and comparison: what they have in common, then the columns of the printed table, unrounded.

        Where there is no value there is NaN or None.
        """
        from bnbench.analysis.ranking_tables import group_table  # noqa: PLC0415 -- scipy

        tables = [group_table(group) for group in self.groups]
        rows = [{**dict(table.about), **record} for table in tables for record in table.records()]
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        """The printed tables, for a notebook."""
        from bnbench.analysis.ranking_tables import ranking_tables  # noqa: PLC0415
        from bnbench.report.render import html  # noqa: PLC0415

        return "\n".join(html.render(table) for table in ranking_tables(self))


class Results(RecordedResults):
    """The runs of a results folder: their tables as frames, and what the suite makes of them."""

    def __init__(
        self, store: ResultStore, contents: StoreContents | None = None, *, only: frozenset[str] | None = None
    ) -> None:
        """As `bnbench.analysis.frames.Results`.

        Args:
            store: the results folder.
            contents: what a look at it has found, where somebody has looked already.
            only: ids of runs; the others are left out.
        """
        super().__init__(store, contents)
        if only is not None:
            self.records = tuple(record for record in self.records if record.identity.run_id in only)

    def rank(self, **filters: Unpack[IdentityFilters]) -> Ranking:
        """Rank the variants, separately for each setting, placement and learning rate.

        Args:
            **filters: a value, or several, for any identity column.

        Raises:
            UserError: a filter is not an identity column, or a table is damaged.
        """
        from bnbench.analysis.ranking import rank  # noqa: PLC0415 -- scipy

        found = rank(self, **filters)
        return Ranking(found.groups, found.overall, found.failed)

    def activity(self, *, each_run: bool = False, **filters: Unpack[ActivityFilters]) -> pd.DataFrame:
        """How far γ went from 1 and β from 0.

        Args:
            each_run: a row for each run instead of means over the seeds.
            **filters: a value, or several, for any identity column, `slot` or `parameter` ("gamma", "beta", "bias";
                γ and β if it is left out).

        Returns:
            One row per variant (or run), slot and parameter; `bnbench activity --json` explains the columns.

        Raises:
            UserError: a filter does not exist, or a table is damaged.
        """
        from bnbench.analysis.activity import activity_summary, average_over_seeds  # noqa: PLC0415

        filters.setdefault("parameter", ["gamma", "beta"])
        summary = activity_summary(self, **filters)
        return summary if each_run else average_over_seeds(summary)

    def claims(self, study: str = "thesis", *, only: Sequence[str] = ()) -> ClaimsReport:
        """Decide a study's claims on these runs.

        Args:
            study: a study's name, or the path of its file.
            only: ids of claims; none means all.

        Raises:
            UserError: there is no such study or claim, or a table is damaged.
        """
        from bnbench.analysis.claims.decide import decide_claims  # noqa: PLC0415
        from bnbench.study import find_study  # noqa: PLC0415

        return decide_claims(self, find_study(study), only=only)

    def plots(
        self,
        kind: str,
        *,
        size: Size | None = None,
        problem: OneOrMore = (),
        placement: OneOrMore = (),
        lr_factor: float | Sequence[float] = (),
        seed: int | None = None,
        width: str = "text",
    ) -> list[Figure]:
        """Every figure of a kind that there are runs for, at least one. They show themselves in a notebook.

        Args:
            kind: "curves", "difference", "gamma", "beta", … as `bnbench plot --list` names them.
            size: of the runs; None where they are all of one.
            problem: only these.
            placement: only these, as recorded.
            lr_factor: only these multiples of the problem's learning rate.
            seed: whose γ and β to draw; None is the problem's first.
            width: "column", "text" or "slide".

        Raises:
            UserError: there is no such kind, or nothing to draw.
        """
        from bnbench.analysis.comparison import comparisons  # noqa: PLC0415
        from bnbench.analysis.narrowing import narrowed  # noqa: PLC0415
        from bnbench.report.figures.drawing import draw_kind  # noqa: PLC0415 -- matplotlib
        from bnbench.report.figures.registry import FIGURES  # noqa: PLC0415
        from bnbench.report.page import PAGES  # noqa: PLC0415

        drawn_by = FIGURES.get(kind)
        if width not in PAGES:
            raise unknown("width", width, PAGES)
        found = narrowed(
            comparisons(self.records),
            size or self._only_size(),
            problems=(problem,) if isinstance(problem, str) else tuple(problem),
            placements=(placement,) if isinstance(placement, str) else tuple(placement),
            factors=(lr_factor,) if isinstance(lr_factor, int | float) else tuple(lr_factor),
        )
        return [drawing.figure for drawing in draw_kind(self, drawn_by, found, PAGES[width], seed)]

    def plot(
        self,
        kind: str,
        *,
        size: Size | None = None,
        problem: OneOrMore = (),
        placement: OneOrMore = (),
        lr_factor: float | Sequence[float] = (),
        seed: int | None = None,
        width: str = "text",
    ) -> Figure:
        """The figure of a kind, a matplotlib figure that shows itself in a notebook.

        Args and errors are those of `plots`.

        Raises:
            UserError: there are several.
        """
        figures = self.plots(
            kind, size=size, problem=problem, placement=placement, lr_factor=lr_factor, seed=seed, width=width
        )
        if len(figures) > 1:
            raise UserError(
                f"these runs make {len(figures)} figures of kind {kind}",
                hint="Choose with size=, problem=, placement= or lr_factor=, or take them all: plots(…).",
            )
        return figures[0]

    def _only_size(self) -> Size:
        sizes: set[Any] = {record.identity.size for record in self.records}
        if len(sizes) > 1:
            raise UserError(f"there are runs of the sizes {' and '.join(sorted(sizes))}", hint="Choose one: size=.")
        return next(iter(sizes), "full")


def open_results(path: str | PathLike[str] = "results/runs", plugins: Plugins = ()) -> Results:
    """The results folder at a path, to be read; a leading `~` is a home folder.

    Args:
        path: of the folder.
        plugins: files of your own, with the rows that the runs were made of (`use_plugins`).

    Raises:
        UserError: the path is none, there are no results, or they are of another schema version.
    """
    use_plugins(plugins)
    return Results.open(path)
