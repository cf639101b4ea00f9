"""One run in this process: the loop's events go into the recorder."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import assert_never

import torch
from pydantic import JsonValue

from bnbench.errors import UserError
from bnbench.execution.components import third_parties
from bnbench.execution.devices import describe_device, gpu_flags
from bnbench.execution.listening import Notice, Outcome
from bnbench.execution.options import RunOptions
from bnbench.execution.pace import Pace
from bnbench.execution.pipeline import load_pipeline
from bnbench.plan import RunSpec
from bnbench.storage.checkpoints import CheckpointHeader, resume_points
from bnbench.storage.circumstances import differing_facts, switches
from bnbench.storage.lock import LockView, RunLock, acquire_lock
from bnbench.storage.provenance import collect_provenance
from bnbench.storage.recorder import RunRecorder, remove_progress
from bnbench.storage.schema import SCHEMA_VERSION
from bnbench.storage.set_aside import set_aside
from bnbench.storage.states import ended_document
from bnbench.storage.third_parties import KEY, changes, recorded_rows
from bnbench.storage.workspace import LockLostError
from bnbench.training.checkpoint import CheckpointError, checkpoint_bytes, restore_checkpoint
from bnbench.training.events import Diverged, EpochEvaluated, Event, Finished, Measured, Paused, StepReached
from bnbench.training.loop import Trainer
from bnbench.training.memory import keep_freed_memory
from bnbench.training.numerics import USUAL_SWITCHES, check_precision, choose_device, numerics

RunEvents = Callable[[Event | Notice], None]
"""Told everything that a run in this process has to say."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


def execute(
    spec: RunSpec,
    store: Path,
    options: RunOptions,
    listen: RunEvents,
    *,
    stop: Callable[[], bool] = never,
    given_up: LockView | None = None,
    store_is_there: bool = False,
) -> Outcome:
    """Train one run and record it, from its last good state if it was begun before.

    The run is locked meanwhile. A run that has ended, failed ones included, is left as it is. An exception of the run's
    own is recorded as its failure, not raised.

    Args:
        spec: what to run; its data must be on this machine.
        store: the results folder.
        options: device, threads, and how often to leave a checkpoint; the others are the executor's business.
        listen: told every event, after it was recorded, and what else is worth knowing.
        stop: asked after every step; once it says yes, the run leaves a checkpoint and ends as "paused".
        given_up: a lock whose owner the caller has watched and found dead.
        store_is_there: as `acquire_lock` takes it.

    Raises:
        UserError: a user's mistake (no such device, data that changed since the plan, a full disk). The run's last good
            state stays.
    """
    keep_freed_memory()
    device = choose_device(options.device)
    check_precision(spec.precision, device)
    lock = acquire_lock(store / spec.run_id, given_up=given_up, store_is_there=store_is_there)
    if lock is None:
        return Outcome(spec.run_id, "busy")
    with lock:
        ended = _ended_before(spec, store, lock)
        if ended is not None:
            return ended
        try:
            return _Attempt(spec, store, options, device, lock, listen, stop).train()
        except LockLostError:
            return _lost(spec, store)


def _ended_before(spec: RunSpec, store: Path, lock: RunLock) -> Outcome | None:
    """How a run had ended when it was locked; what a process that was given up then left beside a result goes."""
    ended = recorded_outcome(spec, store)
    if ended is not None and ended.status != "failed":
        with suppress(OSError):
            remove_progress(lock.workspace)
    return ended


def _lost(spec: RunSpec, store: Path) -> Outcome:
    """What to say of a run that was given up by this process and has another writer: how it ended, if it did."""
    return recorded_outcome(spec, store) or Outcome(spec.run_id, "busy")


def recorded_outcome(spec: RunSpec, store: Path) -> Outcome | None:
    """How a run ended according to its folder; None where it has not ended, or its record or a table is damaged.

    Raises:
        UserError: the run was recorded by another version of the schema.
    """
    document = ended_document(store / spec.run_id)
    if document is None:
        return None
    return Outcome(spec.run_id, document.status, document.diverged_at_step, document.error, elsewhere=True)


