"""The field's signs where they cannot be written: γ is "gamma" to a terminal that knows ASCII only."""

from __future__ import annotations

import codecs
import unicodedata

ERRORS = "bnbench.spelled"
"""The name of the error handler, for `str.encode` and for streams."""

_NAMES = {
    "γ": "gamma", "β": "beta", "δ": "delta", "τ": "tau", "χ": "chi", "ρ": "rho", "Σ": "sum", "ℓ": "l",
    "–": "-", "—": "-", "−": "-", "·": "*", "×": "x", "±": "+/-", "→": "->", "≥": ">=", "≤": "<=",
    "∞": "inf", "√": "sqrt", "…": "...", "▲": "^", "▼": "v", "✓": "ok", "✗": "FAIL", "“": '"', "”": '"', "’": "'",
    "─": "-", "━": "-", "╸": "-", "╺": "-", "•": "*", "\u00ad": "",
}  # fmt: skip


def spelled(character: str) -> str:
    """A character in ASCII: its name, or the letter without its accents, or a question mark."""
    if character in _NAMES:
        return _NAMES[character]
    plain = "".join(each for each in unicodedata.normalize("NFKD", character) if " " <= each <= "~")
    return plain or "?"


def writable(text: str, encoding: str) -> str:
    """The text as a stream of this encoding will show it."""
    return text.encode(encoding, ERRORS).decode(encoding)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(spelled, error.object[error.start : error.end])), error.end


codecs.register_error(ERRORS, _spell)
