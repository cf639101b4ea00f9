"""Where numbers come from, and that nothing tells on whose machine they were made."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import bnbench
from bnbench.plan import DataFacts
from bnbench.storage.provenance import collect_provenance, processor_model, source_commit, without_places

TESTS = Path(__file__).parents[1]
FACTS = DataFacts("digits", 10, 1, "ab" * 32, "embedded")


def test_everything_worth_knowing_is_there():
    found = collect_provenance(
        versions={"torch": "2.13.0+cpu"}, device="cpu", threads=1, flags={"deterministic": True}, data=FACTS
    )
    assert found["versions"] == {
        "python": platform.python_version(),
        "bnbench": bnbench.__version__,
        "numpy": version("numpy"),
        "pyarrow": version("pyarrow"),
        "torch": "2.13.0+cpu",
    }
    assert found["data"] == {"name": "digits", "fingerprint": "ab" * 32, "origin": "embedded"}
    assert (found["device"], found["threads"], found["flags"]) == ("cpu", 1, {"deterministic": True})
    assert set(found["platform"]) == {"system", "machine", "processor", "instructions", "processors"}
    assert found["platform"]["system"] == platform.system()
    json.dumps(found, allow_nan=False)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")
def test_the_processors_model_is_the_one_linux_names():
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    assert processor_model() == (names[0] if names else platform.processor() or None)


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_of_a_checkout_and_whether_the_package_differs_from_it(tmp_path, monkeypatch):
    package = tmp_path / "benchmark" / "bnbench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert source_commit(package) is None
    git(tmp_path, "init", "--quiet")
    assert source_commit(package) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert source_commit(package) == {"commit": head, "dirty": False}
    (tmp_path / "scratch.txt").write_text("beside the package")
    assert source_commit(package) == {"commit": head, "dirty": False}
    (package / "new.py").write_text("")
    assert source_commit(package) == {"commit": head, "dirty": True}
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("changed")
    assert source_commit(package) == {"commit": head, "dirty": True}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit(package) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_wheel_inside_another_projects_checkout_is_not_that_project(tmp_path, monkeypatch):
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "someone's project")
    package = tmp_path / ".venv" / "bnbench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert source_commit(package) is None
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert source_commit(package) is None


SECRETS = """
import getpass, socket, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
try:
    socket.sethostname("host-nobody-may-know")
except OSError:
    pass
from bnbench.plan import DataFacts
from bnbench.storage.provenance import collect_provenance
from storage.conftest import DOCUMENT, EXAMPLE
import dataclasses

provenance = collect_provenance(
    versions={"torch": "2"}, device="cpu", threads=1, flags={}, data=DataFacts("digits", 10, 1, "ab" * 32, "embedded")
)
store = Path(sys.argv[2])
EXAMPLE.record(store, [3, 9]).finish({**DOCUMENT, "provenance": provenance})
EXAMPLE.record(store / "parts-kept", [3, 9])

import traceback
recorder = EXAMPLE.record(store / "failed", [3, 9])
try:
    open(recorder.folder / "parts" / "missing")
except OSError:
    told = traceback.format_exc()
told += f"home {Path.home()} folder {Path.cwd()}, on {socket.gethostname()}: {Path.home()}/data {sys.executable}"
recorder.fail({**DOCUMENT, "error": told, "provenance": provenance})
print(socket.gethostname(), getpass.getuser(), Path.home(), Path.cwd(), store, sep="\\n")
"""


def test_no_byte_tells_the_host_the_user_or_a_path(tmp_path):
    home, here, store = (tmp_path / name for name in ("home-nobody-may-know", "work-nobody-may-know", "results-secret"))
    home.mkdir()
    here.mkdir()
    renaming = ["unshare", "--user", "--map-root-user", "--uts"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*renaming, "true"], capture_output=True, check=False).returncode
    ):
        renaming = []
    done = subprocess.run(
        [*renaming, sys.executable, "-c", SECRETS, str(TESTS), str(store)],
        cwd=here,
        env={**os.environ, "HOME": str(home), "USER": "user-nobody-may-know", "LOGNAME": "user-nobody-may-know"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    host, *others = done.stdout.splitlines()
    assert others == ["user-nobody-may-know", str(home), str(here), str(store)]
    # A short host name may occur by chance in compressed bytes; the distinct one, where it can be given, cannot.
    secrets = [each for each in (host, *others) if len(each) > 6]
    secrets += ["nobody-may-know", "results-secret", str(Path(sys.prefix)), str(TESTS.parent), str(tmp_path)]
    files = [path for path in store.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".parquet"]) > 12
    for path in files:
        contents = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in contents, (path.name, secret)
    error = json.loads(next((store / "failed").glob("*/run.json")).read_text())["error"]
    assert "FileNotFoundError" in error
    assert "<results>" in error
    assert "home <home> folder <folder>, on <host>: <home>/data <python>/" in error


def test_places_are_told_by_what_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    text = (
        'File "/opt/lib/torch/nn/linear.py", line 5\nin /home/somebody/x.bin, /home/somebodyelse, results/runs/a: bad'
    )
    assert without_places(text, Path("results/runs")) == (
        'File "nn/linear.py", line 5\nin <home>/x.bin, /home/somebodyelse, <results>/a: bad'
    )


def test_a_relative_results_folder_does_not_turn_every_dot_into_a_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert without_places("a . b .. c 0.5", Path()) == "a . b .. c 0.5"
