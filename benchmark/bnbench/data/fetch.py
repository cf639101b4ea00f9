"""Downloading an official archive. Only ever on request."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bnbench.data.cifar_source import CifarRelease
from bnbench.errors import UserError

_CHUNK = 1 << 18
_PATIENCE_SECONDS = 30.0
"""Without a byte for so long, the connection counts as lost."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far, and the bytes in all if the server says so."""


def download(release: CifarRelease, folder: Path, progress: Progress | None = None) -> Path:
    """Download a release's archive into a folder; its checksum is for the reader to verify.

    Returns:
        The file.

    Raises:
        UserError: there is no connection, it broke off, or the folder cannot be written.
    """
    path = folder / release.archive
    try:
        with urllib.request.urlopen(release.url, timeout=_PATIENCE_SECONDS) as response:
            announced = response.headers.get("Content-Length")
            total = int(announced) if announced and announced.isdigit() else None
            _copy(response.read, path, total, progress)
    except urllib.error.HTTPError as error:
        raise _failed(release, f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _failed(release, f"no connection: {error.reason}") from error
    except (http.client.HTTPException, OSError) as error:
        raise _failed(release, str(error) or type(error).__name__) from error
    return path


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


def _failed(release: CifarRelease, reason: str) -> UserError:
    return UserError(
        f"{release.name} could not be downloaded from {release.url}: {reason}",
        hint=f"If you have {release.archive}, or a Parquet copy: bnbench data import {release.name} PATH",
    )
