"""Which settings a user means by a problem: by a name that was recorded, or by a problem's file.

A name is what a run happened to be called; the setting is what was run. By a file its settings are meant, whatever
their runs are called; by a name all runs of every setting in which it occurs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from bnbench.analysis.records import RunRecord
from bnbench.analysis.settings import problem_targets
from bnbench.components.variants import VARIANTS
from bnbench.data.own_arrays import dataset_of
from bnbench.errors import unknown
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import Problem, ProblemFile, Target, find_problem


def asked_settings(records: Sequence[RunRecord], references: Iterable[str]) -> list[str]:
    """The ids of the recorded settings that are meant, each once.

    Args:
        records: all runs that there are.
        references: recorded names, or paths of problem files (they end in .toml).

    Raises:
        UserError: no run has such a name, or is of such a file; or a file is not valid.
    """
    found: dict[str, None] = {}
    for reference in references:
        found |= dict.fromkeys(_settings(records, reference))
    return list(found)


def asked_targets(records: Sequence[RunRecord], references: Iterable[str]) -> Callable[[str, str], tuple[Target, ...]]:
    """The targets of problems by name and size: of those whose files were named, from these files.

    The arguments and errors are those of `asked_settings`.
    """
    files: dict[str, ProblemFile] = {}
    for reference in references:
        if _is_file(reference):
            file, settings = find_problem(reference), set(_settings(records, reference))
            files |= {each.identity.problem: file for each in records if each.identity.setting_id in settings}

    def targets(name: str, size: str) -> tuple[Target, ...]:
        if name not in files:
            return problem_targets(name, size)
        # A run may be of a size whose table the file had once.
        found = next((each for each in files[name].sizes if each == size), None)
        return () if found is None else files[name].problem(found).targets

    return targets


def setting_of(problem: Problem, data: DataFacts) -> str:
    """The id of a problem's own setting on these data."""
    (spec,) = expand_grid(problem, data, [VARIANTS.get("vanilla")], seeds=[0])
    return spec.setting_id


def versions_of(problem: Problem, records: Iterable[RunRecord]) -> list[DataFacts]:
    """Every version of a problem's data set that a run was trained on."""
    found = {(r.fingerprint, r.data_split) for r in records if r.dataset == problem.dataset}
    if not found:
        return []
    classes, channels = classes_and_channels(problem)
    return [
        DataFacts(problem.dataset, classes, channels, fingerprint, origin=None, split=split)
        for fingerprint, split in sorted(found, key=str)
    ]


def classes_and_channels(problem: Problem) -> tuple[int, int]:
    """Of a problem's data set."""
    return _classes_and_channels(problem.dataset, problem.dataset_file)


@cache
def _classes_and_channels(name: str, file: Path | None) -> tuple[int, int]:
    """Remembered, since a file of a user's own is read for it."""
    row = dataset_of(name, file)
    return row.classes, row.channels


def _is_file(reference: str) -> bool:
    return reference.endswith(".toml")


def _settings(records: Sequence[RunRecord], reference: str) -> list[str]:
    if not _is_file(reference):
        return _of_name(records, reference)
    file = find_problem(reference)
    recorded = {record.identity.setting_id for record in records}
    problems = [file.problem(size) for size in file.sizes]
    own = [setting_of(each, data) for each in problems for data in versions_of(each, records)]
    # Where the file's own settings were never run, runs that bear its name were made with others (--set, --epochs).
    return [each for each in own if each in recorded] or _of_name(records, file.name)


def _of_name(records: Sequence[RunRecord], name: str) -> list[str]:
    found = [record.identity.setting_id for record in records if record.identity.problem == name]
    if not found:
        raise unknown("recorded problem", name, sorted({record.identity.problem for record in records}))
    return found