def record_failure(spec: RunSpec, store: Path, options: RunOptions, reason: str) -> Outcome:
    """Record that a run failed, on behalf of a process that no longer can. Its last good state stays.

    The results folder is there.

    Returns:
        The failure; "busy" where another process has taken the run over meanwhile, or how the run ended if it did.

    Raises:
        UserError: it cannot be written.
    """
    lock = acquire_lock(store / spec.run_id, store_is_there=True)
    if lock is None:
        return Outcome(spec.run_id, "busy")
    with lock:
        ended = _ended_before(spec, store, lock)
        if ended is not None:
            return ended
        outcome = Outcome(spec.run_id, "failed", error=reason)
        provenance = _provenance(spec, options.device, options.threads)
        try:
            RunRecorder(store / spec.run_id, spec.identity, lock=lock).fail(_document(spec, outcome, provenance))
        except LockLostError:
            return _lost(spec, store)
    return outcome


def in_one_line(error: UserError) -> str:
    """For what reports a failure by the last line of a traceback."""
    return " ".join(str(error).splitlines())


class _Attempt:
    """One process's work on one run: from its last good state to its end, or to a checkpoint."""

    def __init__(
        self,
        spec: RunSpec,
        store: Path,
        options: RunOptions,
        device: torch.device,
        lock: RunLock,
        listen: RunEvents,
        stop: Callable[[], bool],
    ) -> None:
        self._spec = spec
        self._store = store
        self._options = options
        self._device = device
        self._lock = lock
        self._listen = listen
        self._stop = stop
        self._saved_at = time.monotonic()
        self._pace = Pace()
        self._stretches: list[dict[str, JsonValue]] = []

    def train(self) -> Outcome:
        """Train, and record how it ended."""
        spec = self._spec
        provenance = _provenance(
            spec, describe_device(self._device), self._options.threads, gpu_flags(spec, self._device)
        )
        try:
            with numerics(spec.precision, self._device, self._options.threads):
                trainer, recorder = self._last_good_state()
                outcome = self._to_its_end(trainer, recorder)
            if outcome.status != "paused":
                if len(self._stretches) > 1:
                    provenance["stretches"] = list(self._stretches)
                recorder.finish(_document(spec, outcome, provenance))
        except (UserError, LockLostError):
            raise
        except Exception:  # noqa: BLE001 -- whatever goes wrong in a run belongs to its record; the other runs go on
            outcome = Outcome(spec.run_id, "failed", error=traceback.format_exc())
            recorder = RunRecorder(self._store / spec.run_id, spec.identity, lock=self._lock)
            recorder.fail(_document(spec, outcome, provenance))
        return outcome

    def _last_good_state(self) -> tuple[Trainer, RunRecorder]:
        """A trainer where the run's newest checkpoint that is of use left it, and a recorder that goes on there."""
        spec, workspace = self._spec, self._lock.workspace
        pipeline = load_pipeline(spec, self._device)
        with workspace.writing():
            for saved in resume_points(workspace, spec.identity, self._warn):
                trainer = Trainer(spec, pipeline, self._device)
                try:
                    restore_checkpoint(trainer, saved.payload)
                except CheckpointError as error:
                    self._warn(
                        f"the checkpoint {saved.path.name} is of no use: {error}; {set_aside(workspace, saved.path)}"
                    )
                    continue
                self._begin_stretch(trainer.step, saved.header.stretches)
                self._warn(f"goes on from step {trainer.step} of {trainer.total_steps} (epoch {saved.header.epoch})")
                return trainer, RunRecorder.resume(self._store, spec.identity, saved.header.next_part, self._lock)
        self._begin_stretch(0, [])
        trainer = Trainer(spec, pipeline, self._device)
        return trainer, RunRecorder.open(self._store, spec.identity, self._lock)

    def _begin_stretch(self, step: int, before: list[dict[str, JsonValue]]) -> None:
        circumstances: dict[str, JsonValue] = {
            "device": describe_device(self._device),
            "threads": self._options.threads,
            "torch": version("torch"),
            **gpu_flags(self._spec, self._device),
            **switches(os.environ, USUAL_SWITCHES),
        }
        own = third_parties(self._spec)
        last = {k: value for k, value in before[-1].items() if k not in {"from_step", KEY}} if before else circumstances
        for key, (began, goes_on) in differing_facts(last, circumstances).items():
            self._warn(f"was begun with {key} {began} and goes on with {goes_on}: its last digits may differ")
        for ours, theirs in changes(own, recorded_rows(before[-1]) if before else ()):
            self._warn(f"was begun with {ours.kind} '{ours.name}' of {theirs.state} and goes on with {ours.state}")
        told: dict[str, JsonValue] = {KEY: [row.recorded() for row in own]} if own else {}
        self._stretches = [*before, {"from_step": step, **circumstances, **told}]

    def _to_its_end(self, trainer: Trainer, recorder: RunRecorder) -> Outcome:
        """To the end of the run, with a checkpoint now and then, or to the next step if that is wanted."""
        while True:
            self._saved_at = time.monotonic()
            last = self._to_the_next_pause(trainer, recorder)
            if isinstance(last, Diverged):
                return Outcome(self._spec.run_id, "diverged", last.step)
            if isinstance(last, Finished):
                return Outcome(self._spec.run_id, "finished")
            recorder.checkpoint(lambda next_part: self._header(trainer, next_part), checkpoint_bytes(trainer))
            if self._stop():
                return Outcome(self._spec.run_id, "paused")

    def _to_the_next_pause(self, trainer: Trainer, recorder: RunRecorder) -> Diverged | Paused | Finished:
        """Write down everything the loop says, until a checkpoint is wanted or it ends."""
        epochs = self._spec.training.epochs
        for event in trainer.events(self._checkpoint_wanted):
            match event:
                case Measured():
                    recorder.add(event.table, event.columns)
                case StepReached():
                    step_s = self._pace.at(event.step)
                    self._lock.progress(event.step, event.total_steps, event.epoch - 1, epochs, step_s)
                case EpochEvaluated():
                    step_s = self._pace.at(event.step)
                    self._lock.progress(event.step, trainer.total_steps, event.epoch, epochs, step_s)
                case Diverged() | Paused() | Finished():
                    if not isinstance(event, Paused):
                        self._listen(event)
                    return event
                case other:
                    assert_never(other)
            self._listen(event)
            at_rest = isinstance(event, EpochEvaluated) and 0 < trainer.step < trainer.total_steps
            if at_rest and self._checkpoint_wanted():
                return Paused(trainer.step)
        raise AssertionError("the training loop ended without saying how")

    def _checkpoint_wanted(self) -> bool:
        return self._stop() or time.monotonic() - self._saved_at >= self._options.checkpoint_seconds

    def _header(self, trainer: Trainer, next_part: int) -> CheckpointHeader:
        return CheckpointHeader.model_validate(
            {
                "schema": SCHEMA_VERSION,
                "run_id": self._spec.run_id,
                "step": trainer.step,
                "total_steps": trainer.total_steps,
                "epoch": trainer.step // trainer.steps_per_epoch,
                "epochs": self._spec.training.epochs,
                "next_part": next_part,
                "stretches": self._stretches,
            }
        )

    def _warn(self, text: str) -> None:
        self._listen(Notice(text))


def _provenance(
    spec: RunSpec, device: str, threads: int, of_gpu: Mapping[str, bool | int] = MappingProxyType({})
) -> dict[str, JsonValue]:
    versions = {name: version(name) for name in ("torch", "torchvision", "scikit-learn")}
    if device != "cpu":
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(_cudnn_version())}
    return collect_provenance(
        versions=versions,
        device=device,
        threads=threads,
        flags={
            "deterministic": True,
            "channels_last": True,
            "tf32": spec.precision == "tf32",
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            **of_gpu,
            **switches(os.environ, USUAL_SWITCHES),
        },
        data=spec.data,
        plugins=third_parties(spec),
    )


def _cudnn_version() -> int | None:
    found: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call] # untyped in torch
    return found


def _document(spec: RunSpec, outcome: Outcome, provenance: dict[str, JsonValue]) -> dict[str, object]:
    return {
        "status": outcome.status,
        "diverged_at_step": outcome.diverged_at_step,
        "error": outcome.error,
        **spec.document(),
        "provenance": provenance,
    }
