"""A path means the same wherever a person gives it, and what means nothing is refused before anything is written."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bnbench import open_results
from bnbench.cli import main
from bnbench.cli.path_type import GivenPath
from bnbench.data.store import data_home
from bnbench.errors import UserError
from bnbench.paths import given_path
from bnbench.problem import find_problem
from bnbench.shipped import shipped_folder
from bnbench.study import find_study, read_study
from support.command_line import command, invoke

TINY = ("run", "digits_mlp", "--size", "tiny", "--device", "cpu", "--variant", "bn", "--epochs", 1)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and a working directory elsewhere."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    return home


def test_a_tilde_is_the_home_folder_for_whoever_writes_and_whoever_reads(home):
    assert invoke(*TINY, "--results=~/x").exit_code == 0
    assert len(list((home / "x").glob("*/run.json"))) == 1
    for asked in (("status",), ("rank", "--size", "tiny"), ("report", "--output=~/page.html")):
        assert invoke(*asked, "--results=~/x").exit_code == 0
    assert (home / "page.html").exists()
    assert invoke("merge", "~/x", "--results=~/y").exit_code == 0
    assert len(open_results("~/y").records) == len(open_results(home / "x").records) == 1
    assert list(Path.cwd().iterdir()) == []


def test_a_tilde_in_the_name_of_a_file_is_the_home_folder(home, monkeypatch):
    shutil.copy(shipped_folder("problems") / "digits_mlp.toml", home / "mine.toml")
    assert find_problem("~/mine.toml").path == home / "mine.toml"
    assert invoke("show", "~/mine.toml").exit_code == 0
    (home / "own.toml").write_text('extends = "~/base.toml"\n')
    (home / "base.toml").write_text('extends = "thesis"\n')
    assert find_study("~/own.toml").experiments == read_study(home / "base.toml").experiments
    monkeypatch.setenv("BNBENCH_DATA", "~/data")
    assert data_home() == home / "data"
    assert given_path("./~", "it") == Path.cwd() / "~", "a name like any other, where it is meant"


def path_parameters(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Parameter]]:
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from path_parameters(found, ctx)
        yield from ((name, each) for each in found.params if isinstance(each.type, click.Path | click.File))


def test_every_path_of_the_command_line_is_read_in_one_way():
    found = list(path_parameters(main, click.Context(main)))
    assert {name for name, _ in found} >= {"run", "study", "check", "report", "plot", "merge", "import", "update"}
    assert [f"{name} {each.name}" for name, each in found if not isinstance(each.type, GivenPath)] == []


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ((*TINY, "--results", ""), "--results"),
        ((*TINY, "--executor", "slurm", "--cluster", ""), "--cluster"),
        (("check", "--results", ""), "--results"),
        (("check", "--reference", ""), "--reference"),
        (("reference", "update", "--from", ""), "--from"),
        (("plot", "--output", ""), "--output"),
        (("report", "--output="), "--output"),
        (("merge", ""), "the path"),
        (("data", "import", "cifar10", ""), "the path"),
    ],
)
def test_an_empty_path_is_refused(home, asked, what):
    result = invoke(*asked)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"Error: {what} is empty; is a variable unset?\n"
    assert list(Path.cwd().iterdir()) == []


def test_paths_that_mean_nothing_are_refused_in_python_too(home):
    with pytest.raises(UserError, match="is empty; is a variable unset"):
        open_results("")
    with pytest.raises(UserError, match=r"no home folder ~nobody-of-that-name"):
        open_results("~nobody-of-that-name/results")
    assert invoke("status", "--results", "~nobody-of-that-name/x").exit_code == 2


def from_nowhere(folder: Path, *commands: list[str]) -> subprocess.CompletedProcess[str]:
    """What commands do in a working directory that has been removed."""
    (folder / "gone").mkdir()
    lines = ["cd gone", "rmdir ../gone", *map(shlex.join, commands)]
    return subprocess.run(["sh", "-c", " && ".join(lines)], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_a_working_directory_that_is_gone_bothers_absolute_paths_only(tmp_path):
    results = ("--results", tmp_path / "results")
    done = from_nowhere(tmp_path, command(*TINY, *results), command("report", *results))
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("results/*/run.json"))) == 1
    assert (tmp_path / "results" / "report.html").exists()
    done = from_nowhere(tmp_path, command(*TINY, "--results", "here"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: --results 'here' leads nowhere: the working directory has been removed\n")
    assert not Path("/here").exists()
