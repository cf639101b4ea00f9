"""The devices to measure on, and the table that is printed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from bnbench.training.numerics import choose_device

LINES = pytest.StashKey[list[str]]()


def devices() -> list[str]:
    """`$BNBENCH_BENCH_DEVICE` if it is set; otherwise the CPU, and the GPU where there is one."""
    chosen = os.environ.get("BNBENCH_BENCH_DEVICE")
    if chosen:
        return [str(choose_device(chosen))]
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", [torch.device(name) for name in devices()], ids=str, scope="session")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On the CPU everything is measured on one thread, as runs are run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Text to print once everything is measured."""
    return request.config.stash.setdefault(LINES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("bnbench: ratios measured in this run")
        for line in lines:
            terminalreporter.line(line)
