"""The record of what was submitted, and what squeue makes of it."""

from __future__ import annotations

import pytest

from bnbench.execution.slurm.queue import (
    CLUSTER_FOLDER,
    Element,
    Submission,
    in_queue,
    look_at_queue,
    read_submissions,
    write_submission,
)

ARRAY = Submission(name="bnbench-0a", elements={"12_0": ("run-a", "run-b"), "12_1": ("run-c",), "12_2": ("run-d",)})
ALONE = Submission(name="bnbench-0b", elements={"13": ("run-e",)})


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Puts a program called squeue on the path that prints what it is told, and notes how it was called."""

    def install(answer: str, code: int = 0):
        program = tmp_path / "bin" / "squeue"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho \"$@\" > '{tmp_path}/called'\ncat <<'END'\n{answer}\nEND\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return tmp_path / "called"

    return install


def test_records_come_back_as_they_were_written(tmp_path):
    for submission in (ALONE, ARRAY):
        write_submission(tmp_path, submission)
    assert read_submissions(tmp_path) == ([ARRAY, ALONE], [])
    assert read_submissions(tmp_path / "nowhere") == ([], [])


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"record": 2}', b"\xff"])
def test_a_damaged_record_is_a_warning_and_hides_no_other(text, tmp_path):
    write_submission(tmp_path, ALONE)
    (tmp_path / CLUSTER_FOLDER / "bnbench-aa.json").write_bytes(text)
    found, (warning,) = read_submissions(tmp_path)
    assert found == [ALONE]
    assert "bnbench-aa.json" in warning


def test_states_come_from_squeue_and_what_it_does_not_list_has_left_the_queue(squeue):
    called = squeue(
        "bnbench-0a|12_1|PENDING|Resources\nbnbench-0a|12_0|RUNNING|None\n"
        "someone-else|12_2|RUNNING|None\nbnbench-0b|13|PENDING|(Nodes required | down)"
    )
    elements = look_at_queue([ARRAY, ALONE])
    assert elements == [
        Element("12_0", ("run-a", "run-b"), "RUNNING", submission="bnbench-0a"),
        Element("12_1", ("run-c",), "PENDING", "Resources", "bnbench-0a"),
        Element("12_2", ("run-d",), None, submission="bnbench-0a"),
        Element("13", ("run-e",), "PENDING", "(Nodes required | down)", "bnbench-0b"),
    ]
    assert set(in_queue(elements)) == {"run-a", "run-b", "run-c", "run-e"}
    assert in_queue(elements)["run-b"].job_id == "12_0"
    assert "--name=bnbench-0a,bnbench-0b" in called.read_text()


def test_nothing_is_known_where_squeue_fails_or_is_missing(squeue, monkeypatch):
    squeue("slurm_load_jobs error: Unable to contact slurm controller", code=1)
    assert look_at_queue([ALONE]) is None
    monkeypatch.setenv("PATH", "")
    assert look_at_queue([ALONE]) is None
    assert look_at_queue([]) == []
