"""The comparisons: what the section of each shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bnbench.analysis.ranking_tables import group_table
from bnbench.report.webpage import standings
from bnbench.report.webpage.affine_section import activity_figure, affine_table, zeroed_table
from bnbench.report.webpage.contents import Contents, Drawn
from bnbench.report.webpage.curves import MEASURED_ON
from bnbench.report.webpage.figures import FigureView, TidyFigure, element_name
from bnbench.report.webpage.sections import Commands, Section
from bnbench.report.webpage.tables import Boxed
from bnbench.report.webpage.trajectories import Affine


@dataclass(frozen=True)
class SectionView:
    """One comparison."""

    each: Section
    affine: Affine
    unfolded: bool
    headline: list[tuple[str, str]]
    """As `standings.headline` gives it."""
    ranking: Boxed
    curves: FigureView
    activity: FigureView | None
    """None where nothing is learned, and so for its table."""
    affine_table: Boxed | None
    zeroed: Boxed | None
    more: tuple[FigureView, ...]
    """Figures of kinds that were added."""

    @property
    def figures(self) -> tuple[FigureView, ...]:
        """All that are drawn from tidy frames."""
        return (self.curves, *([] if self.activity is None else [self.activity]), *self.more)


def section_views(contents: Contents) -> Iterator[SectionView]:
    """Every comparison; the first at its problem's own learning rate is unfolded."""
    usual = [each for each in contents.compared if each.is_usual] or list(contents.compared)
    for each in contents.compared:
        yield _section(contents, each, contents.drawn[each.name], unfolded=each is usual[0])


def _section(contents: Contents, each: Section, drawn: Drawn, *, unfolded: bool) -> SectionView:
    commands, affine = contents.commands, drawn.affine
    ranking = replace(
        group_table(each.group), name=f"ranking-{each.file_name}", title="Ranking by final training accuracy"
    )
    zeroed = zeroed_table(each, contents.sparsity)
    activity = commands.activity(each.group)
    views = _Views(each, commands)
    return SectionView(
        each=each,
        affine=affine,
        unfolded=unfolded,
        headline=standings.headline(each.group),
        ranking=Boxed(ranking, commands.rank(each.group, "--details")),
        curves=views.of(drawn.curves),
        activity=views.of(activity_figure(each, affine)) if affine.figures else None,
        affine_table=Boxed(affine_table(each, affine), activity) if affine.figures else None,
        zeroed=None if zeroed is None else Boxed(zeroed, activity),
        more=tuple(views.of(figure) for figure in drawn.more),
    )


class _Views:
    """The figures of a comparison, each under a name of its own."""

    def __init__(self, each: Section, commands: Commands) -> None:
        self._each, self._commands = each, commands
        self._taken: list[str] = []

    def of(self, figure: TidyFigure) -> FigureView:
        name = element_name(self._each.name, figure.kind, self._taken)
        self._taken.append(name)
        chosen = next((key for key in MEASURED_ON if key in figure.measured_on), None)
        return FigureView(
            name=name,
            comparison=self._each.name,
            figure=figure,
            block=figure.block(f"{figure.kind}-{self._each.file_name}.csv"),
            command=self._commands.plot(self._each, figure.kind),
            measured_on=None if chosen is None else MEASURED_ON[chosen],
        )


def blocks(every: Iterable[SectionView]) -> Mapping[str, object]:
    """What the figures are drawn from, by the name of the block."""
    found: dict[str, object] = {}
    for section in every:
        found |= {f"data-{view.name}": view.block for view in section.figures}
        name, affine = section.each.name, section.affine
        found |= {f"data-{name}-maps-{seed}": affine.map_block(seed) for seed in affine.seeds}
    return found
