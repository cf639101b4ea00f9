"""A run's state as bytes, and back. Where the bytes are kept is not this module's business."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from bnbench.training.loop import Trainer

CHECKPOINT_FORMAT = 1
"""Raised whenever what a checkpoint holds changes; others are refused, and the run starts from its first step."""


class CheckpointError(Exception):
    """Bytes that are not a state of this run; the message says why."""


def checkpoint_bytes(trainer: Trainer) -> bytes:
    """The whole state of a run between two steps: parameters, running statistics, optimiser, and the step.

    Random streams are keyed by step and epoch, so they have no state. The device's work is waited for.
    """
    state = {
        "format": CHECKPOINT_FORMAT,
        "run_id": trainer.spec.run_id,
        "step": trainer.step,
        "train_s": trainer.train_s,
        "images": trainer.images,
        "network": trainer.network.state_dict(),
        "optimiser": trainer.optimiser.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def restore_checkpoint(trainer: Trainer, data: bytes) -> None:
    """Put a run into the state that `checkpoint_bytes` found it in.

    Nothing but tensors and plain values is unpickled (`weights_only`), so a file from a stranger runs no code.

    Args:
        trainer: freshly built for the same run, on any device. After an error it is of no use any more.
        data: what `checkpoint_bytes` returned.

    Raises:
        CheckpointError: the bytes cannot be read, are of another run or another format, or do not fit the network.
    """
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"it cannot be read: {_first_line(error)}") from error
    _check(state, trainer)
    try:
        trainer.network.load_state_dict(state["network"])
        trainer.optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"it does not fit the network: {_first_line(error)}") from error
    trainer.step, trainer.train_s, trainer.images = state["step"], state["train_s"], state["images"]


def _check(state: Any, trainer: Trainer) -> None:  # noqa: ANN401 -- whatever the bytes turned out to hold
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError("it is of another format")
    if state.get("run_id") != trainer.spec.run_id:
        raise CheckpointError(f"it belongs to the run {state.get('run_id')}")
    types: dict[str, type] = {"step": int, "train_s": float, "images": int, "network": dict, "optimiser": dict}
    for name, wanted in types.items():
        if not isinstance(state.get(name), wanted):
            raise CheckpointError(f"its '{name}' is missing or of another type")
    if not 0 < state["step"] <= trainer.total_steps:
        raise CheckpointError(f"its step {state['step']} is not one of the run's {trainer.total_steps}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
