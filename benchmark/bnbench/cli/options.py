"""Options that several commands share, and what they select."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bnbench.cli.path_type import GivenPath

if TYPE_CHECKING:
    from bnbench.plan import DataFacts, Precision, RunSpec
    from bnbench.problem import Problem, Size

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_RESULTS = Path("results") / "runs"


@dataclass(frozen=True)
class Grid:
    """What a user asked for, as typed: problems and the axes of the sweep."""

    problems: tuple[str, ...]
    variants: tuple[str, ...]
    placements: tuple[str, ...]
    lr_factors: tuple[float, ...]
    seeds: int
    size: Size
    epochs: int | None
    overrides: tuple[str, ...]
    precision: Precision


@dataclass(frozen=True)
class Selection:
    """What that means: the problems at their size, and every run once."""

    problems: tuple[Problem, ...]
    specs: tuple[RunSpec, ...]


def results_option(command: Command) -> Command:
    """`--results DIR`, the folder that runs are written to and read from."""
    return click.option(
        "--results",
        type=GivenPath(),
        default=DEFAULT_RESULTS,
        show_default=True,
        help="Folder of the recorded runs.",
    )(command)


def size_option(command: Command) -> Command:
    """`--size`, the full problem or its tiny overlay."""
    return click.option(
        "--size",
        type=click.Choice(["full", "tiny"]),
        default="full",
        show_default=True,
        help="tiny: the problem file's [tiny] overlay, seconds on embedded data.",
    )(command)


def grid_options(command: Command) -> Command:
    """The options that span a grid of runs; the command takes them as keywords and makes a `Grid` of them."""
    return with_options(command, _GRID_OPTIONS + _SETTING_OPTIONS)


def setting_options(command: Command) -> Command:
    """Those of them that change what every run is: seeds, size, overrides, precision."""
    return with_options(command, _SETTING_OPTIONS)


def with_options(command: Command, options: tuple[Callable[[Any], Any], ...]) -> Command:
    """Decorate a command with options, which its help lists in this order."""
    for option in reversed(options):
        command = option(command)
    return command


_GRID_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("problems", nargs=-1, required=True, metavar="PROBLEM..."),
    click.option(
        "--variant", "variants", multiple=True, default=("all",), help="A variant, or all (default). Repeatable."
    ),
    click.option(
        "--placement", "placements", multiple=True, help="Where BatchNorm goes; default: the problem's. Repeatable."
    ),
    click.option(
        "--lr-factor",
        "lr_factors",
        type=float,
        multiple=True,
        default=(1.0,),
        help="Times the learning rate. Repeatable.",
    ),
)
_SETTING_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="The first N of the problem's seeds."
    ),
    size_option,
    click.option("--epochs", type=click.IntRange(min=1), help="Short for --set training.epochs=N."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting. Repeatable."),
    click.option("--precision", default="fp32", show_default=True, help="fp32, tf32 (GPU only) or bf16."),
)


def select(grid: Grid) -> Selection:
    """Every run of a grid, once, with the facts of its data.

    Raises:
        UserError: something in the grid does not exist or does not fit.
    """
    from bnbench.plan import expand_grid
    from bnbench.problem import find_problems
    from bnbench.variant import expand_variants

    check_precision_name(grid.precision)
    variants = expand_variants(grid.variants)
    overrides = parse_overrides(grid.overrides, grid.epochs)
    problems = [file.problem(grid.size, overrides) for file in find_problems(grid.problems)]
    specs: list[RunSpec] = []
    for problem in problems:
        specs += expand_grid(
            problem,
            identify(problem),
            variants,
            placements=grid.placements,
            lr_factors=grid.lr_factors,
            seeds=problem.first_seeds(grid.seeds),
            precision=grid.precision,
        )
    return Selection(tuple(problems), tuple(specs))


def check_precision_name(name: str) -> None:
    """Refuse what is no precision.

    Raises:
        UserError: there is none of that name.
    """
    from bnbench.errors import unknown
    from bnbench.plan import PRECISIONS

    if name not in PRECISIONS:
        raise unknown("precision", name, PRECISIONS)


def parse_overrides(texts: Sequence[str], epochs: int | None) -> dict[str, Any]:
    """Dotted keys to values, of --set and --epochs.

    Raises:
        UserError: a text is no setting.
    """
    from bnbench.problem import parse_override

    overrides = dict(parse_override(text) for text in texts)
    if epochs is not None:
        overrides["training.epochs"] = epochs
    return overrides


def identify(problem: Problem) -> DataFacts:
    """The facts of a problem's data.

    Raises:
        UserError: no such data set is known; names the problem that asks for it.
    """
    from bnbench.data.dataset import DATASETS
    from bnbench.errors import UserError

    try:
        dataset = DATASETS.get(problem.dataset)
    except UserError as error:
        raise UserError(f"problem '{problem.name}', key 'dataset': {error.problem}", hint=error.hint) from error
    return dataset.facts(problem.split_seed)
