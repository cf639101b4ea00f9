"""What of this machine a process may use: the cores, as its affinity and its container's quota leave them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V1_QUOTA, _V1_PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
_V2_LIMIT = "cpu.max"


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that this process can keep busy: those it may run on, or what its control groups grant if that is less.

    A quota is rounded up: of one core and a half the second is used too, half the time.

    Args:
        root: of the file system that tells of control groups.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPU time a second that control groups (version 1 or 2) grant this process, in cores.

    The kernel holds a process to the limit of its own group and to that of every group around it, so the smallest
    counts. Container runtimes and batch systems limit a job this way, and leave its affinity as it is.

    Args:
        root: of the file system that tells of control groups.

    Returns:
        None where there is no limit, or none that can be read: on other systems than Linux, for example.
    """
    limits = [limit for folder in _own_groups(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _own_groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, of each hierarchy that limits CPU time."""
    own = _own_paths(_lines(root / "proc/self/cgroup"))
    for line in _lines(root / "proc/self/mountinfo"):
        # "31 23 0:28 /root /mount/point rw,relatime shared:9 - cgroup cgroup rw,cpu" (proc(5))
        mount, _, filesystem = (part.split() for part in line.partition(" - "))
        if len(mount) < 5 or len(filesystem) < 3:
            continue
        version = {"cgroup": 1, "cgroup2": 2}.get(filesystem[0])
        if version is None or version not in own or (version == 1 and "cpu" not in filesystem[2].split(",")):
            continue
        mounted, place = (PurePosixPath(_unescaped(mount[index])) for index in (3, 4))
        top = root / place.relative_to("/") if place.is_absolute() else root / place
        # Inside a container the mount may begin at the container's own group, or show nothing of where that lies.
        inside = own[version].relative_to(mounted) if own[version].is_relative_to(mounted) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        yield top
        yield from (top.joinpath(*inside.parts[: depth + 1]) for depth in range(len(inside.parts)))


def _own_paths(lines: list[str]) -> dict[int, PurePosixPath]:
    """The path of this process's group by version of control groups: "4:cpu,cpuacct:/a" or "0::/a"."""
    paths: dict[int, PurePosixPath] = {}
    for line in lines:
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        number, controllers, path = fields
        if "cpu" in controllers.split(","):
            paths[1] = PurePosixPath(path)
        elif number == "0" and not controllers:
            paths[2] = PurePosixPath(path)
    return paths


def _limit(folder: Path) -> float | None:
    """What a group's own files say, in cores."""
    # "max 100000" or "50000 100000"; version 1 has a file for each, and -1 for no limit.
    told = _lines(folder / _V2_LIMIT) or [*_lines(folder / _V1_QUOTA)[:1], *_lines(folder / _V1_PERIOD)[:1]]
    numbers = " ".join(told).split()
    if len(numbers) != 2 or not all(re.fullmatch(r"[0-9]{1,18}", number) for number in numbers):
        return None
    quota, period = map(int, numbers)
    return quota / period if quota > 0 and period > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _unescaped(text: str) -> str:
    r"""A path as the kernel writes it, where a space is \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
