"""What a Slurm job asks for: every way of saying it, and every mistake."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.errors import UserError
from bnbench.execution.slurm.settings import JobSettings, minutes_of, read_settings
from bnbench.execution.slurm.submit import device_of_jobs, parameters, split


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        (90, 90),
        ("90:00", 90),
        ("0:30", 1),
        ("1:30:00", 90),
        ("1:30:01", 91),
        ("1-0", 1440),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:30:30", 2191),
    ],
)
def test_times_are_read_as_slurm_reads_them(text, minutes):
    assert minutes_of(text) == minutes
    assert read_settings(None, [f"time={text}"]).time == minutes
    assert isinstance(read_settings(None, [f"time={text}"]).time, int)


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_days_hours_minutes_seconds_add_up(days, hours, minutes, seconds):
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    for text in (f"{days}-{hours}:{minutes:02}:{seconds:02}", f"{days * 24 + hours}:{minutes:02}:{seconds:02}"):
        if total == 0:
            with pytest.raises(ValueError, match="nothing"):
                minutes_of(text)
        else:
            assert (minutes_of(text) - 1) * 60 < total <= minutes_of(text) * 60


@given(st.text(max_size=12))
def test_any_other_text_is_refused_or_a_positive_number_of_minutes(text):
    with suppress(ValueError):
        assert minutes_of(text) >= 1


@pytest.mark.parametrize(
    ("options", "needles"),
    [
        (["partiton=gpu"], ("unknown key 'partiton'", "'partition'", "sbatch.NAME")),
        (["mem=3"], ("unknown key 'mem'", "'memory'")),
        (["time=soon"], ("time:", "'soon'", "12:00:00")),
        (["time=1.5"], ("time:", "'1.5'")),
        (["memory=3.5"], ("memory:", "16G")),
        (["memory=lots"], ("memory:", "16G")),
        (["time=0"], ("time = 0: a whole number of minutes from 1 to 527,040 is needed",)),
        (["time=527041"], ("time = 527041: a whole number of minutes from 1 to 527,040 is needed",)),
        (["time=367-0"], ("time = 528480: a whole number of minutes from 1 to 527,040 is needed",)),
        (["time=true"], ("time = True: a whole number of minutes from 1 to 527,040 is needed",)),
        (["cpus=0"], ("cpus = 0: a whole number from 1 to 1,024 is needed",)),
        (["cpus=1025"], ("cpus = 1025: a whole number from 1 to 1,024 is needed",)),
        (["cpus=many"], ("cpus = 'many': a whole number from 1 to 1,024 is needed",)),
        (["cpus=٣"], ("cpus = '٣': a whole number from 1 to 1,024 is needed",)),
        (["cpus=2.0"], ("cpus = '2.0': a whole number from 1 to 1,024 is needed",)),
        (["gpus=-1"], ("gpus = -1: a whole number from 0 to 128 is needed",)),
        (["gpus=129"], ("gpus = 129: a whole number from 0 to 128 is needed",)),
        (["runs-per-gpu=129"], ("runs-per-gpu = 129: a whole number from 1 to 128 is needed",)),
        (["runs-per-job=0"], ("runs-per-job = 0: a whole number from 1 to 100,000 is needed",)),
        (["runs-per-job=100001"], ("runs-per-job = 100001: a whole number from 1 to 100,000 is needed",)),
        (["jobs-at-once=100001"], ("jobs-at-once = 100001: a whole number from 1 to 100,000 is needed",)),
        (["warning-seconds=65536"], ("warning-seconds = 65536: a whole number from 1 to 65,535 is needed",)),
        (["time=٩٠"], ("time: '٩٠' is no time limit",)),
        (["time=" + 5000 * "9"], ("9…' is no time limit",)),
        (["cpus=" + 5000 * "9"], ("cpus = '999", "a whole number from 1 to 1,024 is needed")),
        (["cpus=" + 5000 * "["], ("cpus = '[[[", "a whole number from 1 to 1,024 is needed")),
        (["memory=٣G"], ("memory: '٣G' is no amount of memory up to 1024T",)),
        (["memory=0"], ("memory: '0G' is no amount of memory",)),
        (["memory=1025T"], ("memory: '1025T' is no amount of memory up to 1024T",)),
        (["memory=1048577"], ("memory: '1048577G' is no amount of memory up to 1024T",)),
        (["memory=" + 40 * "9"], ("is no amount of memory up to 1024T",)),
        (["partition"], ("expected KEY=VALUE",)),
        (["=gpu"], ("expected KEY=VALUE",)),
        (["partition="], ("expected KEY=VALUE",)),
        (["sbatch=3"], ("sbatch:",)),
        (["sbatch=3", "sbatch.exclusive=true"], ("sbatch:",)),
        (["srun.label=true"], ("unknown key 'srun.label'",)),
        (["sbatch.mem=3"], ("'mem' is called 'memory' here",)),
        (["sbatch.array=0-3"], ("'array' cannot be given", "runs-per-job")),
        (["sbatch.signal=USR1@3"], ("'signal' cannot be given", "warning-seconds")),
        (["sbatch.Mail_Type=FAIL"], ("'Mail_Type'", "mail-type")),
        (["sbatch.hold=false"], ("leave an option that is not wanted out",)),
        (["sbatch.comment=a\nscancel"], ("one line",)),
    ],
)
def test_mistakes_are_told(options, needles):
    with pytest.raises(UserError) as caught:
        read_settings(None, options)
    for needle in needles:
        assert needle in str(caught.value)


@pytest.mark.parametrize(
    "option",
    ["time=527040", "time=366-0", "cpus=1024", "gpus=128", "runs-per-gpu=128", "runs-per-job=100000",
     "jobs-at-once=100000", "warning-seconds=65535", "memory=1024T", "memory=1048576"],
)  # fmt: skip
def test_the_largest_numbers_are_taken(option):
    assert read_settings(None, [option]) != JobSettings()


def test_options_are_laid_over_a_file(tmp_path):
    file = tmp_path / "cluster.toml"
    file.write_text(
        'partition = "gpu"\naccount = 12345\ntime = "12:00:00"\nmemory = 16\ngpus = 2\nruns-per-gpu = 3\n'
        'setup = ["module load cuda"]\n[sbatch]\nmail-type = "FAIL"\n'
    )
    settings = read_settings(file, ["time=30", "sbatch.exclusive=true", "setup=module load python"])
    assert settings == JobSettings.model_validate(
        {
            "partition": "gpu",
            "account": "12345",
            "time": 30,
            "memory": "16G",
            "gpus": 2,
            "runs-per-gpu": 3,
            "setup": ("module load cuda", "module load python"),
            "sbatch": {"mail-type": "FAIL", "exclusive": True},
        }
    )
    assert read_settings(file, []).time == 720


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        ("partition = ", ("is not valid TOML",)),
        ('partitions = "gpu"', ("unknown key 'partitions'", "'partition'")),
        ("[sbatch]\nlist = [1]\n", ("sbatch.list",)),
        ("runs_per_job = 3\n", ("unknown key 'runs_per_job'", "'runs-per-job'")),
    ],
)
def test_mistakes_in_a_file_name_the_file(text, needles, tmp_path):
    file = tmp_path / "cluster.toml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_settings(file, [])
    for needle in (str(file), *needles):
        assert needle in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.toml: cannot be read"):
        read_settings(tmp_path / "nowhere.toml", [])


@pytest.mark.parametrize(
    ("options", "threads", "side_by_side", "cpus"),
    [
        ([], 1, 1, 1),
        ([], 4, 1, 4),
        (["cpus=8"], 1, 8, 8),
        (["cpus=8"], 3, 2, 8),
        (["gpus=2"], 1, 2, 2),
        (["gpus=2", "runs-per-gpu=3"], 2, 6, 12),
        (["gpus=2", "cpus=16"], 1, 2, 16),
    ],
)
def test_a_job_has_room_for_the_runs_it_starts(options, threads, side_by_side, cpus):
    settings = read_settings(None, options)
    assert settings.side_by_side(threads) == side_by_side
    assert settings.cpus_of_job(threads) == cpus


def test_a_run_that_does_not_fit_into_a_job_is_refused():
    with pytest.raises(UserError, match="4 threads does not fit into a job of 2 CPUs"):
        read_settings(None, ["cpus=2"]).side_by_side(4)


@pytest.mark.parametrize(
    ("runs", "options", "sizes"),
    [
        (5, [], [1, 1, 1, 1, 1]),
        (5, ["cpus=2"], [2, 2, 1]),
        (5, ["cpus=2", "runs-per-job=4"], [4, 1]),
        (1, ["runs-per-job=4"], [1]),
        (2500, [], [3] * 833 + [1]),
    ],
)
def test_a_sweep_is_split_in_order_and_never_too_long(runs, options, sizes):
    chunks = split(range(runs), read_settings(None, options), 1)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [spec for chunk in chunks for spec in chunk] == list(range(runs))


def test_an_array_that_is_too_long_is_refused():
    with pytest.raises(UserError, match="runs-per-job=3"):
        split(range(2500), read_settings(None, ["runs-per-job=2"]), 1)


def test_auto_is_what_the_job_asked_for():
    cpu, gpu, named = (read_settings(None, options) for options in ([], ["gpus=1"], ["sbatch.gres=gpu:a100:1"]))
    assert [device_of_jobs("auto", each) for each in (cpu, gpu, named)] == ["cpu", "cuda", "cuda"]
    assert device_of_jobs("cuda", named) == "cuda"
    assert device_of_jobs("cpu", gpu) == "cpu"
    for device, settings, message in (("cuda", cpu, "gpus=1"), ("cuda:1", gpu, "--device cuda")):
        with pytest.raises(UserError, match=message):
            device_of_jobs(device, settings)


def test_submitit_gets_an_integer_of_minutes_and_no_parameter_it_does_not_know():
    submitit = pytest.importorskip("submitit")
    settings = read_settings(
        None, ["time=1:30:00", "memory=4", "gpus=1", "cpus=3", "setup=true", "sbatch.exclusive=true", "account=7"]
    )
    given = parameters(settings, "bnbench-test", 1)
    assert type(given["time"]) is int
    text = submitit.slurm.slurm._make_sbatch_string(command="run", folder="/logs", **given)
    for line in (
        "--time=90",
        "--mem=4G",
        "--gpus-per-node=1",
        "--cpus-per-task=3",
        "--exclusive",
        "--account=7",
        "--requeue",
        "--signal=USR2@120",
        "--job-name=bnbench-test",
    ):
        assert f"#SBATCH {line}\n" in text
    assert "wckey" not in text
    assert "--cpus-per-task=3 run" in text, "the step is bound to all of its job's cores"
