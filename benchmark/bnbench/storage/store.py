"""The results folder: which runs are there, how they ended, and their tables; one folder a run."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bnbench.errors import UserError
from bnbench.storage.document import (
    RUN_JSON,
    ForeignVersionError,
    RunDocument,
    UnreadableDocumentError,
    missing_tables,
    read_document,
    table_path,
)
from bnbench.storage.files import StorageError, reported
from bnbench.storage.parts import TableFacts, check_file
from bnbench.storage.schema import SCHEMA_VERSION, SCHEMAS, VERSION_KEY, TableName
from bnbench.storage.workspace import workspaces

Filters = list[tuple[str, str, Any]] | pc.Expression
"""As pyarrow takes them: [("slot", "==", "conv1"), …], all of which must hold, or an expression."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


@dataclass(frozen=True)
class StoreContents:
    """What one look at a results folder found. Every list is sorted by run id."""

    documents: tuple[RunDocument, ...]
    """Every readable `run.json`, of failed runs too."""
    finished: tuple[RunDocument, ...]
    """Those that are results: finished or diverged, with every table that their specification promises."""
    unfinished: tuple[str, ...]
    """Folders of runs without a `run.json`: running, or cut off."""
    warnings: tuple[str, ...]
    """What is wrong with single runs; these runs count as not finished."""


class ResultStore:
    """A results folder. Looking at one never writes."""

    def __init__(self, path: Path) -> None:
        """The store at a path, which need not exist yet; `open` checks it."""
        self.path = path
        self._checked: set[tuple[Path, TableFacts]] = set()

    @classmethod
    def open(cls, path: Path, *, create: bool) -> ResultStore:
        """A store that can be used.

        Args:
            path: the results folder.
            create: True for commands that write: the folder is made if need be, and writing is tried with a real
                file. False for commands that read: there must be a run in it.

        Raises:
            UserError: it cannot be written (with `create`), is empty or missing (without), or holds runs of another
                schema version.
        """
        store = cls(path)
        if create:
            with reported(path):
                path.mkdir(parents=True, exist_ok=True)
                _try_writing(path)
        contents = store.look()
        if not create and not (contents.documents or contents.unfinished or contents.warnings):
            raise UserError(f"no results in {path}", hint="`bnbench run …` writes some; --results names the folder.")
        return store

    def run_folder(self, run_id: str) -> Path:
        """Where a run's files are, or would be.

        Raises:
            ValueError: that is no run id.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"{run_id!r} is no run id")
        return self.path / run_id

    def look(self) -> StoreContents:
        """Everything there is to know without opening a table; a folder's name alone proves nothing.

        Raises:
            UserError: the folder cannot be listed, or holds runs of another schema version.
        """
        documents: list[RunDocument] = []
        finished: list[RunDocument] = []
        unfinished: list[str] = []
        warnings: list[str] = []
        for folder in self._folders():
            try:
                document = read_document(folder)
            except UnreadableDocumentError as error:
                warnings.append(f"{folder / RUN_JSON} {error}; the run counts as not finished")
                continue
            except ForeignVersionError as error:
                raise _other_version(self.path, error.version) from error
            if document is None:
                if _is_begun(folder):
                    unfinished.append(folder.name)
                continue
            documents.append(document)
            if not document.is_result:
                continue
            if wrong := missing_tables(folder, document):
                warnings.append(f"{folder}: {', '.join(wrong)}; the run counts as not finished")
            else:
                finished.append(document)
        return StoreContents(tuple(documents), tuple(finished), tuple(unfinished), tuple(warnings))

    def finished(self) -> dict[str, RunDocument]:
        """The runs that are results, finished or diverged, by run id."""
        return {document.run_id: document for document in self.look().finished}

    def documents(self) -> list[RunDocument]:
        """Every run that has ended, failed ones included."""
        return list(self.look().documents)

    def unfinished(self) -> list[str]:
        """The runs that have been started and have not ended: running now, or cut off."""
        return list(self.look().unfinished)

    def warnings(self) -> list[str]:
        """What is wrong with single runs, one sentence each."""
        return list(self.look().warnings)

    def read(
        self,
        run_id: str,
        table: TableName,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> pa.Table:
        """A table of a finished run, compared with the digest in its `run.json` when it is first read.

        In `affine`, filters on slot and parameter read one trajectory and nothing else.

        Args:
            run_id: the run.
            table: which of its tables.
            columns: those wanted, all if None.
            filters: which rows.

        Raises:
            StorageError: there is no such result, the table is damaged, or a column is not in it.
            UserError: the run was written by another schema version.
            ValueError: that is no run id.
        """
        folder = self.run_folder(run_id)
        path = table_path(folder, table)
        facts = self._facts(folder, table)
        # Once per file: a damaged footer can end the whole process instead of raising an error.
        if (path, facts) not in self._checked:
            check_file(path, facts)
            self._checked.add((path, facts))
        try:
            _check_schema(path, table, pq.read_schema(path))
            return pq.read_table(
                path,
                columns=None if columns is None else list(columns),
                filters=cast("Any", filters),
                partitioning=None,
                page_checksum_verification=True,
            )
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error

    def _facts(self, folder: Path, table: TableName) -> TableFacts:
        try:
            document = read_document(folder)
        except UnreadableDocumentError as error:
            raise StorageError(f"{folder / RUN_JSON} {error}") from error
        except ForeignVersionError as error:
            raise _other_version(self.path, error.version) from error
        if document is None or not document.is_result or table not in document.tables:
            raise StorageError(f"{self.path} holds no result of a run {folder.name}")
        return document.tables[table]

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if _RUN_ID.fullmatch(path.name) and path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror or error}") from error


def _is_begun(folder: Path) -> bool:
    with reported(folder, "read"):
        return bool(workspaces(folder))


def _try_writing(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0" * 4096)
        file.flush()
        os.fsync(file.fileno())


def _check_schema(path: Path, table: TableName, found: pa.Schema) -> None:
    version = (found.metadata or {}).get(VERSION_KEY)
    if version != str(SCHEMA_VERSION).encode() or not found.equals(SCHEMAS[table]):
        raise StorageError(f"{path} is not a table '{table}' of schema version {SCHEMA_VERSION}")


def _other_version(folder: Path, version: int) -> UserError:
    if version > SCHEMA_VERSION:
        return UserError(
            f"{folder} was written by a newer bnbench (schema {version}; this one knows {SCHEMA_VERSION})",
            hint="Upgrade bnbench, or name another folder with --results.",
        )
    return UserError(
        f"{folder} was written by an older bnbench (schema {version}; this one writes {SCHEMA_VERSION})",
        hint="Name another folder with --results; `bnbench merge --migrate` brings older results over.",
    )
