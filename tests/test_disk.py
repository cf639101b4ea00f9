"""Files as they are found: regular ones only, no more of one than its kind can have, and nothing is waited for."""

import os
import socket

import psutil
import pytest

from bnbench import disk
from bnbench.disk import UnfitFileError, open_regular, parse_json, read_regular, require_regular
from support.odd_files import ODD_FILES, at_once

ROOM = 100


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("read", [lambda path: read_regular(path, ROOM), open_regular, require_regular])
def test_what_is_no_file_is_refused_at_once_by_what_it_is(tmp_path, kind, read):
    path = tmp_path / "file"
    ODD_FILES[kind].make(path)
    with at_once(), pytest.raises(UnfitFileError) as caught:
        read(path)
    assert caught.value.strerror == ODD_FILES[kind].told
    assert caught.value.filename == str(path)


def test_a_link_to_a_file_is_read_like_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"contents")
    (tmp_path / "link").symlink_to("file")
    require_regular(tmp_path / "link")
    assert read_regular(tmp_path / "link", ROOM) == b"contents"
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"contents"


def test_what_is_not_there_is_not_there(tmp_path):
    (tmp_path / "file").touch()
    for read in (lambda path: read_regular(path, ROOM), open_regular, require_regular):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "missing")
        with pytest.raises(NotADirectoryError):
            read(tmp_path / "file" / "below")


def test_no_more_is_read_than_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"x" * ROOM)
    assert len(read_regular(path, ROOM)) == ROOM
    path.write_bytes(b"x" * 1500)
    with pytest.raises(UnfitFileError, match=r"1,500 bytes, and no such file has more than 100"):
        read_regular(path, ROOM)
    with pytest.raises(UnfitFileError, match="1,500 bytes"):
        open_regular(path, ROOM)
    # One that grows between the look at it and the reading.
    monkeypatch.setattr(disk, "_require", lambda *_: None)
    with pytest.raises(UnfitFileError, match="101 bytes"):
        read_regular(path, ROOM)


def test_what_takes_the_place_of_a_file_after_the_look_at_it_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.touch()
    opened = os.open

    def replaced(name, flags):
        path.unlink()
        os.mkfifo(path)
        return opened(name, flags)

    monkeypatch.setattr(os, "open", replaced)
    before = psutil.Process().num_fds()
    with at_once(), pytest.raises(UnfitFileError, match="a named pipe"):
        read_regular(path, ROOM)
    assert psutil.Process().num_fds() == before, "a descriptor was left open"


def test_a_descriptor_is_not_inherited(tmp_path):
    (tmp_path / "file").touch()
    with open_regular(tmp_path / "file") as file:
        assert not os.get_inheritable(file.fileno())


def test_half_of_a_surrogate_pair_is_no_text():
    assert parse_json(rb'["\ud83d\ude00"]') == ["\U0001f600"]
    assert parse_json(rb'["\\ud800"]') == ["\\ud800"], "a backslash, not an escape"
    for text in (rb'["\ud800"]', rb'{"\uDfff": 1}'):
        with pytest.raises(ValueError, match="surrogates not allowed"):
            parse_json(text)


def test_json_of_any_make_is_a_value_or_a_value_error():
    assert parse_json(b'{"a": [1, NaN]}')["a"][0] == 1
    for text in (b"{", b"\xff", b"[" * 100_000, b"1" * 10_000):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)

    def refuse(name):
        raise ValueError(name)

    with pytest.raises(ValueError, match="NaN"):
        parse_json(b"[NaN]", refuse)
    assert parse_json(b"[1]", refuse) == [1]


def test_the_odd_files_are_what_they_are_called(tmp_path):
    ODD_FILES["socket"].make(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as own, pytest.raises(OSError, match="refused"):
        own.connect(str(tmp_path / "socket"))
