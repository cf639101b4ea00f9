"""A run of a tiny size says that it is tiny, and on which data, wherever it is named."""

from __future__ import annotations

import pytest

from bnbench.analysis.activity import activity_summary, average_over_seeds
from bnbench.analysis.activity_tables import activity_tables
from bnbench.analysis.claims.decide import decide_claims
from bnbench.analysis.claims.tables import claims_tables
from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.analysis.naming import named_with_size, remark_of_runs
from bnbench.analysis.ranking import rank
from bnbench.analysis.ranking_tables import ranking_tables
from bnbench.progress import title
from bnbench.report.titles import comparison_title
from bnbench.report.webpage.build import report_page
from bnbench.study import find_study
from support.figure_runs import SEEDS, run
from support.synthetic_store import SyntheticRun, build_store

SAID = "cifar100_3c3d (tiny, on handwritten digits)"


@pytest.mark.parametrize(
    ("problem", "size", "dataset", "named"),
    [
        ("cifar100_3c3d", "tiny", "digits", SAID),
        ("cifar100_3c3d", "full", "cifar100", "cifar100_3c3d"),
        ("cifar100_3c3d", "full", "cifar10", "cifar100_3c3d (on CIFAR-10)"),
        ("digits_3c3d", "tiny", "digits", "digits_3c3d (tiny)"),
        ("digits_3c3d", "full", "digits", "digits_3c3d"),
        ("mine", "tiny", "digits", "mine (tiny, on handwritten digits)"),
        ("mine", "full", "digits", "mine"),
        ("mine", "tiny", "of_a_package_that_is_gone", "mine (tiny, on of_a_package_that_is_gone)"),
    ],
)
def test_a_problem_is_named_with_its_size_and_with_data_that_its_name_does_not_say(problem, size, dataset, named):
    assert named_with_size([problem], [size], dataset) == named


def test_of_several_problems_what_holds_of_them_is_said_once():
    digits = [("cifar100_3c3d", "tiny", "digits"), ("digits_3c3d", "tiny", "digits")]
    assert remark_of_runs(digits) == "tiny, on handwritten digits"
    assert remark_of_runs([("digits_3c3d", "tiny", "digits")]) == "tiny"
    assert remark_of_runs([("cifar10_3c3d", "full", "cifar10")]) is None


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    runs = [
        run(variant, seed, problem=problem, size="tiny")
        for problem in ("cifar100_3c3d", "cifar10_3c3d")
        for variant in ("vanilla", "bn_gamma")
        for seed in SEEDS[:2]
    ]
    return open_results(build_store(tmp_path_factory.mktemp("tiny"), runs))


def test_every_table_that_has_numbers_of_tiny_runs_says_so_in_its_heading(results):
    headings = [table.title for table in ranking_tables(rank(results)) if table.name == "ranking"]
    means = average_over_seeds(activity_summary(results))
    headings += [table.title for table in activity_tables(means, means.iloc[:0])]
    assert headings
    assert all("(tiny, on handwritten digits)" in heading for heading in headings), headings


def test_verdicts_that_are_no_evidence_say_the_data(results):
    (_, *apart) = claims_tables(decide_claims(results, find_study("thesis")))
    assert apart
    assert all("on handwritten digits" in table.title for table in apart)


def test_the_log_the_figures_and_the_page_say_it(results):
    spec = SyntheticRun("cifar100_3c3d", "bn", 42, [0.1, 0.5], size="tiny").spec()
    assert title(spec).startswith(f"{SAID} bn hidden lr 0.1 seed 42")
    titles = [comparison_title(each) for each in comparisons(results.records)]
    assert titles
    assert all("(tiny, on handwritten digits)" in each for each in titles)
    page = report_page(results)
    headline = page.partition("<h1>")[2].partition("</h1>")[0]
    assert "(tiny, on handwritten digits)" in headline
    assert '<span class="badge">tiny, on handwritten digits</span>' in page
