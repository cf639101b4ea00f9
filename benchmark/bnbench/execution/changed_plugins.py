"""Runs that were made, or begun, with another state of somebody else's row than it has now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bnbench.execution.components import third_parties
from bnbench.plan import RunSpec
from bnbench.storage.checkpoints import newest_header
from bnbench.storage.states import RunState
from bnbench.storage.store import ResultStore, StoreContents
from bnbench.storage.third_parties import ThirdPartyRow, changes, recorded_rows


@dataclass(frozen=True)
class ChangedPart:
    """A row of a run that has changed since."""

    run_id: str
    ended: bool
    """Whether the run is a result already, not only begun."""
    ours: ThirdPartyRow
    theirs: ThirdPartyRow
    """What the run was made of."""

    @property
    def in_words(self) -> str:
        """Which row, which run, and the two states."""
        made = "was made" if self.ended else "was begun"
        return (
            f"{self.ours.kind} '{self.ours.name}' has changed: run {self.run_id} {made} with that of "
            f"{self.theirs.state}, and now it is that of {self.ours.state}"
        )


def changed_parts(
    runs: Iterable[tuple[RunSpec, RunState]], store: ResultStore, contents: StoreContents
) -> Iterator[ChangedPart]:
    """The rows of plug-ins and other packages that are not any more what these runs were made of.

    Args:
        runs: that are wanted, and how far they are.
        store: the results folder.
        contents: what a look at it has found.
    """
    finished = {document.run_id: document for document in contents.finished}
    for spec, state in runs:
        own = third_parties(spec)
        if not own:
            continue
        ended = spec.run_id in finished
        if ended:
            told = recorded_rows(finished[spec.run_id].provenance)
        elif state.name == "resumable":
            told = _begun_with(store, spec.run_id)
        else:
            continue
        for ours, theirs in changes(own, told):
            yield ChangedPart(spec.run_id, ended, ours, theirs)


def _begun_with(store: ResultStore, run_id: str) -> tuple[ThirdPartyRow, ...]:
    header = newest_header(store.run_folder(run_id))
    return () if header is None or not header.stretches else recorded_rows(header.stretches[-1])
