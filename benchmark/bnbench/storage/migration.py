"""Migrations: how a run that an older schema version recorded is brought to this one, a version at a time.

A change of `SCHEMA_VERSION` comes with a row of the table below. A migration reads the folder of an old run and fills
an empty one; the old folder is never written to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bnbench.errors import UserError
from bnbench.storage.document import (
    ForeignVersionError,
    UnreadableDocumentError,
    missing_tables,
    read_document,
    table_path,
)
from bnbench.storage.files import StorageError
from bnbench.storage.parts import check_file
from bnbench.storage.schema import SCHEMA_VERSION


@dataclass(frozen=True)
class Migration:
    """One step: from a schema version to the next."""

    version: int
    """The version that it reads; it writes the next."""
    convert: Callable[[Path, Path], None]
    """(the run's folder as it is, an empty folder of the same name to fill): reads the first, writes `run.json` and the
    tables of the next version into the second. Raises StorageError where the old run cannot be understood."""


MIGRATIONS: tuple[Migration, ...] = ()
"""Every step there is. None yet: version 1 is the first that was released."""


def find_migrations(version: int, known: Sequence[Migration] | None = None) -> tuple[Migration, ...]:
    """The steps from a version to the current one, in order; none for the current one itself.

    Args:
        version: what the results were written with.
        known: the table of steps; `MIGRATIONS` if None.

    Raises:
        UserError: the version is newer than this bnbench, or a step is missing.
    """
    if version > SCHEMA_VERSION:
        raise UserError(
            f"schema version {version} is newer than this bnbench, which knows {SCHEMA_VERSION}",
            hint="Upgrade bnbench.",
        )
    table = {step.version: step for step in (MIGRATIONS if known is None else known)}
    wanted = range(version, SCHEMA_VERSION)
    lacking = [each for each in wanted if each not in table]
    if lacking:
        raise UserError(
            f"no migration is known from schema version {lacking[0]} to {lacking[0] + 1}",
            hint="Results of that version can only be read by the bnbench that wrote them.",
        )
    return tuple(table[each] for each in wanted)


def migrate_run(folder: Path, steps: Sequence[Migration], workplace: Path) -> Path:
    """Bring one run to the current version, in a folder of its own; the run itself is left as it is.

    Args:
        folder: the run's folder.
        steps: from its version to the current one, as `find_migrations` gives them.
        workplace: an empty folder that intermediate versions may be written to.

    Returns:
        The folder of the migrated run, inside the workplace.

    Raises:
        StorageError: the old run cannot be understood, or what came out is not a whole run of this version.
        OSError: the old run cannot be read, or the new one not written.
    """
    current = folder
    for step in steps:
        target = workplace / f"schema-{step.version + 1}" / folder.name
        target.mkdir(parents=True)
        step.convert(current, target)
        current = target
    _require_whole(current, folder)
    return current


def _require_whole(migrated: Path, original: Path) -> None:
    try:
        document = read_document(migrated)
    except UnreadableDocumentError as error:
        raise StorageError(f"{original} cannot be migrated: the new run.json {error}") from error
    except ForeignVersionError as error:
        raise StorageError(f"{original} cannot be migrated: the result is of {error}") from error
    if document is None:
        raise StorageError(f"{original} cannot be migrated: no run.json came out")
    if document.is_result and (wrong := missing_tables(migrated, document)):
        raise StorageError(f"{original} cannot be migrated: {', '.join(wrong)}")
    for table, facts in document.tables.items():
        check_file(table_path(migrated, table), facts)
