r"""What comes from disk may hold characters that do something: to a terminal, to a page, to whoever reads a line.

The error text of a failed run, or a name in somebody's `run.json`, is shown as it is written, never obeyed. Every form
of a table goes through here.
"""

from __future__ import annotations

import unicodedata

LINES = "\n\t"
"""What is harmless where text keeps its lines."""


def clean(text: str, keep: str = "") -> str:
    r"""Text that does nothing where it is shown: control characters are written as they are escaped, like \x1b.

    Args:
        text: of whatever origin.
        keep: control characters that stay.
    """
    if text.isprintable():  # which no control character is
        return text
    return "".join(_escaped(each) if _is_control(each) and each not in keep else each for each in text)


def clean_json(text: str) -> str:
    r"""JSON that says the same and has no control character in it: inside a string it is written as \u009b.

    JSON itself asks for this below U+0020 only; a terminal obeys others too.

    Args:
        text: a JSON document; between its values only line ends and blanks.
    """
    return "".join(f"\\u{ord(each):04x}" if _is_control(each) and each != "\n" else each for each in text)


def _is_control(character: str) -> bool:
    # Cc: C0 and C1; Zl and Zp end a line for some; the marks of direction reorder what is read around them.
    return (
        unicodedata.category(character) in {"Cc", "Zl", "Zp"}
        or "\u202a" <= character <= "\u202e"
        or "\u2066" <= character <= "\u2069"
    )


def _escaped(character: str) -> str:
    code = ord(character)
    return {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    )
