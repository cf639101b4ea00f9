"""Where the files that travel with the package lie: the problem files and the reference curves."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_REPOSITORY = {"problems": "problems", "reference": "results/reference"}


def shipped_folder(kind: Literal["problems", "reference"]) -> Path:
    """The folder of shipped files of one kind.

    A wheel carries them inside the package; an editable install reads them where the repository keeps them.
    """
    package = Path(__file__).parent
    inside_wheel = package / "_shipped" / kind
    return inside_wheel if inside_wheel.is_dir() else package.parents[1] / _REPOSITORY[kind]
