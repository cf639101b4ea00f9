"""How long the command line takes to say what it can do."""

from __future__ import annotations

import statistics
import subprocess
import sysconfig
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture


def test_help(benchmark: BenchmarkFixture, lines: list[str]) -> None:
    command = Path(sysconfig.get_path("scripts")) / "bnbench"

    def ask() -> subprocess.CompletedProcess[str]:
        return subprocess.run([command, "--help"], capture_output=True, text=True, check=True)

    answer = benchmark.pedantic(ask, rounds=5, iterations=1, warmup_rounds=1)
    assert "Usage: bnbench" in answer.stdout
    seconds = benchmark.stats.stats.data
    lines.append(f"bnbench --help: {statistics.median(seconds):.3f} s, median of {len(seconds)} (wanted < 0.5 s)")
