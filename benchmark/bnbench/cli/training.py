"""Training on behalf of another command: what `bnbench run` does, into a folder that holds nothing yet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bnbench.errors import UserError


def train_anew(
    problems: Sequence[str], *, size: str, seeds: int, results: Path, device: str, workers: int | None
) -> None:
    """Train all variants of problems at their default placement; progress goes to stderr.

    A run that fails is recorded as failed and raises nothing.

    Args:
        problems: names, patterns or paths; every shipped problem if empty.
        size: "full" or "tiny".
        seeds: the first so many of each problem's list.
        results: a folder without runs.
        device: as `bnbench run` takes it.
        workers: runs side by side; as many as cores if None.

    Raises:
        UserError: the folder holds runs, which would be taken for new ones.
        SystemExit: training was stopped, or was not possible for a reason that has been printed.
    """
    from bnbench.problem import problem_files
    from bnbench.storage.store import ResultStore

    contents = ResultStore(results).look()
    if contents.documents or contents.unfinished:
        raise UserError(
            f"{results} holds runs already, which would not be trained anew",
            hint="Name an empty folder with --results, or leave --fresh out to check these.",
        )
    # The command itself, in a process of its own: its ranking is not asked for here.
    asked = [*(problems or problem_files()), "--size", size, "--seeds", str(seeds), "--device", device]
    asked += [] if workers is None else ["--workers", str(workers)]
    done = subprocess.run(
        [sys.executable, "-m", "bnbench", "run", *asked, "--results", str(results)],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode not in {0, 1}:
        raise SystemExit(done.returncode)
