"""A small run to record: the same calls every time, so that what it leaves can be compared byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bnbench.components.probes import PROBES
from bnbench.identity import run_id_of, setting_id_of
from bnbench.measurement import EVERY_RUN, TABLES, Column, RunIdentity, Values
from bnbench.storage.document import RunDocument
from bnbench.storage.recorder import RunRecorder
from support.rows import affine, columns

SLOTS = {"conv1": 4, "conv10": 3, "conv2": 5}
EPOCHS = 4
STEPS = 6

OTHER_PROBES = [table for table in TABLES if table not in {*EVERY_RUN, "sparsity"}]
"""The tables of the probes that came after sparsity."""

NETWORK = ["conv1", "conv2", "conv10", "output"]
"""The slots in the network's order, the output last."""


def specification(variant: str = "bn_gamma_beta", mask: str = "1110", seed: int = 7) -> dict[str, object]:
    """A hashed mapping, as `run.json` keeps it."""
    rule = {"status": "learned", "learning_rate_factor": 1.0, "learned_in": None}
    return {
        "numerics": 1,
        "data": {"name": "digits", "fingerprint": "ab" * 32},
        "split_seed": 2023,
        "architecture": "toy",
        "width": 1.0,
        "classes": 10,
        "channels": 1,
        "mask": mask,
        "variant": {
            "name": variant, "normaliser": "batch", "train_weights": True,
            "gamma": {**rule, "initial": 1.0}, "beta": {**rule, "initial": 0.0},
        },
        "training": {
            "batch_size": 24, "epochs": EPOCHS, "learning_rate": 0.1, "l2": 0.0, "momentum": 0.0,
            "population_statistics": False,
        },
        "augmentation": dict.fromkeys(
            ("horizontal_flip", "brightness", "contrast", "saturation"), 0.0) | {"crop_padding": 0},
        "snapshots": {"schedule": "every:2"},
        "probes": {"sparsity": True, **{name: {} for name in PROBES if name != "sparsity"}},
        "seed": seed,
        "precision": "fp32",
    }  # fmt: skip


def described(spec: dict[str, object], placement: str = "hidden") -> dict[str, object]:
    """What `RunSpec.document()` would say."""
    return {
        "problem": "digits_toy", "size": "full", "placement": placement, "slots": NETWORK, "data_origin": "embedded",
        "spec": spec,
    }  # fmt: skip


def identity_of(spec: dict[str, object], placement: str = "hidden") -> RunIdentity:
    """The identity that goes with it."""
    return RunIdentity(
        run_id=run_id_of(spec, placement),
        setting_id=setting_id_of(spec),
        problem="digits_toy",
        size="full",
        variant=spec["variant"]["name"],
        placement=placement,
        mask=spec["mask"],
        learning_rate=0.1,
        seed=spec["seed"],
    )


IDENTITY = identity_of(specification())

DOCUMENT = {"status": "finished", **described(specification()), "provenance": {"device": "cpu"}}


@dataclass(frozen=True, eq=False)
class Call:
    """Rows that a recorder is to take."""

    table: str
    columns: Mapping[str, Values]

    def __call__(self, recorder: RunRecorder) -> None:
        recorder.add(self.table, self.columns)


@dataclass(frozen=True)
class Example:
    """One run as a list of calls to a recorder, in order."""

    identity: RunIdentity
    calls: tuple[Call, ...]
    document: dict[str, object]
    """What it ends with."""

    @property
    def failure(self) -> dict[str, object]:
        """What it ends with if it fails."""
        return {**self.document, "status": "failed", "error": "boom"}

    def record(self, store: Path, flush_after: Iterable[int] = ()) -> RunRecorder:
        """Record every call, with a flush after some of them; not finished yet."""
        recorder = RunRecorder.open(store, self.identity)
        self.play(recorder, 0, len(self.calls), flush_after)
        return recorder

    def play(self, recorder: RunRecorder, start: int, stop: int, flush_after: Iterable[int] = ()) -> None:
        wanted = set(flush_after)
        for index in range(start, stop):
            self.calls[index](recorder)
            if index in wanted:
                recorder.flush()

    def finish(self, store: Path, flush_after: Iterable[int] = ()) -> RunDocument:
        return self.record(store, flush_after).finish(self.document)


def _values(slot: str, parameter: str, steps: np.ndarray) -> np.ndarray:
    channels = np.arange(SLOTS[slot], dtype=np.float32)
    offset = {"gamma": 1.0, "beta": 0.0}[parameter]
    return (offset + steps[:, None] * np.float32(0.01) + channels).astype(np.float32)


def _probed(table: str) -> Call:
    """Two rows of a probe's table an epoch, made up."""

    def value(column: Column, epoch: int, row: int) -> object:
        if column.name in {"epoch", "step"}:
            return epoch if column.name == "epoch" else epoch * STEPS
        if column.type == "string":
            return column.known[0] if column.known else f"{column.name} {row}"
        return 0.5 * row if column.type == "float64" else row

    declared = TABLES[table].columns
    rows = [[value(column, epoch, row) for column in declared] for epoch in range(EPOCHS + 1) for row in (0, 1)]
    return Call(table, columns(table, rows))


def _calls() -> tuple[Call, ...]:
    calls: list[Call] = []
    for epoch in range(EPOCHS + 1):
        done = epoch * STEPS
        rows = [
            (epoch, done, split, "running", 2.0 / (epoch + 1), epoch / (EPOCHS + 1))
            for split in ("train_eval", "valid", "test")
        ]
        calls.append(Call("curves", columns("curves", rows)))
        zeroed = [(epoch, done, slot, epoch / (EPOCHS + 1)) for slot in SLOTS]
        calls.append(Call("sparsity", columns("sparsity", zeroed)))
        if epoch == EPOCHS:
            break
        step = np.arange(done, done + STEPS)
        for half in (step[: STEPS // 2], step[STEPS // 2 :]):
            block = {
                "step": half,
                "epoch": np.full(len(half), epoch + 1),
                "batch_loss": (half / 7).astype(np.float32),
                "batch_accuracy": (half / 100).astype(np.float32),
                "learning_rate": np.full(len(half), IDENTITY.learning_rate),
            }
            calls.append(Call("steps", block))
        for slot in SLOTS:
            for parameter in ("gamma", "beta"):
                snapshots = affine(step[::2], slot, parameter, _values(slot, parameter, step[::2]))
                calls.append(Call("affine", snapshots))
        calls.append(Call("timing", columns("timing", [(epoch + 1, 1.5, 0.25, 100.0 + epoch)])))
    half = len(calls) // 2
    return (*calls[:half], *map(_probed, OTHER_PROBES), *calls[half:])


EXAMPLE = Example(IDENTITY, _calls(), DOCUMENT)


@pytest.fixture
def example() -> Example:
    return EXAMPLE


@pytest.fixture
def vanilla() -> Example:
    """A second run of the same setting."""
    spec = specification("vanilla", "0000")
    return Example(identity_of(spec, "none"), EXAMPLE.calls, {**DOCUMENT, **described(spec, "none")})


@pytest.fixture
def document() -> dict[str, object]:
    return dict(DOCUMENT)


@pytest.fixture(scope="session")
def table_bytes() -> Callable[[Path], dict[str, bytes]]:
    def read(folder: Path) -> dict[str, bytes]:
        return {table: (folder / f"{table}.parquet").read_bytes() for table in TABLES}

    return read


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of the example, recorded without a single flush."""
    store = tmp_path_factory.mktemp("uninterrupted")
    EXAMPLE.finish(store)
    return {table: (store / IDENTITY.run_id / f"{table}.parquet").read_bytes() for table in TABLES}
