"""One table in every form: the same columns, nothing cut, nothing that breaks out."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnbench.analysis.interval import Interval
from bnbench.analysis.ranking import rank_measures
from bnbench.analysis.ranking_tables import overall_table, ranking_tables
from bnbench.analysis.table import Cell, Column, Kind, Remark, Table, Tone, cell, fixed, shown, signed
from bnbench.printable import printable
from bnbench.report.render import csv as csv_form
from bnbench.report.render import html, latex, terminal
from bnbench.report.render import json as json_form
from bnbench.report.render.spelling import ERRORS, writable
from support.measured_runs import golden, several

RANKING = ranking_tables(rank_measures(golden()))[0]


class Reader(HTMLParser):
    """Elements and text of a piece of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


# --- the same columns everywhere ----------------------------------------------------------------------------------


def words(text):
    return " ".join(text.replace("\u00ad", "").split())


def test_every_form_of_the_ranking_has_the_same_columns():
    fields = [
        "rank", "variant", "final_train_loss", "final_train_accuracy", "final_train_accuracy_deviation",
        "final_test_accuracy", "best_train_accuracy", "area_under_train_accuracy", "epochs_to_target_1", "seeds",
        "accuracy_difference", "accuracy_difference_low", "accuracy_difference_high", "t_p_holm", "hedges_g",
        "final_valid_accuracy", "early_train_accuracy",
    ]  # fmt: skip
    about = ["problem", "size", "placement", "learning_rate", "setting_id"]
    assert next(csv.reader(io.StringIO(csv_form.render(RANKING)))) == [*about, *fields]
    assert list(json.loads(json_form.render(RANKING))["rows"][0]) == fields
    page = Reader(html.render(RANKING))
    assert [attributes["data-name"] for _, attributes in page.elements if "data-name" in attributes] == fields

    headings = [column.heading for column in RANKING.columns if not column.detail]
    assert headings == [
        "rank", "variant", "train loss", "train accuracy", "±", "test accuracy", "best", "area", "epochs to target",
        "seeds", "accuracy − vanilla", "95 % interval",
    ]  # fmt: skip
    paper = latex.render(RANKING).partition("\\toprule\n")[2].partition("\n")[0]
    assert paper == " & ".join(map(latex.text, headings)) + r" \\"
    # In a terminal a heading takes two lines.
    above = terminal.render(RANKING).split("───")[0].splitlines()
    assert sorted(" ".join(above[2:]).split()) == sorted(" ".join(headings).split())


def test_every_form_of_the_ranking_has_the_same_rows():
    variants = [row.variant for row in rank_measures(golden()).groups[0].rows]
    symbols = ["BN_γ,β", "BN", "BN_β", "vanilla", "BN_γ"]
    assert [row["variant"] for row in RANKING.records()] == variants
    rows = list(csv.DictReader(io.StringIO(csv_form.render(RANKING))))
    assert [row["variant"] for row in rows] == variants
    assert rows[-1]["final_train_accuracy"] == "1 of 3 diverged"
    assert (rows[0]["learning_rate"], rows[0]["problem"]) == ("0.1", "p1")
    body = terminal.render(RANKING).split("───")[-1].splitlines()[1:6]
    assert [line.split()[1] for line in body] == symbols
    body = latex.render(RANKING).split("\\midrule\n")[1].splitlines()[:5]
    assert [line.split(" & ")[1].split(" ")[0] for line in body] == list(map(latex.symbol, symbols))
    assert r"\textbf{0.900}" in body[0]


def test_several_rankings_are_one_file_of_values():
    tables = [table for table in ranking_tables(rank_measures(several())) if table.name == "ranking"]
    rows = list(csv.DictReader(io.StringIO(csv_form.joined(tables))))
    assert len(rows) == sum(len(table.rows) for table in tables)
    assert {row["problem"] for row in rows} == {"p1", "p2", "p3"}
    assert {row["epochs_to_target_1"] for row in rows if row["problem"] == "p3"} == {""}


# --- terminals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_leaves_columns_out_and_says_so(width):
    for table in (RANKING, overall_table(rank_measures(several()).overall[0])):
        text = terminal.render(table, width)
        assert max(map(len, text.splitlines())) <= width
        left_out = words(text).partition("left out for width: ")[2].split(", ")
        assert "train accuracy" not in left_out
        for column in table.columns:
            if not column.detail and words(column.heading) not in " ".join(left_out):
                assert all(shown(column, row[table.columns.index(column)]) in text for row in table.rows)
    assert "left out for width: " not in terminal.render(RANKING)
    assert "95 % interval" in words(terminal.render(RANKING, 40)).partition("left out for width: ")[2]


def test_where_no_column_can_go_every_row_gets_lines_of_its_own():
    table = RANKING.without({column.name for column in RANKING.columns if column.priority})
    text = terminal.render(table, 20)
    assert "rank 1\n" in text
    assert "  train accuracy 0.900\n" in text
    assert "  accuracy − vanilla +0.300\n" in text


