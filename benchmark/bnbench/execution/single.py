"""One run in this process: the loop's events go into the recorder."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import JsonValue

from bnbench.data.dataset import DATASETS
from bnbench.data.pipeline import ImagePipeline
from bnbench.errors import UserError
from bnbench.plan import RunSpec
from bnbench.storage.document import Status
from bnbench.storage.provenance import collect_provenance
from bnbench.storage.recorder import RunRecorder
from bnbench.storage.rows import AffineBlock, CurveRow, SparsityRow, StepBlock, TimingRow
from bnbench.training.events import (
    Diverged,
    EpochEvaluated,
    Event,
    Finished,
    Paused,
    SnapshotsTaken,
    StepReached,
    StepsRecorded,
)
from bnbench.training.loop import Trainer
from bnbench.training.memory import keep_freed_memory
from bnbench.training.numerics import check_precision, choose_device, numerics

FLUSH_SECONDS = 60.0
"""How much recorded training may be in memory only. It decides where parts end, never what the tables hold."""


@dataclass(frozen=True)
class Resources:
    """What a run may use; none of it decides its numbers, all of it is recorded."""

    device: str = "auto"
    threads: int = 1
    """Intra-operator CPU threads. One by default, so that a CPU run gives the same bits anywhere on the machine."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run_id: str
    status: Status
    diverged_at_step: int | None = None
    error: str | None = None
    """The traceback of a failed run."""


Listener = Callable[[Event], None]


def execute(spec: RunSpec, store: Path, resources: Resources, listen: Listener) -> Outcome:
    """Train one run and record it. An exception of the run's own is recorded as its failure, not raised.

    Args:
        spec: what to run; its data must be on this machine.
        store: the results folder.
        resources: device and threads.
        listen: told every event, after it was recorded.

    Raises:
        UserError: a user's mistake (no such device, data that changed since the plan, a full disk).
    """
    keep_freed_memory()
    device = choose_device(resources.device)
    check_precision(spec.precision, device)
    recorder = RunRecorder.open(store, spec.identity)
    provenance = _provenance(spec, describe_device(device), resources.threads)
    try:
        with numerics(spec.precision, device, resources.threads):
            diverged_at = _record(Trainer(spec, load_pipeline(spec, device), device), recorder, listen)
        outcome = Outcome(spec.run_id, "finished" if diverged_at is None else "diverged", diverged_at)
        recorder.finish(_document(spec, outcome, provenance))
    except UserError:
        raise
    except Exception:  # noqa: BLE001 -- whatever goes wrong in a run belongs to its record; the other runs go on
        outcome = Outcome(spec.run_id, "failed", error=traceback.format_exc())
        recorder.fail(_document(spec, outcome, provenance))
    return outcome


def record_failure(spec: RunSpec, store: Path, resources: Resources, reason: str) -> Outcome:
    """Record that a run failed, on behalf of a process that no longer can.

    Raises:
        UserError: it cannot be written.
    """
    outcome = Outcome(spec.run_id, "failed", error=reason)
    provenance = _provenance(spec, resources.device, resources.threads)
    RunRecorder.open(store, spec.identity).fail(_document(spec, outcome, provenance))
    return outcome


def load_pipeline(spec: RunSpec, device: torch.device) -> ImagePipeline:
    """The run's data on its device.

    Raises:
        UserError: the data are missing, or are not those that the run was planned with.
    """
    dataset = DATASETS.get(spec.data.name)
    if dataset.identify().fingerprint != spec.data.fingerprint:
        raise UserError(f"dataset '{dataset.name}' changed after the run was planned", hint="Start the command again.")
    return ImagePipeline(
        dataset.load_splits(spec.split_seed),
        dataset=dataset,
        image_size=spec.input_shape[1],
        augmentation=spec.augmentation,
        device=device,
    )


def _record(trainer: Trainer, recorder: RunRecorder, listen: Listener) -> int | None:
    """Write down everything the loop says; the step it diverged at, if it did."""
    diverged_at = None
    flushed = time.monotonic()
    for event in trainer.events():
        match event:
            case StepsRecorded():
                recorder.add_steps(
                    StepBlock(event.step, event.epoch, event.batch_loss, event.batch_accuracy, event.learning_rate)
                )
            case SnapshotsTaken():
                recorder.add_affine(AffineBlock(event.step, event.slot, event.parameter, event.values))
            case EpochEvaluated():
                recorder.add_curves(
                    [
                        CurveRow(event.epoch, event.step, each.split, each.statistics, each.loss, each.accuracy)
                        for each in event.evaluations
                    ]
                )
                recorder.add_sparsity(
                    [SparsityRow(event.epoch, event.step, each.slot, each.share) for each in event.zeroed]
                )
                if event.epoch > 0:
                    speed = event.images / event.train_s
                    recorder.add_timing(TimingRow(event.epoch, event.train_s, event.eval_s, speed))
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    recorder.flush()
                    flushed = time.monotonic()
            case Diverged():
                diverged_at = event.step
            case StepReached() | Paused() | Finished():
                pass
        listen(event)
    return diverged_at


def describe_device(device: torch.device) -> str:
    """What a device is called in a record: "cpu", or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _provenance(spec: RunSpec, device: str, threads: int) -> dict[str, JsonValue]:
    versions = {name: version(name) for name in ("torch", "torchvision", "scikit-learn")}
    if device != "cpu":
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(_cudnn_version())}
    return collect_provenance(
        versions=versions,
        device=device,
        threads=threads,
        flags={"deterministic": True, "channels_last": True, "tf32": spec.precision == "tf32"},
        data=spec.data,
    )


def _cudnn_version() -> int | None:
    found: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call] # untyped in torch
    return found


def _document(spec: RunSpec, outcome: Outcome, provenance: dict[str, JsonValue]) -> dict[str, object]:
    return {
        "status": outcome.status,
        "diverged_at_step": outcome.diverged_at_step,
        "error": outcome.error,
        "spec": spec.document(),
        "provenance": provenance,
    }
