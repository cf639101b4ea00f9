r"""What lies on a disk does nothing to a terminal: control characters are shown, whichever way they come."""

from __future__ import annotations

import io
import json
import re

import click
import pytest

from bnbench.cli.output import Styled, print_document, say
from bnbench.data import digits
from bnbench.execution.listening import Notice, Outcome
from bnbench.printable import printable, printable_json, printable_lines
from bnbench.problem import find_problem, problem_files
from bnbench.progress import sweep_progress
from bnbench.storage.processes import this_process
from bnbench.storage.sweeps import SweepRecord, SweepRun, write_sweep
from support.command_line import invoke
from support.networks import run_spec
from support.synthetic_store import SyntheticRun, build_store

EVIL = "\x1b]0;title\x07\x1b[2J"
SHOWN = r"\x1b]0;title\x07\x1b[2J"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def run(seed, **fields):
    return SyntheticRun(
        "digits_mlp", "bn", seed, [0.1, 0.5, 0.7], size="tiny", fingerprint=digits.FINGERPRINT, **fields
    )


def said_by(*arguments, code=0):
    done = invoke(*arguments)
    assert done.exit_code == code, done.output
    said = done.stdout + done.stderr
    assert not OBEYED.search(said), ascii(said)
    return said


def damage(store, seed):
    """A run that is warned of, with the characters in the sentence."""
    (document,) = store.glob(f"*-s{seed}-*/run.json")
    document.write_text(json.dumps({**json.loads(document.read_text()), EVIL: 1}))


@pytest.fixture
def results(tmp_path):
    store = build_store(tmp_path / "runs", [run(42), run(43, error=f"ValueError: {EVIL}"), run(44)])
    damage(store, 44)
    return store


@pytest.mark.parametrize("name", ["status", "rank", "activity", "claims", "check"])
def test_a_warning_about_a_run(results, name):
    assert SHOWN in said_by(name, "--results", results, code=1 if name == "check" else 0)


def test_the_error_text_of_a_failed_run(results):
    assert f"failed: ValueError: {SHOWN}" in said_by("status", "--runs", "--results", results)


def test_the_error_text_of_a_run_that_failed_before(tmp_path):
    seed = find_problem("digits_mlp").problem("tiny").seeds[0]
    store = build_store(tmp_path / "runs", [run(seed, error=f"ValueError: {EVIL}")])
    asked = ("digits_mlp", "--size", "tiny", "--variant", "bn", "--epochs", 2, "--results", store)
    assert f"ValueError: {SHOWN}" in said_by("run", *asked, code=1)


def test_a_sweep_on_record(results):
    sweep = SweepRun(run_id="x-1", setting_id="x")
    write_sweep(results, SweepRecord(command=EVIL, process=this_process(), side_by_side=1, runs=(sweep,)))
    assert f"$ {SHOWN}" in said_by("status", "--results", results)


def test_names_of_files(tmp_path, monkeypatch):
    folder = tmp_path / EVIL
    assert SHOWN in said_by("rank", "--results", folder, code=2)
    problem = tmp_path / f"{EVIL}.toml"
    problem.touch()
    assert SHOWN in said_by("show", problem, code=2)
    monkeypatch.setenv("BNBENCH_DATA", str(folder))
    assert SHOWN in said_by("data", "list")
    assert SHOWN in said_by("data", "verify", "cifar10", code=2)
    store = build_store(folder / "runs", [run(42)])
    assert SHOWN in said_by("report", "--results", store)
    assert SHOWN in said_by("merge", store, "--results", folder / "merged")


def test_prose_of_a_problem_file(tmp_path):
    said = invoke("show", "digits_mlp").stdout
    assert said.startswith("digits_mlp  ")
    text = problem_files()["digits_mlp"].read_text()
    own = tmp_path / "own.toml"
    own.write_text(re.sub(r'^summary = ".*"$', r'summary = "\\u001b]0;title\\u0007\\u001b[2J"', text, flags=re.M))
    assert f"own  {SHOWN}\n" in said_by("show", own)


def test_what_was_typed(tmp_path):
    assert SHOWN in said_by("rank", "--size", EVIL, "--results", tmp_path, code=2)
    assert SHOWN in said_by(EVIL, code=2)
    assert SHOWN in said_by("show", EVIL, code=2)


def test_a_document_is_what_it_is_unless_a_terminal_reads_it(monkeypatch, capsys):
    print_document(f"a,{EVIL}\n")
    assert capsys.readouterr().out == f"a,{EVIL}\n"

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    print_document(f"a,{EVIL}\n")
    assert terminal.getvalue() == f"a,{SHOWN}\n"
    say(Styled(f"b{EVIL}", bold=True), "\nc")
    assert terminal.getvalue().endswith(click.style(f"b{SHOWN}", bold=True) + "\nc\n")


def test_json_says_the_same_in_escapes():
    value = {EVIL: ["\x9b2J", "\u202e", "γ\n", "\x7f"]}
    text = printable_json(json.dumps(value, indent=1, ensure_ascii=False))
    assert not OBEYED.search(text)
    assert json.loads(text) == value


def test_lines_stay_lines_only_where_that_is_meant():
    assert printable("a\nb\tc\r") == r"a\nb\tc\r"
    assert printable_lines("a\nb\tc\u2028") == "a\nb\\tc\\u2028"


@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "bars"])
def test_what_is_said_while_runs_are_trained(terminal, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return terminal

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    spec = run_spec()
    display = sweep_progress()
    display.notice(Notice(EVIL, warning=True))
    display.begins([spec])
    display.started(spec)
    display.notice(Notice(f"a\n{EVIL}"))
    display.event(spec, Notice(EVIL))
    display.ended(spec, Outcome(spec.run_id, "failed", error=f"ValueError: {EVIL}"))
    display.ends()
    said = screen.getvalue()
    assert EVIL not in said
    assert "\x1b]" not in said
    for line in (f"Warning: {SHOWN}", rf"a\n{SHOWN}", f": {SHOWN}", f"FAILED: ValueError: {SHOWN}"):
        assert line in said.replace("\n", ""), "a terminal's lines are wrapped"
