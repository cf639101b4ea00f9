"""Whether a row that somebody has made keeps what every run relies on: it is trained for a few steps, in several ways.

What is trained is a small network on few images, so a check takes seconds. A check that passes is no proof, and one
that fails is: the numbers of such a row could not be made again.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bnbench.architecture import Conv, Dense, Norm, trace
from bnbench.errors import UserError
from bnbench.execution.components import REGISTRIES
from bnbench.execution.executors import Executor, InProcess, LocalPool
from bnbench.execution.in_process import as_in_a_process_of_its_own
from bnbench.execution.listening import Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place
from bnbench.execution.run import load_pipeline
from bnbench.execution.selection import Grid, require_data, select
from bnbench.execution.slurm.job import Chunk
from bnbench.execution.sweep import Sweep
from bnbench.normaliser import NONE, NORMALISERS
from bnbench.plan import RunSpec
from bnbench.probe import PROBES
from bnbench.problem import Problem, find_problem
from bnbench.reparametrisation import PLAIN, REPARAMETRISATIONS
from bnbench.storage.document import read_document, table_path
from bnbench.training.checkpoint import checkpoint_bytes, restore_checkpoint
from bnbench.training.events import Diverged, Measured
from bnbench.training.loop import Trainer
from bnbench.training.numerics import numerics
from bnbench.training.seeding import StepDraws
from bnbench.variant import VARIANTS, Affine, AffineRule, Variant

PROBLEM = "digits_3c3d"
"""What is trained unless something else is asked for: convolutions and dense layers, and images that are there."""

_SHORT: dict[str, object] = {"training.epochs": 2, "training.images": 96, "evaluation.images": 48}
_PAUSE = 3
"""The step at which a training is interrupted."""
_PATIENCE_S = 600.0
_CPU = torch.device("cpu")
_UNREPEATABLE = ("timing",)
"""Tables that hold seconds."""

_JOB = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    chunk = pickle.load(file)
chunk()
"""


@dataclass(frozen=True)
class Check:
    """One check of a row."""

    title: str
    reason: str | None = None
    """Why it failed; None where it passed."""
    made: bool = True
    """False where it could not be made, because of one before it."""

    @property
    def passed(self) -> bool:
        """Whether it was made and found nothing."""
        return self.made and self.reason is None


@dataclass(frozen=True)
class Patient:
    """What is trained to check a row."""

    what: str
    """The row's table, a name of `bnbench.execution.components.REGISTRIES`."""
    name: str
    spec: RunSpec
    frozen: RunSpec
    """The same with as little learned as possible."""


def examine(
    what: str, name: str, problem: str = PROBLEM, changes: Mapping[str, object] = MappingProxyType({})
) -> list[Check]:
    """Make every check of a row.

    Args:
        what: the row's table, a name of `bnbench.execution.components.REGISTRIES`.
        name: of the row.
        problem: what is trained, at its tiny size.
        changes: settings of it, dotted keys to values, which the row may need.

    Raises:
        UserError: there is no such row or problem.
    """
    registry = REGISTRIES[what]
    if name not in registry:
        registry.get(name)
    base = find_problem(problem)
    base.problem("tiny")
    checks: list[Check] = []
    with numerics("fp32", _CPU, 1), as_in_a_process_of_its_own():
        patient: Patient | None = None
        try:
            patient = admit(what, name, base.problem("tiny", {**changes_for(what, name), **changes}))
            check_use(patient)
        except Exception as error:  # noqa: BLE001 -- whatever the code of somebody's raises
            checks.append(Check(USE, _in_words(error)))
        else:
            checks.append(Check(USE))
        for title, check in CHECKS.items():
            if patient is None or not checks[0].passed:
                checks.append(Check(title, made=False))
            else:
                checks.append(_made(title, check, patient))
    return checks


def _made(title: str, check: Callable[[Patient], str | None], patient: Patient) -> Check:
    try:
        return Check(title, check(patient))
    except Exception as error:  # noqa: BLE001 -- whatever the code of somebody's raises
        return Check(title, _in_words(error))


