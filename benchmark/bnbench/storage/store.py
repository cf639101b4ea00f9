"""The results folder: which runs are there, how they ended, and their tables; one folder a run."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bnbench.disk import require_regular
from bnbench.errors import UserError
from bnbench.storage.document import RunDocument, table_path
from bnbench.storage.examine import check_table, examine
from bnbench.storage.files import StorageError, reported
from bnbench.storage.parts import TableFacts
from bnbench.storage.schema import SCHEMA_VERSION, TableName
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
    damaged: tuple[str, ...]
    """Folders of runs that have ended and whose `run.json` or a table is not what was written."""
    warnings: tuple[str, ...]
    """What is wrong with the damaged ones, a sentence each; they count as not finished."""

    @property
    def ended(self) -> frozenset[str]:
        """The ids of the runs that have ended, failed ones included, and are not damaged."""
        return frozenset(document.run_id for document in self.documents) - frozenset(self.damaged)


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
            UserError: it cannot be written (with `create`), is empty or missing (without), or holds only runs of
                another schema version.
        """
        store = cls(path)
        if create:
            store.make()
        contents = store.look()
        if not create:
            store.require_runs(contents)
        return store

    def require_runs(self, contents: StoreContents) -> None:
        """Refuse a folder in which a look has found nothing.

        Raises:
            UserError: it is empty or missing.
        """
        if not (contents.documents or contents.unfinished or contents.warnings):
            hint = "`bnbench run …` writes some; --results names the folder."
            raise UserError(f"no results in {self.path}", hint=hint)

    def make(self) -> None:
        """See to it that the folder is there and can be written; writing is tried with a real file.

        Raises:
            StorageError: it cannot be written.
        """
        with reported(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            _try_writing(self.path)

    def run_folder(self, run_id: str) -> Path:
        """Where a run's files are, or would be.

        Raises:
            ValueError: that is no run id.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"{run_id!r} is no run id")
        return self.path / run_id

    def look(self, only: Collection[str] | None = None) -> StoreContents:
        """Everything there is to know without opening a table; a folder's name alone proves nothing.

        Args:
            only: ids of runs; no other folder is looked at.

        Raises:
            UserError: the folder cannot be listed, or holds only runs of another schema version.
        """
        documents: list[RunDocument] = []
        finished: list[RunDocument] = []
        unfinished: list[str] = []
        damaged: list[str] = []
        warnings: list[str] = []
        foreign: list[int] = []
        for folder in self._folders():
            if only is not None and folder.name not in only:
                continue
            found = examine(folder)
            if found.foreign_version is not None:
                foreign.append(found.foreign_version)
            if found.kind == "damaged":
                damaged.append(folder.name)
                warnings.append(f"{found.wrong}; the run is damaged and counts as not finished")
            elif found.kind == "unfinished" and _is_begun(folder):
                unfinished.append(folder.name)
            elif found.kind == "result" and found.document is not None:
                finished.append(found.document)
            if found.document is not None:
                documents.append(found.document)
        # Among runs of this version a single one of another is that run's trouble alone.
        if foreign and not documents:
            raise other_version(self.path, foreign[0])
        return StoreContents(tuple(documents), tuple(finished), tuple(unfinished), tuple(damaged), tuple(warnings))

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
        return self.read_of(self._result(run_id), table, columns, filters)

    def read_of(
        self,
        document: RunDocument,
        table: TableName,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> pa.Table:
        """The same of a result that was looked at already.

        Raises:
            StorageError: the table is damaged, or is none of the run's.
        """
        path = self.check(document, table)
        try:
            require_regular(path)
            return pq.read_table(
                path,
                columns=None if columns is None else list(columns),
                filters=cast("Any", filters),
                partitioning=None,
                page_checksum_verification=True,
            )
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error

    def check(self, document: RunDocument, table: TableName) -> Path:
        """Make sure that a table of a result is what its `run.json` says; its file is read whole the first time.

        Returns:
            Its file.

        Raises:
            StorageError: the table is damaged, or is none of the run's.
        """
        path = table_path(self.run_folder(document.run_id), table)
        if table not in document.tables:
            raise StorageError(f"{self.path} holds no table '{table}' of the run {document.run_id}")
        facts = document.tables[table]
        # Once per file: a damaged footer can end the whole process instead of raising an error.
        if (path, facts) not in self._checked:
            check_table(path, table, document)
            self._checked.add((path, facts))
        return path

    def _result(self, run_id: str) -> RunDocument:
        found = examine(self.run_folder(run_id))
        if found.foreign_version is not None:
            raise other_version(self.path, found.foreign_version)
        if found.kind == "damaged":
            raise StorageError(found.wrong)
        if found.kind != "result" or found.document is None:
            raise StorageError(f"{self.path} holds no result of a run {run_id}")
        return found.document

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


def other_version(folder: Path, version: int) -> UserError:
    """The refusal of a results folder of another version of the schema."""
    if version > SCHEMA_VERSION:
        return UserError(
            f"{folder} was written by a newer bnbench (schema {version}; this one knows {SCHEMA_VERSION})",
            hint="Upgrade bnbench, or name another folder with --results.",
        )
    return UserError(
        f"{folder} was written by an older bnbench (schema {version}; this one writes {SCHEMA_VERSION})",
        hint="Schema 1 was never released, and nothing brings it over: name another folder with --results.",
    )
