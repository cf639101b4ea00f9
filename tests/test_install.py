"""The shipped files are found however the package was installed, from wherever it is run."""

import json
import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOOK = """
import json
import bnbench
from bnbench.problem import find_problems, problem_files
from bnbench.report.webpage.templating import rendered
from bnbench.shipped import shipped_folder
from bnbench.study import find_study, study_files
print(json.dumps({
    "package": bnbench.__file__,
    "problems": {name: path.read_text(encoding="utf-8") for name, path in problem_files().items()},
    "valid": [file.problem(size).name for file in find_problems(()) for size in ("full", "tiny")],
    "studies": [find_study(name).name for name in study_files()],
    "reference": sorted(
        str(path.relative_to(shipped_folder("reference"))) for path in shipped_folder("reference").rglob("*.*")
    ),
    "rendered": rendered("claims.html.j2", studies=()),
    "folders": [str(shipped_folder("problems")), str(shipped_folder("reference"))],
}))
"""


def look(installed, folder):
    """What an interpreter finds that is started in `folder`, where the package is installed in `installed`.

    That is made a site folder, so that the path file of an editable install counts. Those of this environment do
    not (-S); only its packages do, from behind.
    """
    here = f"import site, sys; site.addsitedir({str(installed)!r}); sys.path += {site.getsitepackages()!r}"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", here + LOOK],
        env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("bnbench-*.whl")
    return built


SHIPPED = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "problems").glob("*.toml")}
STUDIES = sorted(path.stem for path in (ROOT / "problems" / "studies").glob("*.toml"))
STORED = ROOT / "results" / "reference"
RUNS = (STORED / "full" / "runs", STORED / "full" / "on_cpu")
"""Full-length runs, which a wheel leaves behind."""
REFERENCE = sorted(str(path.relative_to(STORED)) for path in STORED.rglob("*.*"))
CARRIED = [name for name in REFERENCE if not set(RUNS) & set((STORED / name).parents)]


def test_an_installed_wheel_finds_the_files_it_carries(wheel, tmp_path):
    target, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(wheel))
    found = look(target, elsewhere)
    assert Path(found["package"]).is_relative_to(target)
    assert all(Path(folder).is_relative_to(target) for folder in found["folders"])
    assert found["problems"] == SHIPPED
    assert found["studies"] == STUDIES
    assert len(SHIPPED) >= 6
    assert "thesis" in STUDIES
    assert sorted(set(found["valid"])) == sorted(SHIPPED)
    assert found["reference"] == CARRIED
    assert CARRIED
    assert len(CARRIED) < len(REFERENCE)
    assert "no claims to decide" in found["rendered"]


def test_an_editable_install_finds_the_files_of_the_repository(tmp_path):
    target, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), "--editable", str(ROOT))
    assert not (target / "bnbench" / "__init__.py").exists()
    found = look(target, elsewhere)
    assert Path(found["package"]) == ROOT / "benchmark" / "bnbench" / "__init__.py"
    assert [Path(folder) for folder in found["folders"]] == [ROOT / "problems", ROOT / "results" / "reference"]
    assert found["problems"] == SHIPPED
    assert found["studies"] == STUDIES
    assert found["reference"] == REFERENCE


def test_a_wheel_brings_one_package_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"bnbench"}
    assert "bnbench/py.typed" in names
    carried = {name for name in names if name.endswith((".j2", ".css", ".js"))}
    package = ROOT / "benchmark"
    assert carried == {
        str(path.relative_to(package)) for kind in ("*.j2", "*.css", "*.js") for path in package.rglob(kind)
    }
    assert "bnbench/report/webpage/templates/page.html.j2" in carried
    assert {name for name in names if name.startswith("bnbench/_shipped/problems/") and name.count("/") == 3} == {
        f"bnbench/_shipped/problems/{name}.toml" for name in SHIPPED
    }