def _in_words(error: Exception) -> str:
    if not isinstance(error, UserError):
        return f"{type(error).__name__}: {error}"
    told = error.problem if error.hint is None else f"{error.problem.removesuffix('.')}. {error.hint}"
    return " ".join(told.split())


# --- what is trained ----------------------------------------------------------------------------------------------


def changes_for(what: str, name: str) -> dict[str, object]:
    """What the problem's settings are to be, for a row of such a table."""
    own: dict[str, dict[str, object]] = {
        "optimisers": {"training.optimiser": name},
        "rate_schedules": {"training.schedule": name},
        "probes": {f"probes.{name}": True},
    }
    return {**_SHORT, **own.get(what, {})}


def admit(what: str, name: str, problem: Problem) -> Patient:
    """The runs that a row is checked with.

    Args:
        what: its table.
        name: the row's.
        problem: what is trained, with `changes_for`.

    Raises:
        UserError: the row cannot be used.
    """
    REGISTRIES[what].get(name)
    fields = {"architectures": "architecture", "datasets": "dataset"}
    if what in fields:
        problem = problem.model_copy(update={fields[what]: name})
    row = _variant(what, name)
    if what == "variants":
        # All that it freezes is to stay as it is; what it learns is its own to say.
        frozen = row
    else:
        fixed = [_fixed(rule) for rule in (row.gamma, row.beta)]
        frozen = replace(
            row, name="doctor_frozen", train_weights=False, weights_in="output", gamma=fixed[0], beta=fixed[1]
        )
    return Patient(what, name, *(_spec(problem, each, what, name) for each in (row, frozen)))


def _variant(what: str, name: str) -> Variant:
    """What a row is looked at under: itself, one that it is a part of, or the usual."""
    if what == "variants":
        return VARIANTS.get(name)
    if what == "normalisers":
        return _of_parts(name, PLAIN, affine=True)
    if what == "reparametrisations":
        row = REPARAMETRISATIONS.get(name)
        normaliser = "batch" if row.needs_normaliser else NONE
        return _of_parts(normaliser, name, affine=row.takes_affine or row.needs_normaliser)
    return VARIANTS.get("bn_gamma_beta")


def _of_parts(normaliser: str, weights: str, *, affine: bool) -> Variant:
    status = Affine.LEARNED if affine else Affine.ABSENT
    rules = AffineRule(status, 1.0), AffineRule(status, 0.0)
    return Variant("doctor", "doctor", "a check", normaliser, *rules, weights=weights)


def _fixed(rule: AffineRule) -> AffineRule:
    return replace(rule, status=Affine.FIXED, learned_in=None) if rule.is_learned else rule


def _spec(problem: Problem, row: Variant, what: str, name: str) -> RunSpec:
    only_maps = what == "normalisers" and NORMALISERS.get(name).needs_map
    placements = ("first:3",) if only_maps else ()
    (spec,) = select(Grid((problem,), (row,), placements)).specs
    require_data([spec])
    return spec


# --- a training ---------------------------------------------------------------------------------------------------


@dataclass
class _Training:
    """A training in this process, and what it has measured."""

    spec: RunSpec
    after_backward: Callable[[Trainer], None] | None = None
    tables: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    diverged: bool = False

    def __post_init__(self) -> None:
        self.trainer = self._trainer()
        self.before = _bytes_of(self.trainer.network)

    def _trainer(self) -> Trainer:
        made = Trainer(self.spec, load_pipeline(self.spec, _CPU), _CPU)
        if self.after_backward is not None:
            told = self.after_backward
            made.optimiser.register_step_pre_hook(lambda *_: told(made))
        return made

    def run(self, until: int | None = None) -> _Training:
        """To the end, or to a step."""
        for event in self.trainer.events(lambda: until is not None and self.trainer.step >= until):
            if isinstance(event, Measured) and event.table not in _UNREPEATABLE:
                for column, values in event.columns.items():
                    self.tables.setdefault(event.table, {}).setdefault(column, []).extend(map(_plain, values))
            self.diverged = self.diverged or isinstance(event, Diverged)
        return self

    def interrupt(self) -> None:
        """Go on with another trainer, from a checkpoint."""
        state = checkpoint_bytes(self.trainer)
        self.trainer = self._trainer()
        restore_checkpoint(self.trainer, state)


