"""TOML files that somebody wrote: problems, studies, what a cluster's jobs ask for."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from bnbench.disk import read_regular
from bnbench.errors import UserError

_TOML_LIMIT = 1 << 20
"""Bytes of a TOML file that somebody wrote: thirty times as many as the longest that ships."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UserError: it cannot be read, is no UTF-8 text, or is no TOML.
    """
    try:
        # Editors of Windows put a byte-order mark in front.
        return tomllib.loads(read_regular(path, _TOML_LIMIT).decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValueError as error:  # TOMLDecodeError, and what Python says of a number of thousands of digits
        raise UserError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is not valid TOML: it is nested too deeply") from error
