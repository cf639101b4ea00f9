"""The page's templates: what makes HTML of values."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment

from bnbench.report.render import html


def rendered(template: str, **given: object) -> str:
    """A template of this folder, filled in; every value is escaped, but for what `render.html` made.

    Args:
        template: its file, "page.html.j2".
        **given: its values.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.
    """
    return environment().get_template(template).render(given)


@cache
def environment() -> Environment:
    """What renders them; tables and small print are filters."""
    made = html.environment(__package__)
    made.filters |= {"grid": html.grid, "small_print": html.small_print, "hints": html.hints, "notes": html.plain_notes}
    return made
