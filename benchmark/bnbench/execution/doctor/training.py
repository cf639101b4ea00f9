"""A training in this process that is watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from bnbench.execution.pipeline import load_pipeline
from bnbench.plan import RunSpec
from bnbench.training.checkpoint import checkpoint_bytes, restore_checkpoint
from bnbench.training.events import Diverged, Measured
from bnbench.training.loop import Trainer

CPU = torch.device("cpu")
UNREPEATABLE = ("timing",)
"""Tables that hold seconds."""


@dataclass
class Training:
    """A training in this process, and what it has measured."""

    spec: RunSpec
    after_backward: Callable[[Trainer], None] | None = None
    tables: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    diverged: bool = False

    def __post_init__(self) -> None:
        self.trainer = self._trainer()
        self.before = bytes_of(self.trainer.network)

    def _trainer(self) -> Trainer:
        made = Trainer(self.spec, load_pipeline(self.spec, CPU), CPU)
        if self.after_backward is not None:
            told = self.after_backward
            made.optimiser.register_step_pre_hook(lambda *_: told(made))
        return made

    def run(self, until: int | None = None) -> Training:
        """To the end, or to a step."""
        for event in self.trainer.events(lambda: until is not None and self.trainer.step >= until):
            if isinstance(event, Measured) and event.table not in UNREPEATABLE:
                for column, values in event.columns.items():
                    self.tables.setdefault(event.table, {}).setdefault(column, []).extend(map(_plain, values))
            self.diverged = self.diverged or isinstance(event, Diverged)
        return self

    def interrupt(self) -> None:
        """Go on with another trainer, from a checkpoint."""
        state = checkpoint_bytes(self.trainer)
        self.trainer = self._trainer()
        restore_checkpoint(self.trainer, state)


def _plain(value: object) -> object:
    return value.tobytes() if isinstance(value, np.ndarray | np.generic) else value


def bytes_of(module: nn.Module) -> dict[str, bytes]:
    """Every parameter, learned or not."""
    return {name: each.detach().cpu().numpy().tobytes() for name, each in module.named_parameters()}


def state_of(module: nn.Module) -> dict[str, bytes]:
    """Every parameter and buffer."""
    return {name: each.cpu().numpy().tobytes() for name, each in module.state_dict().items()}


def learned_by(trainer: Trainer) -> dict[str, nn.Parameter]:
    """What the optimiser was given to move."""
    given = {id(each) for group in trainer.optimiser.param_groups for each in group["params"]}
    return {name: each for name, each in trainer.network.named_parameters() if id(each) in given}
