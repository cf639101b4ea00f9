"""Options that several commands share, and what they select."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bnbench.cli.path_type import GivenPath
from bnbench.errors import UserError

if TYPE_CHECKING:
    from bnbench.execution.selection import Grid, Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class SeedCount(click.IntRange):
    """How many seeds; whoever types which ones is told how."""

    def __init__(self) -> None:
        """One or more."""
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """The number that a text means.

        Raises:
            click.BadParameter: it means none.
        """
        if isinstance(value, str) and not re.fullmatch(r"\s*-?[0-9]+\s*", value):
            self.fail(
                f"'{value}' is no number of seeds: N takes the first N of the problem's own. Single ones are named "
                "with --seed where a grid of runs is asked for: --seed 47 --seed 48.",
                param,
                ctx,
            )
        return int(super().convert(value, param, ctx))


SIZES = ("full", "short", "tiny")
"""The sizes of a problem, `bnbench.problem.Size`, without loading what that needs."""
DEFAULT_RESULTS = Path("results") / "runs"


def results_option(command: Command) -> Command:
    """`--results DIR`, the folder that runs are written to and read from."""
    return click.option(
        "--results",
        type=GivenPath(),
        default=DEFAULT_RESULTS,
        show_default=True,
        help="Folder of the recorded runs.",
    )(command)


def _load_plugins(ctx: click.Context, param: click.Parameter, paths: tuple[Path, ...]) -> None:
    from bnbench.plugins import load_plugin

    if not ctx.resilient_parsing:
        for path in paths:
            load_plugin(path)


def plugin_option(command: Command) -> Command:
    """`--plugin FILE.py`, whose rows every table has from then on: before any other option is looked at."""
    return click.option(
        "--plugin",
        multiple=True,
        type=GivenPath(),
        metavar="FILE.py",
        is_eager=True,
        expose_value=False,
        callback=_load_plugins,
        help="A file with rows of your own: normalisers, networks, … (docs/plugins.md). Repeatable.",
    )(command)


def size_option(command: Command) -> Command:
    """`--size`, the full problem or one of its overlays."""
    return click.option(
        "--size",
        type=click.Choice(SIZES),
        default="full",
        show_default=True,
        help="short: minutes a run, real data; tiny: seconds, embedded data. Tables of the problem file.",
    )(command)


def grid_options(command: Command) -> Command:
    """The options that span a grid of runs; the command takes them as keywords and makes a `Grid` with `grid_of`."""
    return with_options(command, _GRID_OPTIONS + _SETTING_OPTIONS)


def setting_options(command: Command) -> Command:
    """Those of them that change what every run is; the command makes `Settings` with `settings_of`."""
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
    click.option(
        "--seed",
        "own_seeds",
        type=click.IntRange(min=0, max=2**63 - 1),
        multiple=True,
        help="This seed, in place of the problem's. Repeatable.",
    ),
)
_SETTING_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--seeds", type=SeedCount(), default=1, show_default=True, help="The first N of the problem's seeds."),
    size_option,
    click.option("--epochs", type=click.IntRange(min=1), help="Short for --set training.epochs=N."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting. Repeatable."),
    click.option("--precision", default="fp32", show_default=True, help="fp32, tf32 (GPU only) or bf16."),
)


def grid_of(options: dict[str, Any]) -> Grid:
    """A grid from a command's keywords, which it is taken out of.

    Raises:
        UserError: seeds are both counted and named.
    """
    from bnbench.execution.selection import Grid

    own_seeds = tuple(dict.fromkeys(options.pop("own_seeds"))) or None
    if own_seeds is not None and options["seeds"] != 1:
        raise UserError("--seeds counts the problem's own seeds, --seed names others", hint="Give one of them.")
    axes = {name: options.pop(name) for name in ("problems", "variants", "placements", "lr_factors")}
    return Grid(**axes, own_seeds=own_seeds, settings=settings_of(options))


def settings_of(options: dict[str, Any]) -> Settings:
    """The settings of every run from a command's keywords, which they are taken out of."""
    from bnbench.execution.selection import Settings

    return Settings(**{name: options.pop(name) for name in ("seeds", "size", "epochs", "overrides", "precision")})
