"""Importing torchvision where its compiled operators do not fit the installed torch.

torchvision registers shape functions for two operators of its compiled extension while it is imported.
Where the extension cannot be loaded, as with a CPU build of torch beside a CUDA build of torchvision,
the operators do not exist and the import fails, although data sets and transforms need none of them.
Declaring the two schemas first is enough. Where the extension loads, nothing is declared.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_torchvision(module: str = "torchvision") -> ModuleType:
    """Torchvision, or one of its modules such as "torchvision.transforms".

    Raises:
        ImportError: it is not installed.
    """
    _declare_missing_operators()
    return importlib.import_module(module)


@cache
def _declare_missing_operators() -> None:
    _load_extension()
    # Typed here because torch leaves it untyped. It keeps what it defines for the life of the process.
    define: Callable[[str, str], object] = torch.library.define
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            define(f"torchvision::{name}", schema)


def _load_extension() -> None:
    """Load the compiled operators if they can be loaded; torchvision would do the same, and loads them once."""
    load: Callable[[str], object] = torch.ops.load_library
    spec = find_spec("torchvision")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder) / f"_C{suffix}"
            if path.is_file():
                try:
                    load(str(path))
                except OSError:
                    return
