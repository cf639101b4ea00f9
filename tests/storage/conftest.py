"""A small run to record: the same calls every time, so that what it leaves can be compared byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bnbench.measurement import TABLES, RunIdentity, Values
from bnbench.storage.document import RunDocument
from bnbench.storage.recorder import RunRecorder
from support.rows import affine, columns

SLOTS = {"conv1": 4, "conv10": 3, "conv2": 5}
EPOCHS = 4
STEPS = 6

IDENTITY = RunIdentity(
    run_id="digits_toy-bn_gamma_beta-hidden-s7-0123456789ab",
    setting_id="digits_toy-ba9876543210",
    problem="digits_toy",
    size="full",
    variant="bn_gamma_beta",
    placement="hidden",
    mask="1110",
    learning_rate=0.1,
    seed=7,
)

DOCUMENT = {
    "status": "finished",
    "spec": {"seed": 7, "probes": {"sparsity": True}},
    "provenance": {"device": "cpu"},
}


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
        return self.record(store, flush_after).finish(DOCUMENT)


def _values(slot: str, parameter: str, steps: np.ndarray) -> np.ndarray:
    channels = np.arange(SLOTS[slot], dtype=np.float32)
    offset = {"gamma": 1.0, "beta": 0.0}[parameter]
    return (offset + steps[:, None] * np.float32(0.01) + channels).astype(np.float32)


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
    return tuple(calls)


EXAMPLE = Example(IDENTITY, _calls())


@pytest.fixture
def example() -> Example:
    return EXAMPLE


@pytest.fixture
def vanilla() -> Example:
    """A second run of the same setting."""
    run_id = IDENTITY.run_id.replace("bn_gamma_beta-hidden", "vanilla-none")
    return replace(EXAMPLE, identity=replace(IDENTITY, run_id=run_id, variant="vanilla", placement="none", mask="0000"))


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
