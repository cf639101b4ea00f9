"""Figures of the page from tidy frames: what somebody else's kind of figure must give, and what becomes of it."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from bnbench.analysis.frames import open_results
from bnbench.errors import UserError
from bnbench.report.webpage.build import report_page
from bnbench.report.webpage.figures import Panel, TidyFigure, element_name

from .conftest import HOSTILE
from .test_page_text import Reader, unpacked


def rows(series=("bn", HOSTILE), panels=("early", "late"), **more):
    frame = pd.DataFrame(
        [
            (x, 10 * place + x + len(panel), name, panel)
            for panel in panels
            for place, name in enumerate(series)
            for x in (0, 1, 2, 4)
        ],
        columns=["x", "y", "series", "panel"],
    )
    return frame.assign(**more)


def lines(**more):
    given = {
        "kind": "norms",
        "title": "Norm of the gradient",
        "caption": "Of made-up numbers.",
        "web": "lines",
        "x_label": "step",
        "y_label": "norm <b>",
        "rows": rows(),
    }
    return TidyFigure(**given | more)


def third_party(_results, each):
    """What a package might add: nothing for most comparisons, three figures for one."""
    if each.name == "c1":
        yield lines(rows=rows(low=lambda frame: frame["y"] - 1, high=lambda frame: frame["y"] + 2.5))
        yield lines(web="bars", rows=rows(panels=("",)).replace({"x": {0: "conv1", 1: "conv2", 2: "dense1", 4: "é"}}))
        yield lines(kind="of layers", web="heat", rows=rows(series=("conv1", "conv2")))


@pytest.fixture(scope="module")
def with_more(store):
    return report_page(open_results(store), more=[third_party])


@pytest.fixture(scope="module")
def read(with_more):
    return Reader(with_more)


def test_a_figure_that_was_added_is_on_the_page(read):
    figures = {attributes["id"]: attributes for tag, attributes in read.elements if tag == "figure"}
    added = [name for name in figures if name not in {"c1-curves", "c1-activity"} and name.startswith("c1-")]
    assert [name for name in added if "map" not in name] == ["c1-norms", "c1-norms-2", "c1-of-layers"]
    assert all(figures[name]["data-figure"] == "tidy" for name in added if "map" not in name)
    assert any("Norm of the gradient. Of made-up numbers." in text for text in read.text)
    assert "bnbench plot --kind norms" in "\n".join(a["data-copy"] or "" for _, a in read.elements if "data-copy" in a)
    (said,) = {
        attributes["aria-label"]
        for tag, attributes in read.elements
        if "norm <b> over step" in (attributes.get("aria-label") or "") and "Heat" in attributes["aria-label"]
    }
    assert "conv1, conv2" in said
    assert not [tag for tag, _ in read.elements if tag in {"b", "img"} and "onerror" in _]


def test_its_numbers_are_in_its_data_block(read):
    block = unpacked(read.scripts["data-c1-norms"])
    assert (block["web"], block["x_label"], block["x_end"]) == ("lines", "step", None)
    assert [panel["name"] for panel in block["panels"]] == ["early", "late"]
    assert {panel["y_label"] for panel in block["panels"]} == {"norm <b>"}
    assert [(line["panel"], line["series"]) for line in block["lines"]] == [
        (0, "bn"), (0, HOSTILE), (1, "bn"), (1, HOSTILE),
    ]  # fmt: skip
    assert block["lines"][1] == {
        "panel": 0, "series": HOSTILE, "x": [0, 1, 2, 4], "y": [15, 16, 17, 19], "low": [14, 15, 16, 18],
        "high": [17.5, 18.5, 19.5, 21.5],
    }  # fmt: skip


def test_lines_are_in_order_of_x_and_bars_and_rows_in_that_of_the_frame():
    backwards = rows(series=("b", "a"), panels=("",)).iloc[::-1]
    drawn = {web: lines(web=web, rows=backwards).block("f.csv")["lines"] for web in ("lines", "bars", "heat")}
    assert all([line["series"] for line in found] == ["a", "b"] for found in drawn.values())
    assert {web: found[0]["x"] for web, found in drawn.items()} == {
        "lines": [0, 1, 2, 4], "bars": [4, 2, 1, 0], "heat": [4, 2, 1, 0],
    }  # fmt: skip


def test_what_is_missing_or_not_finite_is_null():
    frame = rows(series=("bn",), panels=("",), seed=pd.array([1, 1, None, None], dtype="Int64"))
    frame["y"] = [1.0, float("inf"), float("nan"), -2.123456789]
    found = lines(rows=frame).block("f.csv")["lines"]
    assert [(line["seed"], line["y"]) for line in found] == [(1, [1.0, None]), (None, [None, -2.12346])]


def test_panels_with_more_to_say_come_first():
    figure = lines(panels=(Panel("late", "norm, late", limits=(0, 1)),))
    assert [(panel.name, panel.y_label) for panel in figure.all_panels] == [
        ("late", "norm, late"),
        ("early", "norm <b>"),
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"web": "pie"}, r"(?s)way to draw the figure 'norms' on the page.*pie.*lines.*bars.*heat"),
        ({"rows": rows().drop(columns=["y", "panel"])}, "the frame of the figure 'norms' has no column y, panel"),
        ({"rows": rows(low=0)}, "has no column high"),
    ],
)
def test_a_frame_that_cannot_be_drawn_is_refused_with_what_it_lacks(given, said):
    with pytest.raises(UserError, match=said):
        lines(**given)


def test_no_two_figures_of_a_comparison_have_one_name():
    assert element_name("c1", "my kind<", ()) == "c1-my-kind-"
    assert element_name("c1", "a", ("c1-a", "c1-a-2")) == "c1-a-3"


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(browser, with_more, tmp_path_factory):
    path = tmp_path_factory.mktemp("more") / "report.html"
    path.write_text(with_more, encoding="utf-8")
    with browser.open(path) as opened:
        yield opened


def area(name):
    return f"document.querySelector('#{name} .plot-area')"


def show(page, name):
    page.evaluate(f"document.getElementById('{name}').scrollIntoView({{behavior: 'instant'}})")
    page.wait_until(f"{area(name)}.dataset.drawn")


def test_its_lines_are_drawn_with_their_bands(page):
    show(page, "c1-norms")
    assert page.evaluate(f"{area('c1-norms')}.querySelectorAll('.scatterlayer path.js-line').length") >= 4
    drawn = page.evaluate(f"{area('c1-norms')}.data.filter(t => t.line.width > 2).map(t => [t.meta, t.yaxis, t.y])")
    assert drawn == [
        ["bn", "y", [5, 6, 7, 9]],
        [HOSTILE, "y", [15, 16, 17, 19]],
        ["bn", "y2", [4, 5, 6, 8]],
        [HOSTILE, "y2", [14, 15, 16, 18]],
    ]
    assert page.evaluate(f"{area('c1-norms')}.data.filter(t => t.fill === 'tonexty').length") == 4
    titles = page.evaluate(f"{area('c1-norms')}.layout.annotations.map(a => a.text)")
    assert titles == ["early", "late"]
    # A variant looks as it does everywhere, and a name is text.
    assert page.evaluate(f"{area('c1-norms')}.data.find(t => t.line.width > 2).name") == "BN"
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


def test_a_series_that_is_a_variant_goes_with_its_switch(page):
    show(page, "c1-norms")
    page.evaluate("document.querySelector('[data-toggle=bn]').click()")
    page.wait_until(f"!{area('c1-norms')}.data.some(t => t.meta === 'bn')")
    page.evaluate("document.querySelector('[data-toggle=bn]').click()")
    page.wait_until(f"{area('c1-norms')}.data.some(t => t.meta === 'bn')")


def test_bars_and_heat_maps_are_drawn(page):
    show(page, "c1-norms-2")
    assert page.evaluate(f"{area('c1-norms-2')}.querySelectorAll('.barlayer .point').length") == 8
    show(page, "c1-of-layers")
    maps = page.evaluate(f"{area('c1-of-layers')}.data.map(t => [t.type, t.y, t.z])")
    assert maps == [
        ["heatmap", ["conv2", "conv1"], [[15, 16, 17, 19], [5, 6, 7, 9]]],
        ["heatmap", ["conv2", "conv1"], [[14, 15, 16, 18], [4, 5, 6, 8]]],
    ]
    assert page.errors() == []


def test_it_is_saved_as_csv_with_the_panels_beside_each_other(page, browser, tmp_path):
    browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    page.evaluate("document.querySelector('[data-frame=c1-norms]').click()")
    page.wait_until("document.getElementById('said').textContent.endsWith('saved')")
    path = tmp_path / page.evaluate("document.getElementById('said').textContent").removesuffix(" saved")
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    with path.open(newline="", encoding="utf-8") as file:
        head, first, *others = csv.reader(file)
    assert head == ["series", "step", "early", "early_low", "early_high", "late", "late_low", "late_high"]
    assert first == ["bn", "0", "5", "4", "7.5", "4", "3", "6.5"]
    assert len(others) == 7


def test_what_is_unfolded_is_drawn_before_anybody_prints_it(browser, page):
    page.evaluate("window.scrollTo({top: 0, behavior: 'instant'})")
    page.wait_until("[...document.querySelectorAll('#c1 .plot-area')].every(each => each.dataset.drawn)")
    page.evaluate("document.querySelector('#theme').click()")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 27)"
    # A browser lays the page out as soon as the event has been heard: all is drawn by then, light, as wide as a sheet.
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    drawn = "[...document.querySelectorAll('#c1 .plot-area')].map(each => [each.layout.width, each.layout.font.color])"
    assert {tuple(each) for each in page.evaluate(drawn)} == {(690, "rgb(26, 31, 38)")}
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    show(page, "c1-curves")
    page.wait_until(f"{area('c1-curves')}.layout.width > 690")
    assert page.evaluate(f"{area('c1-curves')}.layout.font.color") == "rgb(232, 236, 241)"
    page.evaluate("document.querySelector('#theme').click()")
    assert page.errors() == []


def test_the_ranking_is_not_cut_on_a_screen_of_1280_pixels(page):
    box = "document.querySelector('[aria-label^=\"Table ranking-digits_3c3d-full-hidden-lr0.02\"]')"
    assert page.evaluate(f"{box}.querySelectorAll('thead th').length") > 12
    assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")


def test_no_tool_bar_covers_a_title_on_a_phone(browser, page_path):
    with browser.open(page_path, width=390, height=844) as narrow:
        show(narrow, "c1-activity")
        assert narrow.evaluate("document.querySelectorAll('.modebar-btn').length") == 0
