"""The checks: each takes what is trained and says why the row fails it, or nothing."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bnbench.components.architectures import Conv, Dense, Norm, trace
from bnbench.components.normalisers import NORMALISERS
from bnbench.components.probes import PROBES
from bnbench.execution.doctor.patient import Patient
from bnbench.execution.doctor.replaying import not_replayable
from bnbench.execution.doctor.training import CPU, UNREPEATABLE, Training, bytes_of, learned_by, state_of
from bnbench.execution.executors import Executor, InProcess, LocalPool
from bnbench.execution.listening import Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.pipeline import load_pipeline
from bnbench.execution.places import Place
from bnbench.execution.slurm.job import Chunk
from bnbench.execution.sweep import Sweep
from bnbench.plan import RunSpec
from bnbench.storage.document import read_document, table_path
from bnbench.training.loop import Trainer
from bnbench.training.seeding import StepDraws

_PAUSE = 3
"""The step at which a training is interrupted."""
_PATIENCE_S = 600.0

_JOB = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    chunk = pickle.load(file)
chunk()
"""

USE = "can be planned, and its network built"


def check_use(patient: Patient) -> None:
    """Load the data and build what is trained.

    Raises:
        Exception: whatever comes of it.
    """
    for spec in (patient.spec, patient.frozen):
        Training(spec)


def check_shapes(patient: Patient) -> str | None:
    """Whether each slot hands over what the layer table promises, in training and in evaluation."""
    spec = patient.spec
    training = Training(spec)
    network, images = training.trainer.network, _images(spec)
    promised = {
        each.layer.name: each.output_shape
        for each in trace(spec.layers(), spec.input_shape)
        if isinstance(each.layer, Conv | Dense | Norm)
    }
    wrong: list[str] = []

    def look(slot: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401 -- whatever it was given
            if tuple(output.shape) != (len(images), *promised[slot]):
                wrong.append(
                    f"slot {slot} gives {tuple(output.shape)} and should give {(len(images), *promised[slot])}"
                )

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in network.slots.items()]
    try:
        for mode, draws in ((True, StepDraws(spec.seed, 0)), (False, None)):
            network.train(mode)
            with torch.no_grad():
                logits = network(images, draws)
            if tuple(logits.shape) != (len(images), spec.data.classes):
                wrong.append(f"the logits are {tuple(logits.shape)}")
    except RuntimeError as error:
        wrong.append(f"the next layer says: {error}")
    finally:
        for each in hooks:
            each.remove()
    return wrong[0] if wrong else None


def _images(spec: RunSpec) -> Tensor:
    pipeline = load_pipeline(spec, CPU)
    images, _ = next(pipeline.evaluation_batches("train_eval", spec.training.batch_size))
    return images


def check_finite(patient: Patient) -> str | None:
    """Whether losses, rates, parameters and what a probe measures are finite numbers."""
    training = Training(patient.spec)
    trainer = training.trainer
    for step in range(trainer.total_steps):
        rate = trainer.learning_rate(step)
        if not 0 <= rate < float("inf"):
            return f"the learning rate of step {step} is {rate}"
    training.run()
    if training.diverged:
        return "the training loss is not finite"
    for name, each in trainer.network.named_parameters():
        if not bool(torch.isfinite(each).all()):
            return f"{name} is not finite after {trainer.step} steps"
    own = [table.name for table in PROBES.get(patient.name).tables] if patient.what == "probes" else []
    for name in ("curves", *own):
        for column, values in training.tables.get(name, {}).items():
            if any(isinstance(value, bytes) and not _is_finite(name, column, value) for value in values):
                return f"table {name}, column {column} holds a number that is not finite"
    return None


def _is_finite(table: str, column: str, value: bytes) -> bool:
    from bnbench.measurement import TABLES  # noqa: PLC0415 -- as it is now, with the tables of other people's probes

    (kind,) = [each.type for each in TABLES[table].columns if each.name == column]
    return not kind.startswith("float") or bool(np.isfinite(np.frombuffer(value, np.dtype(kind))).all())


def check_determinism(patient: Patient) -> str | None:
    """Whether the same training, and the same evaluation, give the same bits once more."""
    first, second = (Training(patient.spec).run() for _ in range(2))
    if tables := _differing(first.tables, second.tables):
        return f"trained twice: other numbers in {', '.join(tables)}"
    network, images = first.trainer.network.eval(), _images(patient.spec)
    with torch.no_grad():
        again = [network(images) for _ in range(2)]
    return None if torch.equal(*again) else "evaluated twice: other logits"


