"""What devices are called: in records, and in the list of measured speeds."""

from __future__ import annotations

import torch

from bnbench.plan import RunSpec
from bnbench.storage.provenance import processor_model
from bnbench.training.update import is_replayed


def describe_device(device: torch.device) -> str:
    """What a device is called in a record: "cpu", or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def machine_name(device: torch.device, threads: int) -> str:
    """What a speed was measured on: the model of the GPU; or that of the processor, and the threads of a run."""
    if device.type == "cuda":
        return describe_device(device)
    return f"{processor_model() or 'unknown processor'}, {threads} thread(s)"


def gpu_flags(spec: RunSpec, device: torch.device) -> dict[str, bool | int]:
    """What the last bits of a run on a GPU may depend on besides its model, nothing on a CPU.

    Libraries promise the same bits for the same number of multiprocessors alone, which a part of a GPU has fewer of.
    """
    if device.type != "cuda":
        return {}
    multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
    return {"multiprocessors": multiprocessors, "graphs": is_replayed(spec, device)}
