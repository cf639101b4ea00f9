"""The comparisons: controls that hold for all figures, and a section to unfold for each."""

from __future__ import annotations

from dataclasses import replace

from bnbench.analysis.ranking_tables import group_table
from bnbench.report.webpage import markup, standings
from bnbench.report.webpage.affine_section import affine_section, zeroed_table
from bnbench.report.webpage.colours import Stroke
from bnbench.report.webpage.contents import Contents
from bnbench.report.webpage.curves import MEASURED_ON, Curves
from bnbench.report.webpage.markup import Html, join, symbol, tag, text
from bnbench.report.webpage.sections import Commands, Section
from bnbench.report.webpage.tables import boxed
from bnbench.words import counted

SPANS = (("1", "all epochs"), ("0.5", "first half"), ("0.25", "first quarter"), ("0.1", "first tenth"))
"""How much of training the curves show: a share of the epochs, and what it is called."""


def comparisons_content(contents: Contents) -> Html:
    """The controls, then every comparison; the first at its problem's own learning rate is unfolded."""
    usual = [each for each in contents.compared if each.is_usual] or list(contents.compared)
    sections = [_section(contents, each, unfolded=each is usual[0]) for each in contents.compared]
    return join([_toolbar(contents), *sections])


def _section(contents: Contents, each: Section, *, unfolded: bool) -> Html:
    commands, drawn = contents.commands, contents.drawn[each.name]
    zeroed = zeroed_table(each, contents.sparsity)
    ranking = replace(
        group_table(each.group), name=f"ranking-{each.file_name}", title="Ranking by final training accuracy"
    )
    pieces = [
        boxed(ranking, commands.rank(each.group, "--details")),
        _curves_figure(each, drawn.curves, commands),
        affine_section(each, drawn.affine, commands),
    ]
    if zeroed is not None:
        pieces.append(boxed(zeroed, commands.activity(each.group)))
    return tag("details", _summary(each), *pieces, id=each.name, class_="comparison", open="" if unfolded else None)


def _summary(each: Section) -> Html:
    size = [] if each.size is None else [tag("span", text(each.size), class_="badge")]
    seeds, epochs = counted(len(each.group.seeds), "seed"), counted(each.group.epochs, "epoch")
    pieces = [
        tag("h3", text(each.problem), *size),
        tag("span", text(f"{each.where} · learning rate {each.rate} · {epochs} · {seeds}"), class_="facts"),
    ]
    if each.group.overrides:
        pieces.append(tag("span", text(f"changed: {', '.join(each.group.overrides)}"), class_="warning"))
    return tag("summary", *pieces, standings.headline(each.group))


def _curves_figure(each: Section, curves: Curves, commands: Commands) -> Html:
    caption = [
        text("Loss and accuracy on "),
        tag(
            "span", text(MEASURED_ON[curves.measured_on[0]] if curves.measured_on else "nothing"), class_="measured-on"
        ),
        text(
            f" after every epoch, {each.title}. Lines: means over the seeds that did not diverge; bands: from the "
            "lowest to the highest seed; a cross: where a run diverged."
        ),
    ]
    tools = [
        tag("button", text("Download CSV"), type="button", class_="quiet", data_curves=each.name),
        markup.command(commands.plot(each, "curves")),
    ]
    return tag(
        "figure",
        tag("div", class_="plot-area curves", role="group", aria_label=curves.description),
        tag("figcaption", *caption),
        tag("div", *tools, class_="tools"),
        id=f"{each.name}-curves",
        data_figure="curves",
        data_comparison=each.name,
    )


def _toolbar(contents: Contents) -> Html:
    """What all figures show: set once, for every comparison."""
    chips = [
        tag(
            "label",
            markup.void("input", type="checkbox", checked="", data_toggle=name),
            _swatch(contents.strokes[name]),
            tag("span", symbol(shown)),
            class_=f"chip stroke-{place}",
        )
        for place, (name, shown) in enumerate(contents.symbols.items())
    ]
    choices = [
        _choice("measured on", "on", [(key, MEASURED_ON[key]) for key in contents.measured_on]),
        _choice("epochs", "span", SPANS),
        _switch("log loss", "log"),
        _switch("each seed", "each"),
    ]
    return tag(
        "form",
        tag("fieldset", tag("legend", text("Variants"), class_="unseen"), *chips),
        tag("fieldset", tag("legend", text("Curves"), class_="unseen"), *choices),
        class_="toolbar",
        aria_label="What the figures show",
    )


def _choice(label: str, option: str, values: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Html:
    options = (tag("option", text(shown), value=value) for value, shown in values)
    return tag("label", text(label), tag("select", *options, data_option=option))


def _switch(label: str, option: str) -> Html:
    return tag("label", markup.void("input", type="checkbox", data_option=option), text(label))


def _swatch(drawn: Stroke) -> Html:
    """A piece of a variant's line."""
    dash = " ".join(f"{length * 3:g}" for length in drawn.dash) or None
    line = tag("line", x1="0", x2="28", y1="4", y2="4", stroke_dasharray=dash)
    return tag("svg", line, class_="swatch", width="28", height="8", aria_hidden="true")
