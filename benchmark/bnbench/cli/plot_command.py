"""`bnbench plot`: figures from the recorded runs, by the founding study's numbers or by content."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import SIZES, plugin_option, results_option
from bnbench.cli.output import print_json, print_tables, print_warnings, say, warn, warnings_after
from bnbench.cli.path_type import GivenPath

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bnbench.analysis.comparison import Comparison
    from bnbench.analysis.frames import Results
    from bnbench.report.catalogue import StudyFigure
    from bnbench.report.export import Drawing, Format
    from bnbench.report.figures.kind import FigureKind
    from bnbench.report.page import Page

DEFAULT_OUTPUT = Path("figures")


@click.command("plot")
@click.option("--figure", "numbers", multiple=True, metavar="N", help="A figure of the thesis: 4.6, 4.1a. Repeatable.")
@click.option("--study", default="thesis", show_default=True, help="The study whose figures are meant.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="A figure by content; see --list. Repeatable.")
@click.option("--all", "everything", is_flag=True, help="Every figure and every kind that there are runs for.")
@click.option(
    "--list", "listing", is_flag=True, help="List figures and kinds, and what there is of each; draw nothing."
)
@click.option("--problem", "problems", multiple=True, help="For --kind: only this problem. Repeatable.")
@click.option("--placement", "placements", multiple=True, help="For --kind: only this placement. Repeatable.")
@click.option("--lr-factor", "factors", type=float, multiple=True, help="For --kind: only this factor. Repeatable.")
@click.option("--setting", "settings", multiple=True, help="For --kind: only this setting, as in status. Repeatable.")
@click.option("--seed", type=int, help="Whose γ and β to draw; default: the problem's first.")
@click.option("--size", type=click.Choice(SIZES), default="full", show_default=True, help="Of the runs.")
@click.option("--format", "formats", default="png", show_default=True, help="pdf, png, svg, or several: pdf,png.")
@click.option("--width", default="text", show_default=True, help="column, text or slide.")
@click.option(
    "--output",
    type=GivenPath(file_okay=False),
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="Folder for the files.",
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: files, captions and commands.")
@results_option
@plugin_option
def command(
    numbers: tuple[str, ...],
    study: str,
    kinds: tuple[str, ...],
    everything: bool,
    listing: bool,
    problems: tuple[str, ...],
    placements: tuple[str, ...],
    factors: tuple[float, ...],
    settings: tuple[str, ...],
    seed: int | None,
    size: str,
    formats: str,
    width: str,
    output: Path,
    as_json: bool,
    results: Path,
) -> None:
    """Draw figures from the recorded runs: the thesis's by number, others by content.

    A figure is drawn of the runs that are there; its caption, in the file's metadata, names those that are missing.

    \b
    Examples:
      bnbench plot --figure 4.1 --figure 4.6 --format pdf,png
      bnbench plot --kind difference --problem digits_3c3d --width column
      bnbench plot --all --size tiny --output figures/tiny
    """
    from bnbench.analysis.comparison import comparisons
    from bnbench.analysis.frames import Results
    from bnbench.analysis.narrowing import narrowed
    from bnbench.errors import UserError, unknown
    from bnbench.report.catalogue import study_figure, study_figures
    from bnbench.report.figures.registry import FIGURES
    from bnbench.report.page import PAGES
    from bnbench.storage.store import ResultStore
    from bnbench.study import find_study

    if width not in PAGES:
        raise unknown("width", width, PAGES)
    chosen = _usable_kinds() if everything else [FIGURES.get(kind) for kind in kinds]
    known = study_figures(find_study(study))
    figures = [study_figure(number, known) for number in (known if everything else numbers)]
    job = _Job(Results(ResultStore(results)), size, PAGES[width], seed, output, _formats(formats), as_json)
    print_warnings(job.results)
    if listing:
        _print_list(job, known)
        return
    if not (figures or chosen):
        raise UserError(
            "nothing to draw was named",
            hint="Name a figure (--figure 4.1), a kind (--kind curves) or --all; --list shows what there is.",
        )
    records = job.results.records
    groups = narrowed(comparisons(records), size, problems, placements, factors, settings) if chosen else []
    with warnings_after(job.results):
        job.draw(figures, chosen, groups, skip=everything)


@dataclass
class _Job:
    """What is drawn from, how, and where to."""

    results: Results
    size: str
    page: Page
    seed: int | None
    output: Path
    formats: tuple[Format, ...]
    as_json: bool
    written: list[dict[str, object]] = field(default_factory=list)

    def draw(
        self, figures: Sequence[StudyFigure], kinds: Sequence[FigureKind], groups: Sequence[Comparison], *, skip: bool
    ) -> None:
        """Draw and write one figure after the other; with `skip`, go on where there are no runs for one.

        Raises:
            UserError: there are no runs for something that was asked for, or for anything at all.
        """
        from bnbench.errors import UserError
        from bnbench.report.figures.drawing import NothingToDrawError, draw_kind, other_sizes
        from bnbench.report.gallery import draw_study_figure, lacks_rivals

        skipped: list[str] = []
        alone: list[str] = []
        for figure in figures:
            if skip and lacks_rivals(self.results, figure, self.size):
                alone.append(figure.number)
                continue
            try:
                self._save([draw_study_figure(self.results, figure, self.size, self.page, seed=self.seed)])
            except NothingToDrawError:
                if not skip:
                    raise
                skipped.append(figure.number)
        for kind in kinds:
            try:
                self._save(draw_kind(self.results, kind, groups, self.page, self.seed))
            except NothingToDrawError:
                if not skip:
                    raise
                skipped.append(kind.name)
        if not self.written:
            raise UserError(
                f"nothing to draw: {self.results.path} holds no {self.size} runs of the catalogue",
                hint=other_sizes(self.results.records, groups)
                or "`bnbench run digits_3c3d` makes some in a few minutes; --size and --results choose the runs.",
            )
        if skipped:
            say(f"Not drawn, no runs for them: {', '.join(skipped)}", err=True)
        if alone:
            say(
                f"Not drawn, vanilla alone is there and nothing to compare it with: {', '.join(alone)} "
                "(--figure draws one all the same)",
                err=True,
            )
        if self.as_json:
            print_json(self.written)

    def _save(self, drawings: Sequence[Drawing]) -> None:
        from bnbench.report.export import save_drawing

        for drawing in drawings:
            files = [str(path) for path in save_drawing(drawing, self.output, self.formats)]
            self.written.append(
                {"name": drawing.name, "files": files, "caption": drawing.caption, "command": drawing.command}
            )
            if not self.as_json:
                say("\n".join(files))


def _usable_kinds() -> list[FigureKind]:
    """Every kind of figure; of what other packages offer that which can be loaded, and a warning for the rest."""
    from bnbench.report.figures.drawing import usable_kinds

    kinds, wrong = usable_kinds()
    for each in wrong:
        warn(each)
    return kinds


def _formats(text: str) -> tuple[Format, ...]:
    """The formats of a list such as "pdf,png", in a fixed order."""
    from bnbench.errors import unknown
    from bnbench.report.export import FORMATS

    wanted = [each.strip() for each in text.split(",")]
    for each in wanted:
        if each not in FORMATS:
            raise unknown("format", each, FORMATS)
    return tuple(each for each in FORMATS if each in wanted)


def _print_list(job: _Job, figures: Mapping[str, StudyFigure]) -> None:
    """Every figure and kind, and how much of it is there."""
    from bnbench.analysis.table import Column, Kind, Table
    from bnbench.analysis.wanted import find_wanted
    from bnbench.errors import UserError
    from bnbench.report.figures.registry import FIGURES

    rows = []
    for figure in figures.values():
        found = find_wanted(job.results.records, figure.parts, job.size)
        runs = sum(len(group.rows) for group in found if group is not None)
        rows.append((figure.number, figure.kind, figure.title, runs, sum(len(part.variants) for part in figure.parts)))
    if job.as_json:
        keys = ("figure", "kind", "title", "models", "models_in_all")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    columns = (
        Column("figure", "figure", Kind.IDENTIFIER),
        Column("kind", "kind"),
        Column("title", "what", Kind.PROSE),
        Column("models", f"there ({job.size})"),
    )
    shown = [(number, kind, title, f"{runs} of {everything}") for number, kind, title, runs, everything in rows]
    kinds = (Column("kind", "kind"), Column("summary", "what", Kind.PROSE), Column("lacks", "needs", Kind.PROSE))
    print_tables([Table("figures", columns, tuple(shown))])
    say("\nBy content, `bnbench plot --kind …`:\n")
    offered: list[tuple[str, str, str | None]] = []
    for name in FIGURES:
        try:
            kind = FIGURES.get(name)
        except UserError as error:  # another package's trouble is no reason to hide the others
            offered.append((name, error.problem, None))
        else:
            offered.append((name, kind.summary, kind.lacks))
    print_tables([Table("kinds", kinds, tuple(offered))])
