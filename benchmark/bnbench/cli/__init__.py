"""The command line: parse, call, print. One file a command; heavy imports happen inside the commands."""

from __future__ import annotations

import importlib
from typing import Any

import click

from bnbench import __version__
from bnbench.cli.invocation import remember
from bnbench.cli.output import say, spell_out_what_cannot_be_shown
from bnbench.cli.suggesting import SuggestingGroup
from bnbench.errors import UserError
from bnbench.execution.streams import OutputError, guard_streams, lost_output
from bnbench.paths import leave_lost_directory
from bnbench.printable import printable_lines

_COMMANDS = {
    "list": "the test problems and their placements",
    "show": "one problem: network, settings, targets, cost",
    "plan": "what a run would do: to train, resumable, finished, failed, how long",
    "estimate": "measure how fast this machine is",
    "run": "train a problem under one or more variants",
    "study": "run a study: many experiments, shared runs once",
    "status": "what a results folder holds, also while a sweep runs",
    "rank": "rank the variants of the recorded runs",
    "activity": "how γ and β moved, and what the ReLUs zeroed",
    "claims": "what the recorded runs say of a study's claims",
    "check": "compare the recorded runs with reference results",
    "reference": "the reference results: list them, make them anew",
    "plot": "draw figures: the thesis's by number, others by content",
    "report": "one HTML file of everything that was recorded",
    "merge": "join results folders that were recorded apart",
    "doctor": "check a row of your own: shapes, determinism, checkpoints",
    "data": "fetch, import, verify and list data sets",
    "env": "versions, device and folders in use",
}


class _LazyGroup(SuggestingGroup):
    """A group whose commands live in modules of their own, imported when they are called.

    Their one-line helps stand in the table above, so `bnbench --help` imports none of them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"bnbench.cli.{cmd_name}_command")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 -- click's own signature
        spell_out_what_cannot_be_shown()
        guard_streams()
        leave_lost_directory()
        try:
            return super().main(*args, **options)
        except OutputError as error:
            raise SystemExit(1) from error
        finally:
            lost = lost_output()
            if lost is not None:
                say(f"Error: standard output cannot be written: {lost}", err=True)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        remember(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's own signature
        try:
            return super().invoke(ctx)
        except UserError as error:
            say(f"Error: {error}", err=True)
            ctx.exit(2)
        except click.ClickException as error:
            # It quotes what was typed, and click prints it.
            error.message = printable_lines(error.message)  # type: ignore[misc] # final in click's stubs
            raise
        except KeyboardInterrupt:
            say("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bnbench")
def main() -> None:
    """Take Batch Normalization apart, reproducibly.

    A test problem (data set, architecture, BatchNorm placement) is trained under five variants of BatchNorm; each
    run's learning curves and γ/β trajectories go to Parquet, and the variants are ranked.

    \b
    Start here:
      bnbench list
      bnbench run digits_3c3d --variant all
      bnbench rank
    """
