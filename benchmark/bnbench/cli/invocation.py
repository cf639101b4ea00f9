"""The command as it was typed, for records that tell how something was made or how to go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

_KEY = "bnbench.typed"


def remember(ctx: click.Context, arguments: Sequence[str]) -> None:
    """Keep what the command line was called with, before any of it is parsed."""
    ctx.meta[_KEY] = shlex.join(["bnbench", *arguments])


def typed_command() -> str:
    """The command that is being carried out, quoted for a shell.

    Raises:
        RuntimeError: none is.
        KeyError: it was not called by way of the command line.
    """
    return str(click.get_current_context().meta[_KEY])
