"""`run.json`: what a run was, how it ended, where its numbers come from. Written last: nothing is finished without."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from bnbench.components.placements import (
    HEAD,
    NOWHERE,
    OUTPUT,
    ROLE,
    STEM,
    SlotPlace,
    masked_slots,
    parse_placement,
    refuse_slot_names,
)
from bnbench.components.probes import unknown_probes
from bnbench.disk import parse_json, read_regular, require_regular
from bnbench.errors import UserError
from bnbench.identity import run_id_of, setting_id_of
from bnbench.measurement import RunIdentity
from bnbench.options import OptionValue
from bnbench.plan import Origin
from bnbench.problem import Size
from bnbench.specification import ComponentName, Specification
from bnbench.storage.files import atomic_file, sync_folder
from bnbench.storage.parts import TableFacts
from bnbench.storage.schema import SCHEMA_VERSION, TableName, known_table, promised_tables
from bnbench.storage.workspace import Workspace
from bnbench.strict import to_tuple

RUN_JSON = "run.json"
_LIMIT = 16 << 20
"""Bytes of a `run.json`, which has some ten thousand: more than any specification and traceback."""

_MOST_STAGES = 1000
"""More than any network has."""

Status = Literal["finished", "diverged", "failed"]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
Text = Annotated[str, Field(min_length=1)]


class SlotRole(BaseModel):
    """What placements tell a slot of a network with residual blocks by (`bnbench.components.placements.SlotPlace`)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    role: Annotated[str, Field(pattern=rf"^({ROLE.pattern})$")]
    stage: Annotated[int, Field(ge=1, le=_MOST_STAGES)] | None
    block: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")] | None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.stage is None) != (self.block is None):
            raise ValueError("a slot is in a block of a stage, or in neither")
        if self.role != OUTPUT and (self.block is None) != (self.role in {STEM, HEAD}):
            raise ValueError(f"a slot of the role {self.role} is {'in' if self.block else 'outside of'} a block")
        return self


class RunDocument(BaseModel):
    """The contents of `run.json`, checked when written and when read: the one model that reads it, whole, once.

    A document is believed only if it agrees with itself: ids are hashes of the specification, so they are computed
    again; the placement must mean the mask.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: Annotated[int, Field(alias="schema", ge=1)]
    run_id: Identifier
    setting_id: Identifier
    problem: Text
    """The name that the run went by; no part of its id."""
    size: Size
    placement: Text
    """The canonical expression of the mask; "none" where nothing carries a normaliser."""
    slots: Annotated[tuple[Text, ...], BeforeValidator(to_tuple), Field(min_length=1)]
    """The network's slots in order, the output last."""
    roles: Annotated[tuple[SlotRole, ...], BeforeValidator(to_tuple)] | None = None
    """Of each slot, of a network with residual blocks; None (and not in the file) for any other."""
    slot_options: dict[Text, Annotated[dict[ComponentName, OptionValue], Field(min_length=1)]] = {}
    """By slot: what the options of the variant's components came to there; slots without options are not in it."""
    data_origin: Origin
    """What kind of copy of the published data it was trained on."""
    status: Status
    diverged_at_step: Annotated[int, Field(ge=0)] | None = None
    """The step at which a non-finite training loss was found; None unless the status is "diverged"."""
    error: str | None = None
    """The traceback of a failed run; None for any other."""
    spec: dict[str, JsonValue]
    """The hashed mapping, verbatim; `specification` reads it."""
    provenance: dict[str, JsonValue]
    tables: dict[Identifier, TableFacts] = {}
    """Empty for a failed run. Names that are not declared here are those of a probe that is not known here."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.status == "diverged") != (self.diverged_at_step is not None):
            raise ValueError("diverged_at_step belongs to the status 'diverged', and only to it")
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("error belongs to the status 'failed', and only to it")
        spec = self.specification
        if not unknown_probes(spec.probes.on):
            for table in self.tables:
                known_table(table)
        if self.run_id != (own := run_id_of(self.spec, self.placement)):
            raise ValueError(f"the specification is that of the run {own}, not of {self.run_id}")
        if self.setting_id != (own := setting_id_of(self.spec)):
            raise ValueError(f"the specification is of the setting {own}, not of {self.setting_id}")
        if len(set(self.slots)) < len(self.slots):
            raise ValueError("a slot is named twice")
        _check_roles(self.slots, self.roles)
        if spec.mask != _mask(self.placement, self.places):
            raise ValueError(f"the placement {self.placement} does not mean the mask {spec.mask}")
        for expression in spec.variant.placements():
            _mask(expression, self.places)
        carrying = masked_slots(spec.mask, self.slots)
        if strangers := [slot for slot in self.slot_options if slot not in carrying]:
            raise ValueError(f"slot_options has the slot {strangers[0]}, which carries nothing")
        return self

    @cached_property
    def specification(self) -> Specification:
        """What was run, typed.

        Raises:
            ValueError: the mapping is not that of a run; never of a document that was read.
        """
        try:
            return Specification.model_validate(self.spec)
        except ValidationError as error:
            raise ValueError(f"spec.{_first_mistake(error)}") from error

    @cached_property
    def places(self) -> tuple[SlotPlace, ...]:
        """The network's slots as placements are read with them."""
        if self.roles is None:
            return tuple(map(SlotPlace, self.slots))
        return tuple(
            SlotPlace(name, each.role, each.stage, each.block)
            for name, each in zip(self.slots, self.roles, strict=True)
        )

    @property
    def identity(self) -> RunIdentity:
        """The identity columns that the run's tables carry."""
        spec = self.specification
        return RunIdentity(
            run_id=self.run_id,
            setting_id=self.setting_id,
            problem=self.problem,
            size=self.size,
            variant=spec.variant.name,
            placement=self.placement,
            mask=spec.mask,
            learning_rate=spec.training.learning_rate,
            seed=spec.seed,
        )

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
    """A checked document from plain values.

    Raises:
        TypeError: a value has no JSON form.
        ValueError: a field is missing, unknown, of another type, contradicts another, or holds a number that is not
            finite.
    """
    plain = json.loads(json.dumps(fields, allow_nan=False))
    return RunDocument.model_validate({"schema": SCHEMA_VERSION, **plain})


