"""Whether an update may be recorded once and replayed: what there is in it besides tensors that stay where they are."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnbench.training.loop import Trainer
from bnbench.training.numerics import numerics
from bnbench.training.seeding import KeyedDraws, NotedDraws, StepDraws, keys_of
from bnbench.training.update import EagerUpdate

_CPU = torch.device("cpu")
_WAITS = ("_local_scalar_dense", "nonzero")
"""Operations for which Python waits, to decide by what a tensor holds."""


class Told(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's
    """Notes every operation: its name, what of its arguments is no tensor, and the shapes of those that are."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's
        self.lines: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 -- torch's
        if function.namespace != "profiler":
            told = [tuple(each.shape) if isinstance(each, Tensor) else each for each in tree_leaves((args, kwargs))]
            self.lines.append(f"{function}{told}")
        return function(*args, **(kwargs or {}))


def not_replayable(trainer: Trainer) -> str | None:
    """What of a run's updates a record of one would not renew; None if nothing.

    Args:
        trainer: at its first step, on a CPU, with three updates before it; it is trained for them.
    """
    spec, network = trainer.spec, trainer.network
    update = EagerUpdate(network, trainer.optimiser, spec.precision, _CPU)
    batches = trainer.batches(epoch=1)
    lines: list[list[str]] = []
    places: list[dict[str, int]] = []
    with numerics(spec.precision, _CPU, 1):
        noted = NotedDraws(StepDraws(spec.seed, 0))
        update(*next(batches), noted)
        for step in (1, 2):
            places.append(_places(trainer))
            draws = KeyedDraws(keys_of(spec.seed, noted.asked, [step])[0], noted.places)
            images, labels = next(batches)
            with Told() as told:
                update(images, labels, draws)
            lines.append(told.lines)
        places.append(_places(trainer))
    for first, second in zip_longest(*lines):
        if first != second:
            return f"an update does {first}, and the next one {second}"
    for line in lines[0]:
        if any(name in line for name in _WAITS):
            return f"an update waits for what a tensor holds: {line}"
    moved = [name for name, place in places[0].items() if place != places[-1].get(name)]
    return f"{moved[0]} lies elsewhere after an update: it was replaced, not changed" if moved else None


def _places(trainer: Trainer) -> dict[str, int]:
    """Where parameters, buffers and the optimiser's state lie."""
    found = {name: each.data_ptr() for name, each in trainer.network.state_dict(keep_vars=True).items()}
    for number, state in enumerate(trainer.optimiser.state.values()):
        found |= {f"{name} of parameter {number}": each.data_ptr() for name, each in state.items()
                  if isinstance(each, Tensor)}  # fmt: skip
    return found
