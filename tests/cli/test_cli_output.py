"""What commands print where: every form of a table, into pipes, on narrow terminals, on those that know few signs."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import termios
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from bnbench.cli import main
from support.command_line import command, invoke
from support.synthetic_store import SyntheticRun, build_store

STEPS = [0, 10, 20]
AFFINE = {("conv1", "gamma"): (STEPS, [[1.0, 1.0], [1.2, 0.9], [1.5, 0.5]])}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    runs = [
        SyntheticRun("digits_3c3d", variant, seed, [0.1, level, level + 0.001 * seed], affine=affine)
        for variant, level, affine in (("vanilla", 0.5, {}), ("bn_gamma", 0.7, AFFINE), ("bn_gamma_beta", 0.8, {}))
        for seed in (42, 43, 44)
    ]
    failed = SyntheticRun("digits_3c3d", "bn", 42, [0.1], epochs=2, error="ValueError: γ is \x1b[31mred")
    return build_store(tmp_path_factory.mktemp("results") / "runs", [*runs, failed])


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


TABLES = {
    "rank": "final_train_accuracy",
    "activity": "magnitude",
    "claims": "standing",
    "claims --study thesis": "decided_on",
    "status": "finished",
    "list": "placement",
}
"""A command, and a column of its table."""


def arguments(name, store):
    return (name,) if name == "list" else (*name.split(), "--results", store)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_every_form(name, store):
    given = arguments(name, store)
    forms = {form: invoke(*given, "--format", form) for form in ("text", "json", "csv", "latex", "html")}
    assert {form: done.exit_code for form, done in forms.items()} == dict.fromkeys(forms, 0)
    assert forms["text"].stdout == invoke(*given).stdout
    assert json.loads(forms["json"].stdout) == json.loads(invoke(*given, "--json").stdout)
    assert all(TABLES[name] in row for row in rows_of(forms["csv"].stdout))
    assert forms["latex"].stdout.count(r"\toprule") == forms["latex"].stdout.count(r"\bottomrule") > 0
    HTMLParser().feed(forms["html"].stdout)
    assert f'data-name="{TABLES[name]}"' in forms["html"].stdout


@pytest.mark.parametrize("name", TABLES)
def test_two_forms_at_once_are_a_mistake(name, store):
    done = invoke(*arguments(name, store), "--json", "--format", "csv")
    assert done.exit_code == 2
    assert "two forms of the same table" in done.stderr


def test_the_form_of_json_is_that_of_the_ranking(store):
    (row, *_) = rows_of(invoke("rank", "--format", "csv", "--results", store).stdout)
    (group,) = json.loads(invoke("rank", "--json", "--results", store).stdout)["groups"]
    assert float(row["final_train_accuracy"]) == group["variants"][0]["final_train_accuracy"]["mean"]
    assert row["setting_id"] == group["setting_id"]


@pytest.mark.parametrize("name", ["status", "rank", "activity", "claims", "list", "data list", "plan", "study"])
def test_a_pipe_has_no_width(name, store, monkeypatch):
    """COLUMNS is for terminals; into a pipe nothing is cut, folded or left out."""
    given = {
        "status": ("status", "--runs"),
        "plan": ("plan", "digits_mlp"),
        "study": ("study", "thesis", "--dry-run"),
        "data list": ("data", "list"),
    }.get(name, (name,))
    given = given if name in {"list", "data list"} else (*given, "--results", store)
    whole = invoke(*given)
    monkeypatch.setenv("COLUMNS", "20")
    assert (whole.exit_code, invoke(*given).stdout) == (0, whole.stdout)
    assert "…" not in whole.stdout
    assert "left out for width" not in whole.stdout


def test_what_comes_from_the_disk_does_nothing_to_the_terminal(store):
    shown = invoke("status", "--runs", "--results", store).stdout
    assert "failed: ValueError: γ is \\x1b[31mred" in shown


def on_a_terminal(width, *words, **environment):
    """What a command prints on a terminal of so many columns, with its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, width, 0, 0))
    own = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        command(*words), stdout=theirs, stderr=subprocess.DEVNULL, env={**own, "TERM": "dumb", **environment}
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    return b"".join(pieces).decode().replace("\r\n", "\n"), process.wait()


def test_a_narrow_terminal_shows_whole_numbers_and_whole_identifiers(store):
    text, code = on_a_terminal(40, "status", "--runs", "--results", store)
    assert code == 0
    assert {path.name for path in store.iterdir() if path.is_dir()} <= set(text.split())
    text, code = on_a_terminal(40, "list", "cifar100_allcnnc")
    assert code == 0
    assert max(map(len, text.splitlines())) <= 40
    assert text.splitlines()[1].split() == ["cifar100_allcnnc", "hidden", "(default)", "0.1658"]
    assert "left out for width: width, batch, epochs, ℓ2" in " ".join(text.split())


ENCODINGS = [
    ("ascii", "rank", ("BN_gamma,beta ^", "- vanilla")),
    ("latin-1", "activity", ("BN_gamma", "±")),
    ("cp1252", "show digits_mlp", ("BN_gamma,beta", "×")),
    ("ascii", "status --runs", ("ValueError: gamma is", "failed")),
    ("ascii", "claims --study thesis", ("BN_gamma", "delta = 0.01")),
    ("ascii", "list", ("l2", "x0.25")),
    ("ascii", "--help", ("gamma/beta", "Commands")),
]


@pytest.mark.parametrize(("encoding", "words", "needles"), ENCODINGS)
def test_a_terminal_that_cannot_show_the_signs_gets_their_names(encoding, words, needles, store):
    results = ("--results", str(store)) if words.split()[0] in TABLES.keys() - {"list"} else ()
    done = CliRunner(charset=encoding).invoke(main, [*words.split(), *results], prog_name="bnbench")
    assert done.exit_code == 0, done.exception
    shown = done.stdout_bytes.decode(encoding)
    assert all(needle in shown for needle in needles)
    done.stderr_bytes.decode(encoding)


@pytest.mark.parametrize(
    ("words", "code", "needle"),
    [(("show", "digits_mlp"), 0, "BN_gamma,beta"), (("show", "γ", "--size", "tiny"), 2, "'gamma'")],
)
def test_a_process_of_its_own_does_so_too(words, code, needle):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command(*words), capture_output=True, timeout=120, env=environment, check=False)
    assert done.returncode == code
    assert needle in (done.stdout + done.stderr).decode("ascii")
    assert b"Traceback" not in done.stderr


def test_json_loses_no_sign_where_few_are_known(store):
    done = CliRunner(charset="ascii").invoke(main, ["rank", "--json", "--results", str(store)])
    (group,) = json.loads(done.stdout_bytes.decode("ascii"))["groups"]
    assert group["variants"][0]["symbol"] == "BN_γ,β"
