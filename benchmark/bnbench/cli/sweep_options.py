"""The options that say how the runs of a sweep are carried out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bnbench.plan import RunSpec

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a sweep, for machines that know nothing of each other."""

    index: int
    """From 1."""
    count: int

    def of(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """The runs of this part, in their order: every `count`-th by run id, so the same command parts alike."""
        own = set(sorted(spec.run_id for spec in specs)[self.index - 1 :: self.count])
        return [spec for spec in specs if spec.run_id in own]


@dataclass(frozen=True)
class SweepOptions:
    """How runs are carried out; none of it decides their numbers, but for `threads`, which is recorded."""

    device: str = "auto"
    threads: int = 1
    workers: int | None = None
    """Runs side by side; None leaves it to the device."""
    gpus: tuple[str, ...] = ()
    runs_per_gpu: int = 1
    run_timeout: float | None = None
    checkpoint_every: float = 60.0
    retry_failed: bool = False
    fresh: bool = False
    shard: Shard | None = None
    continues: bool = True
    """Whether the same command, typed again, goes on with what is left."""

    @property
    def what_goes_on(self) -> str:
        """How the rest is done if it is stopped, as the end of a sentence; nothing where nothing goes on with it."""
        if not self.continues:
            return ""
        return f"; the same command {'without --fresh ' if self.fresh else ''}does the rest"


def parse_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Seconds, or a number with a unit: 90, 90s, 30m, 2h, 1.5d. A callback of an option.

    Raises:
        click.BadParameter: it is neither.
    """
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)?", value.strip())
    if match is None or float(match[1]) <= 0:
        raise click.BadParameter(f"'{value}' is no duration: a positive number of seconds, or one with s, m, h or d")
    return float(match[1]) * _UNITS[match[2] or ""]


def _parse_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> Shard | None:
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", value.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"'{value}' is no shard: I/N with I from 1 to N, as 2/4 for the second of four")
    return Shard(int(match[1]), int(match[2]))


def _parse_gpus(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    gpus = tuple(part.strip() for part in value.split(","))
    if not all(re.fullmatch(r"[0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+", gpu) for gpu in gpus) or len(set(gpus)) < len(gpus):
        raise click.BadParameter(f"'{value}' is no list of GPUs: numbers from 0, each once, as 0,1")
    return gpus


def sweep_options(command: Command) -> Command:
    """The options of a sweep; the command takes them as keywords and makes `SweepOptions` with `gather_sweep`."""
    for option in reversed(_SWEEP_OPTIONS):
        command = option(command)
    return command


_SWEEP_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="CPU threads of a run; decides its bits.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), help="Runs side by side; default: as many as cores, 1 on a GPU."
    ),
    click.option(
        "--gpus", callback=_parse_gpus, metavar="LIST", help="Spread the runs over these GPUs: 0,1. Each sees one."
    ),
    click.option(
        "--runs-per-gpu", type=click.IntRange(min=1), default=1, show_default=True, help="Runs that share a GPU."
    ),
    click.option("--retry", type=click.Choice(["failed"]), help="failed: try runs that failed before once more."),
    click.option("--fresh", is_flag=True, help="Begin unfinished runs with their first step; results stay."),
    click.option(
        "--shard",
        callback=_parse_shard,
        metavar="I/N",
        help="Only every N-th run, as 2/4: a fixed part of the same command.",
    ),
)


def gather_sweep(options: dict[str, Any]) -> SweepOptions:
    """The options of a sweep from a command's keywords, which they are taken out of.

    Raises:
        UserError: options that contradict each other.
    """
    from bnbench.errors import UserError

    names = ("device", "threads", "workers", "gpus", "runs_per_gpu", "fresh", "shard")
    sweep = SweepOptions(**{name: options.pop(name) for name in names}, retry_failed=options.pop("retry") == "failed")
    if sweep.gpus and sweep.workers is not None:
        raise UserError("--workers and --gpus contradict each other", hint="Runs on a GPU: --runs-per-gpu.")
    if sweep.gpus and sweep.device not in {"auto", "cuda"}:
        raise UserError(f"--gpus and --device {sweep.device} contradict each other", hint="Leave out --device.")
    return sweep
