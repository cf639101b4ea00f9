"""How many cores a process may use: made-up trees of control groups, and a real one where this machine allows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bnbench.execution.places import default_workers
from bnbench.resources import cpu_quota, usable_cores

V1 = "31 23 0:29 {mounted} /sys/fs/cgroup/cpu\\040time rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "41 23 0:38 {mounted} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
V1_FOLDER, V2_FOLDER = "sys/fs/cgroup/cpu time", "sys/fs/cgroup"
OTHER = "22 27 0:21 / /proc rw,relatime - proc proc rw\n35 31 0:32 / /memory rw - cgroup cgroup rw,memory\n"


def system(root, *, own, mounts, files):
    """A root folder in which a process is in the groups `own`, and groups have these files."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own, encoding="utf-8")
    (root / "proc/self/mountinfo").write_text(OTHER + mounts, encoding="utf-8")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def second(root, own="0::/\n", *, mounted="/", **files):
    """The same with version 2, by the groups' paths; `top` is the mount point."""
    placed = {
        f"{V2_FOLDER}/{name.replace('top', '.').replace('__', '/')}/cpu.max": text for name, text in files.items()
    }
    return system(root, own=own, mounts=V2.format(mounted=mounted), files=placed)


def first(root, own, quotas, *, mounted="/"):
    """The same with version 1, by the groups' paths."""
    placed = {}
    for name, (quota, period) in quotas.items():
        placed[f"{V1_FOLDER}/{name}/cpu.cfs_quota_us"] = quota
        placed[f"{V1_FOLDER}/{name}/cpu.cfs_period_us"] = period
    return system(root, own=own, mounts=V1.format(mounted=mounted), files=placed)


@pytest.mark.parametrize(
    ("limit", "quota"),
    [("50000 100000\n", 0.5), ("150000 100000\n", 1.5), ("max 100000\n", None), ("10000 1000\n", 10.0),
     ("", None), ("50000\n", None), ("50000 0\n", None), ("0 100000\n", None), ("-1 100000\n", None),
     ("1e5 100000\n", None), ("5" * 5000 + " 1\n", None), ("\x00\xff\n", None)],
)  # fmt: skip
def test_the_limit_of_a_container_with_version_2(tmp_path, limit, quota):
    assert cpu_quota(second(tmp_path, top=limit)) == quota


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("50000\n", "100000\n", 0.5), ("300000\n", "100000\n", 3.0), ("-1\n", "100000\n", None), ("5\n", "\n", None)],
)
def test_the_limit_of_a_container_with_version_1(tmp_path, quota, period, cores):
    own = "9:memory:/job\n4:cpuacct,cpu:/job\n0::/elsewhere\n"
    assert cpu_quota(first(tmp_path, own, {"job": (quota, period)})) == cores


@pytest.mark.parametrize(
    ("groups", "quota"),
    [({"job": "200000 100000", "job__step": "max 100000"}, 2.0),
     ({"job": "400000 100000", "job__step": "150000 100000"}, 1.5),
     ({"job": "100000 100000", "job__step": "400000 100000"}, 1.0),
     ({"top": "300000 100000", "job__other": "50000 100000"}, 3.0),
     ({"job__step__deeper": "50000 100000"}, None)],
)  # fmt: skip
def test_a_group_is_held_by_every_group_around_it_and_by_no_other(tmp_path, groups, quota):
    assert cpu_quota(second(tmp_path, "0::/job/step\n", **groups)) == quota


def test_both_versions_at_once_and_the_smaller_counts(tmp_path):
    root = system(
        tmp_path,
        own="4:cpu,cpuacct:/job\n0::/job\n",
        mounts=V1.format(mounted="/") + V2.format(mounted="/"),
        files={
            f"{V1_FOLDER}/job/cpu.cfs_quota_us": "250000",
            f"{V1_FOLDER}/job/cpu.cfs_period_us": "100000",
            f"{V2_FOLDER}/job/cpu.max": "300000 100000",
        },
    )
    assert cpu_quota(root) == 2.5


@pytest.mark.parametrize(
    ("own", "mounted"),
    # The mount begins at the container's own group; its name is that of the machine outside; it lies outside the view.
    [("/docker/ab12", "/docker/ab12"), ("/docker/ab12", "/other"), ("/../../system/ab12", "/")],
)
def test_a_container_that_sees_its_own_group_as_the_top(tmp_path, own, mounted):
    assert cpu_quota(second(tmp_path / "2", f"0::{own}\n", mounted=mounted, top="50000 100000")) == 0.5
    quotas = {".": ("50000", "100000")}
    assert cpu_quota(first(tmp_path / "1", f"4:cpu:{own}\n", quotas, mounted=mounted)) == 0.5


@pytest.mark.parametrize(
    ("own", "mounts"),
    [("", ""), ("nonsense\n::\n", "nonsense\n - \n1 2 - cgroup2 x y\n"), ("0::/\n", ""), ("", V2.format(mounted="/"))],
)
def test_what_cannot_be_understood_is_no_limit(tmp_path, own, mounts):
    root = system(tmp_path, own=own, mounts=mounts, files={f"{V2_FOLDER}/cpu.max": "50000 100000"})
    assert cpu_quota(root) is None


def test_elsewhere_than_on_linux_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path / "no/proc/here") is None
    assert usable_cores(tmp_path / "no/proc/here") >= 1


def test_the_smaller_of_affinity_and_quota_counts_rounded_up(tmp_path, monkeypatch):
    def cores(allowed, limit):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
        return usable_cores(second(tmp_path / f"{allowed} {limit.split()[0]}", top=limit))

    assert cores(2, "50000 100000") == 1  # both runs of a machine of two cores went side by side in half a core
    assert cores(8, "150000 100000") == 2
    assert cores(8, "200000 100000") == 2
    assert cores(2, "800000 100000") == 2
    assert cores(8, "1 100000") == 1
    assert cores(3, "max 100000") == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(tmp_path / "nothing") == 1


def test_as_many_runs_go_side_by_side_as_there_is_time_for(monkeypatch):
    monkeypatch.setattr("bnbench.execution.places.usable_cores", lambda: 1)
    assert (default_workers("cpu", 1), default_workers("cpu", 4), default_workers("cuda", 1)) == (1, 1, 1)


def _real_group():
    """A new group that limits CPU time to half a core, and the file that takes a process in; None if not allowed."""
    for top, files in (
        (Path("/sys/fs/cgroup"), {"cpu.max": "50000 100000"}),
        (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
    ):
        group = top / f"bnbench-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, text in files.items():
                if not (group / name).exists():
                    raise FileNotFoundError(name)
                (group / name).write_text(text, encoding="utf-8")
        except OSError:
            group.rmdir()
            continue
        return group
    return None


def test_a_real_control_group():
    group = _real_group()
    if group is None:
        pytest.skip("control groups cannot be made here")
    program = (
        "import os, pathlib, sys; from bnbench.resources import cpu_quota, usable_cores;"
        "pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()));"
        "print(cpu_quota(), usable_cores())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, str(group)], capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        group.rmdir()
    assert (done.stdout, done.returncode) == ("0.5 1\n", 0), done.stderr
