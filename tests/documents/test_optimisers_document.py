"""docs/optimisers.md: its tables are those of the package, its commands print what it shows, its code runs."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bnbench.components.optimisers import OPTIMISERS
from bnbench.components.rate_schedules import RATE_SCHEDULES
from bnbench.problem import Training
from support.command_line import invoke

TEXT = (Path(__file__).parents[2] / "docs" / "optimisers.md").read_text(encoding="utf-8")


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [text for each, text in found if each == language]


@pytest.mark.parametrize("registry", [OPTIMISERS, RATE_SCHEDULES], ids=lambda registry: registry.kind)
def test_the_tables_are_those_of_the_package(registry):
    for name in [each for each in registry if not registry.is_third_party(each)]:
        row = registry.get(name)
        (line,) = [each for each in TEXT.splitlines() if each.startswith(f"| `{name}`")]
        assert row.formula in line
        assert getattr(row, "decay", "") in line
        assert set(re.findall(r"`(\w+)`", line.split("|")[3])) == set(row.settings)
        for setting, spelled in re.findall(r"`(\w+)` = (\[[^\]]*\]|[^,|( ]+)", line):
            default = Training.model_fields[setting].default
            assert json.loads(spelled) == (list(default) if isinstance(default, tuple) else default)


def test_the_commands_print_what_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (problem,) = [each for each in blocks("toml") if "[training]" in each]
    Path("falling.toml").write_text(problem, encoding="utf-8")
    shown = [each.removeprefix("$ bnbench ").partition("\n") for each in blocks("")]
    assert len(shown) == 3
    for line, _, documented in shown:
        printed = invoke(*line.split(), *(["--results", tmp_path / "results"] if line.startswith("run") else [])).output
        pieces = [re.escape(piece) for piece in documented.rstrip("\n").split("…")]
        assert re.search(".*".join(pieces), printed, re.DOTALL), f"$ bnbench {line}\n{printed}"


def test_rows_of_ones_own_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for registry in (OPTIMISERS, RATE_SCHEDULES):
        monkeypatch.setattr(registry, "_session", {})
    module, session = blocks("python")
    Path("sign_sgd.py").write_text(module, encoding="utf-8")
    namespace = {}
    exec(compile(session, "docs/optimisers.md", "exec"), namespace)
    sys.modules.pop("sign_sgd")
    assert "learning_rate" in capsys.readouterr().out
    results = namespace["results"]
    assert {record.status for record in results.records} == {"finished"}
    rates = results.steps(variant="bn")["learning_rate"].to_numpy()
    np.testing.assert_allclose(rates, 0.01 * (1 - np.arange(len(rates)) / len(rates)) ** 2, rtol=1e-13)
