"""`run.json`: what a run was, how it ended, where its numbers come from. Written last: nothing is finished without."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from bnbench.storage.files import atomic_file, sync_folder
from bnbench.storage.parts import TableFacts
from bnbench.storage.schema import SCHEMA_VERSION, TableName, promised_tables
from bnbench.storage.workspace import Workspace

RUN_JSON = "run.json"

Status = Literal["finished", "diverged", "failed"]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]


class RunDocument(BaseModel):
    """The contents of `run.json`, checked when written and when read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: Annotated[int, Field(alias="schema", ge=1)]
    run_id: Identifier
    setting_id: Identifier
    status: Status
    diverged_at_step: Annotated[int, Field(ge=0)] | None = None
    """The step at which a non-finite training loss was found; None unless the status is "diverged"."""
    error: str | None = None
    """The traceback of a failed run; None for any other."""
    spec: dict[str, JsonValue]
    """RunSpec.document()"""
    provenance: dict[str, JsonValue]
    summary: dict[str, JsonValue] | None = None
    """Final values, for convenience: the tables are what counts. A number that is not finite is null here."""
    tables: dict[TableName, TableFacts] = {}
    """Empty for a failed run."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.status == "diverged") != (self.diverged_at_step is not None):
            raise ValueError("diverged_at_step belongs to the status 'diverged', and only to it")
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("error belongs to the status 'failed', and only to it")
        return self

    @property
    def is_result(self) -> bool:
        """Whether the run came to its end; divergence is a result too."""
        return self.status != "failed"


class UnreadableDocumentError(Exception):
    """A `run.json` that is there and does not say what became of the run."""


class ForeignVersionError(Exception):
    """A `run.json` of another schema version."""

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"schema version {version}")


def make_document(fields: Mapping[str, Any]) -> RunDocument:
    """A checked document from plain values; numbers of the summary that are not finite become null, as in JSON.

    Raises:
        TypeError: a value has no JSON form.
        ValueError: a field is missing, unknown, of another type, contradicts another, or (but for the summary) holds a
            number that is not finite.
    """
    finite = {key: _finite(value) if key == "summary" else value for key, value in fields.items()}
    plain = json.loads(json.dumps(finite, allow_nan=False))
    return RunDocument.model_validate({"schema": SCHEMA_VERSION, **plain})


def document_text(document: RunDocument) -> str:
    """The document as it stands on disk: sorted keys, one a line, nothing that JSON does not know."""
    plain = document.model_dump(mode="json", by_alias=True)
    return json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_document(workspace: Workspace, document: RunDocument) -> None:
    """Write `run.json`: from this moment, and not before, the run is what the document says.

    Args:
        workspace: of the run's writer; the document is made there before it appears.
        document: what to write.

    Raises:
        LockLostError: another writer has swallowed the workspace.
        StorageError: it cannot be written; there is no new `run.json` then.
    """
    with workspace.writing():
        folder = workspace.run_folder
        # What the document vouches for must be on disk before the document is.
        sync_folder(folder)
        with atomic_file(folder / RUN_JSON, workspace.path) as file:
            file.write(document_text(document).encode())
        try:
            sync_folder(folder)
        except OSError:
            workspace.discard(folder / RUN_JSON)
            raise


def read_document(folder: Path) -> RunDocument | None:
    """The document of a run's folder, None where there is none.

    Raises:
        UnreadableDocumentError: it cannot be read, is no JSON, or does not describe the run of this folder.
        ForeignVersionError: it was written by another version of the schema.
    """
    try:
        raw = json.loads((folder / RUN_JSON).read_bytes(), parse_constant=_refuse_constant)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreadableDocumentError(f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableDocumentError(f"is not valid JSON: {error}") from error
    version = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise UnreadableDocumentError("is not the document of a run: it has no schema version")
    if version != SCHEMA_VERSION:
        raise ForeignVersionError(version)
    try:
        document = RunDocument.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise UnreadableDocumentError(f"is not the document of a run: {where}: {first['msg']}") from error
    if document.run_id != folder.name:
        raise UnreadableDocumentError(f"belongs to the run {document.run_id}, not to the folder it lies in")
    return document


def table_path(folder: Path, table: TableName) -> Path:
    """Where a finished run keeps a table."""
    return folder / f"{table}.parquet"


def missing_tables(folder: Path, document: RunDocument) -> list[str]:
    """What is wrong with the tables that a run's specification promises: missing, or of another size than recorded."""
    wrong: list[str] = []
    for table in promised_tables(document.spec):
        facts = document.tables.get(table)
        path = table_path(folder, table)
        if facts is None or not path.is_file():
            wrong.append(f"{path.name} is missing")
        elif (size := path.stat().st_size) != facts.bytes:
            wrong.append(f"{path.name} has {size} bytes instead of {facts.bytes}")
    return wrong


def _finite(value: Any) -> Any:  # noqa: ANN401 -- any JSON value, and its like
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
