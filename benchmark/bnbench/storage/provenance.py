"""Where a run's numbers come from: versions, machine, commit, data. Never a host name, a user name or a path."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from pydantic import JsonValue

import bnbench
from bnbench.plan import DataFacts
from bnbench.storage.third_parties import KEY, ThirdPartyRow

RECORDED_PACKAGES = ("numpy", "pyarrow")
"""Installed packages whose version is recorded without being asked for; these and only these touch the tables."""

_CAPABILITIES = ("vendor_id", "cpu family", "model", "stepping", "cache size", "flags", "Features", "CPU part")
"""Lines of /proc/cpuinfo, on x86 and on ARM, that say what a processor can do."""
_PACKAGE = Path(bnbench.__file__).resolve().parent
_GIT_PATIENCE_S = 10.0


def collect_provenance(
    *,
    versions: Mapping[str, str],
    device: str,
    threads: int,
    flags: Mapping[str, bool | int | str],
    data: DataFacts,
    plugins: Sequence[ThirdPartyRow] = (),
) -> dict[str, JsonValue]:
    """Everything worth knowing about the circumstances of a run that does not decide its identity.

    Args:
        versions: versions of what only the caller has loaded, e.g. {"torch": "2.13.0+cpu"}.
        device: what the run was computed on, e.g. "cpu" or the model of the GPU.
        threads: threads of one run.
        flags: switches of the arithmetic, e.g. {"deterministic": True, "tf32": False}.
        data: the data set that was trained on.
        plugins: the rows of other people that the run was made of.
    """
    recorded: dict[str, JsonValue] = {KEY: [row.recorded() for row in plugins]} if plugins else {}
    return {
        "versions": {
            "python": platform.python_version(),
            "bnbench": bnbench.__version__,
            **{name: version(name) for name in RECORDED_PACKAGES},
            **versions,
        },
        "platform": {
            "system": platform.system(),
            "machine": platform.machine(),
            "processor": processor_model(),
            "instructions": processor_instructions(),
            "processors": os.cpu_count(),
        },
        "source": source_commit(_PACKAGE),
        "data": _data(data),
        "device": device,
        "threads": threads,
        "flags": dict(flags),
        **recorded,
    }


def _data(data: DataFacts) -> dict[str, JsonValue]:
    facts: dict[str, JsonValue] = {"name": data.name, "fingerprint": data.fingerprint, "origin": data.origin}
    if data.mean is not None and data.std is not None:
        facts |= {"mean": list(data.mean), "std": list(data.std)}
    return facts


def processor_model() -> str | None:
    """The processor's model name, None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor() or None


def processor_instructions() -> str | None:
    """A digest of what the processor can do, None where the system does not tell.

    A model's name is not enough to tell two processors apart (a virtual machine may be called "AMD EPYC"), and the
    numerical libraries choose their kernels, and so the last bits, by instruction set and cache.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    first = [line.partition(":") for line in text.partition("\n\n")[0].splitlines()]
    facts = {key.strip(): value.split() for key, _, value in first if key.strip() in _CAPABILITIES}
    told = "\n".join(f"{key}: {' '.join(sorted(facts[key]))}" for key in sorted(facts))
    return hashlib.sha256(told.encode()).hexdigest()[:12] if facts else None


def source_commit(package: Path) -> dict[str, JsonValue] | None:
    """The git commit of the checkout that a package lies in, and whether its files differ from it.

    None where the package is no part of a checkout (an installed wheel, even inside a checkout of something else) or
    git is not there.
    """
    # A wheel in a virtual environment inside someone's repository is not that repository's code.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    if not commit or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def without_places(text: str, results: Path) -> str:
    """A traceback without the places of this machine: files by their last two names, folders by what they are.

    Args:
        text: what may name files and folders.
        results: the results folder in use.
    """
    told = re.sub(r'File "([^"]+)"', lambda match: f'File "{_short(match[1])}"', text)
    for place, name in _places(results):
        told = _replace_whole(told, place, name)
    return _replace_whole(told, socket.gethostname(), "<host>")


def _replace_whole(text: str, name: str, by: str) -> str:
    """Replace a name, or the beginning of a path, but not a piece of a longer word."""
    return re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", by, text)


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-2:]) if Path(path).is_absolute() else path


def _places(results: Path) -> list[tuple[str, str]]:
    """Folders whose names tell something about this machine, the longest first, each as given and resolved."""
    named = {
        results: "<results>",
        _PACKAGE.parent: "<source>",
        Path(sys.prefix): "<python>",
        Path(sys.base_prefix): "<python>",
    }
    with suppress(FileNotFoundError):  # nothing can be written for temporary files
        named[Path(tempfile.gettempdir())] = "<temporary>"
    with suppress(RuntimeError):  # a user without a home
        named[Path.home()] = "<home>"
    with suppress(FileNotFoundError):  # the folder was deleted under us
        named[Path.cwd()] = "<folder>"
    spelled = {str(form): name for path, name in reversed(named.items()) for form in (path, path.resolve())}
    telling = [(place, name) for place, name in spelled.items() if place not in {"/", ".", ".."}]
    return sorted(telling, key=lambda pair: -len(pair[0]))


def _git(folder: Path, *arguments: str) -> str | None:
    return _output("git", "--no-optional-locks", "-C", str(folder), *arguments)


def _output(*command: str) -> str | None:
    """What a command prints, stripped; None where it is not there, fails or hangs."""
    # git's own variables (set inside a hook, for example) would point it at another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, timeout=_GIT_PATIENCE_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
