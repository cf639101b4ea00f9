"""Where the sockets lie through which the processes of a sweep find each other.

multiprocessing binds them in the folder for temporary files. The name of a socket has some hundred bytes, which the
long folders that batch systems set TMPDIR to leave no room for, and not every file system has sockets. So it is given
a short folder where one can be bound; TMPDIR itself stays what it is, for components that use it.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from multiprocessing import connection, current_process, util
from pathlib import Path
from typing import Any

_SYSTEM_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


@cache
def can_bind() -> bool:
    """Whether multiprocessing can bind its sockets in this process; sees to it that it does so where it can.

    The folder is private to the user and removed when this process ends.
    """
    # Read by multiprocessing.util.get_temp_dir, and handed down to child processes. There is no public way to it.
    config: dict[str, Any] = current_process()._config  # type: ignore[attr-defined]
    if "tempdir" in config and _binds():
        return True
    for parent in _parents():
        try:
            folder = tempfile.mkdtemp(prefix="bnbench-", dir=parent)
        except OSError:
            continue
        config["tempdir"] = folder
        if _binds():
            # After multiprocessing has removed its sockets, as it does with a folder of its own.
            util.Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-100)
            return True
        del config["tempdir"]
        Path(folder).rmdir()
    return False


def _parents() -> Iterator[str]:
    with suppress(FileNotFoundError):  # no folder for temporary files can be written
        yield tempfile.gettempdir()
    if private := os.environ.get("XDG_RUNTIME_DIR"):
        yield private
    yield from _SYSTEM_FOLDERS


def _binds() -> bool:
    """Whether a socket can be bound under a name such as multiprocessing gives it."""
    address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined] # typed nowhere, as old as forkserver
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(address)
    except OSError:
        return False
    Path(address).unlink()
    return True
