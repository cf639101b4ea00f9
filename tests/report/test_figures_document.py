from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bnbench.cli.plot_command import command
from bnbench.report.figures.registry import FIGURES
from support.figure_runs import run
from support.synthetic_store import build_store

DOCUMENT = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")


def test_the_table_lists_every_kind():
    cells = [line.split("|")[1] for line in DOCUMENT.splitlines() if line.startswith("| `")]
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == sorted(
        FIGURES, key=[
            *("curves", "difference", "gamma", "beta", "activity", "heatmap", "disabled", "sparsity", "activations"),
            *("landscape", "smoothness", "covariate_shift", "spectrum", "eigenvalues", "families"),
            *("rank", "profile", "sensitivity"),
        ].index
    )  # fmt: skip


@pytest.mark.parametrize("line", re.findall(r"^    bnbench plot (.+)$", DOCUMENT, re.M))
def test_the_commands_have_options_that_exist(line):
    context = command.make_context("plot", shlex.split(line, comments=True))
    assert (
        context.params["listing"]
        or context.params["numbers"]
        or context.params["kinds"]
        or context.params["everything"]
    )
    assert set(context.params["kinds"]) <= set(FIGURES)


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build_store(Path("results/runs"), [run("vanilla", 42, size="tiny", affine={})])
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    exec(compile(example, "docs/figures.md", "exec"), {})
    assert Path("mine.pdf").read_bytes().startswith(b"%PDF")
    assert "missing: BN; BN_β; BN_γ; BN_γ,β" in capsys.readouterr().out
