"""Moments for probes, on small networks and made-up images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bnbench.components.architectures import Layer, trace
from bnbench.components.probes import network_size
from bnbench.components.variants import VARIANTS
from bnbench.network.build import Network
from bnbench.plan import RunSpec
from bnbench.problem import Probes
from bnbench.training.events import Measured
from bnbench.training.probing.moment import Moment, TrainingBatch
from bnbench.training.seeding import StepDraws
from support.networks import build, run_spec

EVERYTHING: Mapping[str, Any] = {
    "sparsity": True,
    "landscape": {"schedule": "even:4"},
    "covariate_shift": {"schedule": "even:4"},
    "spectrum": {"schedule": "even:1", "order": 4, "batches": 1},
    "activations": True,
}
"""Every probe, as quick as can be."""


def probed(spec: RunSpec, probes: Mapping[str, Any]) -> RunSpec:
    """The same run with other probes."""
    return dataclasses.replace(spec, probes=Probes.model_validate(probes))


def probed_spec(probes: Mapping[str, Any], *args: Any, **fields: Any) -> RunSpec:
    """`run_spec` with probes."""
    return probed(run_spec(*args, **fields), probes)


def small_network(
    layers: tuple[Layer, ...], image: tuple[int, ...], variant: str = "bn_gamma_beta", placement: str = "hidden"
) -> Network:
    """A network of float64 whose parameters and buffers all differ, in train mode."""
    network = build(layers, image, VARIANTS.get(variant), placement).double()
    numbers = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=numbers, dtype=torch.float64) * 0.5)
        for vector in network.affine_vectors():
            if vector.parameter == "gamma":
                vector.tensor.add_(1.0)
    return network.train()


def batch_of(image: tuple[int, ...], classes: int, images: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images and labels of float64."""
    numbers = torch.Generator().manual_seed(seed)
    pixels = torch.randn((images, *image), generator=numbers, dtype=torch.float64)
    return pixels, torch.randint(0, classes, (images,), generator=numbers)


def moment_of(
    network: Network,
    layers: tuple[Layer, ...],
    image: tuple[int, ...],
    batches: list[tuple[Tensor, Tensor]],
    **fields: Any,
) -> Moment:
    """A moment of a network, its training batch and its `train_eval` made of the given batches."""
    traced = trace(layers, image)
    images, labels = batches[0]
    known: dict[str, Any] = {
        "step": 3,
        "epoch": 1,
        "batch": TrainingBatch(images, labels, StepDraws(7, 3)),
        "learning_rate": 0.1,
        "before": None,
        "precision": "fp32",
        "size": network_size(traced, traced[-1].output_shape[0], len(labels)),
        "evaluation_batches": lambda split, size: iter(batches),
    }
    return Moment(network=network, **{**known, **fields})


def rows(measured: Measured) -> list[dict[str, Any]]:
    """The rows of a table by column."""
    return [dict(zip(measured.columns, row, strict=True)) for row in zip(*measured.columns.values(), strict=True)]
