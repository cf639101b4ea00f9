"""Memory that is kept: blocks that are freed and asked for again are not mapped again by the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from bnbench.training import memory

# The blocks of a step: two large ones at a time, again and again. Prints the pages mapped after the first ten rounds.
PROGRAM = """
import resource, sys
import torch
from bnbench.training.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    print(keep_freed_memory())
def work():
    for _ in range(10):
        torch.ones(10_000_000).add(1)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(mode: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_blocks_asked_for_again_are_not_mapped_again() -> None:
    (mapped,) = run("default")
    said, kept = run("keep")
    assert said == "True"
    # Ten rounds of 2 × 40 MB: 195,000 pages of 4 KiB, or 400 huge ones.
    assert int(kept) < int(mapped) / 4


def test_elsewhere_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: object())
    assert memory.keep_freed_memory() is False
