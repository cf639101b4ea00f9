"""A made-up results folder as large as the founding study's: what reading, ranking and claims cost at full length.

    python tests/measure/full_length_store.py FOLDER [--seeds 3] [--snapshots-of 0.1]

The 105 runs a seed of the study's eleven experiments, at the length of the shipped problem files (100 and 350
epochs), with every table that their specifications promise. Of a tenth of the runs, evenly spread, γ and β have a
snapshot every five steps as in the study; of the others a hundredth of these. The numbers are made up, and plausible: a
variant has its level and its speed, seeds differ a little, and vanilla diverges on CIFAR-100 at ten times the learning
rate.

Then, for instance:  /usr/bin/time -v python -m bnbench rank --results FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa

from bnbench.components.architectures import Conv, slot_names, slots
from bnbench.components.placements import masked_slots
from bnbench.components.variants import STUDIED, Affine, expand_variants
from bnbench.plan import DataFacts, RunSpec, expand_grid
from bnbench.problem import Problem, find_problem
from bnbench.schedule import scheduled_steps
from bnbench.storage.document import make_document, table_path, write_document
from bnbench.storage.parts import TableFacts, write_row_groups
from bnbench.storage.schema import TableName, promised_tables, value_table
from bnbench.storage.workspace import Workspace

TRAINING_IMAGES = 40_000
SPARSE = 100
"""Of the runs without all snapshots, every hundredth is kept."""

DATA = {
    "cifar10": DataFacts("cifar10", 10, 3, "10" * 32, origin="official archive"),
    "cifar100": DataFacts("cifar100", 100, 3, "64" * 32, origin="official archive"),
}
PLACEMENTS = {
    "cifar10_3c3d": ("first", "penultimate", "first:3", "last:3"),
    "cifar100_3c3d": ("first", "penultimate", "first:3", "last:3"),
    "cifar100_allcnnc": ("every", "first", "penultimate", "output", "first:4", "last:4", "output:4"),
}
"""Beside `hidden`, which is also trained at a tenth of the learning rate and at ten times."""

LEVELS = {"cifar10_3c3d": 0.86, "cifar100_3c3d": 0.62, "cifar100_allcnnc": 0.68}
"""Final training accuracy of full BatchNorm."""
DEFICITS = dict(zip(STUDIED, (0.08, 0.03, 0.012, 0.02, 0.0), strict=True))
SPEEDS = dict(zip(STUDIED, (4.0, 9.0, 11.0, 10.0, 12.0), strict=True))
"""How many times its own time constant a curve runs through."""


def study_specs(seeds: int) -> list[RunSpec]:
    """The study's runs, seed by seed."""
    specs: dict[str, RunSpec] = {}
    for name, places in PLACEMENTS.items():
        problem = find_problem(name).problem("full")
        data, own = DATA[problem.dataset], problem.first_seeds(seeds)
        everything = expand_variants(("all",))
        found = expand_grid(problem, data, everything, placements=["hidden"], lr_factors=[1.0, 0.1, 10.0], seeds=own)
        normalised = [variant for variant in everything if variant.alters_slots]
        found += expand_grid(problem, data, normalised, placements=places, seeds=own)
        specs.update({spec.run_id: spec for spec in found})
        order = problem.seeds
    return sorted(specs.values(), key=lambda spec: order.index(spec.seed))


