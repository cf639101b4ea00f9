"""Everything the page says, gathered from a results folder before any HTML is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from bnbench.analysis.activity import sparsity_summary
from bnbench.analysis.claims.ledger import Ledger, ledger
from bnbench.analysis.frames import Results
from bnbench.analysis.ranking import Ranking, rank
from bnbench.measurement import TABLES
from bnbench.report.style import looks_of
from bnbench.report.webpage.claims_section import StudyFindings, study_findings
from bnbench.report.webpage.colours import Stroke, stroke
from bnbench.report.webpage.curves import MEASURED_ON, curves_figure
from bnbench.report.webpage.figures import TidyFigure
from bnbench.report.webpage.sections import Commands, Section, sections
from bnbench.report.webpage.trajectories import Affine, affine_of
from bnbench.storage.store import ResultStore, StoreContents

MoreFigures = Callable[[Results, Section], Iterable[TidyFigure]]
"""What draws further figures of a comparison; none where its runs do not allow it."""


@dataclass(frozen=True)
class Drawn:
    """What the figures of a comparison show."""

    curves: TidyFigure
    affine: Affine
    more: tuple[TidyFigure, ...] = ()
    """Of kinds that were added, in their order."""


@dataclass(frozen=True)
class Contents:
    """What the page is made of."""

    results: Results
    store: StoreContents
    """As it was looked at for the runs that have not ended, and for where the others come from."""
    ranking: Ranking
    compared: tuple[Section, ...]
    symbols: dict[str, str]
    """Variant to symbol, in the order in which variants are listed everywhere."""
    strokes: dict[str, Stroke]
    """Variant to line, in the same order."""
    drawn: dict[str, Drawn]
    """By comparison."""
    findings: tuple[StudyFindings, ...]
    """What the runs are to each study they belong to."""
    book: Ledger
    """What they say of every claim of every study."""
    sparsity: pd.DataFrame
    """As `sparsity_summary` gives it."""
    commands: Commands

    @property
    def measured_on(self) -> list[str]:
        """Splits and statistics that any run recorded, in the order of the page."""
        recorded = {key for each in self.drawn.values() for one in (each.curves, *each.more) for key in one.measured_on}
        return [*(key for key in MEASURED_ON if key in recorded), *sorted(recorded - set(MEASURED_ON))]


def gather(results: Results, on_run: Callable[[], None], more: Iterable[MoreFigures] = ()) -> Contents:
    """Read what the page needs.

    Args:
        results: an opened results folder.
        on_run: called whenever the trajectories of a run have been read, which is what takes the time.
        more: figures beside those that every page has.

    Raises:
        UserError: a problem or study file is not valid.
    """
    kinds = tuple(more)
    # What is damaged is found out before anything is said of it: the page counts runs, and reads all of them.
    deque(results.sound(results.records, *TABLES), maxlen=0)
    ranking = rank(results)
    compared = sections(ranking)
    book = ledger(results)
    named = {row.variant: row.symbol for group in ranking.groups for row in group.rows}
    strokes = {name: stroke(look) for name, look in looks_of(named).items()}
    return Contents(
        results=results,
        store=ResultStore(results.path).look(),
        ranking=ranking,
        compared=compared,
        symbols={name: named[name] for name in strokes},
        strokes=strokes,
        drawn={
            each.name: Drawn(
                curves_figure(results, each),
                affine_of(results, each, on_run),
                tuple(figure for kind in kinds for figure in kind(results, each)),
            )
            for each in compared
        },
        findings=study_findings(results, book),
        book=book,
        sparsity=sparsity_summary(results),
        commands=Commands(results.path),
    )
