"""What devices are called: in records, and in the list of measured speeds."""

from __future__ import annotations

import torch

from bnbench.storage.provenance import processor_model


def describe_device(device: torch.device) -> str:
    """What a device is called in a record: "cpu", or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def machine_name(device: torch.device, threads: int) -> str:
    """What a speed was measured on: the model of the GPU; or that of the processor, and the threads of a run."""
    if device.type == "cuda":
        return describe_device(device)
    return f"{processor_model() or 'unknown processor'}, {threads} thread(s)"
