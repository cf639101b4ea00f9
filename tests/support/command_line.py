"""The command line as a user meets it: in this process where that is enough, in one of its own where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from bnbench.cli import main

TABLES = ("curves", "steps", "affine")
"""The tables that a repetition gives again byte for byte; `timing` holds seconds."""


def invoke(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(each) for each in arguments], prog_name="bnbench")


def command(*arguments: object) -> list[str]:
    """The command as another process is started with it."""
    return [sys.executable, "-m", "bnbench", *(str(each) for each in arguments)]


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process, and a process group, of its own."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def table_bytes(store: Path) -> dict[str, bytes]:
    """Every run's repeatable tables, by run and table."""
    return {
        f"{run.parent.name}/{table}": (run.parent / f"{table}.parquet").read_bytes()
        for run in sorted(store.glob("*/run.json"))
        for table in TABLES
    }
