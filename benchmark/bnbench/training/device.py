"""Names of devices, which can be looked at before torch is loaded (torch-free)."""

from __future__ import annotations

import re

from bnbench.errors import UserError, cut

_DEVICE = re.compile(r"auto|cpu|cuda|cuda:[0-9]{1,4}")


def check_device_name(name: str) -> None:
    """Look at a name; whether there is such a device here is another matter (`bnbench.training.numerics`).

    Raises:
        UserError: no device is called so.
    """
    if not _DEVICE.fullmatch(name):
        raise UserError(f"unknown device '{cut(name)}'", hint="Known devices: auto, cpu, cuda, cuda:N.")
