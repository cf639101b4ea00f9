"""The comparisons: controls that hold for all figures, and a section to unfold for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bnbench.analysis.ranking_tables import group_table
from bnbench.report.webpage import standings
from bnbench.report.webpage.affine_section import AffineView, activity_figure, affine_view, zeroed_table
from bnbench.report.webpage.contents import Contents, Drawn
from bnbench.report.webpage.curves import MEASURED_ON
from bnbench.report.webpage.figures import FigureView, TidyFigure, element_name
from bnbench.report.webpage.sections import Commands, Section
from bnbench.report.webpage.tables import Boxed
from bnbench.words import counted

SPANS = (("1", "all epochs"), ("0.5", "first half"), ("0.25", "first quarter"), ("0.1", "first tenth"))
"""How much of training the curves show: a share of the epochs, and what it is called."""


@dataclass(frozen=True)
class Chip:
    """A switch for a variant, with a piece of its line."""

    variant: str
    symbol: str
    dash: str | None
    """As SVG takes it."""


@dataclass(frozen=True)
class Toolbar:
    """What all figures show: set once, for every comparison."""

    chips: tuple[Chip, ...]
    measured_on: tuple[tuple[str, str], ...]
    spans: tuple[tuple[str, str], ...] = SPANS


@dataclass(frozen=True)
class SectionView:
    """One comparison, as its template shows it."""

    name: str
    """In links."""
    problem: str
    size: str | None
    facts: str
    changed: str | None
    headline: list[tuple[str, str]]
    unfolded: bool
    ranking: Boxed
    curves: FigureView
    affine: AffineView | None
    activity: FigureView | None
    zeroed: Boxed | None
    more: tuple[FigureView, ...]
    """Figures of kinds that were added."""

    @property
    def figures(self) -> tuple[FigureView, ...]:
        """All that are drawn from tidy frames."""
        return (self.curves, *([] if self.activity is None else [self.activity]), *self.more)


def toolbar(contents: Contents) -> Toolbar:
    """The controls of all figures."""
    return Toolbar(
        chips=tuple(
            Chip(name, shown, " ".join(f"{length * 3:g}" for length in contents.strokes[name].dash) or None)
            for name, shown in contents.symbols.items()
        ),
        measured_on=tuple((key, MEASURED_ON.get(key, key)) for key in contents.measured_on),
    )


def section_views(contents: Contents) -> Iterator[SectionView]:
    """Every comparison; the first at its problem's own learning rate is unfolded."""
    usual = [each for each in contents.compared if each.is_usual] or list(contents.compared)
    for each in contents.compared:
        yield _view(contents, each, contents.drawn[each.name], unfolded=each is usual[0])


def _view(contents: Contents, each: Section, drawn: Drawn, *, unfolded: bool) -> SectionView:
    commands = contents.commands
    ranking = replace(
        group_table(each.group), name=f"ranking-{each.file_name}", title="Ranking by final training accuracy"
    )
    zeroed = zeroed_table(each, contents.sparsity)
    views = _Views(each, commands)
    facts = (
        each.where,
        f"learning rate {each.rate}",
        counted(each.group.epochs, "epoch"),
        counted(len(each.group.seeds), "seed"),
    )
    return SectionView(
        name=each.name,
        problem=each.problem,
        size=each.size,
        facts=" · ".join(facts),
        changed=", ".join(each.group.overrides) if each.group.overrides else None,
        headline=standings.headline(each.group),
        unfolded=unfolded,
        ranking=Boxed(ranking, commands.rank(each.group, "--details")),
        curves=views.of(drawn.curves),
        affine=affine_view(each, drawn.affine, commands),
        activity=views.of(activity_figure(each, drawn.affine)) if drawn.affine.figures else None,
        zeroed=None if zeroed is None else Boxed(zeroed, commands.activity(each.group)),
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


def blocks(contents: Contents, every: tuple[SectionView, ...]) -> Mapping[str, object]:
    """What the figures are drawn from, by the name of the block."""
    found: dict[str, object] = {}
    for section in every:
        found |= {f"data-{view.name}": view.block for view in section.figures}
        affine = contents.drawn[section.name].affine
        found |= {f"data-{section.name}-maps-{seed}": affine.map_block(seed) for seed in affine.seeds}
    return found
