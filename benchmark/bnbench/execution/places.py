"""Where runs go: how many side by side, and on which device. Only the look at the machine needs torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bnbench.errors import UserError
from bnbench.execution.options import RunOptions
from bnbench.resources import usable_cores


@dataclass(frozen=True)
class Place:
    """Room for one run at a time."""

    gpu: str | None = None
    """The one GPU that a run here sees (an entry of CUDA_VISIBLE_DEVICES); None changes nothing."""


@dataclass(frozen=True)
class Room:
    """What an executor has for the runs of a sweep."""

    places: tuple[Place, ...]
    device: str
    """Where they compute, as `--device` takes it; with several GPUs, "cuda"."""
    recorded_as: str
    """The same as runs record it: "cpu", or the model of the GPU."""
    machine: str
    """What speeds are measured for: the model of the processor or GPU."""

    def in_words(self, options: RunOptions) -> str:
        """Where runs are trained: "cpu", "cuda", "GPUs 0,1"."""
        return f"GPUs {','.join(options.gpus)}" if options.gpus else self.device


def room_here(options: RunOptions) -> Room:
    """The room that options ask for on this machine.

    Raises:
        UserError: no such device here.
    """
    from bnbench.execution.devices import describe_device, machine_name  # noqa: PLC0415 -- torch
    from bnbench.training.numerics import choose_device  # noqa: PLC0415

    device = choose_device("cuda" if options.gpus else options.device)
    if options.gpus:
        places = gpu_places(options.gpus, options.runs_per_gpu)
    else:
        on_one_gpu = options.runs_per_gpu if device.type == "cuda" else 1
        places = cpu_places(options.workers or on_one_gpu * default_workers(str(device), options.threads))
    return Room(places, str(device), describe_device(device), machine_name(device, options.threads))


def cpu_places(workers: int) -> tuple[Place, ...]:
    """Room for so many runs at a time, on whatever device they choose."""
    return (Place(),) * workers


def gpu_places(gpus: Sequence[str], runs_per_gpu: int = 1) -> tuple[Place, ...]:
    """Room on these GPUs; the first run of each comes before the second of any.

    Args:
        gpus: numbers, counted from 0 among the GPUs that this process sees, or other names that CUDA knows them by.
        runs_per_gpu: how many runs share one.

    Raises:
        UserError: there is no such GPU among those that CUDA_VISIBLE_DEVICES leaves.
    """
    return tuple(Place(_visible(gpu)) for _ in range(runs_per_gpu) for gpu in gpus)


def default_workers(device: str, threads: int) -> int:
    """How many runs go side by side: on CPUs as many as there are cores for, on a GPU one."""
    return 1 if device.startswith("cuda") else max(1, usable_cores() // threads)


def free_place(places: Sequence[Place], used: Sequence[Place]) -> Place | None:
    """The first place that is not in use; equal places count separately."""
    left = list(used)
    for place in places:
        if place in left:
            left.remove(place)
        else:
            return place
    return None


def _visible(gpu: str) -> str:
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is None or not gpu.isdigit():
        return gpu
    names = [name.strip() for name in seen.split(",") if name.strip()]
    if int(gpu) >= len(names):
        raise UserError(f"no GPU {gpu}: CUDA_VISIBLE_DEVICES is '{seen}'", hint="GPUs are counted from 0 among those.")
    return names[int(gpu)]
