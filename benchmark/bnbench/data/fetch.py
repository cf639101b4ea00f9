"""Downloading the files of an official release. Only ever on request."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bnbench.errors import UserError

_CHUNK = 1 << 18
_PATIENCE_SECONDS = 30.0
"""Without a byte for so long, the connection counts as lost."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far, and the bytes in all if the server says so."""


class Release(Protocol):
    """What is downloaded of a data set."""

    @property
    def name(self) -> str:
        """Of the data set."""

    @property
    def downloads(self) -> tuple[tuple[str, str], ...]:
        """Address and file name of each file."""

    @property
    def at_hand(self) -> str:
        """What may be imported instead, in words."""


def download(release: Release, folder: Path, progress: Progress | None = None) -> None:
    """Download a release's files into a folder; their checksums are for the reader to verify.

    Raises:
        UserError: there is no connection, it broke off, or the folder cannot be written.
    """
    for url, name in release.downloads:
        _download(release, url, folder / name, progress)


def _download(release: Release, url: str, path: Path, progress: Progress | None) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as response:
            announced = response.headers.get("Content-Length")
            total = int(announced) if announced and announced.isdigit() else None
            _copy(response.read, path, total, progress)
    except urllib.error.HTTPError as error:
        raise _failed(release, url, f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _failed(release, url, f"no connection: {error.reason}") from error
    except (http.client.HTTPException, OSError) as error:
        raise _failed(release, url, str(error) or type(error).__name__) from error


def _copy(read: Callable[[int], bytes], path: Path, total: int | None, progress: Progress | None) -> None:
    received = 0
    with path.open("xb") as file:
        while chunk := read(_CHUNK):
            file.write(chunk)
            received += len(chunk)
            if progress is not None:
                progress(received, total)
    if total is not None and received != total:
        raise http.client.IncompleteRead(b"", total - received)


def _failed(release: Release, url: str, reason: str) -> UserError:
    return UserError(
        f"{release.name} could not be downloaded from {url}: {reason}",
        hint=f"If you have {release.at_hand}: bnbench data import {release.name} PATH",
    )