def _plain(value: object) -> object:
    return value.tobytes() if isinstance(value, np.ndarray | np.generic) else value


def _bytes_of(module: nn.Module) -> dict[str, bytes]:
    return {name: each.detach().cpu().numpy().tobytes() for name, each in module.named_parameters()}


def _state(module: nn.Module) -> dict[str, bytes]:
    return {name: each.cpu().numpy().tobytes() for name, each in module.state_dict().items()}


def _learned(trainer: Trainer) -> dict[str, nn.Parameter]:
    """What the optimiser was given to move."""
    given = {id(each) for group in trainer.optimiser.param_groups for each in group["params"]}
    return {name: each for name, each in trainer.network.named_parameters() if id(each) in given}


def _differing(ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[str]:
    return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


# --- the checks ---------------------------------------------------------------------------------------------------

USE = "can be planned, and its network built"


def check_use(patient: Patient) -> None:
    """Load the data and build what is trained.

    Raises:
        Exception: whatever comes of it.
    """
    for spec in (patient.spec, patient.frozen):
        _Training(spec)


def check_shapes(patient: Patient) -> str | None:
    """Whether each slot hands over what the layer table promises, in training and in evaluation."""
    spec = patient.spec
    training = _Training(spec)
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
    pipeline = load_pipeline(spec, _CPU)
    images, _ = next(pipeline.evaluation_batches("train_eval", spec.training.batch_size))
    return images


def check_finite(patient: Patient) -> str | None:
    """Whether losses, rates, parameters and what a probe measures are finite numbers."""
    training = _Training(patient.spec)
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
    first, second = (_Training(patient.spec).run() for _ in range(2))
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
        for name, each in _learned(trainer).items():
            if each.grad is not None and not bool(torch.isfinite(each.grad).all()):
                odd.append(name)
            elif each.grad is not None and bool(each.grad.any()):
                reached.add(name)

    training = _Training(patient.spec, look).run()
    if odd:
        return f"the gradient of {odd[0]} is not finite"
    learned = _learned(training.trainer)
    if lost := [name for name in learned if name not in reached]:
        return f"no gradient reaches {', '.join(lost)}"
    after = _bytes_of(training.trainer.network)
    still = [name for name in learned if after[name] == training.before[name]]
    return f"{', '.join(still)} never moved" if still else None


def check_frozen(patient: Patient) -> str | None:
    """Whether what is not learned has the same bytes after training."""
    training = _Training(patient.frozen).run()
    learned, after = _learned(training.trainer), _bytes_of(training.trainer.network)
    moved = [name for name in _differing(training.before, after) if name not in learned]
    return f"{', '.join(moved)} changed, and should have stayed" if moved else None


def check_checkpoint(patient: Patient) -> str | None:
    """Whether a training that goes on from a checkpoint ends as one that was not interrupted."""
    whole, parted = _Training(patient.spec).run(), _Training(patient.spec).run(_PAUSE)
    parted.interrupt()
    parted.run()
    # Trajectories come in pieces; where they end, the parameters say.
    tables = [name for name in _differing(whole.tables, parted.tables) if name != "affine"]
    if tables:
        return f"interrupted at step {_PAUSE}: other numbers in {', '.join(tables)}"
    other = _differing(*(_state(each.trainer.network) for each in (whole, parted)))
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


CHECKS: dict[str, Callable[[Patient], str | None]] = {
    "keeps shapes": check_shapes,
    "stays finite": check_finite,
    "is deterministic": check_determinism,
    "lets gradients through": check_gradients,
    "leaves frozen what is frozen": check_frozen,
    "survives a checkpoint": check_checkpoint,
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
        if table not in _UNREPEATABLE
        and table_path(ours / spec.run_id, table).read_bytes() != table_path(theirs / spec.run_id, table).read_bytes()
    ]
    return f"there are other numbers in {', '.join(differing)}" if differing else None
