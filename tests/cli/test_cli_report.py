"""`bnbench report`: where it writes, what it prints, and how it refuses."""

from __future__ import annotations

import pytest

from support.command_line import invoke
from support.synthetic_store import build_store, grid


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "runs"
    return build_store(folder, grid(["digits_mlp"], ["vanilla", "bn"], [42], lambda *_: [0.1, 0.5, 0.9]))


def test_it_writes_into_the_results_folder_and_says_where(store):
    done = invoke("report", "--results", store)
    assert done.exit_code == 0, done.output
    page = store / "report.html"
    assert done.stdout.startswith(f"{page} (")
    assert page.read_bytes().startswith(b"<!doctype html>")
    # The report is no run, and a second one takes its place.
    first = page.read_bytes()
    assert invoke("report", "--results", store).exit_code == 0
    assert page.read_bytes() == first


def test_it_writes_where_it_is_told(store, tmp_path):
    done = invoke("report", "--results", store, "--output", tmp_path / "here.html")
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["here.html"]


@pytest.mark.parametrize("where", ["missing/here.html", "file/here.html"])
def test_a_file_that_cannot_be_written_is_a_message(store, tmp_path, where):
    (tmp_path / "file").write_text("a file, not a folder")
    done = invoke("report", "--results", store, "--output", tmp_path / where)
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr
    assert "--output" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_results_nothing_is_written(tmp_path):
    done = invoke("report", "--results", tmp_path, "--output", tmp_path / "here.html")
    assert done.exit_code == 2
    assert "no results" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_help_has_an_example():
    assert "bnbench report --results results/runs/demo" in invoke("report", "--help").stdout
