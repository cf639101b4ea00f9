"""What every option and argument that takes a path is made of."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bnbench.paths import given_path


class GivenPath(click.Path):
    """A path as a person gives it, with the checks of click.Path on what it means."""

    def __init__(self, *, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        """As click.Path."""
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path that a text means.

        Raises:
            UserError: it means none.
            click.BadParameter: what is there is not what was asked for.
        """
        what = param.opts[0] if isinstance(param, click.Option) else "the path"
        found = super().convert(given_path(value, what), param, ctx)
        assert isinstance(found, Path)
        return found
