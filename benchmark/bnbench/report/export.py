"""A finished drawing, and how it becomes a file: caption and command inside, no date, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from matplotlib.figure import Figure

from bnbench import __version__
from bnbench.report.page import Page
from bnbench.storage.files import atomic_file, reported

Format = Literal["pdf", "png", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)

CREATOR = f"bnbench {__version__}"


@dataclass(frozen=True)
class Drawing:
    """A figure with everything that has to go with it."""

    name: str
    """The file's name, without its ending."""
    title: str
    caption: str
    """What is drawn, over which seeds, and what is missing."""
    command: str
    """The command that draws it again from the same runs; names no folder."""
    page: Page
    figure: Figure


def image_bytes(drawing: Drawing, form: Format) -> bytes:
    """The drawing as a file's contents, with title, caption and command in its metadata.

    PNG: the text chunks Title, Description and Comment. PDF: Title, Subject and Keywords of the document information.
    SVG: title, description and source (Dublin Core). No date, so the same runs give the same bytes.
    """
    buffer = io.BytesIO()
    with drawing.page.style():
        drawing.figure.savefig(buffer, format=form, dpi=drawing.page.dots_per_inch, metadata=_metadata(drawing, form))
    return buffer.getvalue()


def save_drawing(drawing: Drawing, folder: Path, formats: Iterable[Format]) -> list[Path]:
    """Write a drawing into a folder, which is made if need be; each file is there whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    written: list[Path] = []
    with reported(folder, option="--output"):
        folder.mkdir(parents=True, exist_ok=True)
        for form in formats:
            path = folder / f"{drawing.name}.{form}"
            contents = image_bytes(drawing, form)
            with atomic_file(path) as file:
                file.write(contents)
            written.append(path)
    return written


def _metadata(drawing: Drawing, form: Format) -> dict[str, str | None]:
    if form == "png":
        return {
            "Title": drawing.title,
            "Description": drawing.caption,
            "Comment": drawing.command,
            "Software": CREATOR,
        }
    if form == "pdf":
        return {
            "Title": drawing.title,
            "Subject": drawing.caption,
            "Keywords": drawing.command,
            "Creator": CREATOR,
            "CreationDate": None,
        }
    return {
        "Title": drawing.title,
        "Description": drawing.caption,
        "Source": drawing.command,
        "Creator": CREATOR,
        "Date": None,
    }
