"""The picture that `bnbench run` leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bnbench.analysis.frames import Results, RunRecord
from bnbench.placement import NOWHERE
from bnbench.report.figures import CurveGroup, training_curves
from bnbench.storage.files import reported

PICTURE = "training_curves.png"
MOST_GROUPS = 12
"""A picture with more rows of axes than this is no picture."""


def draw_training_curves(results: Results, run_ids: Sequence[str]) -> Path | None:
    """Draw the training curves of these runs into the results folder.

    Returns:
        The picture; None where there is nothing to draw.

    Raises:
        UserError: the results folder cannot be written.
    """
    groups = curve_groups(results, run_ids)[:MOST_GROUPS]
    if not groups:
        return None
    path = results.path / PICTURE
    # No date in the file: the same runs give the same picture, byte for byte.
    with reported(results.path):
        training_curves(groups).savefig(path, dpi=160, metadata={"Software": None})
    return path


def curve_groups(results: Results, run_ids: Sequence[str]) -> list[CurveGroup]:
    """The runs that can be drawn together: one setting, placement and learning rate; vanilla joins every placement."""
    readable = [record for record in results.select(run_id=run_ids) if record.readable]
    groups: dict[tuple[str, float, str], list[RunRecord]] = {}
    for record in readable:
        key = (record.identity.setting_id, record.identity.learning_rate, record.identity.placement)
        groups.setdefault(key, []).append(record)
    drawn = []
    for (setting, rate, placement), records in groups.items():
        bare = groups.get((setting, rate, NOWHERE), [])
        alone = not any(key[:2] == (setting, rate) and key[2] != NOWHERE for key in groups)
        if placement == NOWHERE and not alone:
            continue
        members = records if placement == NOWHERE else bare + records
        drawn.append(_group(results, placement, members))
    return drawn


def _group(results: Results, placement: str, records: list[RunRecord]) -> CurveGroup:
    first = records[0].identity
    size = "" if first.size == "full" else f" ({first.size})"
    where = "no BatchNorm" if placement == NOWHERE else f"BatchNorm {placement}"
    return CurveGroup(
        title=f"{first.problem}{size}, {where}, learning rate {first.learning_rate:.3g}",
        curves=results.curves(run_id=[record.identity.run_id for record in records]),
        diverged=tuple((r.identity.variant, r.identity.seed) for r in records if r.status == "diverged"),
    )
