"""Training on behalf of another command: into a folder that holds nothing yet, at the problems' own settings."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bnbench.cli.carry_out import require_data
from bnbench.cli.options import Grid, select
from bnbench.cli.sweep import run_sweep
from bnbench.cli.sweep_options import SweepOptions
from bnbench.cli.sweep_plan import make_plan
from bnbench.errors import UserError

if TYPE_CHECKING:
    from bnbench.problem import Size


def train_anew(
    problems: Sequence[str], *, size: Size, seeds: int, results: Path, device: str, workers: int | None
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
        UserError: the folder holds runs, which would be taken for new ones, or what is asked for does not exist.
        SystemExit: it was asked to stop.
    """
    from bnbench.execution.streams import outlive_readers
    from bnbench.problem import problem_files
    from bnbench.storage.store import ResultStore

    outlive_readers()
    contents = ResultStore(results).look()
    if contents.documents or contents.unfinished:
        raise UserError(
            f"{results} holds runs already, which would not be trained anew",
            hint="Name an empty folder with --results, or leave --fresh out to check these.",
        )
    asked = tuple(problems) or tuple(problem_files())
    grid = Grid(asked, ("all",), (), (1.0,), seeds, size, epochs=None, overrides=(), precision="fp32")
    specs = select(grid).specs
    require_data(specs)
    sweep = SweepOptions(device=device, workers=workers, continues=False)
    run_sweep(make_plan(specs, results, sweep), results, sweep)


def passing_folder(stack: ExitStack) -> Path:
    """A folder for runs that nobody wants to keep; removed when the stack is left.

    Raises:
        UserError: no folder for temporary files can be written.
    """
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bnbench-")))
    except OSError as error:
        raise UserError(
            f"the runs have no place: {error.strerror or error}",
            hint="Let TMPDIR name a folder that can be written.",
        ) from error