def test_prose_is_folded_and_nothing_else():
    long = "a sentence of many words that goes on and on until no terminal holds it any more"
    table = Table(
        "t",
        (Column("id", "id", Kind.IDENTIFIER), Column("what", "what", Kind.PROSE), Column("n", "n", Kind.NUMBER)),
        (("an-identifier-with-hyphens", long, 1), ("b", "short", 2)),
    )
    assert terminal.render(table).splitlines()[1] == f"an-identifier-with-hyphens  {long}  1"
    narrow = terminal.render(table, 60).splitlines()
    assert max(map(len, narrow)) <= 60
    assert len(narrow) > 3
    assert narrow[1].startswith("an-identifier-with-hyphens  a sentence")
    assert narrow[1].endswith("1")


def test_a_word_in_place_of_a_number_reaches_over_empty_cells():
    numbers = [Column(name, name, Kind.NUMBER, show=fixed(1)) for name in "abcdef"]
    table = Table("t", tuple(numbers), ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (1.0, Cell(None, "diverged"), *[None] * 4)))
    assert terminal.render(table).splitlines()[1:] == ["1.0  2.0  3.0  4.0  5.0  6.0", "1.0  diverged    –    –    –"]


def test_what_is_said_once_is_said_again_where_what_is_before_it_changes():
    names = (Column("a", "a", once=True), Column("b", "b", once=True), Column("c", "c"))
    table = Table("t", names, (("x", "u", "1"), ("x", "u", "2"), ("y", "u", "3")))
    assert [line.split() for line in terminal.render(table).splitlines()[1:]] == [
        ["x", "u", "1"],
        ["2"],
        ["y", "u", "3"],
    ]


def test_control_characters_are_shown_and_not_obeyed():
    evil = "a\x1b[31mb\x07\x9bc\nd\u202ee\u2028f"
    assert printable(evil) == r"a\x1b[31mb\x07\x9bc\nd\u202ee\u2028f"
    table = Table("t", (Column("a", evil),), ((evil,), (Cell("x", evil, remark=evil),)), title=evil, notes=(evil,))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", terminal.render(table))


def test_no_form_of_a_table_has_a_control_character():
    evil = "a\x1b]0;title\x07b\x1b[2Jc\x9bd\u202ee"
    columns = (Column("a", evil, hint=evil), Column("b", "b", Kind.IDENTIFIER), Column("c", "c", Kind.SYMBOL))
    row = (Cell(evil, remark=evil, details=evil), evil, Cell(evil, links=(("x", evil),)))
    table = Table("t", columns, (row,), title=evil, caution=evil, notes=(evil,), warnings=(evil,))
    shown_in_a_page = re.sub(r'data-value="[^"]*"', "", html.document([table]))  # exact, and not shown
    for text in (terminal.render(table), shown_in_a_page, latex.render(table), json_form.render(table)):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert "[2J" in text or "2J" in text, "it is shown, not left out"
    assert json.loads(json_form.render(table))["title"] == evil, "JSON says the same as ever"


def test_a_page_keeps_the_lines_of_a_traceback():
    table = Table("t", (Column("a", "a"),), ((Cell("failed", details="Traceback:\n\tline\x1b[2J"),),))
    assert "<pre>Traceback:\n\tline\\x1b[2J</pre>" in html.render(table)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "koi8-r"])
def test_signs_that_an_encoding_has_not_are_spelled_out(encoding):
    text = terminal.render(RANKING, encoding=encoding)
    assert text.encode(encoding).decode(encoding) == text
    assert ("BN_gamma,beta" in text) == (encoding != "utf-8")
    # It was spelled before it was laid out: the columns stand below each other.
    (first, second) = [line for line in text.splitlines() if "0.720" in line]
    assert first.index("0.720") == second.index("0.720")


def test_the_spelling_of_the_fields_signs():
    signs = "γ β ℓ2 – − × ± → … ≥ ≤ ∞ é 🙂"
    assert signs.encode("ascii", ERRORS).decode() == "gamma beta l2 - - x +/- -> ... >= <= inf e ?"
    assert writable("é γ ×", "latin-1") == "é gamma ×"
    assert "a\udcffb".encode("utf-8", ERRORS) == b"a?b"


# --- any table ----------------------------------------------------------------------------------------------------

EVERY_CHARACTER = st.text(st.characters(), max_size=30)


