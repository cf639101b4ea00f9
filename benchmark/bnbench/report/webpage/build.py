"""A results folder in, one HTML file out, which needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from bnbench import __version__
from bnbench.analysis.frames import Results
from bnbench.analysis.ranking import Ranking, rank
from bnbench.report.style import looks_of
from bnbench.report.webpage import markup, origins, overview, standings
from bnbench.report.webpage.colours import Stroke, stroke
from bnbench.report.webpage.comparisons import Commands, Comparison, comparisons
from bnbench.report.webpage.curves import MEASURED_ON, Curves, curves_of
from bnbench.report.webpage.embedding import data_block, page_file, plotly_script, script_hash
from bnbench.report.webpage.markup import Html, join, notes, symbol, tag, text
from bnbench.storage.store import ResultStore


@dataclass(frozen=True)
class Part:
    """A chapter of the page."""

    name: str
    """In links."""
    heading: str
    content: Html


def report_page(results: Results) -> str:
    """The whole page, the same for the same results: there is no date in it, no host and no path.

    Args:
        results: an opened results folder.

    Raises:
        UserError: plotly is not installed, or a table is damaged.
    """
    plotly = plotly_script()
    ranking = rank(results)
    contents = ResultStore(results.path).look()
    compared = comparisons(ranking)
    symbols = _symbols(ranking)
    strokes = {name: stroke(look) for name, look in looks_of(list(symbols)).items()}
    symbols = {name: symbols[name] for name in strokes}
    commands = Commands(results.path)
    seen = overview.look_over(results, contents.unfinished)
    drawn = {each.name: curves_of(results, each) for each in compared}
    parts = [
        _run_part(seen, compared, results, symbols, commands),
        _ranking_part(ranking, compared, symbols, commands),
        _comparisons_part(compared, drawn, symbols, strokes, commands),
        Part(
            "provenance",
            "Provenance",
            join(
                [
                    markup.table(origins.data_table(results.records, commands)),
                    markup.table(origins.settings_table(contents.documents)),
                    markup.table(origins.environments_table(contents.documents)),
                    _folded("Every run", markup.table(origins.every_run_table(results, ranking, symbols, commands))),
                ]
            ),
        ),
    ]
    blocks = [data_block("data-page", _page_data(strokes, symbols))]
    blocks += [data_block(f"data-{name}-curves", curves.payload) for name, curves in drawn.items()]
    script = page_file("page.js")
    return Template(page_file("page.html")).substitute(
        title=text(_title(compared)),
        policy=text(_policy(plotly, script)),
        style=page_file("page.css"),
        strokes=_stroke_rules(strokes),
        heading=text(_title(compared)),
        subtitle=_subtitle(compared, symbols),
        navigation=join(tag("a", text(part.heading), href=f"#{part.name}") for part in parts),
        parts=join(_part(part) for part in parts),
        version=text(__version__),
        command=markup.command(commands.line("report")),
        blocks=join(blocks, "\n"),
        plotly=plotly,
        script=script,
    )


def _title(compared: tuple[Comparison, ...]) -> str:
    problems = list(dict.fromkeys(each.problem for each in compared))
    shown = ", ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
    return f"BatchNorm on {shown}" if problems else "bnbench report"


def _subtitle(compared: tuple[Comparison, ...], symbols: Mapping[str, str]) -> Html:
    seeds = {seed for each in compared for seed in each.seeds}
    counts = [
        _counted(len({each.problem for each in compared}), "problem"),
        _counted(len(compared), "comparison"),
        _counted(len(symbols), "variant"),
        f"up to {_counted(max((len(each.seeds) for each in compared), default=len(seeds)), 'seed')}",
    ]
    return text(" · ".join(counts))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _symbols(ranking: Ranking) -> dict[str, str]:
    return {row.variant: row.symbol for group in ranking.groups for row in group.rows}


def _page_data(strokes: Mapping[str, Stroke], symbols: Mapping[str, str]) -> dict[str, object]:
    return {
        "variants": {
            name: {"symbol": symbols[name], "light": each.light, "dark": each.dark, "dash": list(each.dash)}
            for name, each in strokes.items()
        },
        "measured_on": MEASURED_ON,
    }


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


def _part(part: Part) -> Html:
    heading = tag("h2", text(part.heading), id=f"{part.name}-heading")
    return tag("section", heading, part.content, id=part.name, aria_labelledby=f"{part.name}-heading")


def _folded(summary: str, content: Html) -> Html:
    return tag("details", tag("summary", text(summary)), content)


# --- what was run -------------------------------------------------------------------------------------------------


def _run_part(
    seen: overview.Overview,
    compared: tuple[Comparison, ...],
    results: Results,
    symbols: Mapping[str, str],
    commands: Commands,
) -> Part:
    pieces = [overview.tiles(seen)]
    if compared:
        pieces.append(markup.table(overview.runs_table(compared, results.records, symbols, commands)))
    missing = overview.missing_table(seen, compared, commands)
    if missing is not None:
        pieces.append(markup.table(missing))
    return Part("runs", "What was run", join(pieces))


# --- ranking ------------------------------------------------------------------------------------------------------


def _ranking_part(
    ranking: Ranking, compared: tuple[Comparison, ...], symbols: Mapping[str, str], commands: Commands
) -> Part:
    pieces = [markup.table(standings.overall_table(each, commands)) for each in ranking.overall]
    if not pieces:
        pieces.append(notes([text("An overall ranking needs two problems with the same variants and seeds.")]))
    if compared:
        pieces.append(markup.table(standings.every_comparison_table(compared, symbols, commands)))
    return Part("ranking", "Ranking", join(pieces))


# --- comparisons --------------------------------------------------------------------------------------------------


def _comparisons_part(
    compared: tuple[Comparison, ...],
    drawn: Mapping[str, Curves],
    symbols: Mapping[str, str],
    strokes: Mapping[str, Stroke],
    commands: Commands,
) -> Part:
    recorded = dict.fromkeys(key for curves in drawn.values() for key in curves.measured_on)
    pieces = [_toolbar(symbols, strokes, [key for key in MEASURED_ON if key in recorded])]
    for place, each in enumerate(compared):
        pieces.append(_comparison(each, drawn[each.name], commands, open_=place == 0))
    return Part("comparisons", "Comparisons", join(pieces))


def _comparison(each: Comparison, curves: Curves, commands: Commands, *, open_: bool) -> Html:
    size = [] if each.size is None else [tag("span", text(each.size), class_="badge")]
    heading = tag("h3", text(each.problem), *size)
    facts = f"{each.where} · learning rate {each.rate} · {each.epochs} epochs · {_counted(len(each.seeds), 'seed')}"
    changed = (
        [tag("span", text(f"changed: {', '.join(each.group.overrides)}"), class_="warning")]
        if each.group.overrides
        else []
    )
    summary = tag(
        "summary", heading, tag("span", text(facts), class_="facts"), *changed, standings.headline(each.group)
    )
    body = join([markup.table(standings.group_table(each, commands)), _curves_figure(each, curves, commands)])
    return tag("details", summary, body, id=each.name, class_="comparison", open="" if open_ else None)


def _curves_figure(each: Comparison, curves: Curves, commands: Commands) -> Html:
    caption = [
        text("Loss and accuracy on "),
        tag("span", text("training data"), class_="measured-on"),
        text(
            f" after every epoch, {each.title}. Lines: means over the seeds that did not diverge; bands: from the "
            "lowest to the highest seed; a cross: where a run diverged."
        ),
    ]
    area = tag("div", class_="plot-area curves", role="group", aria_label=curves.description)
    tools = [
        tag("button", text("Download CSV"), type="button", class_="quiet", data_curves=each.name),
        markup.command(commands.curves(each.group)),
    ]
    return tag(
        "figure",
        area,
        tag("figcaption", *caption),
        tag("div", *tools, class_="tools"),
        id=f"{each.name}-curves",
        data_figure="curves",
        data_comparison=each.name,
    )


def _swatch(drawn: Stroke) -> Html:
    """A piece of a variant's line."""
    dash = " ".join(f"{length * 3:g}" for length in drawn.dash) or None
    line = tag("line", x1="0", x2="28", y1="4", y2="4", stroke_dasharray=dash)
    return tag("svg", line, class_="swatch", width="28", height="8", aria_hidden="true")


