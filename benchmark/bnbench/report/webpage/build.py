"""A results folder in, one HTML file out, which needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from matplotlib.colors import Colormap, to_hex

from bnbench import __version__
from bnbench.analysis.frames import Results
from bnbench.analysis.naming import with_remark
from bnbench.analysis.ranking_tables import overall_table
from bnbench.report.style import BETA, GAMMA, GREEK, NO_VALUE, diverging_map, sequential_map
from bnbench.report.webpage import origins, overview, standings
from bnbench.report.webpage.claims_section import claims_view, literature_view, verdict_counts
from bnbench.report.webpage.comparison_section import blocks, section_views
from bnbench.report.webpage.contents import Contents, MoreFigures, gather
from bnbench.report.webpage.coverage import coverage_table
from bnbench.report.webpage.curves import MEASURED_ON
from bnbench.report.webpage.embedding import data_block, page_file, plotly_script, script_hash
from bnbench.report.webpage.registered import registered_figures
from bnbench.report.webpage.sections import Section
from bnbench.report.webpage.tables import Boxed
from bnbench.report.webpage.templating import rendered
from bnbench.report.webpage.trajectories import COLUMNS, ROWS
from bnbench.words import counted

SPANS = {"1": "all epochs", "0.5": "first half", "0.25": "first quarter", "0.1": "first tenth"}
"""How much of training the curves show: a share of the epochs, and what it is called."""

_SHADES = 20
"""Into how many steps a colour map is divided; between them the browser interpolates."""


def report_page(
    results: Results, on_run: Callable[[], None] = lambda: None, more: Iterable[MoreFigures] = (registered_figures,)
) -> str:
    """The whole page, the same for the same results: there is no date in it, no host and no path.

    Args:
        results: an opened results folder.
        on_run: called whenever the trajectories of a run have been read, which is what takes the time.
        more: figures of each comparison beside those that every page has; those of the registry by default.

    Raises:
        UserError: plotly is not installed, or a table is damaged.
    """
    plotly = plotly_script()
    contents = gather(results, on_run, more)
    seen = overview.look_over(contents.results, contents.store.unfinished)
    compared, line = contents.compared, contents.commands.line
    every = tuple(section_views(contents))
    script = page_file("page.js")
    return rendered(
        "page.html.j2",
        title=_title(compared),
        subtitle=_subtitle(contents),
        version=__version__,
        policy=_policy(plotly, script),
        style=page_file("page.css"),
        symbols=contents.symbols,
        strokes=contents.strokes,
        measured_on={key: MEASURED_ON.get(key, key) for key in contents.measured_on},
        spans=SPANS,
        tiles=overview.tiles(seen, verdict_counts(contents.findings)),
        runs=list(_runs(contents, seen)),
        overall=[
            Boxed(
                replace(
                    overall_table(each),
                    name=f"ranking-over-problems-{each.size}",
                    title=with_remark(f"Over {len(each.problems)} problems", each.remark),
                ),
                line("rank"),
            )
            for each in contents.ranking.overall
        ],
        accuracies=Boxed(standings.every_comparison_table(compared, contents.symbols), line("rank"))
        if compared
        else None,
        studies=claims_view(contents.findings, compared, contents.commands),
        literature=literature_view(contents.book, compared, contents.commands),
        sections=every,
        commands=contents.commands,
        map_rows=ROWS,
        map_columns=COLUMNS,
        origins=[
            Boxed(origins.data_table(contents.results.records)),
            Boxed(origins.settings_table(contents.store.documents)),
            Boxed(origins.environments_table(contents.store.documents)),
        ],
        every_run=Boxed(
            origins.every_run_table(contents.results, contents.ranking, contents.symbols), line("status", "--runs")
        ),
        blocks=[
            data_block("data-page", _for_all_figures(contents)),
            *(data_block(name, value) for name, value in blocks(every).items()),
        ],
        plotly=plotly,
        script=script,
    )


def _runs(contents: Contents, seen: overview.Overview) -> Iterator[Boxed]:
    """What was run, what was not, and how much of each study that is."""
    line = contents.commands.line
    if contents.compared:
        yield Boxed(overview.runs_table(contents.compared, contents.results.records, contents.symbols), line("status"))
    missing = overview.missing_table(seen, contents.compared)
    if missing is not None:
        yield Boxed(missing, line("status", "--runs"))
    for each in contents.findings:
        if each.claims.evidence.runs:
            yield Boxed(coverage_table(each.study, each.coverage), line("study", each.study.name, "--dry-run"))


def _title(compared: tuple[Section, ...]) -> str:
    problems = list(dict.fromkeys(each.group.called for each in compared))
    shown = ", ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
    return f"BatchNorm on {shown}" if problems else "No finished runs"


def _subtitle(contents: Contents) -> str:
    compared = contents.compared
    seeds = sorted({len(each.group.seeds) for each in compared})
    up_to = "up to " if len(seeds) > 1 else ""
    return " · ".join(
        [
            counted(len({each.problem for each in compared}), "problem"),
            counted(len(compared), "comparison"),
            counted(len(contents.symbols), "variant"),
            f"{up_to}{counted(max(seeds, default=0), 'seed')}",
        ]
    )


def _for_all_figures(contents: Contents) -> dict[str, object]:
    """What the figures have in common: looks, words and colours."""
    return {
        "variants": {
            name: {"symbol": contents.symbols[name], "light": each.light, "dark": each.dark, "dash": list(each.dash)}
            for name, each in contents.strokes.items()
        },
        "measured_on": MEASURED_ON,
        "parameters": {name: {"symbol": GREEK[name]} for name in (GAMMA, BETA)},
        "diverging": _shades(diverging_map()),
        "sequential": _shades(sequential_map()),
        "no_value": NO_VALUE,
    }


def _shades(scale: Colormap) -> list[tuple[float, str]]:
    """A colour map as plotly takes it."""
    return [(place / _SHADES, to_hex(scale(place / _SHADES))) for place in range(_SHADES + 1)]


def _policy(*scripts: str) -> str:
    """What the browser may do with the page: run these very scripts, and fetch nothing at all."""
    allowed = " ".join(script_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
