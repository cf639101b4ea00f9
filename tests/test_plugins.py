"""Plug-in files: which rows they give, what is refused, and what the tables say of them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

import bnbench
from bnbench import plugins
from bnbench.components.normalisers import NORMALISERS
from bnbench.components.variants import VARIANTS
from bnbench.errors import UserError
from bnbench.plugins import load_again, load_plugin, loaded_plugins
from bnbench.registry import RowSource
from bnbench.report.figures.registry import FIGURES
from support.command_line import invoke
from support.plugin_files import forgetting, normaliser, write

__all__ = ["forgetting"]
pytestmark = pytest.mark.usefixtures("forgetting")


def test_every_row_at_the_level_of_the_module_is_in_its_table(tmp_path):
    source = """
        from dataclasses import replace
        from bnbench.components.normalisers import NORMALISERS
        from bnbench.report.figures.registry import FIGURES
        from bnbench.components.variants import VARIANTS

        bn = VARIANTS.get("bn")
        half = bn.replace(name="half", gamma={"initial": 0.5})
        again = half
        _private = bn.replace(name="private", gamma={"initial": 0.5})
        quiet = replace(NORMALISERS.get("layer"), name="quiet")
        norms = replace(FIGURES.get("curves"), name="norms")
        number = 3
    """
    path = write(tmp_path, source)
    file = load_plugin(path)
    assert file == load_plugin(path) and loaded_plugins() == (file,), "once is enough"
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert VARIANTS.names()[-1] == "half" and "private" not in VARIANTS
    assert VARIANTS.get("bn").name == "bn", "what a file only imports is nobody else's"
    assert VARIANTS.get("half").gamma.initial == 0.5
    assert NORMALISERS.get("quiet").title == NORMALISERS.get("layer").title
    assert FIGURES.get("norms").title == FIGURES.get("curves").title
    assert VARIANTS.is_third_party("half") and not VARIANTS.is_of_session("half")
    assert VARIANTS.source("half") == RowSource("mine.py", sha256=file.sha256)
    assert VARIANTS.source("bn") is None and VARIANTS.source("nobody") is None
    with pytest.raises(UserError, match=r"'half' is there already"):
        VARIANTS.register_for_session(VARIANTS.get("bn").replace(name="half"))


def test_a_file_that_has_changed_is_read_anew_in_the_same_session(tmp_path):
    path = write(tmp_path, normaliser(more=", revision=1"))
    bnbench.use_plugins([path])
    before = NORMALISERS.get("own")
    write(tmp_path, normaliser(more=", revision=2"))
    bnbench.use_plugins([path])
    assert (before.revision, NORMALISERS.get("own").revision) == (1, 2)
    assert len(loaded_plugins()) == 1


def test_who_loads_what_another_process_has_loaded_gets_that_or_a_message(tmp_path, monkeypatch):
    path = write(tmp_path, normaliser())
    file = load_plugin(path)
    monkeypatch.setattr(plugins, "_loaded", {})
    load_again([file])
    assert loaded_plugins() == (file,)
    monkeypatch.setattr(plugins, "_loaded", {})
    write(tmp_path, normaliser("return x"))
    with pytest.raises(UserError, match=r"plug-in 'mine.py' changed after the runs were planned: its SHA-256 was"):
        load_again([file])
    path.unlink()
    with pytest.raises(UserError, match=r"cannot be read: No such file[^\n]*\nWhoever trains, a worker here or a job"):
        load_again([file])
    assert loaded_plugins() == ()


REFUSED = {
    "no file": (None, "cannot be read: No such file"),
    "no Python": ("def build(:", r"'mine.py' cannot be loaded: SyntaxError: [^\n]*\nIn line 1 of "),
    "no licence": ("import sys\nraise RuntimeError('no licence')", r"RuntimeError: no licence\nIn line 2 of "),
    "an exit": ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
    "no row": ("number = 3", "'mine.py' has no row: nothing at the level of its module"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_used_is_one_message_and_exit_code_2(case, tmp_path):
    source, told = REFUSED[case]
    path = tmp_path / "mine.py" if source is None else write(tmp_path, source)
    with pytest.raises(UserError, match=told):
        load_plugin(path)
    assert loaded_plugins() == () and "bnbench_plugin_mine" not in sys.modules
    done = invoke("run", "digits_mlp", "--plugin", path, "--results", tmp_path / "results")
    assert done.exit_code == 2 and done.stderr.startswith("Error: plug-in ")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["mine.txt", "my-norm.py", "1st.py"])
def test_a_name_that_no_module_could_have_is_refused(name, tmp_path):
    write(tmp_path, normaliser(), name)
    with pytest.raises(UserError, match=r"the name of a Python file is needed, of letters, digits and underscores"):
        load_plugin(tmp_path / name)


def test_two_files_of_one_name_and_two_rows_of_one_name_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    load_plugin(write(tmp_path, normaliser()))
    with pytest.raises(UserError, match=r"two plug-ins are called mine.py"):
        load_plugin(write(tmp_path / "other", normaliser()))
    load_plugin(write(tmp_path, normaliser("return x"), "yours.py"))
    with pytest.raises(UserError, match=r"normaliser 'own' is offered by plug-in 'mine.py' and plug-in 'yours.py'"):
        NORMALISERS.get("own")
    greedy = 'from bnbench.components.variants import VARIANTS\nbn = VARIANTS.get("bn_gamma").replace(name="bn")'
    load_plugin(write(tmp_path, greedy, "greedy.py"))
    with pytest.raises(UserError, match=r"variant 'bn' is offered by bnbench itself and plug-in 'greedy.py'"):
        VARIANTS.get("bn")
    assert VARIANTS.get("bn_gamma").name == "bn_gamma"


def test_a_row_is_held_to_what_a_package_s_is_and_breaks_its_own_name_only(tmp_path):
    source = """
        from dataclasses import replace
        from bnbench.components.variants import VARIANTS, AffineRule, Variant

        good = VARIANTS.get("bn").replace(name="good")
        typo = replace(good, name="typo", gamma=AffineRule("learnd", 1.0))
        loud = replace(good, name="Loud Name")

        class Fancy(Variant):
            pass

        fancy = Fancy("fancy", "F", "another", "batch", good.gamma, good.beta)
    """
    load_plugin(write(tmp_path, source))
    assert VARIANTS.get("good").name == "good"
    with pytest.raises(UserError, match=r"variant 'typo' of plug-in 'mine.py' cannot be used: .*status = 'learnd'"):
        VARIANTS.get("typo")
    with pytest.raises(UserError, match=r"variant 'Loud Name' of plug-in 'mine.py' cannot be used: not a plain name"):
        VARIANTS.get("Loud Name")
    with pytest.raises(UserError, match=r"variant 'fancy' of plug-in 'mine.py' is a Fancy, not a Variant"):
        VARIANTS.get("fancy")
    shown = invoke("list", "--variants", "--plugin", tmp_path / "mine.py", "typo", "good")
    assert shown.exit_code == 0
    assert "cannot be used: variant 'typo' of plug-in" in shown.stdout and "mine.py" in shown.stdout


COMMANDS = (
    "run", "plan", "study", "estimate", "show", "list", "rank", "activity", "report", "plot", "claims", "check",
    "status", "merge", "doctor",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_option_comes_before_everything_else(command, tmp_path):
    done = invoke(command, "--plugin", tmp_path / "none.py")
    assert (done.exit_code, "none.py' cannot be read" in done.stderr) == (2, True)
    assert "--plugin FILE.py" in invoke(command, "--help").stdout


def test_show_and_plan_know_the_rows_of_a_file_from_any_folder(tmp_path, monkeypatch):
    write(tmp_path, normaliser())
    monkeypatch.chdir(tmp_path)
    shown = invoke("show", "digits_mlp", "--variant", "own_gamma_beta", "--plugin", "mine.py")
    assert shown.exit_code == 0, shown.output
    planned = bnbench.plan("digits_mlp", "own_gamma_beta", size="tiny", results=tmp_path / "r", plugins=["mine.py"])
    assert list(planned["variant"]) == ["own_gamma_beta"]
    assert Path("mine.py").absolute() == loaded_plugins()[0].path


def test_a_path_s_name_is_in_no_id(tmp_path, monkeypatch):
    ids = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(plugins, "_loaded", {})
        source = normaliser() + ("" if folder == "a" else "# another state\n")
        own = write(tmp_path / folder, source)
        planned = bnbench.plan("digits_mlp", "own_gamma_beta", size="tiny", results=tmp_path, plugins=[own])
        ids += list(planned["run_id"])
    assert ids[0] == ids[1]
