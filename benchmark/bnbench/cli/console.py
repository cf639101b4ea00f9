"""What commands that plan and train say, and what they exit with: the engine's answers in words."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from bnbench.cli.invocation import typed_command
from bnbench.cli.output import print_json, print_tables, say, warn
from bnbench.words import counted, duration

if TYPE_CHECKING:
    from bnbench.execution.executors import Executor
    from bnbench.execution.listening import Outcome
    from bnbench.execution.options import RunOptions
    from bnbench.execution.planning import PlannedRun, SweepPlan
    from bnbench.execution.sweep import Sweep
    from bnbench.plan import RunSpec
    from bnbench.problem import Problem, Size
    from bnbench.storage.states import StateName


# --- carrying out -------------------------------------------------------------------------------------------------


def say_that_it_begins() -> None:
    """Show a sign of life once no mistake was found: now torch is loaded, which takes its time."""
    say("Loading torch and looking at what is there …", err=True)


def sweep_of(
    specs: Sequence[RunSpec], results: Path, how: RunOptions, executor: Executor, *, tell_estimate: bool = False
) -> Sweep:
    """The sweep that a command means; typed again, the command goes on with it.

    Args:
        specs: what is wanted.
        results: the results folder.
        how: how the runs are carried out.
        executor: who trains.
        tell_estimate: whether to say how long it takes before it begins.
    """
    from bnbench.execution.sweep import Sweep
    from bnbench.progress import sweep_progress

    # Typed with --fresh again, it would throw away what there is by then.
    command = shlex.join(word for word in shlex.split(typed_command()) if word != "--fresh")
    listener = sweep_progress(_tell_estimate if tell_estimate else None)
    return Sweep(specs, results, how, executor, listener, command=command)


@contextmanager
def ended_by_a_stop(sweep: Sweep, *, goes_on: bool = True) -> Iterator[None]:
    """Let a request to stop, made while the block runs a sweep, end the command with what is done intact.

    From here on, progress that nobody reads any more ends nothing.

    Args:
        sweep: what the block runs.
        goes_on: whether the same command, typed again, does the rest.

    Raises:
        SystemExit: it was asked to stop, by Ctrl-C or a signal.
    """
    from bnbench.execution.streams import outlive_readers
    from bnbench.execution.sweep import SweepInterrupted

    outlive_readers()
    try:
        yield
    except SweepInterrupted as stopped:
        without = "without --fresh " if sweep.options.fresh else ""
        rest = f"; the same command {without}does the rest" if goes_on else ""
        say(f"Interrupted: {stopped.finished} of {stopped.total} runs are finished and kept{rest}.", err=True)
        raise SystemExit(stopped.exit_code) from stopped


def passing_folder(stack: ExitStack) -> Path:
    """A folder for runs that nobody wants to keep; removed when the stack is left.

    Raises:
        UserError: no folder for temporary files can be written.
    """
    from bnbench.errors import UserError

    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bnbench-")))
    except OSError as error:
        raise UserError(
            f"the runs have no place: {error.strerror or error}",
            hint="Let TMPDIR name a folder that can be written.",
        ) from error


def train_anew(
    problems: Sequence[str], *, size: Size, seeds: int, results: Path, device: str, workers: int | None
) -> None:
    """Train all variants of problems at their default placement; progress goes to stderr.

    A run that fails is recorded as failed and raises nothing.

    Args:
        problems: names, patterns or paths; every shipped problem if empty.
        size: "full", "short" or "tiny".
        seeds: the first so many of each problem's list.
        results: a folder without runs.
        device: as `bnbench run` takes it.
        workers: runs side by side; as many as cores if None.

    Raises:
        UserError: the folder holds runs, which would be taken for new ones, or what is asked for does not exist.
        SystemExit: it was asked to stop.
    """
    from bnbench.errors import UserError
    from bnbench.execution.executors import local_executor
    from bnbench.execution.options import RunOptions
    from bnbench.execution.selection import Grid, Settings, select
    from bnbench.execution.sweep import Sweep
    from bnbench.problem import problem_files
    from bnbench.progress import sweep_progress

    grid = Grid(tuple(problems) or tuple(problem_files()), settings=Settings(size=size, seeds=seeds))
    how = RunOptions(device=device, workers=workers)
    sweep = Sweep(select(grid).specs, results, how, local_executor(how), sweep_progress())
    if sweep.contents.documents or sweep.contents.unfinished:
        raise UserError(
            f"{results} holds runs already, which would not be trained anew",
            hint="Name an empty folder with --results, or leave --fresh out to check these.",
        )
    say_that_it_begins()
    with ended_by_a_stop(sweep, goes_on=False):
        sweep.run()


def end_on_failures(plan: SweepPlan, outcomes: Sequence[Outcome]) -> None:
    """Name what failed, now or before, and exit with 1 if anything did.

    Raises:
        SystemExit: a run failed.
    """
    errors = {outcome.run_id: outcome.error for outcome in outcomes if outcome.status == "failed"}
    before = {
        run.spec.run_id: run.state.error
        for run in plan.runs
        if run.state is not None and run.state.name == "failed" and not run.to_train
    }
    if not errors and not before:
        return
    say(f"{len(errors) + len(before)} of {len(plan.runs)} runs failed:", err=True)
    for run_id, error in {**before, **errors}.items():
        earlier = "before; --retry failed tries it again: " if run_id in before else ""
        say(f"  {run_id}: {earlier}{(error or '').strip().splitlines()[-1]}", err=True)
    raise SystemExit(1)


# --- plans --------------------------------------------------------------------------------------------------------


def print_plan(plan: SweepPlan, *, as_json: bool = False) -> None:
    """A line for each run on stdout, the sum on stderr; or everything as JSON."""
    from bnbench.analysis.table import Cell, Column, Kind, Table
    from bnbench.progress import title

    if as_json:
        print_json(plan.records())
        return
    columns = (
        Column("state", "state"),
        Column("run", "run"),
        Column("seconds", "time left", Kind.NUMBER, show=duration, priority=1),
        Column("run_id", "id", Kind.IDENTIFIER, priority=2),
    )
    rows = [
        (
            _state(run),
            title(run.spec),
            Cell(run.seconds, duration(run.seconds) if run.to_train else ""),
            "-" if run.state is None else run.spec.run_id,
        )
        for run in plan.runs
    ]
    print_tables([Table("plan", columns, tuple(rows), headless=True)])
    say(summary(plan), err=True)


def size_in_words(problems: Iterable[Problem]) -> list[str]:
    """What a size other than the full one means, a line for each kind: "size short: width 0.5, … (names)"."""
    alike: dict[str, list[str]] = {}
    for each in problems:
        if each.size == "full":
            continue
        training, images = each.training, each.training.images
        seen = "all images" if images is None else counted(images, "image")
        words = [f"width {each.width:g}", counted(training.epochs, "epoch"), f"batch {training.batch_size}", seen]
        alike.setdefault(f"size {each.size}: {', '.join(words)} of {each.dataset}", []).append(each.name)
    return [f"{words} ({', '.join(names)})" for words, names in alike.items()]


def print_warnings(plan: SweepPlan) -> None:
    """What is wrong with single runs of the results folder."""
    for warning in plan.warnings:
        warn(warning)


def summary(plan: SweepPlan) -> str:
    """How many runs are to be trained, how long that may take, and what stands in the way."""
    states: list[StateName] = [run.state.name for run in plan.runs if run.state is not None]
    training = plan.training
    text = f"{len(training)} of {counted(len(plan.runs), 'run')} to train"
    others = [f"{states.count(state)} {state}" for state in ("damaged", "resumable", "running") if state in states]
    text += f" ({', '.join(others)})" if others else ""
    text += f"{_estimate(plan)}."
    if len(plan.known) < len(training):
        text += " How long that takes is not known: `bnbench estimate …` measures it."
    failed = states.count("failed")
    if failed and not any(run.state and run.state.name == "failed" for run in training):
        text += f"\n{failed} failed before and stay as they are; --retry failed tries them again."
    missing = sum(run.state is None for run in plan.runs)
    if missing:
        text += f"\n{missing} have no id yet: their data are not on this machine (`bnbench data list`)."
    # One line a row: the first run stands for the others.
    for part in {(each.ours.kind, each.ours.name): each for each in reversed(plan.changed_parts)}.values():
        unless = "" if part.ended else " or --fresh"
        text += f"\nNothing will be trained, unless with --plugin-changed keep{unless}: the {part.in_words}."
    return text


def _estimate(plan: SweepPlan) -> str:
    """How long the runs take of which it is known; nothing where it is known of none."""
    if not plan.known:
        return ""
    side_by_side = f"{plan.side_by_side} side by side"
    if all(time.source == "measured" for time in plan.known):
        how = ["with one run alone"] if plan.side_by_side > 1 else []
        how += ["beside other work; the forecast is for a machine of its own"] if _beside_others(plan) else []
        measured = f" (measured {', '.join(how)})" if how else ""
        text = f", about {duration(plan.known_seconds)} on {plan.machine}, {side_by_side}{measured}"
    else:
        text = f", about {duration(plan.known_seconds)}, {side_by_side} on {plan.device}, from what such runs took here"
    unknown = len(plan.training) - len(plan.known)
    return text + (f", for {len(plan.known)} of them and {unknown} more" if unknown else "")


def _beside_others(plan: SweepPlan) -> bool:
    return any(time.beside_others for time in plan.known)


def _tell_estimate(plan: SweepPlan) -> None:
    if plan.todo:
        say(summary(plan), err=True)


def _state(run: PlannedRun) -> str:
    """In words: what would become of the run."""
    if run.state is None:
        return "to run (no data)"
    at = f" epoch {run.state.epoch}/{run.spec.training.epochs}"
    match run.state.name:
        case "new":
            told = "to run"
        case "damaged":
            told = "to run (damaged)"
        case "failed":
            told = "to run (failed before)" if run.to_train else "failed"
        case "diverged":
            told = f"diverged at step {run.state.diverged_at_step}"
        case "resumable" | "running":
            told = run.state.name + at
        case "finished":
            told = "finished"
        case other:
            assert_never(other)
    return told
