"""The arithmetic of a run: precision, determinism, threads. Set for the time of a run, then put back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, assert_never, cast

import torch

from bnbench.errors import UserError
from bnbench.plan import Precision
from bnbench.training.device import check_device_name

_ERROR = 2

USUAL_SWITCHES = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Environment variables that are set here where nobody has: name to value."""


class _FillSwitch(Protocol):
    """`torch.utils.deterministic`, a module whose attribute is a property that type stubs do not show."""

    fill_uninitialized_memory: bool


class _PrecisionSwitch(Protocol):
    """The arithmetic of one kind of float32 product: "ieee", "tf32", or "none" for what is set for all kinds."""

    fp32_precision: str


class _Backend(Protocol):
    """A module of `torch.backends`, whose kinds of product type stubs do not show."""

    matmul: _PrecisionSwitch
    conv: _PrecisionSwitch


_DETERMINISTIC = cast(_FillSwitch, torch.utils.deterministic)

# Not the older `allow_tf32`: torch raises where it is read after these were set, and it does not reach the CPU, whose
# products a program may have lowered to bfloat16 (`torch.set_float32_matmul_precision("medium")`).
_PRODUCTS = (
    torch.backends.cuda.matmul,
    cast(_Backend, torch.backends.cudnn).conv,
    cast(_Backend, torch.backends.mkldnn).matmul,
    cast(_Backend, torch.backends.mkldnn).conv,
)


@dataclass(frozen=True)
class _Flags:
    """torch's process-wide switches that a run's numbers depend on."""

    threads: int
    deterministic: int
    """torch's debug mode: an operation without a deterministic form is allowed (0), warned of (1) or an error (2)."""
    fill_memory: bool
    """Guards against reads of uninitialised memory, which no operation here does; it costs time."""
    benchmark: bool
    products: tuple[str, ...]
    """In the order of `_PRODUCTS`."""


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda` (or one GPU of several: `cuda:1`).

    Raises:
        UserError: no such device here.
    """
    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"device '{name}': torch {torch.__version__} sees no CUDA device", hint="Use --device cpu.")
    if name != "cuda" and int(name[5:]) >= torch.cuda.device_count():
        raise UserError(f"device '{name}': there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    return torch.device(name)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision the device does not have.

    Raises:
        UserError: tf32 was asked for without a GPU that has it.
    """
    if not _uses_tf32(precision):
        return
    if device.type != "cuda":
        raise UserError("precision 'tf32' exists on CUDA devices only", hint="On a CPU use fp32 or bf16.")
    if torch.cuda.get_device_capability(device) < (8, 0):
        raise UserError(
            f"precision 'tf32': {torch.cuda.get_device_name(device)} does not have it",
            hint="GPUs have TensorFloat-32 from compute capability 8.0 (Ampere) on. Use fp32.",
        )


@contextlib.contextmanager
def numerics(precision: Precision, device: torch.device, threads: int) -> Iterator[None]:
    """Deterministic algorithms, one precision, a fixed number of threads, while the block runs.

    fp32 turns TensorFloat-32 off, also for cuDNN's convolutions, which use it by default. bf16 is autocast: see
    `autocast`.

    Args:
        precision: "fp32", "tf32" or "bf16".
        device: where the run computes.
        threads: of intra-operator parallelism on the CPU.
    """
    # Read when CUDA's linear algebra starts; without it deterministic matrix products raise.
    for name, value in USUAL_SWITCHES.items():
        os.environ.setdefault(name, value)
    on_gpu = "tf32" if _uses_tf32(precision) else "ieee"
    before = _current()
    _apply(
        _Flags(
            threads,
            deterministic=_ERROR,
            fill_memory=False,
            benchmark=False,
            products=(on_gpu, on_gpu, "ieee", "ieee"),
        )
    )
    try:
        yield
    finally:
        _apply(before)


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context for a forward pass: bfloat16 autocast for bf16, nothing otherwise."""
    match precision:
        case "bf16":
            return torch.autocast(device.type, torch.bfloat16)
        case "fp32" | "tf32":
            return nullcontext()
        case other:
            assert_never(other)


def _uses_tf32(precision: Precision) -> bool:
    match precision:
        case "tf32":
            return True
        case "fp32" | "bf16":
            return False
        case other:
            assert_never(other)


def _current() -> _Flags:
    return _Flags(
        torch.get_num_threads(),
        deterministic=torch.get_deterministic_debug_mode(),
        fill_memory=_DETERMINISTIC.fill_uninitialized_memory,
        benchmark=torch.backends.cudnn.benchmark,
        products=tuple(each.fp32_precision for each in _PRODUCTS),
    )


def _apply(flags: _Flags) -> None:
    torch.set_num_threads(flags.threads)
    # The same switch as use_deterministic_algorithms(), which would import all of torch's compiler: three seconds.
    torch.set_deterministic_debug_mode(flags.deterministic)
    _DETERMINISTIC.fill_uninitialized_memory = flags.fill_memory
    torch.backends.cudnn.benchmark = flags.benchmark
    for each, precision in zip(_PRODUCTS, flags.products, strict=True):
        each.fp32_precision = precision