def document_text(document: RunDocument) -> str:
    """The document as it stands on disk: sorted keys, one a line, nothing that JSON does not know."""
    plain = document.model_dump(mode="json", by_alias=True)
    if document.roles is None:
        del plain["roles"]
    if not document.slot_options:
        del plain["slot_options"]
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
        raw = parse_json(read_regular(folder / RUN_JSON, _LIMIT), _refuse_constant)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreadableDocumentError(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UnreadableDocumentError(f"is not valid JSON: {error}") from error
    version = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise UnreadableDocumentError("is not the document of a run: it has no schema version")
    if version != SCHEMA_VERSION:
        raise ForeignVersionError(version)
    try:
        document = RunDocument.model_validate(raw)
    except ValidationError as error:
        raise UnreadableDocumentError(f"is not the document of a run: {_first_mistake(error)}") from error
    if document.run_id != folder.name:
        raise UnreadableDocumentError(f"belongs to the run {document.run_id}, not to the folder it lies in")
    return document


def table_path(folder: Path, table: TableName) -> Path:
    """Where a finished run keeps a table."""
    return folder / f"{table}.parquet"


def missing_tables(folder: Path, document: RunDocument) -> list[str]:
    """What is wrong with the tables that a run's specification promises: missing, no files, of another size."""
    wrong: list[str] = []
    for table in promised_tables(document.specification.probes):
        facts = document.tables.get(table)
        path = table_path(folder, table)
        try:
            require_regular(path)
        except FileNotFoundError:
            wrong.append(f"{path.name} is missing")
            continue
        except OSError as error:
            wrong.append(f"{path.name} cannot be read: {error.strerror or error}")
            continue
        if facts is None:
            wrong.append(f"{path.name} is missing from {RUN_JSON}")
        elif (size := path.stat().st_size) != facts.bytes:
            wrong.append(f"{path.name} has {size} bytes instead of {facts.bytes}")
    return wrong


def _first_mistake(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def _check_roles(slots: Sequence[str], roles: Sequence[SlotRole] | None) -> None:
    if roles is None:
        return
    if len(roles) != len(slots):
        raise ValueError(f"there are {len(slots)} slots, and roles of {len(roles)}")
    if [each.role == OUTPUT for each in roles] != [False] * (len(roles) - 1) + [True]:
        raise ValueError("the last slot is the output, and no other")


def _mask(placement: str, places: Sequence[SlotPlace]) -> str:
    if placement == NOWHERE:
        return "0" * len(places)
    try:
        refuse_slot_names(places)
        return parse_placement(placement, places)
    except UserError as error:
        raise ValueError(error.problem) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
