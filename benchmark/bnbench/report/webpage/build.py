"""A results folder in, one HTML file out, which needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from string import Template

from matplotlib.colors import Colormap, to_hex

from bnbench import __version__
from bnbench.analysis.frames import Results
from bnbench.analysis.ranking_tables import overall_table
from bnbench.analysis.trajectory import NEUTRAL
from bnbench.report.style import BETA, GAMMA, GREEK, NO_VALUE, diverging_map, sequential_map
from bnbench.report.webpage import markup, origins, overview, standings
from bnbench.report.webpage.claims_section import claims_content, verdict_counts
from bnbench.report.webpage.colours import Stroke
from bnbench.report.webpage.comparison_section import comparisons_content
from bnbench.report.webpage.contents import Contents, gather
from bnbench.report.webpage.coverage import coverage_table
from bnbench.report.webpage.curves import MEASURED_ON
from bnbench.report.webpage.embedding import data_block, page_file, plotly_script, script_hash
from bnbench.report.webpage.markup import Html, join, notes, tag, text
from bnbench.report.webpage.sections import Section
from bnbench.report.webpage.tables import boxed
from bnbench.words import counted

_ACTIVITY_TITLES = {GAMMA: "mean |γ − 1|", BETA: "mean |β|"}
_SHADES = 20
"""Into how many steps a colour map is divided; between them the browser interpolates."""


@dataclass(frozen=True)
class Part:
    """A chapter of the page."""

    name: str
    """In links."""
    heading: str
    content: Html


def report_page(results: Results, on_run: Callable[[], None] = lambda: None) -> str:
    """The whole page, the same for the same results: there is no date in it, no host and no path.

    Args:
        results: an opened results folder.
        on_run: called whenever the trajectories of a run have been read, which is what takes the time.

    Raises:
        UserError: plotly is not installed, or a table is damaged.
    """
    plotly = plotly_script()
    contents = gather(results, on_run)
    parts = [_runs(contents), _ranking(contents), _claims(contents), _comparisons(contents), _provenance(contents)]
    script = page_file("page.js")
    return Template(page_file("page.html")).substitute(
        title=text(_title(contents.compared)),
        policy=text(_policy(plotly, script)),
        style=page_file("page.css"),
        strokes=_stroke_rules(contents.strokes),
        heading=text(_title(contents.compared)),
        subtitle=text(_subtitle(contents)),
        navigation=join(tag("a", text(part.heading), href=f"#{part.name}") for part in parts),
        parts=join(_section(part) for part in parts),
        version=text(__version__),
        command=markup.command(contents.commands.line("report")),
        blocks=join(_data(contents), "\n"),
        plotly=plotly,
        script=script,
    )


# --- parts ----------------------------------------------------------------------------------------------------------


def _runs(contents: Contents) -> Part:
    seen = overview.look_over(contents.results, contents.store.unfinished)
    line = contents.commands.line
    pieces = [overview.tiles(seen, verdict_counts(contents.findings))]
    if contents.compared:
        table = overview.runs_table(contents.compared, contents.results.records, contents.symbols)
        pieces.append(boxed(table, line("status")))
    missing = overview.missing_table(seen, contents.compared)
    if missing is not None:
        pieces.append(boxed(missing, line("status", "--runs")))
    pieces += [
        boxed(coverage_table(each.study, each.coverage), line("study", each.study.name, "--dry-run"))
        for each in contents.findings
        if each.claims.evidence.runs
    ]
    return Part("runs", "What was run", join(pieces))


def _ranking(contents: Contents) -> Part:
    line = contents.commands.line("rank")
    pieces = []
    for each in contents.ranking.overall:
        title = f"Over {len(each.problems)} problems" + ("" if each.size == "full" else f" ({each.size})")
        table = replace(overall_table(each), name=f"ranking-over-problems-{each.size}", title=title)
        pieces.append(boxed(table, line))
    if not pieces:
        pieces.append(notes([text("An overall ranking needs two problems with the same variants and seeds.")]))
    if contents.compared:
        pieces.append(boxed(standings.every_comparison_table(contents.compared, contents.symbols), line))
    return Part("ranking", "Ranking", join(pieces))


def _claims(contents: Contents) -> Part:
    return Part("claims", "Claims", claims_content(contents.findings, contents.compared, contents.commands))


def _comparisons(contents: Contents) -> Part:
    return Part("comparisons", "Comparisons", comparisons_content(contents))


def _provenance(contents: Contents) -> Part:
    every_run = origins.every_run_table(contents.results, contents.ranking, contents.symbols)
    tables = (
        origins.data_table(contents.results.records),
        origins.settings_table(contents.store.documents),
        origins.environments_table(contents.store.documents),
    )
    shown = boxed(every_run, contents.commands.line("status", "--runs"))
    folded = tag("details", tag("summary", text("Every run")), shown)
    return Part("provenance", "Provenance", join([*map(boxed, tables), folded]))


def _section(part: Part) -> Html:
    heading = tag("h2", text(part.heading), id=f"{part.name}-heading")
    return tag("section", heading, part.content, id=part.name, aria_labelledby=f"{part.name}-heading")


# --- the page as a whole --------------------------------------------------------------------------------------------


def _title(compared: tuple[Section, ...]) -> str:
    problems = list(dict.fromkeys(each.problem for each in compared))
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


def _data(contents: Contents) -> list[Html]:
    """The blocks that the figures are drawn from."""
    blocks = [data_block("data-page", _for_all_figures(contents))]
    for name, each in contents.drawn.items():
        blocks.append(data_block(f"data-{name}-curves", each.curves.payload))
        if each.affine.figures:
            blocks.append(data_block(f"data-{name}-activity", each.affine.activity_block()))
        blocks += [data_block(f"data-{name}-maps-{seed}", each.affine.map_block(seed)) for seed in each.affine.seeds]
    return blocks


def _for_all_figures(contents: Contents) -> dict[str, object]:
    return {
        "variants": {
            name: {"symbol": contents.symbols[name], "light": each.light, "dark": each.dark, "dash": list(each.dash)}
            for name, each in contents.strokes.items()
        },
        "measured_on": MEASURED_ON,
        "parameters": {
            name: {"symbol": GREEK[name], "centre": NEUTRAL[name], "activity": _ACTIVITY_TITLES[name]}
            for name in (GAMMA, BETA)
        },
        "diverging": _shades(diverging_map()),
        "sequential": _shades(sequential_map()),
        "no_value": NO_VALUE,
    }


def _shades(scale: Colormap) -> list[tuple[float, str]]:
    """A colour map as plotly takes it."""
    return [(place / _SHADES, to_hex(scale(place / _SHADES))) for place in range(_SHADES + 1)]


def _stroke_rules(strokes: Mapping[str, Stroke]) -> str:
    """The variants' colours as CSS; by place, since names come from outside."""
    return "\n".join(
        f".stroke-{place} {{ --stroke: light-dark({each.light}, {each.dark}); }}"
        for place, each in enumerate(strokes.values())
    )


def _policy(*scripts: str) -> str:
    """What the browser may do with the page: run these very scripts, and fetch nothing at all."""
    allowed = " ".join(script_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
