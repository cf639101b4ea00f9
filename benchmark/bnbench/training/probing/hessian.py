"""The Hessian of a loss over the learned parameters, as what it makes of a vector.

Own double backward, on purpose: a forward-mode derivative of a Jacobian (`jvp(jacrev(…))`, as libraries take it) is
wrong for a batch norm with batch statistics, silently (tests/training/probing/test_hessian.py keeps that on record).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bnbench.network.build import Network
from bnbench.training.probing.gradients import flat
from bnbench.training.probing.lanczos import Vector


class Hessian:
    """The Hessian of the mean cross-entropy over batches, each normalised by itself where the network is in train mode.

    Products are of the network's own type; what is added up and handed over is float64.
    """

    def __init__(
        self, network: Network, batches: Sequence[tuple[Tensor, Tensor]], parameters: Sequence[Tensor], *, keep: bool
    ) -> None:
        """Take the gradient of each batch once.

        Args:
            network: in the mode that is meant; left as it is, its running statistics included.
            batches: (images, labels), all of one size.
            parameters: of the network.
            keep: whether the graphs of the gradients are kept, which is faster, or made anew for every product.
        """
        self._network = network
        self._batches = batches
        self._parameters = list(parameters)
        self._graphs: list[tuple[Tensor, ...]] = []
        self.size = sum(each.numel() for each in parameters)
        """Learned numbers."""
        self.loss = 0.0
        """Mean over the batches."""
        total = torch.zeros(self.size, dtype=torch.float64, device=parameters[0].device)
        for batch in batches:
            loss, gradient = self._gradient(batch)
            self.loss += float(loss.detach()) / len(batches)
            total += flat(gradient) / len(batches)
            if keep:
                self._graphs.append(gradient)
        self.gradient: Vector = total.cpu().numpy()
        """Of the mean loss, [size]."""

    def __call__(self, vector: Vector) -> Vector:
        """H·v, [size]."""
        given = torch.from_numpy(np.ascontiguousarray(vector, np.float64).reshape(-1)).to(self._parameters[0].device)
        along, start = list[Tensor](), 0
        for each in self._parameters:
            along.append(given[start : start + each.numel()].view(each.shape).to(each.dtype))
            start += each.numel()
        total = torch.zeros_like(given)
        for index, batch in enumerate(self._batches):
            gradient = self._graphs[index] if self._graphs else self._gradient(batch)[1]
            product = torch.autograd.grad(
                gradient, self._parameters, along, retain_graph=bool(self._graphs), materialize_grads=True
            )
            total += flat(product) / len(self._batches)
        return cast(Vector, total.cpu().numpy())

    def _gradient(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        images, labels = batch
        # Of its own for every pass: what a graph has seen of a running statistic must not change under it.
        buffers = {name: buffer.clone() for name, buffer in self._network.named_buffers()}
        loss = functional.cross_entropy(functional_call(self._network, buffers, (images,)), labels)
        return loss, torch.autograd.grad(loss, self._parameters, create_graph=True, materialize_grads=True)