def check_gradients(patient: Patient) -> str | None:
    """Whether everything that is learned gets a gradient, finite and not always 0, and moves."""
    reached: set[str] = set()
    odd: list[str] = []

    def look(trainer: Trainer) -> None:
        for name, each in learned_by(trainer).items():
            if each.grad is not None and not bool(torch.isfinite(each.grad).all()):
                odd.append(name)
            elif each.grad is not None and bool(each.grad.any()):
                reached.add(name)

    training = Training(patient.spec, look).run()
    if odd:
        return f"the gradient of {odd[0]} is not finite"
    learned = learned_by(training.trainer)
    if lost := [name for name in learned if name not in reached]:
        return f"no gradient reaches {', '.join(lost)}"
    after = bytes_of(training.trainer.network)
    still = [name for name in learned if after[name] == training.before[name]]
    return f"{', '.join(still)} never moved" if still else None


def check_frozen(patient: Patient) -> str | None:
    """Whether what is not learned has the same bytes after training."""
    training = Training(patient.frozen).run()
    learned, after = learned_by(training.trainer), bytes_of(training.trainer.network)
    moved = [name for name in _differing(training.before, after) if name not in learned]
    return f"{', '.join(moved)} changed, and should have stayed" if moved else None


def check_checkpoint(patient: Patient) -> str | None:
    """Whether a training that goes on from a checkpoint ends as one that was not interrupted."""
    whole, parted = Training(patient.spec).run(), Training(patient.spec).run(_PAUSE)
    parted.interrupt()
    parted.run()
    # Trajectories come in pieces; where they end, the parameters say.
    tables = [name for name in _differing(whole.tables, parted.tables) if name != "affine"]
    if tables:
        return f"interrupted at step {_PAUSE}: other numbers in {', '.join(tables)}"
    other = _differing(*(state_of(each.trainer.network) for each in (whole, parted)))
    return f"interrupted at step {_PAUSE}: {', '.join(other)} ended otherwise" if other else None


def check_worker(patient: Patient) -> str | None:
    """Whether a run in a process of its own has the tables of one in this process, byte for byte."""
    with _folders("here", "worker") as (here, worker):
        _sweep(patient.spec, here, InProcess())
        _sweep(patient.spec, worker, LocalPool((Place(),)))
        return _other_tables(patient.spec, here, worker)


def check_cluster(patient: Patient) -> str | None:
    """Whether a run in a job of a cluster, in another working directory, has the same tables. No cluster is asked."""
    with _folders("here", "job", "elsewhere") as (here, job, elsewhere):
        _sweep(patient.spec, here, InProcess())
        job.mkdir()
        chunk = elsewhere.parent / "chunk.pickle"
        chunk.write_bytes(pickle.dumps(Chunk((patient.spec,), job, _options(workers=1))))
        elsewhere.mkdir()
        done = subprocess.run(
            [sys.executable, "-P", "-c", _JOB, str(chunk)],
            cwd=elsewhere, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=dict(os.environ),
        )  # fmt: skip
        if read_document(job / patient.spec.run_id) is None:
            last = [*done.stdout.splitlines(), *done.stderr.splitlines()][-1:]
            return f"the job did nothing: {' '.join(last)}"
        return _other_tables(patient.spec, here, job)


def check_replaying(patient: Patient) -> str | None:
    """Whether updates can be recorded and replayed, where the normaliser's row promises that."""
    spec = patient.spec
    return not_replayable(Training(spec).trainer) if NORMALISERS.get(spec.variant.normaliser).replays else None


CHECKS: dict[str, Callable[[Patient], str | None]] = {
    "keeps shapes": check_shapes,
    "stays finite": check_finite,
    "is deterministic": check_determinism,
    "lets gradients through": check_gradients,
    "leaves frozen what is frozen": check_frozen,
    "survives a checkpoint": check_checkpoint,
    "replays only what stays the same": check_replaying,
    "works in a worker process": check_worker,
    "works in a cluster job": check_cluster,
}
"""The checks of a row that can be used, in the order in which they are made: to why it fails, None if it does not."""


@contextmanager
def _folders(*names: str) -> Iterator[Sequence[Path]]:
    with tempfile.TemporaryDirectory(prefix="bnbench-") as folder:
        yield [Path(folder).resolve() / name for name in names]


def _options(**more: int) -> RunOptions:
    return RunOptions("cpu", plugin_changed="keep", **cast(Any, more))


def _sweep(spec: RunSpec, store: Path, executor: Executor) -> None:
    Sweep([spec], store, _options(), executor, Silent()).run()


def _other_tables(spec: RunSpec, ours: Path, theirs: Path) -> str | None:
    document = read_document(ours / spec.run_id)
    other = read_document(theirs / spec.run_id)
    for each in (document, other):
        if each is None:
            return "there the run was not recorded"
        if each.error is not None:
            return f"the run failed: {each.error.strip().splitlines()[-1]}"
    assert document is not None
    differing = [
        table
        for table in document.tables
        if table not in UNREPEATABLE
        and table_path(ours / spec.run_id, table).read_bytes() != table_path(theirs / spec.run_id, table).read_bytes()
    ]
    return f"there are other numbers in {', '.join(differing)}" if differing else None


def _differing(ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[str]:
    return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
