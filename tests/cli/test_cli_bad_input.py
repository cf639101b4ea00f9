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


@pytest.mark.parametrize("typed", ["0-9", "0,1", "47.0", "all"])
def test_seeds_that_are_named_where_they_are_counted(typed, refused):
    refused(*RUN, "--seeds", typed, needles=(f"'{typed}' is no number of seeds", "--seed 47 --seed 48"))


def test_seeds_that_are_counted_and_named(refused):
    refused(*RUN, "--seeds", "2", "--seed", "47", needles=("--seeds counts", "--seed names"))
    refused(*RUN, "--seed", "-1", needles=("--seed", "-1", "0<=x<=9223372036854775807"))
    refused(*RUN, "--seed", str(2**63), needles=("--seed", "0<=x<=9223372036854775807"))


TRILLION = "1000000000000"


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("--epochs", TRILLION), ("training.epochs = 1000000000000", "less than or equal to 100000")),
        (("--epochs", "9" * 5000), ("--epochs",)),
        (("--set", f"training.epochs={'9' * 5000}"), ("training.epochs = '999", "valid integer")),
        (("--set", f"training.epochs={'[' * 5000}"), ("training.epochs = '[[[", "valid integer")),
        (
            ("--epochs", "100000", "--set", "training.batch_size=2", "--set", "snapshots.schedule=every:5"),
            ("'every:5' makes more than 1,000,000 snapshots of γ and β in 53,800,000 steps", "every:N"),
        ),
        (("--set", f"snapshots.schedule=every:{TRILLION}"), (f"every:{TRILLION}", "every:N")),
        (
            ("--set", "training.batch_size=1000000"),
            ("a batch of 1,000,000 images", "'digits' has 1,077", "smaller batch"),
        ),
        (
            ("--set", "training.batch_size=1078"),
            ("a batch of 1,078 images", "the training split of 'digits' has 1,077"),
        ),
        (("--set", f"training.batch_size={TRILLION}"), ("training.batch_size", "less than or equal to 1000000")),
        (("--set", "training.learning_rate=1e300"), ("training.learning_rate", "less than or equal to 1000000")),
        (("--lr-factor", "1e300"), ("learning-rate factor 1e+300", "1,000,000")),
        (("--set", "training.l2=1e300"), ("training.l2", "less than or equal to 1000000")),
        (("--set", "width=1e9"), ("width", "less than or equal to 16")),
        (("--set", "augmentation.crop_padding=1000000000"), ("crop_padding", "less than or equal to 16")),
        (("--set", "augmentation.brightness=1e300"), ("brightness", "less than or equal to 100")),
        (("--placement", f"first:{TRILLION}"), (f"first:{TRILLION}",)),
        (("--seeds", TRILLION), ("digits_mlp has 10 seeds", TRILLION)),
        (("--threads", "1000000000"), ("threads = 1000000000: a whole number from 1 to 1,024",)),
        (("--workers", "1000000000"), ("workers = 1000000000: a whole number from 0 to 1,024",)),
        (("--runs-per-gpu", TRILLION), (f"runs_per_gpu = {TRILLION}: a whole number from 1 to 128",)),
        (("--gpus", "9" * 5000), ("--gpus", "is no list of GPUs")),
        (("--shard", f"1/{TRILLION}"), (f"'1/{TRILLION}' is no shard", "N up to 100,000")),
        (("--shard", f"1/{'9' * 5000}"), ("is no shard",)),
        (("--checkpoint-every", "367d"), ("'367d' is no duration", "up to 366d")),
        (("--run-timeout", "9" * 5000), ("is no duration", "up to 366d")),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else None,
)
def test_a_number_out_of_bounds(arguments, needles, refused):
    refused(*RUN, *arguments, needles=needles)


def test_steps_are_bounded_too(refused, tmp_path, monkeypatch):
    """Also where the data are not on this machine, which is no reason to plan what can never be run."""
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "no data"))
    many = ("run", "cifar10_3c3d", "--epochs", "100000", "--set", "training.batch_size=2")
    refused(*many, needles=("100,000 epochs are 2,000,000,000 steps, and a run has at most 100,000,000",))
    large = ("run", "cifar10_3c3d", "--set", "training.batch_size=10001")
    refused(*large, "--set", "training.population_statistics=true", needles=("train_eval", "'cifar10' has 10,000"))


def test_a_byte_order_mark_is_no_mistake(own_problem, tmp_path):
    path = own_problem()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert invoke("show", path).exit_code == 0
    study = tmp_path / "study.toml"
    study.write_bytes(b"\xef\xbb\xbf" + (shipped_folder("problems") / "studies" / "thesis.toml").read_bytes())
    results = tmp_path / "results"
    assert invoke("study", study, "--dry-run", "--size", "tiny", "--results", results).exit_code == 0
    jobs = tmp_path / "jobs.toml"
    jobs.write_bytes(b"\xef\xbb\xbftime = '1:00:00'\n")
    dry = (*RUN, "--dry-run", "--executor", "slurm", "--cluster", jobs, "--results", results)
    assert invoke(*dry).exit_code == 0


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


@pytest.mark.long
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
        (("show", "digits_mlp", "--set", "probes.spectrom=true"), ("probes.spectrom", "probes.spectrum")),
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
