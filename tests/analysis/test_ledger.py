"""The ledger of every study's claims, on made-up runs of the founding study."""

import pytest

from analysis.test_claims import SEEDS, results, scenario
from bnbench.analysis.claims.ledger import every_study, ledger, ledger_json, ledger_table, lines, study_with
from bnbench.analysis.claims.tables import body_table
from bnbench.errors import UserError
from bnbench.study import find_study
from support.made_up_results import MadeUpResults

THESIS = find_study("thesis")


def cells(table, claim):
    names = [column.name for column in table.columns]
    (row,) = [row for row in table.rows if row[names.index("claim")] == claim]
    return dict(zip(names, row, strict=True))


def test_a_decided_claim_has_verdict_effect_seeds_and_size():
    book = ledger(scenario("c1", 0), [THESIS])
    row = cells(ledger_table(book), "c1")
    assert (row["study"], row["verdict"].value, row["seeds"], row["size"]) == ("thesis", "holds", len(SEEDS), "full")
    assert "early accuracy: cifar10_3c3d BN_γ,β > vanilla" in row["effect"]
    assert "[" in row["effect"]
    assert row["standing"] == "published"


def test_the_counts_and_what_noise_alone_would_do():
    book = ledger(results(), [THESIS])
    decided = [each for each in book.reports[0].evidence.claims if each.verdict in {"holds", "refuted"}]
    assert len(book.decided) == len(decided) > 5
    table = ledger_table(book)
    assert table.title.startswith(f"28 claims of 1 study, {len(decided)} decided")
    assert f"let about {0.025 * len(decided):.1f} hold and refute about" in table.notes[-1]
    assert ledger_json(book)["expected_by_noise"]["holds"] == pytest.approx(0.025 * len(decided))


def test_other_copies_of_the_data_are_said_to_be_no_evidence():
    book = ledger(results(origin="other copy"), [THESIS])
    assert book.decided == ()
    row = cells(ledger_table(book), "c1")
    assert str(row["verdict"].value).startswith("would")
    assert row["size"].shown == "not the official data"


def test_exploratory_claims_have_no_verdict_and_a_reading_of_ours_is_named():
    claims = tuple(
        claim.model_copy(update={"standing": {"c1": "exploratory", "c2": "our operationalisation"}.get(claim.id)})
        if claim.id in {"c1", "c2"}
        else claim
        for claim in THESIS.claims
    )
    book = ledger(scenario("c1", 0), [THESIS.model_copy(update={"claims": claims})])
    table = ledger_table(book)
    assert cells(table, "c1")["verdict"].value == "no verdict"
    assert "early accuracy" in cells(table, "c1")["effect"]
    assert all(each.result.claim.id != "c1" for each in book.decided)
    counted = [
        body_table(report, report.evidence).title
        for report in (book.reports[0], ledger(scenario("c1", 0), [THESIS]).reports[0])
    ]
    assert counted[0].endswith(", 1 no verdict")
    assert counted[1].endswith(" no data")  # no claim is exploratory: none is counted as without a verdict
    (second,) = [each for each in book.reports[0].evidence.claims if each.claim.id == "c2"]
    assert second.notes[0].startswith("our operationalisation")


def test_a_claim_over_several_problems_has_no_verdict_until_there_are_runs_of_all():
    whole = scenario("c20", 0)
    kept = [run for run in whole._runs.values() if run.spec.problem != "cifar100_allcnnc"]
    for made_up, expected in ((whole, "holds"), (MadeUpResults(kept), "no data")):
        (result,) = [each for each in ledger(made_up, [THESIS]).reports[0].evidence.claims if each.claim.id == "c20"]
        assert result.verdict == expected


def test_below_a_claim_over_several_problems_stands_what_each_part_says():
    whole = scenario("c17", 0)
    kept = [run for run in whole._runs.values() if run.spec.problem != "cifar100_allcnnc"]
    for made_up, said in ((whole, "activity of γ"), (MadeUpResults(kept), "parts have data")):
        book = ledger(made_up, [THESIS])
        table = ledger_table(book)
        names = [column.name for column in table.columns]
        verdict, effect = names.index("verdict"), names.index("effect")
        (first,) = [number for number, row in enumerate(table.rows) if row[1] == "c17"]
        assert said in table.rows[first][effect]
        (result,) = [each.result for each in book.entries if each.result.claim.id == "c17"]
        parts = table.rows[first + 1 : first + 1 + len(result.with_data)]
        assert [row[1].value for row in parts] == ["c17"] * len(parts)
        assert [row[verdict].value for row in parts] == [str(each.decision.verdict) for each in result.with_data]
        assert [line.run_ids for line in lines(book) if line.part is not None and line.entry.result is result] == [
            each.run_ids for each in result.with_data
        ]
        assert len(table.rows) == len(lines(book))
    assert "c17" not in [each.result.claim.id for each in book.decided]


def test_smaller_runs_replace_nothing_that_full_ones_say_of_some_of_the_problems():
    tiny = scenario("c17", 0, size="tiny", origin="embedded")._runs.values()
    full = [run for run in scenario("c17", 0)._runs.values() if run.spec.problem != "cifar100_allcnnc"]
    book = ledger(MadeUpResults([*full, *tiny]), [THESIS])
    (entry,) = [each for each in book.entries if each.result.claim.id == "c17"]
    assert entry.is_evidence and entry.result.verdict == "no data"
    assert entry.result.with_data


def test_the_study_of_a_claim():
    assert study_with(["c8"]).name == "thesis"
    assert "thesis_code" not in [study.name for study in every_study()]
    with pytest.raises(UserError, match="unknown claim 'c99'"):
        study_with(["c99"])
