r"""Text that does nothing to a terminal: control characters are shown as they are escaped, like \x1b.

What lies on a disk, an error's text, a warning, a file's name, may hold any of them; a terminal would carry them out.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C0 and C1; the signs that end a line or a paragraph for some; the marks that reorder what is read around them."""

_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


LINES = "\n\t"
"""What is harmless where text keeps its lines."""


def printable(text: str, keep: str = "") -> str:
    """The text in one line.

    Args:
        text: of whatever origin.
        keep: control characters that stay.
    """
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def printable_lines(text: str) -> str:
    """The text in the lines that it has."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """A JSON text of the same value, in the lines that it has: what it holds besides is escaped as JSON does."""
    lines = (_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in text.split("\n"))
    return "\n".join(lines)


def _escaped(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
