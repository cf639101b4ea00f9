"""Handing the probes of a run their moments, and passing on what they measured."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from bnbench.components.architectures import trace
from bnbench.components.probes import PROBES, SCHEDULE, ProbeRow, When, function_named, network_size
from bnbench.data.pipeline import ImagePipeline
from bnbench.errors import cut
from bnbench.network.build import Network
from bnbench.plan import RunSpec
from bnbench.schedule import scheduled_steps
from bnbench.training.events import Measured
from bnbench.training.numerics import numerics
from bnbench.training.probing.moment import Moment, NotMeasuredError, Probe, TrainingBatch


@dataclass(frozen=True)
class _Active:
    """A probe of this run."""

    row: ProbeRow
    probe: Probe
    due: frozenset[int]
    """The steps of its schedule; empty for a probe at evaluations."""


class Probing:
    """The probes of one run. Each gets a copy of the network, so that nothing it does reaches training."""

    def __init__(self, spec: RunSpec, pipeline: ImagePipeline, device: torch.device, total_steps: int) -> None:
        """Import the probes that the run has on.

        Args:
            spec: the resolved run.
            pipeline: its data.
            device: where it trains.
            total_steps: updates of the whole run.

        Raises:
            UserError: a probe is not known here, or its function cannot be found.
        """
        self.seconds = 0.0
        """What probes at steps and updates have taken since this was last set to zero."""
        self._spec = spec
        self._pipeline = pipeline
        self._device = device
        self._size = network_size(trace(spec.layers(), spec.input_shape), spec.data.classes, spec.training.batch_size)
        self._active = [_activate(spec, name, total_steps) for name in spec.probes.on]
        self._before: Mapping[str, Tensor] | None = None

    def before_update(
        self, network: Network, step: int, epoch: int, batch: TrainingBatch, learning_rate: float
    ) -> Iterator[Measured]:
        """What is measured at a step, before the coming update.

        Args:
            network: the run's.
            step: updates done.
            epoch: epochs done, in whole.
            batch: of the coming update.
            learning_rate: of the coming update.
        """
        began = time.perf_counter()
        if any(step in each.due for each in self._at("update")):
            self._before = {name: value.clone() for name, value in network.state_dict().items()}
        measured = [
            rows
            for each in self._at("step")
            if step in each.due
            for rows in self._measure(each, network, step, epoch, batch, learning_rate)
        ]
        self.seconds += time.perf_counter() - began
        yield from measured

    def after_update(
        self, network: Network, step: int, epoch: int, batch: TrainingBatch, learning_rate: float
    ) -> Iterator[Measured]:
        """What is measured after an update; the arguments are those of `before_update`, but for the network's state."""
        if self._before is None:
            return
        began = time.perf_counter()
        measured = [
            rows
            for each in self._at("update")
            if step in each.due
            for rows in self._measure(each, network, step, epoch, batch, learning_rate)
        ]
        self._before = None
        self.seconds += time.perf_counter() - began
        yield from measured

    def at_evaluation(self, network: Network, step: int, epoch: int) -> list[Measured]:
        """What is measured whenever the network is evaluated."""
        return [
            rows for each in self._at("evaluation") for rows in self._measure(each, network, step, epoch, None, None)
        ]

    def is_due(self, step: int) -> bool:
        """Whether a probe measures at a step, before the coming update."""
        return any(step in each.due for each in self._at("step"))

    def _at(self, moment: When) -> list[_Active]:
        return [each for each in self._active if each.row.moment == moment]

    def _measure(
        self,
        each: _Active,
        network: Network,
        step: int,
        epoch: int,
        batch: TrainingBatch | None,
        learning_rate: float | None,
    ) -> list[Measured]:
        """A probe's rows; where it has none, a note that says why. What goes wrong in a probe never ends a run."""
        copied = copy.deepcopy(network)
        copied.zero_grad(set_to_none=True)
        copied.train()
        moment = Moment(
            network=copied,
            step=step,
            epoch=epoch,
            batch=batch,
            learning_rate=learning_rate,
            before=self._before if each.row.moment == "update" else None,
            evaluation_batches=self._pipeline.evaluation_batches,
            size=self._size,
            precision=self._spec.precision,
        )
        try:
            with numerics("fp32", self._device, torch.get_num_threads()), torch.enable_grad():
                return list(each.probe(moment))
        except NotMeasuredError as error:
            return [_note(step, each.row.name, str(error))]
        except Exception as error:  # whatever goes wrong in a probe, training goes on
            if not each.row.may_miss:
                raise
            return [_note(step, each.row.name, f"{type(error).__name__}: {error}")]


def _activate(spec: RunSpec, name: str, total_steps: int) -> _Active:
    row, options = PROBES.get(name), spec.probes.options(name)
    probe = cast(Probe, function_named(row.build)(options))
    due = scheduled_steps(str(options[SCHEDULE]), total_steps) if row.schedule is not None else ()
    return _Active(row, probe, frozenset(due))


def _note(step: int, probe: str, reason: str) -> Measured:
    told = cut(" ".join(reason.split()))
    return Measured("probe_notes", {"step": np.array([step], np.int64), "probe": [probe], "reason": [told]})
