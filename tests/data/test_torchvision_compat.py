"""Importing torchvision, whether or not its compiled operators can be loaded. Each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_IMPORTS = """
from bnbench.data.torchvision_compat import import_torchvision
torchvision = import_torchvision()
assert import_torchvision("torchvision.transforms.functional") is torchvision.transforms.functional
import torchvision.datasets, torchvision.transforms
from PIL import Image
image = torchvision.transforms.ToTensor()(Image.new("RGB", (4, 4), (255, 0, 0)))
assert image[0].eq(1).all() and image[1:].eq(0).all()
"""

_OPERATORS_ARE_THERE = """
import torch
schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
compiled = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    compiled.define(name + schema)
    compiled.impl(name, lambda dets, scores, iou_threshold: dets + 1, "CPU")
"""

_AND_STILL_WORK = """
assert torch.ops.torchvision.nms(torch.zeros(1), torch.zeros(1), 0.5).item() == 1
"""


@pytest.mark.parametrize(
    "program",
    [
        _IMPORTS,
        # As where the extension has been loaded: operators that exist are not declared again, and go on working.
        _OPERATORS_ARE_THERE + _IMPORTS + _AND_STILL_WORK,
    ],
    ids=["as it is here", "with operators"],
)
def test_torchvision_can_be_imported(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
