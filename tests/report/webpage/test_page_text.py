"""The report as a text: what is in it, read back from the HTML, against the store it was made from."""

from __future__ import annotations

import base64
import builtins
import json
import re
import shlex
import zlib
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from bnbench.analysis.frames import open_results
from bnbench.analysis.ranking import rank
from bnbench.analysis.table import Cell, Column, Table
from bnbench.errors import UserError
from bnbench.report.render import html
from bnbench.report.style import LOOKS
from bnbench.report.webpage.build import report_page
from bnbench.report.webpage.colours import DARK_PAPER, contrast, stroke
from bnbench.report.webpage.embedding import data_block, inline_script, rounded
from bnbench.report.webpage.templating import environment, rendered
from support.command_line import invoke
from support.synthetic_store import SyntheticRun, build_store

from .conftest import HOSTILE, SEEDS, STUDIED


class Reader(HTMLParser):
    """Elements, attributes and text of a page, as a browser would take them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: dict[str | None, str] = {}
        self._script: str | None = None
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._in_script, self._script = True, dict(attrs).get("id")

    def handle_endtag(self, tag):
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data):
        if self._in_script:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        else:
            self.text.append(data)

    def tables(self):
        """Name of the CSV file to its rows of (data-value)."""
        found, rows = {}, []
        for tag, attributes in self.elements:
            if tag == "table":
                rows = []
            elif tag == "tr":
                rows.append([])
            elif tag in {"th", "td"}:
                rows[-1].append(attributes.get("data-value", attributes.get("data-name")))
            elif tag == "button" and "data-csv" in attributes:
                found[attributes["data-csv"]] = rows
        return found


def unpacked(text):
    return json.loads(zlib.decompress(base64.b64decode(text)))


@pytest.fixture(scope="module")
def read(page_text):
    return Reader(page_text)


def test_the_page_is_the_same_for_the_same_results_and_names_no_place(page_text, store):
    assert report_page(open_results(store)) == page_text
    own = page_text.replace(page_text[page_text.index('id="plotly">') : page_text.rindex("<script>")], "")
    assert str(store.parent) not in own


def test_nothing_in_the_page_points_outside(read):
    for tag, attributes in read.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or (tag == "a" and value.startswith("#")), (tag, attributes)


def test_every_link_has_a_target(read):
    targets = {attributes.get("id") for _, attributes in read.elements}
    links = [attributes["href"] for tag, attributes in read.elements if tag == "a"]
    assert len(links) > 8
    assert {link[1:] for link in links} <= targets


def test_no_two_elements_share_an_id(read):
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_ranking_is_that_of_the_analysis(read, store):
    (group,) = [
        group
        for group in rank(open_results(store)).groups
        if group.problems == ("digits_3c3d",) and group.placement == "hidden" and group.learning_rate < 0.1
    ]
    (table,) = [
        rows for name, rows in read.tables().items() if name.startswith("ranking-digits_3c3d-full-hidden-lr0.02")
    ]
    head, *rows = table
    assert [row[head.index("variant")] for row in rows] == [row.variant for row in group.rows]
    assert [row[head.index("rank")] for row in rows] == [str(row.rank) for row in group.rows]
    for shown, row in zip(rows, group.rows, strict=True):
        assert float(shown[head.index("final_train_accuracy")]) == row.final_train_accuracy.mean
        if row.difference is not None:
            assert float(shown[head.index("accuracy_difference")]) == row.difference.mean
            assert float(shown[head.index("accuracy_difference_low")]) == row.difference.t_interval.low
            assert float(shown[head.index("accuracy_difference_high")]) == row.difference.t_interval.high


def runs_of(block):
    return {(line["series"], line["seed"]): line["diverged_at_step"] for line in block["lines"]}


def test_the_embedded_curves_are_those_of_the_store(read, store):
    results = open_results(store)
    blocks = [unpacked(text) for name, text in read.scripts.items() if name and name.endswith("-curves")]
    by_rate = [block for block in blocks if len(runs_of(block)) == len(STUDIED) * len(SEEDS)]
    (block,) = by_rate
    assert block["x_end"] == 20
    panels = [panel["name"] for panel in block["panels"]]
    assert sorted(panels) == ["accuracy", "loss"]
    assert len(block["lines"]) == len(STUDIED) * len(SEEDS) * 3 * len(panels)
    frame = results.curves(problem="digits_3c3d", placement=["hidden", "none"], learning_rate=0.02)
    for line in block["lines"]:
        own = frame[
            (frame.variant == line["series"])
            & (frame.seed == line["seed"])
            & (frame.split == line["split"])
            & (frame.statistics == line["statistics"])
        ].sort_values("epoch")
        assert line["x"] == own.epoch.tolist()
        assert line["y"] == pytest.approx(own[panels[line["panel"]]].tolist(), rel=1e-5)


def test_what_was_not_run_is_said(read):
    head, *rows = read.tables()["not-run.csv"]
    what = {(row[0], row[1]): row[2] for row in rows}
    assert [what[key] for key in what if key[0] == "failed"] == ["MemoryError: <b>no room</b>"]
    assert ("unfinished", "digits_3c3d-bn-hidden-s44-000000000000") in what
    short = [(run, why) for (kind, run), why in what.items() if kind == "not run"]
    assert ("seed 43") in {why for run, why in short if run.startswith("bn in digits_3c3d, BatchNorm every")}
    assert head == ["what", "run", "why"]


def test_divergence_is_in_the_ranking_and_in_the_curves(read):
    table = next(rows for name, rows in read.tables().items() if "lr0.2" in name)
    head, *rows = table
    assert rows[-1][head.index("variant")] == "vanilla"
    assert rows[-1][head.index("final_train_accuracy")] == "1 of 3 diverged"
    blocks = [unpacked(text) for name, text in read.scripts.items() if name and name.endswith("-curves")]
    (block,) = [block for block in blocks if any(step is not None for step in runs_of(block).values())]
    assert {run: step for run, step in runs_of(block).items() if step is not None} == {("vanilla", 43): 17}
    (loss,) = [
        line
        for line in block["lines"]
        if line["diverged_at_step"] == 17 and (line["split"], line["panel"]) == ("train_eval", 0)
    ]
    assert block["panels"][0]["name"] == "loss"
    assert loss["y"] == [2.3, 1.5, None]


def test_the_fingerprint_of_the_data_and_the_settings_are_there(read, store):
    head, *rows = read.tables()["data.csv"]
    assert {row[head.index("fingerprint")] for row in rows} == {
        record.fingerprint for record in open_results(store).records
    }
    settings = {row[0]: row[1:] for row in read.tables()["settings.csv"]}
    assert "0.002" in settings["training.l2"]


def test_a_hostile_name_is_text_everywhere(read, page_text):
    assert not [tag for tag, _ in read.elements if tag in {"img", "b"} and "onerror" in _]
    assert "<img" not in page_text[: page_text.index('id="plotly">')]
    assert any(HOSTILE in text for text in read.text)
    # Exactly the scripts of the page itself: the name has not ended or opened one.
    kinds = [attributes.get("type") for tag, attributes in read.elements if tag == "script"]
    assert [kind for kind in kinds if kind != "application/json+deflate"] == ["text/plain", None]


def test_a_table_of_every_run(read, store):
    head, *rows = read.tables()["runs.csv"]
    assert [row[0] for row in rows] == [record.identity.run_id for record in open_results(store).records]
    assert {row[head.index("status")] for row in rows} == {"finished", "diverged at step 17", "failed"}


def test_every_command_on_the_page_works(read, store, tmp_path, monkeypatch):
    monkeypatch.chdir(store.parent)
    lines = dict.fromkeys(a["data-copy"] for _, a in read.elements if "data-copy" in a)
    told = [shlex.split(line) for line in lines]
    assert {words[0] for words in told} == {"bnbench"}
    assert {words[1] for words in told} == {"status", "rank", "activity", "plot", "claims", "report"}
    drawn = set()
    for words in told:
        # One drawing of each kind is enough; all of them would take a minute.
        if words[1] == "plot" and (words[3] in drawn or drawn.add(words[3])):
            continue
        output = {"plot": ["--output", tmp_path], "report": ["--output", tmp_path / "again.html"]}.get(words[1], [])
        done = invoke(*words[1:], *output)
        assert done.exit_code == 0, (words, done.output)
    assert drawn == {"curves", "beta", "gamma", "activity", "disabled"}
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == report_page(open_results(store))


def test_a_store_without_a_finished_run_makes_a_page_too(tmp_path):
    build_store(tmp_path, [SyntheticRun("digits_3c3d", "bn", 42, [0.1], epochs=20, error="ValueError: no")])
    read = Reader(report_page(open_results(tmp_path)))
    assert read.tables()["not-run.csv"][1][2] == "ValueError: no"


def test_without_plotly_the_error_names_the_extra(store, monkeypatch):
    imported = builtins.__import__

    def no_plotly(name, *rest):
        if name.startswith("plotly"):
            raise ModuleNotFoundError(f"No module named '{name}'", name="plotly")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_plotly)
    with pytest.raises(UserError, match=r"(?s)plotly.*not installed.*pip install 'bnbench\[report\]'"):
        report_page(open_results(store))


def test_a_variant_keeps_its_colour_where_it_can_be_seen():
    for look in LOOKS.values():
        drawn = stroke(look)
        assert drawn.light == look.colour
        assert drawn.dark == look.colour or contrast(look.colour, DARK_PAPER) < 3
        assert contrast(drawn.dark, DARK_PAPER) >= 3


def test_contrast_is_that_of_the_recommendation():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)


_TEMPLATE = environment().from_string('<p title="{{ value }}">{{ value }}</p>')


@given(st.text())
def test_any_text_survives_as_text_and_attribute(value):
    cleaned = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]", "", value)
    read = Reader(_TEMPLATE.render(value=cleaned))
    assert [tag for tag, _ in read.elements] == ["p"]
    assert "".join(read.text) == cleaned
    assert read.elements[0][1]["title"] == cleaned


@given(st.text("<>&\"'/`_-γβaé \u2028", min_size=1))
def test_no_text_is_markup_anywhere_in_a_table(value):
    columns = (Column("a", value, hint=value), Column("b", value, of_variant=True))
    cells = (Cell(value, remark=value, details=value), Cell(value, links=((value, value),)))
    read = Reader(html.render(Table("name", columns, (cells,), title=value, notes=(value,) * 9, warnings=(value,))))
    ours = {"table", "caption", "span", "thead", "tbody", "tr", "th", "td", "p", "code", "sub", "a", "small", "details",
            "summary", "pre", "dl", "dt", "dd"}  # fmt: skip
    assert {tag for tag, _ in read.elements} <= ours
    assert [attributes["data-value"] for tag, attributes in read.elements if "data-value" in attributes] == [value] * 2
    assert [attributes["href"] for tag, attributes in read.elements if tag == "a"] == [f"#{value}"]
    assert {name for _, attributes in read.elements for name in attributes} <= {
        "id", "scope", "class", "data-name", "data-value", "title", "href", "tabindex"
    }  # fmt: skip


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError, match="studies"):
        rendered("claims.html.j2")


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists))
def test_any_value_survives_in_a_block_that_nothing_can_break_out_of(value):
    block = data_block("a", value)
    inside = re.fullmatch(r'<script type="application/json\+deflate" id="a">([A-Za-z0-9+/=]*)</script>', block)
    assert unpacked(inside[1]) == value


def test_a_script_cannot_end_its_own_element():
    assert "</script" not in inline_script('"</script><!-- "')
    assert "<!--" not in inline_script('"</script><!-- "')


@pytest.mark.parametrize(("value", "expected"), [(0.123456789, 0.123457), (float("nan"), None), (float("inf"), None)])
def test_numbers_are_rounded_and_finite(value, expected):
    assert rounded(value) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BN_γ,β", "BN<sub>γ,β</sub>"),
        ("BN_γ,β out", "BN<sub>γ,β</sub> out"),
        ("vanilla", "vanilla"),
        ("_x", "_x"),
        ("a_<b>", "a<sub>&lt;b&gt;</sub>"),
    ],
)
def test_symbols_have_subscripts(name, expected):
    assert html.symbol(name) == expected
