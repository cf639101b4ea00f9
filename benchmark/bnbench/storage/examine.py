"""What a run's folder holds, in one word: the only place that decides whether a folder is a result.

A document that does not agree with itself, or with the tables beside it, is believed nowhere: the run is damaged. To
say so costs one small file a run: `curves.parquet`, whose digest and identity are compared; the larger tables are
compared when they are first read.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from bnbench.identity import canonical_json
from bnbench.measurement import RunIdentity
from bnbench.storage.document import (
    RUN_JSON,
    ForeignVersionError,
    RunDocument,
    UnreadableDocumentError,
    missing_tables,
    read_document,
    table_path,
)
from bnbench.storage.files import StorageError
from bnbench.storage.parts import TableFacts, check_file
from bnbench.storage.schema import RUN_KEY, SCHEMA_VERSION, SCHEMAS, SLOTS_KEY, VERSION_KEY, TableName

WITNESS: TableName = "curves"
"""The table that every result has, and that is small enough to be looked at whenever a folder is."""


@dataclass(frozen=True)
class Found:
    """What a folder holds."""

    folder: Path
    kind: Literal["result", "failed", "damaged", "unfinished"]
    """A result finished or diverged, with every table; "unfinished": there is no `run.json`."""
    document: RunDocument | None = None
    """Of a result, a failed run, or one whose tables are damaged; None where `run.json` is missing or not believed."""
    wrong: str = ""
    """What is damaged, as a sentence."""
    foreign_version: int | None = None
    """The schema that wrote it, if that is not this one. Here such a run is worth nothing, elsewhere it may be good."""


def examine(folder: Path) -> Found:
    """What a run's folder holds; the folder need not exist."""
    try:
        document = read_document(folder)
    except ForeignVersionError as error:
        told = f"{folder / RUN_JSON} is of schema version {error.version}, not {SCHEMA_VERSION}"
        return Found(folder, "damaged", wrong=told, foreign_version=error.version)
    except UnreadableDocumentError as error:
        return Found(folder, "damaged", None, f"{folder / RUN_JSON} {error}")
    if document is None:
        return Found(folder, "unfinished")
    if not document.is_result:
        return Found(folder, "failed", document)
    if wrong := _what_is_wrong(folder, document):
        return Found(folder, "damaged", document, wrong)
    return Found(folder, "result", document)


def check_table(path: Path, table: TableName, document: RunDocument) -> None:
    """Make sure that a table is what its `run.json` says, before a Parquet reader touches it.

    Raises:
        StorageError: it is missing, damaged, of another schema, of another run, or has another number of rows.
    """
    _check(path, table, document.identity, document.slots, document.tables[table])


def _check(path: Path, table: TableName, identity: RunIdentity, slots: tuple[str, ...], facts: TableFacts) -> None:
    check_file(path, facts)
    try:
        with pq.ParquetFile(path) as file:
            found, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    told = found.metadata or {}
    if told.get(VERSION_KEY) != str(SCHEMA_VERSION).encode() or not found.equals(SCHEMAS[table]):
        raise StorageError(f"{path} is not a table '{table}' of schema version {SCHEMA_VERSION}")
    whose = {RUN_KEY: canonical_json(asdict(identity)), SLOTS_KEY: canonical_json(list(slots))}
    if any(told.get(key) != value.encode() for key, value in whose.items()):
        raise StorageError(f"{path} does not belong to the run that its {RUN_JSON} describes")
    if rows != facts.rows:
        raise StorageError(f"{path} has {rows} rows instead of {facts.rows}")


def _what_is_wrong(folder: Path, document: RunDocument) -> str:
    """What is wrong with a result's tables as far as one look tells; empty where nothing is."""
    if wrong := missing_tables(folder, document):
        return f"{folder}: {', '.join(wrong)}"
    path = table_path(folder, WITNESS)
    try:
        known = path.stat()
        _checked(path, known.st_mtime_ns, known.st_ino, document.identity, document.slots, document.tables[WITNESS])
    except StorageError as error:
        return error.problem
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    return ""


@lru_cache(maxsize=65536)
def _checked(
    path: Path, modified: int, inode: int, identity: RunIdentity, slots: tuple[str, ...], facts: TableFacts
) -> None:
    """Once for each file as it is: one command may look at a folder several times. What raises is not remembered."""
    _check(path, WITNESS, identity, slots, facts)
