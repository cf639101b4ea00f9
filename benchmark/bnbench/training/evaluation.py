"""Evaluation on whole splits, weighted per image."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bnbench.measurement import Split, Statistics
from bnbench.network.batch_parts import BatchStatistics
from bnbench.network.build import Network
from bnbench.plan import Precision
from bnbench.training.events import Evaluation
from bnbench.training.numerics import autocast

Batches = Iterable[tuple[Tensor, Tensor]]

EVALUATION_BATCH = 125
"""Images a forward pass on a CPU. It decides the order of a float sum, so changing it changes the last digits of a
result.

A divisor of 10,000, and small enough that a layer's output is quick to get from any allocator: on one CPU core as fast
as any larger batch, and nearly twice as fast as 500 where the allocator returns freed blocks to the system.
"""

EVALUATION_BATCH_ON_GPU = 1_000
"""The same on a GPU, which is kept waiting by small batches. The widest layer of any network here takes 1 GB for so
many images of 32 × 32 pixels."""


def evaluation_batch(device: torch.device) -> int:
    """Images a forward pass where nothing is learned."""
    return EVALUATION_BATCH_ON_GPU if device.type == "cuda" else EVALUATION_BATCH


def evaluate(network: Network, batches: Batches, precision: Precision) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in eval mode, each image with the same weight.

    Args:
        network: left in the mode it came in.
        batches: (images, labels) of a whole split, the last batch possibly smaller.
        precision: of the forward pass; sums are float64.

    Returns:
        (loss in nats, accuracy in 0 … 1).
    """
    was_training = network.training
    network.eval()
    # A Python float would force the device to catch up after every batch.
    loss: Tensor | float = 0.0
    correct: Tensor | int = 0
    images = 0
    with torch.inference_mode():
        for inputs, labels in batches:
            with autocast(precision, inputs.device):
                logits = network(inputs)
            loss = loss + functional.cross_entropy(logits.float(), labels, reduction="sum").double()
            correct = correct + (logits.argmax(1) == labels).sum()
            images += len(labels)
    network.train(was_training)
    return float(loss) / images, float(correct) / images


def whole_batches(batches: Batches, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Those with so many images: an incomplete one would be normalised by statistics of another m/(m-1)."""
    return (batch for batch in batches if len(batch[1]) == size)


def average_anew(network: Network, batches: Batches, precision: Precision) -> None:
    """Let what averages over training batches take the plain averages over these, in train mode without dropout.

    Args:
        network: whose buffers change; left in the mode it came in.
        batches: (images, labels), of one size.
        precision: of the forward pass.
    """
    was_training = network.training
    for module in network.modules():
        if isinstance(module, BatchStatistics):
            module.average_anew()
    network.train()
    with torch.no_grad():
        for inputs, _ in batches:
            with autocast(precision, inputs.device):
                network(inputs)
    network.train(was_training)


def with_population_statistics(network: Network, batches: Batches, precision: Precision) -> Network:
    """A copy whose running statistics are population statistics over the given batches.

    E[x] = E_B[μ_B] and Var[x] = m/(m-1) · E_B[σ²_B], the averages taken over batches with the inference network
    (Ioffe & Szegedy 2015, algorithm 2; thesis, equations 2.26-2.27): a cumulative average of each batch's mean
    and unbiased variance. Dropout is left out, and batches should have one size m. The original is not touched.
    """
    copied = copy.deepcopy(network)
    average_anew(copied, batches, precision)
    return copied


def evaluate_splits(
    network: Network, splits: dict[Split, Batches], statistics: Statistics, precision: Precision
) -> tuple[Evaluation, ...]:
    """`evaluate` on several splits, in the given order."""
    results = []
    for split, batches in splits.items():
        loss, accuracy = evaluate(network, batches, precision)
        results.append(Evaluation(split, statistics, loss, accuracy))
    return tuple(results)
