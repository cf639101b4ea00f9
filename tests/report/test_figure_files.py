from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
import zlib

import pytest

from bnbench import __version__
from bnbench.report.catalogue import study_figure, thesis_figures
from bnbench.report.export import FORMATS, image_bytes, save_drawing
from bnbench.report.gallery import draw_study_figure
from bnbench.storage.files import StorageError


@pytest.fixture(scope="module")
def drawing(three_seeds):
    return draw_study_figure(three_seeds, study_figure("4.1a", thesis_figures()))


def png_texts(contents: bytes) -> dict[str, str]:
    """The text chunks of a PNG, read by hand: PNG specification 11.3.4."""
    found, position = {}, 8
    while position < len(contents):
        length, kind = struct.unpack(">I4s", contents[position : position + 8])
        data = contents[position + 8 : position + 8 + length]
        if kind == b"tEXt":
            key, _, text = data.partition(b"\0")
            found[key.decode()] = text.decode("latin-1")
        if kind == b"iTXt":
            key, _, rest = data.partition(b"\0")
            compressed, text = rest[0], rest[2:].split(b"\0", 2)[2]
            found[key.decode()] = (zlib.decompress(text) if compressed else text).decode()
        position += 12 + length
    return found


def pdf_information(contents: bytes) -> dict[str, str]:
    """The document information of a PDF: strings are Latin text or UTF-16 with a byte-order mark."""
    found = {}
    for key, raw in re.findall(
        rb"/(Title|Subject|Keywords|Creator|CreationDate) \(((?:\\.|[^\\)])*)\)", contents, re.S
    ):
        text = re.sub(rb"\\([()\\nrtbf])", lambda match: {b"n": b"\n", b"r": b"\r"}.get(match[1], match[1]), raw)
        found[key.decode()] = text[2:].decode("utf-16-be") if text.startswith(b"\xfe\xff") else text.decode("latin-1")
    return found


def svg_texts(contents: bytes) -> dict[str, str]:
    """What an SVG's metadata says of the work itself (Dublin Core)."""
    dublin = "{http://purl.org/dc/elements/1.1/}"
    (work,) = ET.fromstring(contents).iter("{http://creativecommons.org/ns#}Work")
    return {e.tag.removeprefix(dublin): (e.text or "").strip() for e in work if e.tag.startswith(dublin)}


def test_title_caption_and_command_are_in_every_file_and_no_date(drawing):
    command = "bnbench plot --figure 4.1a --width text"
    assert drawing.command == command
    assert "γ" not in drawing.title
    assert "ℓ2" in drawing.caption, "a caption needs more than Latin letters"
    png = png_texts(image_bytes(drawing, "png"))
    assert png == {
        "Title": drawing.title,
        "Description": drawing.caption,
        "Comment": command,
        "Software": f"bnbench {__version__}",
    }
    pdf = pdf_information(image_bytes(drawing, "pdf"))
    assert pdf == {
        "Title": drawing.title,
        "Subject": drawing.caption,
        "Keywords": command,
        "Creator": f"bnbench {__version__}",
    }
    svg = svg_texts(image_bytes(drawing, "svg"))
    assert (svg["title"], svg["description"], svg["source"]) == (drawing.title, drawing.caption, command)
    assert "date" not in svg


@pytest.mark.parametrize(
    ("number", "forms"), [("4.1a", FORMATS), pytest.param("4.10", ("pdf",), marks=pytest.mark.long)]
)
def test_the_same_runs_give_the_same_bytes(three_seeds, number, forms):
    figure = study_figure(number, thesis_figures())
    for form in forms:
        once, again = (image_bytes(draw_study_figure(three_seeds, figure), form) for _ in range(2))
        assert once == again, form


def test_files_are_named_after_the_figure_and_appear_whole(drawing, tmp_path):
    paths = save_drawing(drawing, tmp_path / "new" / "folder", ["pdf", "svg"])
    assert [path.name for path in paths] == ["figure-4.1a.pdf", "figure-4.1a.svg"]
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    assert paths[0].read_bytes().startswith(b"%PDF")


def test_a_folder_that_cannot_be_written_is_a_users_mistake(drawing, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_drawing(drawing, tmp_path / "file" / "figures", ["png"])
