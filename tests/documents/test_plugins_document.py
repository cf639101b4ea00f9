"""docs/plugins.md: its files are written and its commands run, and they print what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bnbench.execution.components import REGISTRIES
from bnbench.execution.doctor.checks import CHECKS, USE
from bnbench.report.figures.registry import FIGURES
from support.command_line import invoke
from support.plugin_files import forgetting

TEXT = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
__all__ = ["forgetting"]


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [text for each, text in found if each == language]


def test_the_page_names_every_check_and_every_group_of_entry_points():
    named = re.findall(r"^\| ([a-z][^|]*) \|", TEXT.partition("## What the doctor")[2], re.MULTILINE)
    assert named == ["check", USE, *CHECKS]
    groups = {registry._group for registry in (*REGISTRIES.values(), FIGURES)}
    assert groups == set(re.findall(r"`(bnbench\.[a-z_]+s)`", TEXT.partition("**In a package.**")[2]))
    assert groups == {f"bnbench.{name}" for name in (*REGISTRIES, "figures")}


@pytest.mark.usefixtures("forgetting")
def test_the_page_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for text in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", text)
        assert name is not None
        Path(name[1]).write_text(text, encoding="utf-8")
    exec(compile(Path("make_stripes.py").read_text(), "make_stripes.py", "exec"), {})
    (problem,) = blocks("toml")
    Path("stripes_small_net.toml").write_text(problem, encoding="utf-8")
    for block in blocks(""):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, documented = command.partition("\n")
            if line.startswith("echo"):
                with Path("centring.py").open("a", encoding="utf-8") as file:
                    file.write(f"{shlex.split(line)[1]}\n")
                continue
            done = invoke(*shlex.split(line.removeprefix("bnbench ")))
            pieces = [re.escape(piece) for piece in documented.rstrip("\n").split("…")]
            assert re.search(".*".join(pieces), done.output, re.DOTALL), f"$ {line}\n{done.output}"
            assert done.exit_code == (2 if documented.startswith("Error: ") else 0)
    assert len(list(tmp_path.glob("results/runs/*/run.json"))) == 3
    assert "<html" in Path("stripes.html").read_text(encoding="utf-8")
