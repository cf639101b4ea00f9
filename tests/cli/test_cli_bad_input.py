"""A user's mistakes: exit code 2, one message that says what exists and how to mend it, nothing written."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from bnbench.shipped import shipped_folder
from support.command_line import command, invoke

RUN = ("run", "digits_mlp", "--size", "tiny")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def refused(results):
    """A call that must be refused: its message, which holds every needle."""

    def call(*arguments: object, needles: tuple[str, ...]) -> str:
        result = invoke(*arguments, "--results", results)
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert result.stderr.count("Error: ") == 1
        for needle in needles:
            assert needle in result.stderr
        assert not results.exists()
        return result.stderr

    return call


@pytest.fixture
def own_problem(tmp_path):
    """Writes a changed copy of a shipped problem, as a user would."""

    def write(name: str = "mine.toml", old: str = "", new: str = "") -> Path:
        text = (shipped_folder("problems") / "digits_mlp.toml").read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / name
        path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("run", "digits_3d3c"), ("digits_3d3c", "digits_3c3d", "cifar10_3c3d")),
        ((*RUN, "--variant", "bn_gama"), ("unknown variant 'bn_gama'", "'bn_gamma'", "vanilla")),
        ((*RUN, "--placement", "hiden"), ("hiden", "hidden", "every")),
        ((*RUN, "--precision", "fp16"), ("unknown precision 'fp16'", "fp32", "tf32", "bf16")),
        ((*RUN, "--set", "training.epoch=3"), ("training.epoch", "epochs")),
        ((*RUN, "--set", "training.epochs=many"), ("training.epochs", "many")),
        ((*RUN, "--set", "training.l2=-1"), ("training.l2",)),
        ((*RUN, "--set", "training.l2"), ("training.l2", "KEY=VALUE")),
        ((*RUN, "--set", "dataset=mnist"), ("unknown key 'dataset'", "training.epochs")),
        ((*RUN, "--set", "training.epochs=0"), ("training.epochs",)),
        ((*RUN, "--seeds", "99"), ("99", "10")),
        ((*RUN, "--lr-factor", "0"), ("0",)),
        ((*RUN, "--lr-factor", "nan"), ("nan",)),
        ((*RUN, "--precision", "tf32", "--device", "cpu"), ("tf32", "fp32", "bf16")),
        ((*RUN, "--device", "tpu"), ("tpu", "auto", "cpu", "cuda")),
        *(
            ((*RUN, f"--{option}", number), (f"--{option}", number))
            for option in ("epochs", "seeds", "workers", "threads")
            for number in ("0", "-1")
        ),
    ],
    ids=lambda value: "-".join(value[-2:]) if isinstance(value, tuple) else None,
)
def test_a_mistake_on_the_command_line(arguments, needles, refused):
    refused(*arguments, needles=needles)


def test_a_problem_file_with_an_unknown_dataset(refused, own_problem):
    path = own_problem(old='dataset = "digits"', new='dataset = "digit"')
    refused("run", path, needles=("problem 'mine'", "'dataset'", "'digit'", "'digits'", "cifar10"))


def test_a_problem_file_with_an_unknown_key(refused, own_problem):
    path = own_problem(old="learning_rate", new="learning_rat")
    refused("run", path, needles=(str(path), "learning_rat", "learning_rate"))


def test_a_problem_file_that_is_no_toml(refused, own_problem):
    path = own_problem(old="[training]", new="[training")
    refused("run", path, needles=(str(path), "TOML", "line"))


def test_a_problem_file_that_is_not_there(refused, tmp_path):
    refused("run", tmp_path / "absent.toml", needles=("absent.toml",))


def test_a_problem_file_whose_name_is_no_plain_identifier(refused, own_problem):
    refused("run", own_problem("my problem!.toml"), needles=("my problem!",))


def test_a_dataset_that_is_missing(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "no data"))
    needles = ("cifar10", "bnbench data fetch cifar10", "bnbench data import cifar10")
    refused("run", "cifar10_3c3d", needles=needles)
    assert not (tmp_path / "no data").exists()


def test_a_results_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for results in (tmp_path / "file", tmp_path / "file" / "results"):
        result = invoke(*RUN, "--results", results)
        assert result.exit_code == 2
        assert str(results) in result.stderr
        assert "Traceback" not in result.stderr
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_results_folder_on_a_full_disk(tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare(1)")
    private = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f'mount -t tmpfs -o size=64k none "{tmp_path}"'
    if subprocess.run([*private, "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("private mounts are not allowed here")
    script = f'{mount} && head -c 65536 /dev/zero > "{tmp_path}/ballast"; "$@"; code=$?; ls "{tmp_path}"; exit $code'
    full = [*private, "sh", "-c", script, "sh", *command(*RUN, "--results", tmp_path)]
    done = subprocess.run(full, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == "ballast\n"
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_results_folder_of_a_newer_version(tmp_path):
    run = tmp_path / "digits_mlp-bn-hidden-s1-0123456789ab"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"schema": 99, "run_id": run.name}))
    before = (run / "run.json").read_bytes()
    for arguments in (RUN, ("status",), ("rank",), ("activity",)):
        result = invoke(*arguments, "--results", tmp_path)
        assert result.exit_code == 2
        assert "newer bnbench" in result.stderr
        assert "99" in result.stderr
        assert "--results" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [run.name]
    assert [path.name for path in run.iterdir()] == ["run.json"]
    assert (run / "run.json").read_bytes() == before


@pytest.mark.parametrize("name", ["status", "rank", "activity"])
def test_no_results_to_read(name, results):
    result = invoke(name, "--results", results)
    assert result.exit_code == 2
    assert f"no results in {results}" in result.stderr
    assert "bnbench run" in result.stderr
    assert not results.exists()


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("show", "digits_mpl"), ("digits_mpl", "digits_mlp")),
        (("show", "digits_mlp", "--variant", "bnn"), ("bnn", "vanilla")),
        (("show", "digits_mlp", "--placement", "dense9"), ("dense9", "dense1")),
        (("list", "imagenet_*"), ("imagenet_*", "digits_mlp")),
        (("data", "verify", "cifar11"), ("cifar11", "cifar10")),
        (("data", "fetch", "cifar11"), ("cifar11", "cifar10")),
        (("data", "import", "cifar10", "absent-folder"), ("absent-folder",)),
        (("data", "verify", "cifar10"), ("bnbench data fetch cifar10", "bnbench data import cifar10")),
    ],
)
def test_mistakes_of_the_other_commands(arguments, needles, tmp_path, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "data"))
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for needle in needles:
        assert needle in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_and_option_name_what_exists():
    assert invoke("rnu").exit_code == 2
    result = invoke("run", "digits_mlp", "--variants", "all")
    assert result.exit_code == 2
    assert "--variant" in result.stderr


@pytest.mark.parametrize("asked", [("check", "--fresh"), ("reference", "update")])
def test_no_folder_for_temporary_files_is_said_in_one_message(monkeypatch, asked):
    def fail(*arguments, **options):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)
    result = invoke(*asked, "digits_mlp")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: the runs have no place: No usable temporary directory")
    assert "TMPDIR" in result.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("compare",), "rank"),
        (("rnu",), "run"),
        (("train",), "run"),
        (("reprot",), "report"),
        (("data", "lst"), "list"),
        (("reference", "updat"), "update"),
    ],
    ids=" ".join,
)
def test_a_command_that_is_not_there_is_told_with_the_one_that_is_meant(words, meant):
    result = invoke(*words)
    assert result.exit_code == 2
    assert f"unknown command '{words[-1]}'. Did you mean '{meant}'?" in result.stderr
    assert "Known commands: " in result.stderr


def test_a_key_is_suggested_only_where_it_is_near(refused):
    told = refused(*RUN, "--set", "training.optimizer=adam", needles=("unknown key 'training.optimizer'",))
    assert "batch_size'?" not in told
    refused(*RUN, "--set", "training.epoch=2", needles=("Did you mean 'training.epochs'?",))


def test_a_name_that_is_too_long_is_told_the_limit(tmp_path):
    name = "a" * 73
    path = tmp_path / f"{name}.toml"
    shutil.copy(shipped_folder("problems") / "digits_mlp.toml", path)
    result = invoke("show", path)
    assert result.exit_code == 2
    assert "64 characters at most" in result.stderr
