"""How runs are carried out: one frozen object, handed from whoever asks for runs down to the process of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from bnbench.errors import UserError, unknown
from bnbench.plan import RunSpec
from bnbench.plugins import PluginFile, loaded_plugins
from bnbench.training.device import check_device_name

BOUNDS = {"threads": (1, 1_024), "workers": (0, 1_024), "runs_per_gpu": (1, 128)}
"""What numbers of a run's and a sweep's making may be: more than any machine has a use for is a slip."""

CHECKPOINT_SECONDS = 60.0
"""How much training a kill may cost. It decides where parts end, never what the tables hold."""

PluginChange = Literal["stop", "keep"]
"""What to do where a run was made with another state of a plug-in: train nothing, or go on and keep what there is."""


PROBE_MEMORY = 4.0
"""Gigabytes that a probe may need unless more is allowed."""

MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a sweep, for machines that know nothing of each other.

    Raises:
        UserError: there is no such part.
    """

    index: int
    """From 1."""
    count: int
    """Up to `MOST_SHARDS`."""

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count <= MOST_SHARDS:
            raise UserError(
                f"'{self.index}/{self.count}' is no shard: I/N with I from 1 to N, as 2/4 for the second of four, "
                f"and N up to {MOST_SHARDS:,}"
            )

    def of(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """The runs of this part, in their order: every `count`-th by run id, so the same command parts alike."""
        own = set(sorted(spec.run_id for spec in specs)[self.index - 1 :: self.count])
        return [spec for spec in specs if spec.run_id in own]


@dataclass(frozen=True)
class RunOptions:
    """How runs are carried out. None of it decides their numbers, but for `threads`; device and threads are recorded.

    Raises:
        UserError: options that contradict each other, or a number that is none of its kind.
    """

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 1
    """Intra-operator CPU threads of a run. One by default: a CPU run gives the same bits anywhere on the machine."""
    workers: int | None = None
    """Runs side by side; None leaves it to the device, 0 trains in this process, one run after another."""
    gpus: tuple[str, ...] = ()
    """Spread the runs over these; each sees one."""
    runs_per_gpu: int = 1
    run_timeout: float | None = None
    """Seconds after which a run is ended and recorded as failed; None is no limit."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """How often a run leaves a checkpoint."""
    retry_failed: bool = False
    """Whether runs that failed before are tried once more."""
    fresh: bool = False
    """Whether unfinished runs begin with their first step; results stay."""
    shard: Shard | None = None
    probe_memory: float = PROBE_MEMORY
    """Gigabytes that a probe may need beside the training of its run."""
    plugin_changed: PluginChange = "stop"
    """Where a run that is wanted was made with another state of a plug-in."""
    plugins: tuple[PluginFile, ...] = field(default_factory=loaded_plugins)
    """The files that the processes of runs load: those of this one."""

    def __post_init__(self) -> None:
        if isinstance(self.probe_memory, bool) or not 0 < self.probe_memory < math.inf:
            raise UserError(f"probe_memory = {self.probe_memory!r}: a positive number of gigabytes is needed")
        check_device_name(self.device)
        if self.gpus and self.workers is not None:
            raise UserError("--workers and --gpus contradict each other", hint="Runs on a GPU: --runs-per-gpu.")
        if self.gpus and self.device not in {"auto", "cuda"}:
            raise UserError(f"--gpus and --device {self.device} contradict each other", hint="Leave out --device.")
        if self.plugin_changed not in get_args(PluginChange):
            raise unknown("answer to a changed plug-in", self.plugin_changed, get_args(PluginChange))
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (whole and least <= value <= most):
                raise UserError(f"{name} = {value!r}: a whole number from {least} to {most:,} is needed")
