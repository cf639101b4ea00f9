"""HTML from values: everything that comes from outside is escaped here, and nowhere else is HTML put together of it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import NewType

Html = NewType("Html", str)
"""Text that is HTML already. Everything else is text, and is escaped before it becomes any."""

MOST_NOTES = 6


def text(value: object) -> Html:
    """A value as HTML text, safe in quoted attributes too."""
    return Html(html.escape(str(value), quote=True))


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Pieces of HTML after each other."""
    return Html(between.join(parts))


def tag(name: str, *content: Html, **attributes: str | None) -> Html:
    """An element; the values of attributes are escaped.

    Args:
        name: of the element.
        *content: what stands in it.
        **attributes: a trailing underscore is dropped and the others become hyphens (`class_`, `data_value`); None
            leaves one out.
    """
    return Html(f"<{name}{_written(attributes)}>{''.join(content)}</{name}>")


def void(name: str, **attributes: str | None) -> Html:
    """An element that holds nothing, like `input`."""
    return Html(f"<{name}{_written(attributes)}>")


def symbol(name: str) -> Html:
    """A variant's symbol with its subscript set as one: "BN_γ,β"."""
    stem, underscore, index = name.partition("_")
    if not underscore or not stem or not index:
        return text(name)
    return Html(f"{text(stem)}<sub>{text(index)}</sub>")


def notes(lines: Sequence[Html]) -> Html:
    """Small print below a table or a figure; much of it is folded away."""
    shown = [tag("p", line, class_="note") for line in lines]
    if len(shown) <= MOST_NOTES:
        return join(shown)
    summary = tag("summary", text(f"{len(shown) - MOST_NOTES} more notes"))
    return join([*shown[:MOST_NOTES], tag("details", summary, *shown[MOST_NOTES:], class_="hints")])


def command(line: str) -> Html:
    """A command to be typed, with a button that copies it."""
    return tag(
        "span",
        tag("code", text(line)),
        tag(
            "button", text("Copy"), type="button", class_="quiet", data_copy=line, aria_label=f"Copy the command {line}"
        ),
        class_="command",
    )


def _written(attributes: Mapping[str, str | None]) -> str:
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    return "".join(f' {key}="{text(value)}"' for key, value in given.items())
