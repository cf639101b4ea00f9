"""What `run.json` says of a run, as far as an analysis needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import JsonValue

from bnbench.analysis.settings import overrides
from bnbench.components.placements import SlotPlace, masked_slots
from bnbench.components.reparametrisations import PLAIN, REPARAMETRISATIONS
from bnbench.components.variants import Affine
from bnbench.errors import UserError
from bnbench.identity import canonical_json
from bnbench.measurement import TABLES, RunIdentity
from bnbench.plan import Origin
from bnbench.storage.document import RunDocument, Status
from bnbench.storage.schema import TableName
from bnbench.storage.third_parties import ThirdPartyRow, recorded_rows


@dataclass(frozen=True)
class RunRecord:
    """A run that ended: a folder, or the one that stands for all folders of one training."""

    identity: RunIdentity
    status: Status | Literal["damaged"]
    """How it ended; "damaged" where it came to its end and a file is missing or cut short."""
    diverged_at_step: int | None
    error: str | None
    """The traceback of a failed run."""
    readable: bool
    """Whether the run has its tables: not if it failed, nor if it is damaged."""
    tables: tuple[TableName, ...]
    """Those of them that it has: a probe's table only where the probe was on, and is known here."""
    dataset: str
    fingerprint: str
    """SHA-256 of the pixels and labels it was trained on."""
    data_origin: Origin
    """What kind of copy they are (`bnbench.data.origin`)."""
    data_split: str | None
    """The digest of a split of the data set's own; None for the suite's."""
    architecture: str
    width: float
    places: tuple[SlotPlace, ...]
    """The slots of its network, in order, the output last, as placements are read with them."""
    epochs: int
    """As planned."""
    batch_size: int
    precision: str
    device: str
    """The kind of device: "cpu", or the model of the accelerator."""
    variant_row: str
    """The variant's row of the table, as canonical JSON: two rows of one name are two variants."""
    overrides: tuple[str, ...] | None
    """What differs from the problem's file, e.g. ("training.epochs = 2",): empty at the problem's own settings, None
    where the file is not known."""
    third_parties: tuple[ThirdPartyRow, ...] = ()
    """The rows of plug-ins and other packages that it was made of, as they were then."""

    @cached_property
    def row(self) -> Mapping[str, JsonValue]:
        """The variant's row of the table, read."""
        found: Mapping[str, JsonValue] = json.loads(self.variant_row)
        return found

    def learns(self, parameter: str) -> bool:
        """Whether the variant learns "gamma" or "beta" anywhere, or the "scale" of its weights."""
        if (parameter == "scale") is not self._weights_take_affine:
            return False
        rule = self.row["gamma" if parameter == "scale" else parameter]
        return isinstance(rule, dict) and rule["status"] == Affine.LEARNED

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of its network's slots, in order, the output last."""
        return tuple(place.name for place in self.places)

    @property
    def _weights_take_affine(self) -> bool:
        """Whether γ and β are the weights' scale and the slot's bias; not, where their package is not here to say."""
        try:
            return REPARAMETRISATIONS.get(str(self.row.get("weights", PLAIN))).takes_affine
        except UserError:
            return False

    @property
    def normalised_slots(self) -> list[str]:
        """The slots that carry a BatchNorm, in the network's order."""
        return masked_slots(self.identity.mask, self.slots)


def record_of(document: RunDocument, *, readable: bool) -> RunRecord:
    """The record of a run that ended.

    Args:
        document: its `run.json`.
        readable: whether it has its tables.

    Raises:
        UserError: the file of its problem, which ships with the package, is not valid.
    """
    spec = document.specification
    return RunRecord(
        identity=document.identity,
        status=document.status if readable or not document.is_result else "damaged",
        diverged_at_step=document.diverged_at_step,
        error=document.error,
        readable=readable,
        tables=tuple(table for table in document.tables if table in TABLES) if readable else (),
        dataset=spec.data.name,
        fingerprint=spec.data.fingerprint,
        data_origin=document.data_origin,
        data_split=spec.data.split,
        architecture=spec.architecture,
        width=spec.width,
        places=document.places,
        epochs=spec.training.epochs,
        batch_size=spec.training.batch_size,
        precision=spec.precision,
        device=_device(document.provenance),
        variant_row=canonical_json(document.spec["variant"]),
        overrides=overrides(document.problem, document.size, spec),
        third_parties=recorded_rows(document.provenance),
    )


def _device(provenance: Mapping[str, JsonValue]) -> str:
    device = provenance.get("device")
    return device if isinstance(device, str) else "not recorded"
