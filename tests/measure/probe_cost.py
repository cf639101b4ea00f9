"""What the probes cost: as shares of a full run of 3C3D on CIFAR-10, from ratios to a training step.

    python tests/measure/probe_cost.py [REPEATS]        about two minutes; one thread, CPU seconds, made-up images

Each time is the least of several, taken in turn, so that a loaded machine says nearly the same as an idle one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from bnbench.components.probes import PROBES
from bnbench.components.variants import VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.data.images import LabelledImages, Splits
from bnbench.data.pipeline import ImagePipeline
from bnbench.plan import DataFacts, RunSpec, expand_grid
from bnbench.problem import Probes, find_problem
from bnbench.schedule import scheduled_steps
from bnbench.training.loop import Trainer, draw_epoch
from bnbench.training.numerics import numerics
from bnbench.training.probing.gradients import learned_parameters
from bnbench.training.probing.hessian import Hessian
from bnbench.training.probing.moment import TrainingBatch
from bnbench.training.probing.running import Probing
from bnbench.training.probing.spectrum import in_memory_for_double_backward
from bnbench.training.seeding import StepDraws

CPU = torch.device("cpu")
STEPS = 31_200
"""Of a full run: 312 updates an epoch, 100 epochs."""
EPOCHS = 100
IMAGES = 1024


def made_up(spec: RunSpec) -> ImagePipeline:
    """Random images in the form of the data set's."""
    numbers = np.random.default_rng(0)
    pixels = numbers.integers(0, 256, (IMAGES, 32, 32, 3)).astype(np.uint8)
    images = LabelledImages(pixels, numbers.integers(0, 10, IMAGES))
    splits = Splits(train=images, train_eval=images, valid=images, test=images)
    dataset = DATASETS.get("cifar10")
    return ImagePipeline(splits, dataset=dataset, image_size=32, augmentation=spec.augmentation, device=CPU)


def seconds(*jobs: Callable[[], object], repeats: int) -> list[float]:
    """CPU seconds of each, the least of its turns."""
    taken = [float("inf")] * len(jobs)
    for _ in range(repeats):
        for place, job in enumerate(jobs):
            began = time.process_time()
            job()
            taken[place] = min(taken[place], time.process_time() - began)
    return taken


def measure(variant: str, repeats: int) -> None:
    """Print the costs under a variant."""
    problem = find_problem("cifar10_3c3d").problem()
    facts = DataFacts("cifar10", 10, 3, "ab" * 32, "official pixels")
    (spec,) = expand_grid(problem, facts, [VARIANTS.get(variant)])
    pipeline = made_up(spec)
    run = Trainer(spec, pipeline, CPU)
    order, parameters = draw_epoch(spec, pipeline.train_size, 1, CPU)
    size = spec.training.batch_size

    def batch() -> TrainingBatch:
        return TrainingBatch(*pipeline.training_batch(order[:size], parameters), StepDraws(spec.seed, 0))

    first = batch()

    def step() -> None:
        given = batch()
        loss = functional.cross_entropy(run.network(given.images, given.draws), given.labels)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        run.optimiser.step()

    def pass_and_back() -> None:
        loss = functional.cross_entropy(run.network(first.images, first.draws), first.labels)
        torch.autograd.grad(loss, list(run.network.parameters()), materialize_grads=True, allow_unused=True)

    def probing(**probes: object) -> Probing:
        own = replace(spec, probes=Probes.model_validate(probes))
        return Probing(own, pipeline, CPU, 1)

    along, shift, sparse = (
        probing(landscape={"schedule": "every:1"}),
        probing(covariate_shift={"schedule": "every:1"}),
        probing(sparsity=True),
    )

    def shifted() -> None:
        list(shift.before_update(run.network, 0, 0, first, 0.02))
        list(shift.after_update(run.network, 0, 0, first, 0.02))

    flat = in_memory_for_double_backward(Trainer(spec, pipeline, CPU).network)
    learned = [each.parameter for each in learned_parameters(flat)]
    pair = [(first.images.contiguous(), first.labels)]
    kept, anew = (Hessian(flat, pair, learned, keep=keep) for keep in (True, False))
    vector = np.ones(kept.size)
    jobs = (
        step,
        pass_and_back,
        lambda: list(along.before_update(run.network, 0, 0, first, 0.02)),
        shifted,
        lambda: sparse.at_evaluation(run.network, 0, 0),
        lambda: kept(vector),
        lambda: anew(vector),
    )
    a_step, back, landscape, covariate, sparsity, product, product_anew = seconds(*jobs, repeats=repeats)
    moments = len(scheduled_steps(str(PROBES.get("landscape").schedule), STEPS))
    click.echo(f"{variant}: a training step {a_step:.3f} s, forward and backward {back:.3f} s")
    for name, cost, times in (
        ("landscape", landscape, moments),
        ("covariate_shift", covariate, moments - 1),
        ("sparsity", sparsity, EPOCHS + 1),
    ):
        share = times * cost / (STEPS * a_step)
        click.echo(f"  {name:<16} {cost / a_step:6.2f} steps each, {times} times: {share:.2%} of a run")
    costs = f"{product / back:6.2f} forward-backward passes a batch ({product_anew / back:.2f} made anew)"
    click.echo(f"  Hessian product  {costs}")


if __name__ == "__main__":
    with numerics("fp32", CPU, threads=1):
        for each in ("bn_gamma_beta", "vanilla"):
            measure(each, int(sys.argv[1]) if len(sys.argv) > 1 else 5)
