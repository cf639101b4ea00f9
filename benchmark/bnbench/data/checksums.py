"""Checksums of released files: whether a file is, byte for byte, what was published."""

from __future__ import annotations

import hashlib
from io import BufferedReader
from pathlib import Path

from bnbench.errors import UserError


def verify(path: Path, file: BufferedReader, official: str, *, md5: str, sha256: str) -> None:
    """Compare a file's checksums with those published; it is left at its beginning.

    Args:
        path: names the file in messages.
        file: open for reading.
        official: what it should be.
        md5: the published checksums, hexadecimal.
        sha256: which, unlike MD5, nobody can forge.

    Raises:
        UserError: it is another file.
        OSError: it cannot be read.
    """
    for title, algorithm, expected in (("MD5", unsafe_md5, md5), ("SHA-256", hashlib.sha256, sha256)):
        file.seek(0)
        found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            raise UserError(
                f"{path}: its {title} checksum is {found}, that of the official {official} is {expected}",
                hint="The download is incomplete or damaged, or it is another file. Nothing was read from it.",
            )
    file.seek(0)


def unsafe_md5() -> hashlib._Hash:
    """MD5, against damage."""
    # A checksum against damage, not against forgers: say so, or machines in FIPS mode refuse.
    return hashlib.md5(usedforsecurity=False)