def _toolbar(symbols: Mapping[str, str], strokes: Mapping[str, Stroke], measured_on: list[str]) -> Html:
    """What all curves show: set once, for every comparison."""
    chips = [
        tag(
            "label",
            markup.void("input", type="checkbox", checked="", data_toggle=name),
            _swatch(strokes[name]),
            tag("span", symbol(shown)),
            class_=f"chip stroke-{place}",
        )
        for place, (name, shown) in enumerate(symbols.items())
    ]
    on = tag(
        "label",
        text("measured on"),
        tag("select", *(tag("option", text(MEASURED_ON[key]), value=key) for key in measured_on), data_option="on"),
    )
    spans = (("1", "all epochs"), ("0.5", "first half"), ("0.25", "first quarter"), ("0.1", "first tenth"))
    span = tag(
        "label",
        text("epochs"),
        tag("select", *(tag("option", text(shown), value=value) for value, shown in spans), data_option="span"),
    )
    switches = [
        tag("label", markup.void("input", type="checkbox", data_option="log"), text("log loss")),
        tag("label", markup.void("input", type="checkbox", data_option="each"), text("each seed")),
    ]
    legend = tag("legend", text("Variants"), class_="unseen")
    return tag(
        "form",
        tag("fieldset", legend, *chips),
        tag("fieldset", tag("legend", text("Curves"), class_="unseen"), on, span, *switches),
        class_="toolbar",
        aria_label="What the figures show",
    )
