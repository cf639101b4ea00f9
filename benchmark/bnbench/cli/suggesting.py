"""A group of commands that says what is meant by one that it does not have."""

from __future__ import annotations

import click

from bnbench.errors import unknown

_OTHER_WORDS = {
    "compare": "rank",
    "ranking": "rank",
    "train": "run",
    "start": "run",
    "resume": "run",
    "dry-run": "plan",
    "time": "estimate",
    "progress": "status",
    "figure": "plot",
    "figures": "plot",
    "draw": "plot",
    "page": "report",
    "html": "report",
    "verify": "check",
    "test": "check",
    "validate": "check",
    "problems": "list",
    "variants": "list",
    "describe": "show",
    "info": "show",
    "gamma": "activity",
    "beta": "activity",
    "join": "merge",
    "download": "data",
    "datasets": "data",
    "version": "env",
}
"""What others call it, to what it is called here."""


class SuggestingGroup(click.Group):
    """Click says of an unknown command that it is unknown, and no more."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's own.

        Raises:
            UserError: there is no such command; names the one that is meant, and all there are.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            raise unknown("command", name, known, meant=_OTHER_WORDS.get(name.lower()))
        return super().resolve_command(ctx, args)
