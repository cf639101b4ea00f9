"""The notebook docs/tour.ipynb, and the Python that the README and docs/python.md show, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bnbench.components.architectures import ARCHITECTURES
from bnbench.components.variants import VARIANTS
from support import notebook

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """In a folder of its own, and without leaving rows of a session behind."""
    monkeypatch.chdir(tmp_path)
    before = [(registry, dict(registry._session)) for registry in (VARIANTS, ARCHITECTURES)]
    yield
    for registry, rows in before:
        registry._session.clear()
        registry._session.update(rows)


def test_the_tour_can_be_executed_cell_by_cell():
    tour = notebook.read()
    assert (tour["nbformat"], tour["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in tour["cells"]}) == len(tour["cells"])
    cells = 0
    for cell, outputs in notebook.execute(tour):
        cells += 1
        kept = cell["outputs"]
        kinds = [[set(output.get("data", {})) or output["name"] for output in each] for each in (outputs, kept)]
        assert kinds[0] == kinds[1], f"it shows something else than before: {''.join(cell['source'])}"
    assert cells >= 8
    assert any("image/png" in output.get("data", {}) for cell in tour["cells"] for output in cell.get("outputs", []))


def python_of(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_the_python_that_is_shown_can_be_executed_in_order(document):
    blocks = python_of(document)
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, document, "exec"), namespace)
