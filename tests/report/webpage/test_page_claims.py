"""The claims in the report, against the verdicts of the analysis."""

from __future__ import annotations

import pytest

from bnbench.analysis.claims import Verdict, decide_claims
from bnbench.analysis.claims.ledger import ledger, ledger_table, lines
from bnbench.analysis.frames import open_results
from bnbench.analysis.ranking import rank
from bnbench.report.webpage.claims_section import claims_view, literature_view, study_findings, verdict_counts
from bnbench.report.webpage.coverage import coverage_table
from bnbench.report.webpage.sections import Commands, sections
from bnbench.report.webpage.tables import Boxed
from bnbench.report.webpage.templating import environment, rendered
from bnbench.study import find_study
from support.synthetic_store import SyntheticRun, build_store

from .conftest import SEEDS, STUDIED, affine
from .test_page_text import Reader

EPOCHS = 100
"""Of cifar10_3c3d: a run of any other length would be no evidence."""


def rising(speed, seed):
    height = 0.8 + 0.001 * SEEDS.index(seed)
    return [0.1 + (height - 0.1) * (1 - speed**epoch) for epoch in range(EPOCHS + 1)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims") / "runs"
    full = [
        SyntheticRun(
            "cifar10_3c3d",
            variant,
            seed,
            rising(0.9 if variant == "vanilla" else 0.8, seed),
            affine=affine(variant, seed),
        )
        for variant in STUDIED
        for seed in SEEDS
    ]
    # Shortened: the same rules are applied, and it is no evidence.
    short = [
        SyntheticRun("cifar10_3c3d", variant, 42, [0.1, 0.5, 0.6], affine=affine(variant, 42))
        for variant in ("vanilla", "bn_gamma_beta")
    ]
    return open_results(build_store(folder, full + short))


def read_claims(results, findings, compared):
    return Reader(rendered("claims.html.j2", studies=claims_view(findings, compared, Commands(results.path))))


@pytest.fixture(scope="module")
def read(results):
    return read_claims(results, study_findings(results), sections(rank(results)))


def test_the_verdicts_are_those_of_the_analysis(read, results):
    report = decide_claims(results, find_study("thesis"))
    head, *rows = read.tables()["claims-thesis.csv"]
    shown = {row[head.index("claim")]: row[head.index("verdict")] for row in rows}
    assert shown == {result.claim.id: str(result.verdict) for result in report.evidence.claims}
    assert (shown["c1"], shown["c2"], shown["c4"]) == ("holds", "holds", "no data")


def test_a_verdict_links_to_where_its_runs_are_drawn(read, results):
    head, *rows = read.tables()["claims-thesis.csv"]
    drawn = {row[0]: row[head.index("drawn_in")] for row in rows}
    assert drawn["c1"].startswith("cifar10_3c3d, BatchNorm hidden")
    assert drawn["c4"] == ""
    (full,) = [each for each in sections(rank(results)) if not each.group.overrides]
    assert f"#{full.name}" in {attributes["href"] for tag, attributes in read.elements if tag == "a"}


def test_every_part_with_runs_has_its_numbers(read, results):
    report = decide_claims(results, find_study("thesis"))
    head, *rows = read.tables()["claims-thesis-parts.csv"]
    expected = [part for result in report.evidence.claims for part in result.parts if not part.missing]
    assert len(rows) == len(expected)
    (first,) = [row for row in rows if row[head.index("claim")] == "c1"]
    (claim,) = [result for result in report.evidence.claims if result.claim.id == "c1"]
    decision = claim.parts[0].decision
    low, high = decision.interval.low, decision.interval.high
    assert first[head.index("effect")] == f"{decision.effect:+.3f} [{low:+.3f}, {high:+.3f}]"


def test_runs_that_are_no_evidence_stand_apart(read):
    tables = read.tables()
    assert "claims-thesis-not-evidence-1.csv" in tables
    assert any("Not evidence: training.epochs = 2" in text for text in read.text)
    head, *rows = tables["claims-thesis-not-evidence-1.csv"]
    # One seed decides nothing.
    verdicts = [row[head.index("verdict")] for row in rows]
    assert set(verdicts) == {"undecided", "no data"}
    told = f"{verdicts.count('undecided')} would be undecided, {verdicts.count('no data')} without data"
    assert any(told in text for text in read.text)


def test_the_counts_are_of_the_evidence_alone(results):
    findings = study_findings(results)
    counts = verdict_counts(findings)
    assert sum(counts.values()) == len(find_study("thesis").claims)
    assert counts[Verdict.HOLDS] >= 2
    # The thesis has no exploratory claim, so none is without a verdict.
    assert list(counts) == ["holds", "refuted", "undecided", "no data"]


def test_how_much_of_the_study_has_been_run(results):
    (found,) = study_findings(results)
    coverage = {each.experiment.id: each for each in found.coverage}
    # The five variants of one of three problems, in three seeds: of 15 runs a seed, 5.
    assert coverage["fig-4.1"].runs == 15
    assert (coverage["fig-4.1"].recorded, coverage["fig-4.1"].complete_seeds) == (5, ())
    # Vanilla has no placement: it is one run of both placements' nine, and the only one that is there.
    assert (coverage["fig-A.1"].runs, coverage["fig-A.1"].recorded) == (9, 1)
    assert coverage["fig-4.2"].recorded == 0
    page = environment().from_string('{% import "parts.html.j2" as parts %}{{ parts.boxed(each) }}')
    read = Reader(page.render(each=Boxed(coverage_table(found.study, found.coverage))))
    head, *rows = read.tables()["study-thesis.csv"]
    assert len(rows) == len(found.study.experiments)
    assert {row[0]: row[head.index("recorded")] for row in rows}["fig-4.1"] == "5"


def test_without_runs_of_a_study_there_is_nothing_to_decide(store):
    results = open_results(store)
    assert study_findings(results) == ()
    assert verdict_counts(()) == {}
    read = read_claims(results, (), ())
    assert "no claims to decide" in "".join(read.text)


def test_the_ledger_stands_on_the_page_paper_by_paper(results):
    compared = sections(rank(results))
    book = ledger(results)
    view = literature_view(book, compared, Commands(results.path))
    assert view.summary == ledger_table(book).title
    assert any("noise alone" in note for note in view.notes)
    read = Reader(rendered("literature.html.j2", literature=view))
    head, *rows = read.tables()["ledger-thesis.csv"]
    own = [entry for entry in book.entries if entry.report.study == "thesis"]
    told = [line for line in lines(book) if line.entry in own]
    assert [row[0] for row in rows] == [line.entry.result.claim.id for line in told]
    columns = {name: [row[head.index(name)] for row in rows] for name in head}
    assert {"verdict", "effect", "seeds", "size", "standing", "drawn_in"} <= set(columns)
    assert columns["size"] == [line.entry.body.size for line in told]
    (full,) = [each for each in compared if not each.group.overrides]
    assert f"#{full.name}" in {attributes["href"] for tag, attributes in read.elements if tag == "a"}
    assert any(own[0].report.source in text for text in read.text)
    assert any(own[0].report.reading in text for text in read.text)
    others = {entry.report.study for entry in book.entries} - {"thesis"}
    assert {f"ledger-{name}.csv" for name in others} <= set(read.tables())


def test_a_study_that_decides_nothing_is_told_in_the_ledger_alone(results):
    """Others share runs with the founding study; tables without a verdict would say nothing."""
    shown = {each.study.name for each in study_findings(results, ledger(results))}
    assert "thesis" in shown
    for name in shown - {"thesis"}:
        report = decide_claims(results, find_study(name))
        assert any(result.verdict is not Verdict.NO_DATA for result in report.evidence.claims)
    assert "frankle2020" not in shown
