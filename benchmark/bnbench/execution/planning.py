"""What a sweep would do: its runs' states, which are to be trained, how long that may take. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from bnbench.data.store import data_home
from bnbench.execution.changed_plugins import ChangedPart, changed_parts
from bnbench.execution.estimate import Recorded, RunTime, recorded_times, run_time, schedule_seconds
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Room
from bnbench.plan import RunSpec
from bnbench.storage.speeds import SPEEDS, read_speeds
from bnbench.storage.states import RunState, ended_runs, survey
from bnbench.storage.store import ResultStore, StoreContents
from bnbench.storage.sweeps import SweepRun


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: its state, whether it is to be trained, and how long that may take."""

    spec: RunSpec
    state: RunState | None
    """None where the data are not at hand, so that the run has no id yet."""
    to_train: bool
    time: RunTime | None = None
    """Of a run that is to be trained; None where nothing is known."""

    @property
    def seconds(self) -> float | None:
        """What is left of it; None where nothing is known."""
        return None if self.time is None else self.time.left

    def record(self) -> dict[str, object]:
        """The run as plain values: what it is, its state, whether it is to be trained, how long that may take."""
        spec = self.spec
        found = {} if self.state is None else asdict(self.state)
        name = found.pop("name", None)
        return {
            "run_id": None if self.state is None else spec.run_id,
            "problem": spec.problem,
            "size": spec.size,
            "variant": spec.variant.name,
            "placement": spec.placement,
            "learning_rate": spec.training.learning_rate,
            "seed": spec.seed,
            "to_train": self.to_train,
            "seconds": self.seconds,
            "state": name,
            **{**found, "epochs": spec.training.epochs},
        }


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would do."""

    runs: tuple[PlannedRun, ...]
    side_by_side: int
    machine: str
    """What speeds are measured for: the model of the processor or GPU."""
    device: str
    """As runs record it: "cpu", or the model of the GPU."""
    warnings: tuple[str, ...] = ()
    """What is wrong with single runs in the results folder, one sentence each."""
    changed_parts: tuple[ChangedPart, ...] = ()
    """Rows of others that are not any more what wanted runs were made of, unless these are to be kept as they are."""

    def records(self) -> list[dict[str, object]]:
        """Each run as plain values; `changed` is what of it is not any more what it was made of, in words, or None."""
        changed = {part.run_id: part.in_words for part in reversed(self.changed_parts)}
        return [{**run.record(), "changed": changed.get(str(run.record()["run_id"]))} for run in self.runs]

    @cached_property
    def training(self) -> list[PlannedRun]:
        """The runs to train, and those that other processes are training."""
        return [run for run in self.runs if run.to_train]

    @property
    def todo(self) -> list[RunSpec]:
        """The same, as specifications."""
        return [run.spec for run in self.training]

    @cached_property
    def ended(self) -> set[str]:
        """The ids of the runs that are results already."""
        return {
            run.spec.run_id for run in self.runs if run.state is not None and run.state.name in {"finished", "diverged"}
        }

    @cached_property
    def swept(self) -> tuple[SweepRun, ...]:
        """The runs to train, as the record of a sweep keeps them."""
        return tuple(
            SweepRun(
                run_id=run.spec.run_id,
                setting_id=run.spec.setting_id,
                variant=run.spec.variant.name,
                seconds=None if run.time is None else run.time.whole,
            )
            for run in self.training
            if run.state is not None
        )

    @cached_property
    def known(self) -> list[RunTime]:
        """How long the runs to train take, of those of which it is known."""
        return [run.time for run in self.training if run.time is not None]

    @property
    def seconds(self) -> float | None:
        """When the last run would end; None where it is not known of every one how long it takes."""
        return self.known_seconds if len(self.known) == len(self.training) else None

    @property
    def known_seconds(self) -> float:
        """When the last of those would end of which it is known."""
        return schedule_seconds([time.left for time in self.known], self.side_by_side)


def make_plan(
    specs: Sequence[RunSpec],
    store: ResultStore,
    contents: StoreContents,
    options: RunOptions,
    room: Room,
) -> SweepPlan:
    """The states of the runs of a sweep, and what it would do.

    Args:
        specs: what is wanted.
        store: the results folder.
        contents: what a look at it has found.
        options: how the runs are carried out.
        room: where they go.

    Raises:
        UserError: the folder cannot be read.
    """
    named = [spec for spec in specs if spec.data.fingerprint is not None]
    unnamed = [spec for spec in specs if spec.data.fingerprint is None]
    if options.shard is not None:
        named, unnamed = options.shard.of(named), []
    states = survey({spec.run_id: store.run_folder(spec.run_id) for spec in named}, ended=ended_runs(contents))
    runs = [_planned(spec, states[spec.run_id], options) for spec in named]
    recorded = _recorded(store, contents, [run.spec for run in runs if run.to_train], room.recorded_as)
    speeds = read_speeds(data_home() / SPEEDS, room.machine)
    timed = [
        replace(run, time=run_time(run.spec, run.state, recorded, speeds))
        if run.to_train and run.state is not None
        else run
        for run in runs
    ]
    everything = (*timed, *(PlannedRun(spec, None, True) for spec in unnamed))
    wanted = ((run.spec, run.state) for run in runs if run.state is not None)
    changed = () if options.plugin_changed == "keep" else tuple(changed_parts(wanted, store, contents))
    return SweepPlan(everything, len(room.places), room.machine, room.recorded_as, contents.warnings, changed)


def _planned(spec: RunSpec, state: RunState, options: RunOptions) -> PlannedRun:
    if options.fresh and state.name in {"resumable", "damaged"}:
        state = RunState("damaged" if state.name == "damaged" else "new")
    wanted = state.name in {"new", "damaged", "resumable", "running"} or (
        state.name == "failed" and options.retry_failed
    )
    return PlannedRun(spec, state, wanted)


def _recorded(store: ResultStore, contents: StoreContents, todo: Sequence[RunSpec], device: str) -> Recorded:
    """What such runs took here, on this kind of device."""
    wanted = {(spec.setting_id, spec.variant.name) for spec in todo}
    alike = [
        document
        for document in contents.finished
        if (document.setting_id, document.identity.variant) in wanted and document.provenance.get("device") == device
    ]
    return recorded_times(store, alike)
