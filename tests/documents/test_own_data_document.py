"""docs/own-data.md: its files are written and its commands run, and they print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bnbench.data.npz import ARRAYS_LIMIT
from bnbench.data.own_arrays import ARRAYS
from support.command_line import invoke

TEXT = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [text for each, text in found if each == language]


def test_the_table_names_the_arrays_that_are_read():
    rows = [line for line in TEXT.splitlines() if re.match(r"\| `\w+_(images|labels)`", line)]
    assert set(re.findall(r"`(\w+_(?:images|labels))`", "\n".join(rows))) == set(ARRAYS)
    assert ARRAYS_LIMIT == 2 << 30
    assert "may have 2 GiB" in TEXT


def test_the_page_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (script,) = blocks("python")
    exec(compile(script, "shapes.py", "exec"), {})
    (problem,) = blocks("toml")
    Path("crosses_discs_frames.toml").write_text(problem, encoding="utf-8")
    arrays = dict(np.load("shapes.npz"))
    arrays["train_labels"] = np.array(["cross", "disc", "frame"])[arrays["train_labels"]]
    np.savez("text_labels.npz", **arrays)
    Path("text_labels.toml").write_text(problem.replace("shapes.npz", "text_labels.npz"), encoding="utf-8")

    shown = [each.removeprefix("$ bnbench ").partition("\n") for each in blocks("")]
    assert len(shown) == 5
    for line, _, documented in shown:
        results = ["--results", "results", "--workers", 2] if line.startswith("run") else []
        done = invoke(*line.split(), *results)
        pieces = [re.escape(piece) for piece in documented.rstrip("\n").split("…")]
        assert re.search(".*".join(pieces), done.output, re.DOTALL), f"$ bnbench {line}\n{done.output}"
        assert done.exit_code == (2 if documented.startswith("Error: ") else 0)
    assert len(list(tmp_path.glob("results/*/run.json"))) == 3
