"""The problems that ship, and any problem by name, pattern or path."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from bnbench.errors import unknown
from bnbench.paths import given_path
from bnbench.problem.file import ProblemFile, read_problem
from bnbench.shipped import shipped_folder


def problem_files() -> dict[str, Path]:
    """The problems that ship with the package: name to file, sorted by name."""
    return {path.stem: path for path in sorted(shipped_folder("problems").glob("*.toml"))}


def find_problem(reference: str) -> ProblemFile:
    """A problem by name, or by the path of its file (anything that ends in .toml).

    Raises:
        UserError: no such problem, or its file is not valid.
    """
    if reference.endswith(".toml"):
        return read_problem(given_path(reference, "the problem file"))
    files = problem_files()
    if reference not in files:
        raise unknown("problem", reference, files, hint="A problem of your own is named by the path of its .toml file.")
    return read_problem(files[reference])


def find_problems(patterns: tuple[str, ...]) -> list[ProblemFile]:
    """The problems that any pattern names, in catalogue order; no pattern means all that ship.

    A pattern is a name, a path, or a shell pattern over names such as `digits_*`.

    Raises:
        UserError: a pattern names nothing.
    """
    if not patterns:
        return [read_problem(path) for path in problem_files().values()]
    found: dict[Path, ProblemFile] = {}
    for pattern in patterns:
        names = fnmatch.filter(problem_files(), pattern) if set(pattern) & set("*?[") else [pattern]
        if not names:
            raise unknown("problem", pattern, problem_files())
        for name in names:
            file = find_problem(name)
            found[file.path.resolve()] = file
    return list(found.values())