@st.composite
def tables(draw, text=EVERY_CHARACTER):
    kinds = draw(st.lists(st.sampled_from(Kind), min_size=1, max_size=6))
    columns = tuple(
        Column(
            f"c{place}",
            f"h{place}",
            kind,
            show=draw(st.sampled_from((fixed(3), signed(2)))),
            priority=draw(st.integers(0, 3)),
            ends=(f"c{place}_low", f"c{place}_high"),
        )
        for place, kind in enumerate(kinds)
    )
    numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)

    def value(kind):
        if kind is Kind.NUMBER:
            return st.none() | numbers | st.integers(-(10**9), 10**9)
        if kind is Kind.INTERVAL:
            return st.none() | st.builds(Interval, numbers, numbers)
        return st.none() | text

    def one(kind):
        plain = value(kind)
        remark = st.none() | text | st.builds(Remark, text, text)
        tone = st.none() | st.sampled_from(Tone)
        return plain | st.builds(Cell, plain, st.none() | text, remark, tone)

    rows = draw(st.lists(st.tuples(*map(one, kinds)), max_size=4))
    return Table("t", columns, tuple(rows), title=draw(st.none() | text), notes=tuple(draw(st.lists(text, max_size=2))))


@settings(max_examples=80)
@given(tables(), st.none() | st.integers(20, 120), st.sampled_from(["utf-8", "ascii"]))
def test_no_number_and_no_identifier_is_ever_cut(table, width, encoding):
    table = replace(table, title=None, notes=())
    text = terminal.render(table, width, encoding)
    assert text.encode(encoding).decode(encoding) == text
    lines = text.splitlines()
    left_out = words(text).rpartition("left out for width: ")[2].split(", ")
    for place, column in enumerate(table.columns):
        if column.kind is Kind.PROSE or column.heading in left_out:
            continue
        for row in table.rows:
            said = writable(printable(shown(column, row[place])), encoding).strip()
            remark = cell(row[place]).remark
            assert said in {"–", "-"} or remark or any(said in line for line in lines)


@settings(max_examples=40)
@given(tables())
@example(Table("t", (Column("a", "a"), Column("b", "b")), (("\r", 'a"\r\nb'),)))
def test_csv_parses_back(table):
    head, *rows = csv.reader(io.StringIO(csv_form.render(table), newline=""))
    assert head == list(table.fields)
    # One empty field alone is written as "".
    assert rows == table.as_text()


@settings(max_examples=40)
@given(tables())
def test_json_parses_back(table):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(json_form.render(table), parse_constant=refuse)
    assert document["rows"] == table.records()
    assert document["title"] == table.title


@settings(max_examples=40)
@given(tables())
def test_html_is_never_what_a_value_says(table):
    page = Reader(html.render(table))
    known = {"table", "caption", "thead", "tbody", "tr", "th", "td", "span", "div", "p", "b", "small", "sub", "code"}
    assert {tag for tag, _ in page.elements} <= known | {"svg", "line", "circle"}
    values = [attributes["data-value"] or "" for _, attributes in page.elements if "data-value" in attributes]
    assert len(values) == len(table.fields) * len(table.rows)


@settings(max_examples=40)
@given(tables(st.text(max_size=20)))
def test_latex_has_nothing_that_stops_it(table):
    text = latex.render(table)
    bare = re.sub(r"\\[\\{}$&#_%-]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[#^%]", re.sub(r"\$[^$]*\$", "", bare))
    # In every row one & less than there are columns, and as many rows as there are.
    rows = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0].split(" \\\\\n")
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows[:-1]] == [len(table.columns) - 1] * len(table.rows)
    # Letters beyond ASCII are those of the Latin alphabets, which every LaTeX knows.
    assert all(each in "\n" or " " <= each <= "~" or "À" <= each <= "ſ" for each in text)


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("BN_γ,β beats BN_γ by ±0.1", r"BN$_{\gamma,\beta}$ beats BN$_{\gamma}$ by $\pm$0.1"),
        ("50% of a_b & c#1 {x} ~ ^ \\", r"50\% of a\_b \& c\#1 \{x\} \textasciitilde{} \textasciicircum{} "
         r"\textbackslash{}"),
        ("|γ − 1| ≤ 2×", r"$|$$\gamma$ $-$ 1$|$ $\le$ 2$\times$"),
        ("--json [a] *", "-{}-json {[}a{]} {*}"),
        ("Żółw 🙂", "Żółw ?"),
    ],
)  # fmt: skip
def test_latex_prints_text_as_it_is(plain, expected):
    assert latex.text(plain) == expected


def test_latex_numbers_are_numbers():
    column = Column("a", "a", Kind.NUMBER, show=lambda value: f"{value:.3g}")
    table = Table("t", (column,), ((-0.5,), (1.2e-7,), (0.25,)))
    rows = latex.render(table).split("\\midrule\n")[1].splitlines()[:3]
    assert rows == [r"$-0.5$ \\", r"$1.2 \cdot 10^{-7}$ \\", r"0.25 \\"]


def test_html_sets_symbols_and_draws_intervals():
    page = html.render(RANKING)
    assert "BN<sub>γ,β</sub></span> <small>upper baseline</small>" in page
    assert 'class="forest"' in page
    assert "accuracy − vanilla" in page
    assert html.document([RANKING]).startswith('<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">')
