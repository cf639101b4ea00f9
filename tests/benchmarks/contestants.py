"""What `make bench` lets run against each other: the whole pipeline, a bare loop, and a loop as DeepOBS runs it.

A contestant does some steps each time it is asked. All train 3C3D or ALL-CNN-C on images of CIFAR's shape; the
pixels are noise, which costs what photographs cost.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import plain_loop
from bnbench.components.variants import VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.data.images import LabelledImages, Splits
from bnbench.data.pipeline import ImagePipeline
from bnbench.network.build import Network
from bnbench.plan import DataFacts, Precision, RunSpec, expand_grid
from bnbench.problem import find_problem
from bnbench.storage.recorder import RunRecorder
from bnbench.training.events import EpochEvaluated, Measured, StepReached
from bnbench.training.loop import Trainer
from bnbench.training.memory import keep_freed_memory
from bnbench.training.numerics import autocast
from bnbench.training.optimiser import build_optimiser
from bnbench.training.seeding import generator


@dataclass(frozen=True, eq=False)
class Bout:
    """A network, a batch size and an amount of work, on one device."""

    problem: str
    batch_size: int
    images: int
    """Training images, so many an epoch; one repetition is one epoch."""
    evaluated: int
    """Images evaluated per repetition, from which a full evaluation is extrapolated."""
    device: torch.device

    def spec(self, precision: Precision, epochs: int, images: int | None = None) -> RunSpec:
        """The problem as its file has it (BN_γ,β in every hidden slot), but for batch size and epochs."""
        settings = {"training.batch_size": self.batch_size, "training.epochs": epochs}
        problem = find_problem(self.problem).problem("full", settings)
        dataset = DATASETS.get(problem.dataset)
        facts = DataFacts(
            dataset.name, dataset.classes, dataset.channels, f"{images or self.images:064d}", "other copy"
        )
        (spec,) = expand_grid(problem, facts, [VARIANTS.get("bn_gamma_beta")], precision=precision)
        return spec

    @cached_property
    def train(self) -> LabelledImages:
        """Noise, with labels drawn at random."""
        return self._draw(self.images, 1)

    def pipeline(self, spec: RunSpec, images: int, evaluated: int) -> ImagePipeline:
        """The first images as a run gets its data."""
        train = self.train.take(np.arange(images))
        return ImagePipeline(
            Splits(train, self._draw(evaluated, 2), self._draw(evaluated, 3), self._draw(evaluated, 4)),
            dataset=DATASETS.get(spec.data.name),
            image_size=spec.input_shape[1],
            augmentation=spec.augmentation,
            device=self.device,
        )

    def synchronise(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _draw(self, count: int, seed: int) -> LabelledImages:
        random = np.random.default_rng(seed)
        pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        classes = DATASETS.get(find_problem(self.problem).problem().dataset).classes
        return LabelledImages(pixels, random.integers(0, classes, count))


@dataclass(frozen=True)
class Progress:
    """What the whole pipeline did since it was last asked."""

    steps: int
    evaluation_s: float = 0.0
    """Seconds of evaluation among them, which are counted apart."""
    epoch_over: bool = False


class WholePipeline:
    """A run as it is: augmented batches, snapshots as scheduled, everything recorded and put on disk each epoch."""

    def __init__(self, bout: Bout, precision: Precision, store: Path, epochs: int, images: int | None = None) -> None:
        self.spec = bout.spec(precision, epochs, images)
        # On a GPU the loop's own waiting for the device is part of its cost, so nobody else may wait in between.
        self._pauses_within_an_epoch = bout.device.type == "cpu"
        self.recorder = RunRecorder.open(store, self.spec.identity)
        self.trainer = Trainer(self.spec, bout.pipeline(self.spec, images or bout.images, 32), bout.device)
        self._progress = self._run()

    def advance(self) -> Progress:
        """Go on to the next place where the loop reports, or to the epoch's end."""
        return next(self._progress)

    def _run(self) -> Iterator[Progress]:
        done = 0
        for event in self.trainer.events():
            if isinstance(event, Measured):
                self.recorder.add(event.table, event.columns)
            elif isinstance(event, StepReached) and self._pauses_within_an_epoch:
                yield Progress(event.step - done)
                done = event.step
            elif isinstance(event, EpochEvaluated):
                self.recorder.flush()
                yield Progress(event.step - done, event.eval_s, epoch_over=True)
                done = event.step


class BareLoop:
    """Forward, backward, step: the same network and optimiser, over and over on one batch with one set of masks."""

    def __init__(self, bout: Bout, precision: Precision) -> None:
        self.spec = bout.spec(precision, 1)
        self._device = bout.device
        network = Network(self.spec.layers(), self.spec.input_shape, self.spec.mask, self.spec.variant)
        network.initialise(lambda slot: generator(self.spec.seed, "weights", slot))
        self.network = network.to(bout.device).to(memory_format=torch.channels_last).train()
        self.optimiser = build_optimiser(self.network, self.spec.variant, self.spec.training)
        batches = bout.pipeline(self.spec, bout.batch_size, bout.batch_size).evaluation_batches("test", bout.batch_size)
        self._images, self._labels = next(batches)
        self._masks: dict[str, Tensor] = {}

    def advance(self, steps: int) -> None:
        """Train for some steps."""
        for _ in range(steps):
            with autocast(self.spec.precision, self._device):
                logits = self.network(self._images, self._prepared_mask)
                loss = functional.cross_entropy(logits, self._labels)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self.optimiser.step()

    def _prepared_mask(self, layer: str, rate: float, like: Tensor) -> Tensor:
        if layer not in self._masks:
            self._masks[layer] = (torch.rand_like(like) >= rate).to(like.dtype).div_(1 - rate)
        return self._masks[layer]


class PlainLoop:
    """A loop as DeepOBS runs it, in a process of its own: memory is handled per process."""

    def __init__(self, bout: Bout, *, keep_memory: bool) -> None:
        """Start the process.

        Args:
            bout: what to train.
            keep_memory: as a run of bnbench does; otherwise the C library's defaults hold.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_run_plain_loop, args=(bout, keep_memory, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def advance(self, steps: int) -> float:
        """Train for some steps; how many seconds that took."""
        self._connection.send(steps)
        seconds: float = self._connection.recv()
        return seconds

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def _run_plain_loop(bout: Bout, keep_memory: bool, orders: Connection) -> None:
    torch.set_num_threads(1)
    if keep_memory:
        keep_freed_memory()
    spec = bout.spec("fp32", 1)
    network = plain_loop.NETWORKS[spec.architecture](spec.data.classes).to(bout.device)
    l2 = spec.training.l2
    training = plain_loop.train(network, bout.train.pixels, bout.train.labels, bout.batch_size, l2, bout.device)
    while True:
        try:
            steps = orders.recv()
        except EOFError:
            return
        began = time.perf_counter()
        for _ in range(steps):
            next(training)
        bout.synchronise()
        orders.send(time.perf_counter() - began)
