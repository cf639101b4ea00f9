"""The training loop: a generator of typed events. It opens no file and prints nothing."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import islice

import numpy as np
import torch

from bnbench.data.augmentation import AugmentationParameters, draw_parameters
from bnbench.data.pipeline import ImagePipeline
from bnbench.errors import UserError
from bnbench.learning_rate import is_constant, rate_function
from bnbench.measurement import Split
from bnbench.network.build import Network
from bnbench.plan import RunSpec
from bnbench.schedule import scheduled_steps
from bnbench.training.buffers import SnapshotBuffer, StepBuffer
from bnbench.training.evaluation import (
    Batches,
    average_anew,
    evaluate_splits,
    evaluation_batch,
    whole_batches,
    with_population_statistics,
)
from bnbench.training.events import (
    Diverged,
    EpochEvaluated,
    Evaluation,
    Event,
    Finished,
    Measured,
    Paused,
    StepReached,
)
from bnbench.training.numerics import autocast
from bnbench.training.optimiser import build_optimiser, rate_factors, set_rate
from bnbench.training.probing.moment import TrainingBatch
from bnbench.training.probing.running import Probing
from bnbench.training.seeding import StepDraws, generator
from bnbench.training.update import update_of
from bnbench.words import counted

EVALUATED_SPLITS: tuple[Split, ...] = ("train_eval", "valid", "test")


def _never() -> bool:
    return False


class Trainer:
    """One run: the network, its optimiser, and how far it has come.

    Everything random is keyed by seed and epoch or step, so network, optimiser and `step` are the whole state. (The
    seconds and images of the epoch under way go along, so that `timing` tells of whole epochs after an interruption.)
    """

    def __init__(self, spec: RunSpec, pipeline: ImagePipeline, device: torch.device) -> None:
        """Build the network and draw its initial weights.

        Args:
            spec: the resolved run.
            pipeline: the run's data, on `device`.
            device: where to train.

        Raises:
            UserError: the training split, or where population statistics are asked for `train_eval`, is smaller
                than one batch.
        """
        self.spec = spec
        self.step = 0
        self.train_s = 0.0
        """Seconds of training that the epoch under way has had before this stretch."""
        self.images = 0
        """Images trained on in that time."""
        self._pipeline = pipeline
        self._device = device
        self.steps_per_epoch = pipeline.train_size // spec.training.batch_size
        if self.steps_per_epoch == 0:
            raise UserError(
                f"the training split has {pipeline.train_size} images, a batch {spec.training.batch_size}",
                hint="Use a smaller batch: --set training.batch_size=N.",
            )
        # What averages nothing over batches would be evaluated the same way twice.
        self._population = spec.training.population_statistics and spec.keeps_batch_statistics
        self.network = initial_network(spec)
        self._refreshing = self.network.refreshing
        """After how many updates constants are renewed, and from how many batches."""
        needed = max(int(self._population), 0 if self._refreshing is None else self._refreshing[1])
        whole = pipeline.split_size("train_eval") // spec.training.batch_size
        if whole < needed:
            raise UserError(
                f"population statistics need {counted(needed, 'whole batch', 'whole batches')}: train_eval has "
                f"{pipeline.split_size('train_eval')} images, a batch {spec.training.batch_size}",
                hint="Use a smaller batch (--set training.batch_size=N) or leave them out: "
                "--set training.population_statistics=false, and no row that trains with them.",
            )
        self.total_steps = self.steps_per_epoch * spec.training.epochs
        self.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in stubs
        self.network.train()
        self.optimiser = build_optimiser(self.network, spec.variant, spec.training)
        self._update = update_of(spec, self.network, self.optimiser, device)
        self.learning_rate = rate_function(spec.training, self.steps_per_epoch)
        """The rate of a step's update, as the schedule has it; a parameter's own factor multiplies it."""
        self._rate_factors = rate_factors(self.network, spec.variant)
        self._vectors = self.network.affine_vectors()
        self._probing = Probing(spec, pipeline, device, self.total_steps)

    def events(self, pause: Callable[[], bool] = _never) -> Iterator[Event]:
        """Train from the current step to the end, saying what happens.

        Within an epoch `StepReached` comes as training goes on, then `Measured` with the epoch's rows (of `steps` and
        `affine`, then of what is evaluated), then `EpochEvaluated`. The last event is `Finished`, `Diverged` or
        `Paused`. At `EpochEvaluated` and `Paused` everything measured so far has been said, and `step` is where to go
        on.

        Args:
            pause: asked after every step but the last of an epoch; once it says yes, training stops there. (Where the
                loss was not finite since the last snapshot step, it goes on to the next, where that is looked for.)
        """
        per_epoch = self.steps_per_epoch
        if self.step == 0:
            self._settle()
            self._refresh(self.network, 0)  # so that what is evaluated first is what the first update sees
            yield from self._evaluate(epoch=0, train_s=0.0, images=0)
        while self.step < self.total_steps:
            epoch, start = self.step // per_epoch + 1, self.step
            began = time.perf_counter()
            last = yield from self._train_epoch(epoch, pause)
            self._wait_for_device()
            train_s = self.train_s + time.perf_counter() - began - self._probing.seconds
            self._probing.seconds = 0.0
            images = self.images + (self.step - start) * self.spec.training.batch_size
            if last is not None:
                self.train_s, self.images = train_s, images
                yield last
                return
            self.train_s, self.images = 0.0, 0
            yield from self._evaluate(epoch, train_s, images)
        yield Finished(self.step)

    def _settle(self) -> None:
        """Let the network start from its first training batch, without augmentation, where it does."""
        if self.network.settling:
            size, padding = self.spec.training.batch_size, self.spec.augmentation.crop_padding
            order, _ = draw_epoch(self.spec, self._pipeline.train_size, 1, self._device)
            unchanged = unaugmented(self._pipeline.train_size, padding).to(self._device)
            images, _ = self._pipeline.training_batch(order[:size], unchanged)
            with autocast(self.spec.precision, self._device):
                self.network.settle(images)

    def _refresh(self, network: Network, step: int) -> None:
        """Let a network renew its constants from the first whole batches of `train_eval`, at the steps it does so."""
        every, count = self._refreshing or (0, 0)
        if every > 0 and step % every == 0:
            average_anew(network, islice(self._whole_batches(), count), self.spec.precision)
            network.keep_averages()

    def _train_epoch(self, epoch: int, pause: Callable[[], bool]) -> Generator[Event, None, Diverged | Paused | None]:
        """The rest of an epoch, then its rows. Returns what ends the run early, if anything does."""
        training, seed = self.spec.training, self.spec.seed
        start, stop = self.step, epoch * self.steps_per_epoch
        schedule = scheduled_steps(self.spec.snapshots.schedule, self.total_steps)
        due = {step for step in schedule if start <= step < stop or step == stop == self.total_steps}
        batches = self.batches(epoch, start - (epoch - 1) * self.steps_per_epoch)
        constant_rate = is_constant(training)
        steps = StepBuffer(start, stop - start, self._device)
        snapshots = SnapshotBuffer(self._vectors, len(due))
        diverged_at: int | None = None
        last: Diverged | Paused | None = None
        for step in range(start, stop):
            self._refresh(self.network, step)
            if step in due:
                snapshots.take(step)
            images, labels = next(batches)
            draws = StepDraws(seed, step)
            batch = TrainingBatch(images, labels, draws)
            rate = self.learning_rate(step)
            yield from self._probing.before_update(self.network, step, epoch - 1, batch, rate)
            if not constant_rate:
                set_rate(self.optimiser, rate, self._rate_factors)
            loss, correct = self._update(images, labels, draws)
            self.step = step + 1
            steps.add(loss, correct)
            yield from self._probing.after_update(self.network, step, epoch - 1, batch, rate)
            looked_at = step in due or self.step == stop
            pausing = self.step != stop and pause()
            if (looked_at or pausing) and diverged_at is None:
                diverged_at = steps.first_non_finite()
            if looked_at:
                batch_loss, hits = steps.newest()
                yield StepReached(self.step, self.total_steps, epoch, batch_loss, hits / training.batch_size)
                if diverged_at is not None:
                    last = Diverged(diverged_at)
            # A run that is diverging ends where an uninterrupted one would, so that it has the same rows.
            if pausing and diverged_at is None:
                last = Paused(self.step)
            if last is not None:
                break
        if self.step in due and last is None:
            snapshots.take(self.step)
        if self.step == self.total_steps and last is None and self._probing.is_due(self.step):
            yield from self._probe_the_end(epoch)
        yield steps.rows(epoch, training.batch_size, self.learning_rate)
        yield from snapshots.rows()
        return last

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The training batches of an epoch, from one of them on."""
        order, parameters = draw_epoch(self.spec, self._pipeline.train_size, epoch, self._device)
        return self._pipeline.training_batches(order, parameters, self.spec.training.batch_size, first)

    def _probe_the_end(self, epoch: int) -> Iterator[Measured]:
        """Probes at the last step, before the update that one more epoch would begin with; at the last rate."""
        spec, rate = self.spec, self.learning_rate(self.step - 1)
        images, labels = next(self.batches(epoch + 1))
        batch = TrainingBatch(images, labels, StepDraws(spec.seed, self.step))
        network = self.network
        if self._refreshing is not None:  # as that update would; the run's own is still to be evaluated
            network = copy.deepcopy(network)
            self._refresh(network, self.step)
        yield from self._probing.before_update(network, self.step, epoch, batch, rate)

    def _evaluate(self, epoch: int, train_s: float, images: int) -> Iterator[Measured | EpochEvaluated]:
        """What there is to be said at the end of an epoch (epoch 0: before the first step)."""
        began = time.perf_counter()
        precision = self.spec.precision
        results = evaluate_splits(self.network, self._splits(), "running", precision)
        if self._population:
            settled = with_population_statistics(self.network, self._whole_batches(), precision)
            results += evaluate_splits(settled, self._splits(), "population", precision)
        measured = [self._curve_rows(epoch, results), *self._probing.at_evaluation(self.network, self.step, epoch)]
        eval_s = time.perf_counter() - began
        if epoch > 0:
            measured.append(_timing_row(epoch, train_s, eval_s, images))
        yield from measured
        yield EpochEvaluated(epoch, self.step, results, train_s, eval_s, images)

    def _curve_rows(self, epoch: int, results: tuple[Evaluation, ...]) -> Measured:
        return Measured(
            "curves",
            {
                "epoch": np.full(len(results), epoch, np.int64),
                "step": np.full(len(results), self.step, np.int64),
                "split": [each.split for each in results],
                "statistics": [each.statistics for each in results],
                "loss": np.array([each.loss for each in results], np.float64),
                "accuracy": np.array([each.accuracy for each in results], np.float64),
            },
        )

    def _splits(self) -> dict[Split, Batches]:
        size = evaluation_batch(self._device)
        return {split: self._pipeline.evaluation_batches(split, size) for split in EVALUATED_SPLITS}

    def _whole_batches(self) -> Batches:
        """Batches of `train_eval` as large as in training."""
        size = self.spec.training.batch_size
        return whole_batches(self._pipeline.evaluation_batches("train_eval", size), size)

    def _wait_for_device(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def initial_network(spec: RunSpec) -> Network:
    """The network that a run begins with, on the CPU: built, and its weights drawn."""
    network = Network(spec.layers(), spec.input_shape, spec.mask, spec.variant)
    network.initialise(lambda slot: generator(spec.seed, "weights", slot), partial(generator, spec.seed))
    return network


def draw_epoch(
    spec: RunSpec, images: int, epoch: int, device: torch.device
) -> tuple[torch.Tensor, AugmentationParameters]:
    """What decides an epoch's training batches.

    Args:
        spec: the run.
        images: of the training split.
        epoch: from 1.
        device: where the batches are made.

    Returns:
        Order: int64 (images,), positions in the training split; a batch is the next `batch_size` of them, and what is
        left over at the end is not trained on. And how each image is augmented.
    """
    order = torch.randperm(images, generator=generator(spec.seed, "order", epoch)).to(device)
    return order, draw_parameters(spec.augmentation, images, generator(spec.seed, "augmentation", epoch)).to(device)


def unaugmented(images: int, crop_padding: int) -> AugmentationParameters:
    """What leaves images as they are.

    Args:
        images: of the training split.
        crop_padding: pixels that the pipeline pads them with; the middle of that is the image.
    """
    middle, one = torch.full((images,), crop_padding), torch.ones(images)
    never, order = torch.zeros(images, dtype=torch.bool), torch.arange(3).expand(images, 3).contiguous()
    return AugmentationParameters(middle, middle, never, one, one, one, order)


def _timing_row(epoch: int, train_s: float, eval_s: float, images: int) -> Measured:
    return Measured(
        "timing",
        {
            "epoch": np.array([epoch], np.int64),
            "train_s": np.array([train_s], np.float64),
            "eval_s": np.array([eval_s], np.float64),
            "samples_per_s": np.array([images / train_s], np.float64),
        },
    )
