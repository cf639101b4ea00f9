"""The rooms of the house: who may import whom, checked by import-linter and by real imports."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "benchmark" / "bnbench"


def lint_imports(root):
    """Check the contracts of the project in `root` on the package that lies there, in a process of its own."""
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        env={**os.environ, "PYTHONPATH": str(root / "benchmark"), "COLUMNS": "200"},
        cwd=root, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_every_contract_is_kept():
    done = lint_imports(ROOT)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {len(contracts)} kept, 0 broken." in done.stdout


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, with the contracts, to plant a violation in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "benchmark" / "bnbench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plant(root, files):
    """Append lines to modules of the copy, new ones where there are none."""
    for name, line in files.items():
        with (root / "benchmark" / "bnbench" / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")


@pytest.mark.parametrize(
    ("files", "broken"),
    [({"storage/planted.py": "import torch"}, "Planning"),
     ({"storage/planted.py": "import torchvision.transforms"}, "Planning"),
     ({"analysis/helper.py": "import torch", "report/planted.py": "import bnbench.analysis.helper"}, "Planning"),
     ({"network/planted.py": "", "components/placements.py": "import bnbench.network.planted"}, "Layers"),
     ({"components/site.py": "import bnbench.components.variants"}, "Components"),
     ({"cli/planted.py": "", "errors.py": "import bnbench.cli.planted"}, "Layers"),
     ({"data/planted.py": "", "network/planted.py": "import bnbench.data.planted"}, "Layers"),
     ({"network/planted.py": "", "data/planted.py": "import bnbench.network.planted"}, "Layers"),
     ({"report/planted.py": "", "execution/planted.py": "import bnbench.report.planted"}, "Layers"),
     ({"storage/planted.py": "", "training/planted.py": "import bnbench.storage.planted"}, "Training"),
     ({"execution/planted.py": "import click"}, "The engine"),
     ({"analysis/helper.py": "import click", "execution/planted.py": "import bnbench.analysis.helper"}, "The engine")],
    ids=lambda value: next(reversed(value)) if isinstance(value, dict) else None,
)  # fmt: skip
def test_a_planted_violation_breaks_its_contract(copy, files, broken):
    plant(copy, files)
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout
    verdicts = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(broken) for line in verdicts), done.stdout


def test_a_new_room_must_be_given_a_level(copy):
    plant(copy, {"attic.py": "import json"})
    done = lint_imports(copy)
    assert done.returncode == 1
    assert "attic" in done.stdout


def test_the_copy_as_it_is_keeps_every_contract(copy):
    assert lint_imports(copy).returncode == 0


TORCH_FREE = ["errors", "natural_order", "registry", "resources", "row", "schedule", "shipped", "strict", "toml_file",
              "options", "components", "problem", "learning_rate", "slot_plan", "plan", "specification", "study",
              "claim", "storage", "analysis", "report"]  # fmt: skip


def modules(room):
    """Every module of a room, dotted."""
    single = PACKAGE / f"{room}.py"
    files = [single] if single.exists() else sorted((PACKAGE / room).rglob("*.py"))
    return [
        ".".join(("bnbench", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for file in files
    ]


def test_rooms_that_must_be_free_of_torch_are_when_really_imported():
    assert [room for room in TORCH_FREE if not modules(room)] == []
    names = [name for room in TORCH_FREE for name in modules(room)]
    program = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    assert not {{"torch", "torchvision"}} & set(sys.modules), name
print(len(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > len(names)


def test_the_engine_prints_nothing_and_ends_no_process():
    """But for a cluster's job, whose log is its standard output and whose exit code is for mails."""
    found = {
        (file.name, name)
        for file in (PACKAGE / "execution").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in [ast.unparse(node.func) if isinstance(node, ast.Call) else ""]
        if name in {"print", "exit", "sys.exit", "os._exit", "SystemExit", "sys.stdout.write", "sys.stderr.write"}
    }
    assert {name for file, name in found if file != "job.py"} == set()
    assert ("job.py", "SystemExit") in found, "nothing was looked at"


def test_training_opens_no_file_and_prints_nothing():
    calls = {
        (file.name, node.func.id)
        for file in (PACKAGE / "training").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls, "nothing was looked at"
    assert not {call for call in calls if call[1] in {"open", "print", "Path"}}
