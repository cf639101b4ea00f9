"""What arguments of the Python door may be."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

OneOrMore = str | Sequence[str]
Plugins = Sequence[str | PathLike[str]]
"""Files of a user's own, by their paths."""
