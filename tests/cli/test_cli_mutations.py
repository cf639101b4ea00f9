"""Odd values in one run.json: no traceback, no refusal of the rest. A fixed sample of tests/mutations.py."""

import json
import random
import shutil

import pytest

from bnbench.analysis.frames import open_results
from bnbench.identity import run_id_of, setting_id_of
from support.command_line import invoke
from support.mutations import COMPARED, GONE, SURVIVING, Mutation, Target, mutations

# What was seen to be refused, or believed: a wrong type, a missing key, an odd value inside `spec`, a hand edit.
SEEN = (
    Mutation(("data_origin",), "yes"),
    Mutation(("spec", "training", "epochs"), GONE),
    Mutation(("spec", "training", "learning_rate"), 0.9),
    Mutation(("spec", "variant", "beta"), "learned"),
    Mutation(("spec", "seed"), 7),
    Mutation(("problem",), "digits_3c3d"),
    Mutation(("tables", "affine", "sha256"), "ab" * 32),
    Mutation(("schema",), 1),
)
DRAWN = 6


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return Target(tmp_path_factory.mktemp("mutations"))


@pytest.mark.parametrize("mutation", SEEN, ids=str)
def test_what_was_once_refused_or_believed_is_that_runs_trouble_alone(target, mutation):
    for command in (*COMPARED, "status", "status --runs", "status --json", "check"):
        assert target.wrong(mutation, command) is None, command
    assert target.merged(mutation) is None


@pytest.mark.long
def test_a_sample_of_all_places_and_values(target):
    chance = random.Random(2026)
    every = mutations(target.document)
    assert len({mutation.where for mutation in every}) > 70
    for mutation in chance.sample(every, DRAWN):
        for command in (*COMPARED, *SURVIVING):
            assert target.wrong(mutation, command) is None, f"{command}: {mutation}"
        assert target.merged(mutation) is None, str(mutation)


def test_the_commands_that_are_asked_come_to_their_end_without_a_mutation(target):
    for command in {**COMPARED, **SURVIVING}:
        result = target.call({**COMPARED, **SURVIVING}[command])
        assert result.exit_code in (0, 1), f"{command}: {result.output}"
        assert result.exception is None or isinstance(result.exception, SystemExit), command
    assert target.as_it_was != target.without


def test_a_specification_that_was_forged_with_its_ids_is_betrayed_by_the_tables(target, tmp_path):
    results = shutil.copytree(target.results, tmp_path / "results")
    document = json.loads(json.dumps(target.document))
    document["spec"]["training"]["learning_rate"] = 0.9
    document["spec"]["seed"] = 7
    document["run_id"] = run_id_of(document["spec"], document["placement"])
    document["setting_id"] = setting_id_of(document["spec"])
    forged = results / document["run_id"]
    (results / target.victim.name).rename(forged)
    (forged / "run.json").write_text(json.dumps(document), encoding="utf-8")
    (warning,) = open_results(results).warnings
    assert "curves.parquet does not belong to the run that its run.json describes" in warning
    ranked = invoke("rank", "--results", results)
    assert ranked.exit_code == 0
    assert "0.9" not in ranked.stdout
    merged = invoke("merge", results, "--results", tmp_path / "here")
    assert merged.exit_code == 1
    assert f"damaged  {forged.name}" in merged.stdout
    assert not (tmp_path / "here" / forged.name).exists()
