"""One update of a run: forward pass, backward pass, optimiser. On a GPU it is recorded once, and replayed.

What a small network's update costs on a GPU is telling it one operation after another. A CUDA graph is told as one. It
holds the same kernels with the same numbers, and its bits were those of the update told one by one wherever that was
looked at (docs/gpu.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from bnbench.components.normalisers import NORMALISERS
from bnbench.components.reparametrisations import PLAIN
from bnbench.learning_rate import is_constant
from bnbench.network.build import Network
from bnbench.network.draws import Draws
from bnbench.plan import Precision, RunSpec
from bnbench.training.numerics import autocast
from bnbench.training.seeding import KeyedDraws, NotedDraws, StepDraws, keys_of

GRAPHS_VARIABLE = "BNBENCH_GRAPHS"
"""Environment variable: 0 leaves CUDA graphs out."""

RECORDED_AFTER = 3
"""Updates of a stretch that are made one operation at a time: libraries choose their kernels and take their room."""

_STEPS_OF_KEYS = 256

Outcome = tuple[Tensor, Tensor]
"""Of an update: its batch loss, and its number of images classified correctly before it; both () on the device, and
good until the next update."""


class Update(Protocol):
    """Makes an update of the run's network."""

    def __call__(self, images: Tensor, labels: Tensor, draws: StepDraws) -> Outcome:
        """Move the network.

        Args:
            images: (N, C, H, W), standardised and augmented, channels last in memory.
            labels: (N,).
            draws: the update's random numbers.
        """


class Recorder(Protocol):
    """Records what is told to a device."""

    def aside(self, body: Callable[[], Outcome]) -> Outcome:
        """Carry out a body as it will be recorded."""

    def record(self, body: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
        """Record a body without carrying it out: what carries it out, and the tensors it leaves its outcome in."""


def is_replayed(spec: RunSpec, device: torch.device) -> bool:
    """Whether a run's updates are recorded and replayed: on a GPU, where nothing but tensors changes between them."""
    return (
        device.type == "cuda"
        and os.environ.get(GRAPHS_VARIABLE, "1") != "0"
        and spec.training.optimiser == "sgd"
        and is_constant(spec.training)
        and spec.variant.weights == PLAIN
        and NORMALISERS.get(spec.variant.normaliser).replays
    )


def update_of(spec: RunSpec, network: Network, optimiser: torch.optim.Optimizer, device: torch.device) -> Update:
    """How a run's updates are made on a device."""
    eager = EagerUpdate(network, optimiser, spec.precision, device)
    return ReplayedUpdate(eager, CudaGraphs(device)) if is_replayed(spec, device) else eager


class EagerUpdate:
    """One operation at a time."""

    def __init__(
        self, network: Network, optimiser: torch.optim.Optimizer, precision: Precision, device: torch.device
    ) -> None:
        """Of a network on a device, in train mode."""
        self._network = network
        self._optimiser = optimiser
        self._precision = precision
        self._device = device

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> Outcome:
        """See `Update`."""
        with autocast(self._precision, self._device):
            logits = self._network(images, draws)
            loss = functional.cross_entropy(logits, labels)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimiser.step()
        with torch.no_grad():
            return loss.detach(), (logits.argmax(1) == labels).sum()


@dataclass(frozen=True, eq=False)
class _Recording:
    """A recorded update: what it reads, what carries it out, and what it leaves its outcome in."""

    images: Tensor
    labels: Tensor
    keys: Tensor
    """A row of `keys_of`."""
    replay: Callable[[], None]
    outcome: Outcome


class ReplayedUpdate:
    """Recorded once: its inputs are copied to where the recorded operations read them, the keys of its draws too."""

    def __init__(self, eager: EagerUpdate, recorder: Recorder) -> None:
        """Of what is recorded, and who records."""
        self._eager = eager
        self._recorder = recorder
        self._made = 0
        self._noted = NotedDraws(StepDraws(0, 0))
        self._recording: _Recording | None = None
        self._keys_from: tuple[int, Tensor] | None = None

    def __call__(self, images: Tensor, labels: Tensor, draws: StepDraws) -> Outcome:
        """See `Update`."""
        if self._made < RECORDED_AFTER:
            self._made += 1
            self._noted = noted = NotedDraws(draws)
            return self._recorder.aside(lambda: self._eager(images, labels, noted))
        if self._recording is None:
            self._recording = self._recorded(images, labels)
        self._recording.images.copy_(images)
        self._recording.labels.copy_(labels)
        if self._noted.asked:
            self._recording.keys.copy_(self._keys_of(draws, images.device))
        self._recording.replay()
        return self._recording.outcome

    def _recorded(self, images: Tensor, labels: Tensor) -> _Recording:
        images, labels = torch.empty_like(images), torch.empty_like(labels)
        keys = torch.empty((len(self._noted.asked), 2), dtype=torch.int32, device=images.device)
        draws = KeyedDraws(keys, self._noted.places)
        replay, outcome = self._recorder.record(lambda: self._eager(images, labels, draws))
        return _Recording(images, labels, keys, replay, outcome)

    def _keys_of(self, draws: StepDraws, device: torch.device) -> Tensor:
        """(asked, 2) on the device; those of many steps are taken there together."""
        first = draws.step // _STEPS_OF_KEYS * _STEPS_OF_KEYS
        if self._keys_from is None or self._keys_from[0] != first:
            keys = keys_of(draws.seed, self._noted.asked, range(first, first + _STEPS_OF_KEYS))
            self._keys_from = first, keys.to(device)
        return self._keys_from[1][draws.step - first]


class CudaGraphs:
    """Records as CUDA graphs, on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        """Of a GPU."""
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch's

    def aside(self, body: Callable[[], Outcome]) -> Outcome:
        """See `Recorder`. Waits, so that the outcome can be read from any stream."""
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            outcome = body()
        self._stream.synchronize()
        return outcome

    def record(self, body: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
        """See `Recorder`.

        Raises:
            RecordingError: the operations cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                outcome = body()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RecordingError(first_cause(error)) from error
        return graph.replay, outcome


class RecordingError(RuntimeError):
    """An update cannot be recorded as a CUDA graph: the run fails, and says how it can be trained."""

    def __init__(self, cause: BaseException) -> None:
        """Say what could not be recorded."""
        super().__init__(
            f"an update cannot be recorded as a CUDA graph: {next(iter(str(cause).splitlines()), '')} "
            f"({GRAPHS_VARIABLE}=0 trains without; a normaliser whose row says replays=True promised that it can be)"
        )


def first_cause(error: BaseException) -> BaseException:
    """What went wrong first: ending a recording raises once more, and says only that something had."""
    while error.__context__ is not None:
        error = error.__context__
    return error