class MadeUpRun:
    """What one run would have recorded."""

    def __init__(self, spec: RunSpec, *, every_snapshot: bool) -> None:
        self.spec = spec
        problem: Problem = find_problem(spec.problem).problem("full")
        self._random = np.random.default_rng(int(hashlib.sha256(spec.run_id.encode()).hexdigest()[:12], 16))
        self._factor = spec.training.learning_rate / problem.training.learning_rate
        self._per_epoch = TRAINING_IMAGES // spec.training.batch_size
        hopeless = spec.variant.name == "vanilla" and self._factor > 5 and spec.data.classes == 100
        self.diverged_at = 3 * self._per_epoch + 7 if hopeless else None
        self._epochs = 3 if hopeless else spec.training.epochs
        self._steps = spec.training.epochs * self._per_epoch if self.diverged_at is None else self.diverged_at + 1
        steps = np.array(scheduled_steps(spec.snapshots.schedule, self._steps), np.int64)
        self._snapshots = steps if every_snapshot else np.unique(np.append(steps[::SPARSE], steps[-1]))

    def groups(self, table: TableName) -> Iterator[pa.Table]:
        """The row groups of a table."""
        make = {
            "curves": self._curves,
            "steps": self._losses,
            "affine": self._trajectories,
            "timing": self._timing,
            "sparsity": self._sparsity,
        }
        yield from make[table]()

    def _accuracy(self) -> np.ndarray:
        """Of the training images, a value per epoch."""
        name, chance = self.spec.variant.name, 1 / self.spec.data.classes
        level = LEVELS[self.spec.problem] - DEFICITS[name] - 0.02 * abs(np.log10(self._factor))
        level += 0.004 * self._random.standard_normal()
        if self.spec.placement in {"every", "output"}:
            level -= {"bn": 0.1, "bn_beta": 0.09, "bn_gamma": 0.01}.get(name, 0.0)
        way = np.arange(self._epochs + 1) / self.spec.training.epochs
        curve = chance + (level - chance) * (1 - np.exp(-SPEEDS[name] * way))
        noise = 0.003 * self._random.standard_normal(len(way))
        return np.clip(curve + np.where(way > 0, noise, 0.0), 0.0, 1.0)

    def _curves(self) -> Iterator[pa.Table]:
        train = self._accuracy()
        splits = ("train_eval", "valid", "test")
        accuracy = np.stack([train, 0.9 * train, 0.9 * train + 0.002], axis=1).ravel()
        epoch = np.repeat(np.arange(self._epochs + 1), len(splits))
        yield value_table(
            "curves",
            {
                "epoch": epoch,
                "step": epoch * self._per_epoch,
                "split": list(splits) * (self._epochs + 1),
                "statistics": ["running"] * len(epoch),
                "loss": np.log(self.spec.data.classes) * (1 - accuracy) ** 1.5,
                "accuracy": accuracy,
            },
        )

    def _losses(self) -> Iterator[pa.Table]:
        step = np.arange(self._steps)
        loss = 2.0 * np.exp(-4 * step / self._steps) + 0.2 * self._random.random(self._steps)
        if self.diverged_at is not None:
            loss[-1] = np.nan
        yield value_table(
            "steps",
            {
                "step": step,
                "epoch": step // self._per_epoch + 1,
                "batch_loss": loss.astype(np.float32),
                "batch_accuracy": self._random.random(self._steps, np.float32),
                "learning_rate": np.full(self._steps, self.spec.training.learning_rate),
            },
        )

    def _trajectories(self) -> Iterator[pa.Table]:
        """γ and β of every BatchNorm and the biases of the other slots, sorted as the recorder sorts them."""
        layers = self.spec.layers()
        names = slot_names(layers)
        carrying = masked_slots(self.spec.mask, names)
        channels = {slot.name: slot.channels if isinstance(slot, Conv) else slot.features for slot in slots(layers)}
        for parameter in ("beta", "bias", "gamma"):
            for slot in sorted(name for name in names if (name in carrying) == (parameter != "bias")):
                count = len(self._snapshots)
                yield value_table(
                    "affine",
                    {
                        "step": self._snapshots,
                        "slot": [slot] * count,
                        "parameter": [parameter] * count,
                        "values": self._values(parameter, names.index(slot) / len(names), channels[slot]),
                    },
                )

    def _values(self, parameter: str, depth: float, channels: int) -> np.ndarray:
        """[snapshots, channels]: a drift to a final value, and a walk around it."""
        start = 1.0 if parameter == "gamma" else 0.0
        rule = {"gamma": self.spec.variant.gamma, "beta": self.spec.variant.beta}.get(parameter)
        count = len(self._snapshots)
        if rule is not None and rule.status is not Affine.LEARNED:
            return np.full((count, channels), start, np.float32)
        final = self._random.normal(0.3 * (depth > 0.6) - 0.1 * (0 < depth <= 0.6), 0.1, channels)
        way = 1 - np.exp(-3 * self._snapshots / self._snapshots[-1])
        drift = (way[:, None] * final).astype(np.float32)
        walk = self._random.standard_normal((count, channels), np.float32)
        np.cumsum(walk, axis=0, out=walk)
        walk *= np.float32(0.02 / np.sqrt(count))
        return np.float32(start) + drift + walk - walk[0]

    def _timing(self) -> Iterator[pa.Table]:
        count = self._epochs
        if count:
            seconds = 40 + self._random.random(count)
            images = float(self._per_epoch * self.spec.training.batch_size)
            yield value_table(
                "timing",
                {
                    "epoch": np.arange(1, count + 1),
                    "train_s": seconds,
                    "eval_s": seconds / 8,
                    "samples_per_s": images / seconds,
                },
            )

    def _sparsity(self) -> Iterator[pa.Table]:
        names = [slot.name for slot in slots(self.spec.layers()) if slot.activation]
        epoch = np.repeat(np.arange(self._epochs + 1), len(names))
        zeroed = 0.5 + 0.2 * (epoch / self.spec.training.epochs) + 0.01 * self._random.random(len(epoch))
        yield value_table(
            "sparsity",
            {
                "epoch": epoch,
                "step": epoch * self._per_epoch,
                "slot": names * (self._epochs + 1),
                "zeroed": zeroed,
            },
        )


def write_run(store: Path, run: MadeUpRun) -> int:
    """Write a run's folder; returns its size in bytes."""
    spec = run.spec
    folder = store / spec.run_id
    folder.mkdir(parents=True)
    document = {
        "run_id": spec.run_id,
        "setting_id": spec.setting_id,
        "status": "finished" if run.diverged_at is None else "diverged",
        "diverged_at_step": run.diverged_at,
        **spec.document(),
        "provenance": {"device": "cpu", "data": {"name": spec.data.name, "fingerprint": spec.data.fingerprint}},
    }
    facts: dict[TableName, TableFacts] = {
        table: write_row_groups(
            table_path(folder, table), table, spec.identity, run.groups(table), slots=slot_names(spec.layers())
        )
        for table in promised_tables(spec.probes)
    }
    write_document(Workspace(folder, folder), make_document(document).model_copy(update={"tables": facts}))
    return sum(each.bytes for each in facts.values())


def main() -> None:
    """Build the store, saying how large it gets."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--snapshots-of", type=float, default=0.1, help="share of the runs with every snapshot")
    given = arguments.parse_args()
    specs = study_specs(given.seeds)
    began, size, whole = time.monotonic(), 0, 0
    for index, spec in enumerate(specs):
        every_snapshot = int((index + 1) * given.snapshots_of) > int(index * given.snapshots_of)
        whole += every_snapshot
        size += write_run(given.folder, MadeUpRun(spec, every_snapshot=every_snapshot))
    click.echo(f"{len(specs)} runs, {whole} of them with every snapshot: {size / 1e6:,.0f} MB in {given.folder}")
    click.echo(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
