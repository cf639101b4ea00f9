"""γ and β over training, as the page shows them: heat maps, activity over training, and what each trajectory did.

The maps are those of the founding study (Tsingunidis 2023, figures 4.6 to 4.13): a panel per BatchNorm layer, training
step up, channels across sorted by their final value, one scale per model, shared by its layers and centred at the value
that the parameter started from. They are cut down to what a screen can show, and each value to one byte.

A full-length run's γ alone are some ten million numbers: each trajectory is read once, for all three, and let go.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bnbench.analysis.activity import average_over_seeds, run_columns
from bnbench.analysis.frames import Results, Trajectory
from bnbench.analysis.records import RunRecord
from bnbench.analysis.trajectory import NEUTRAL, measure_trajectory, snapshot_measures, start_of
from bnbench.analysis.variant_labels import DefinedAs, variant_labels
from bnbench.components.placements import masked_slots
from bnbench.report.decimation import even_steps, every_so_many
from bnbench.report.drawn_slots import drawn_slots, left_out
from bnbench.report.figures.contours import SMALLEST_RANGE, sort_channels
from bnbench.report.style import BETA, GAMMA, GREEK
from bnbench.report.webpage.embedding import rounded
from bnbench.report.webpage.sections import Section

ROWS = 80
"""Snapshots of a panel, at most."""
COLUMNS = 64
"""Channels of a panel, at most."""
SEEDS = 3
"""Seeds of a comparison whose maps are on the page, at most: the first ones."""

LARGEST = 127
MISSING = -128
"""The byte of a value that is not finite."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Panel:
    """One layer's map."""

    slot: str
    channels: tuple[int, ...]
    """[columns] places of the shown channels when all are sorted by their final value, counted from 1."""
    steps: tuple[int, ...]
    """[rows]"""
    values: Floats
    """[rows, columns]"""


@dataclass(frozen=True)
class Map:
    """A parameter of one run: its panels, and the middle and half the width of the scale they share."""

    panels: tuple[Panel, ...]
    centre: float
    """The value that the parameter started from."""
    extent: float


@dataclass(frozen=True)
class AffineFigure:
    """γ or β of a variant that learns it."""

    variant: str
    symbol: str
    parameter: str
    maps: dict[int, Map]
    """By seed."""
    activity: dict[str, tuple[list[int], list[float | None]]]
    """Slot to steps and mean over the seeds of the mean distance from doing nothing; of runs that did not diverge."""

    @property
    def name(self) -> str:
        """What tells the figures of a comparison apart."""
        return f"{self.parameter} {self.variant}"

    @property
    def panel(self) -> str:
        """What it is called where it stands beside others: "γ of BN_γ,β"."""
        return f"{self.greek} of {self.symbol}"

    @property
    def greek(self) -> str:
        """The parameter's sign."""
        return GREEK[self.parameter]

    @property
    def centre_in_words(self) -> str:
        """Where the scale of the maps has its middle: of the first seed's."""
        centre = next(iter(self.maps.values())).centre
        if centre == NEUTRAL[self.parameter]:
            return f"where {self.greek} does nothing"
        return f"at the value that {self.greek} started from, {centre:g}"

    @property
    def layers(self) -> int:
        """Panels of the seed that has most."""
        return max(len(each.panels) for each in self.maps.values())

    @property
    def description(self) -> str:
        """The first seed's map in words."""
        seed, first = next(iter(self.maps.items()))
        ranges = []
        for panel in first.panels:
            finite = panel.values[np.isfinite(panel.values).all(axis=1)]
            if len(finite):
                ranges.append(f"{panel.slot} {finite[-1].min():.2f} to {finite[-1].max():.2f}")
        return (
            f"Heat maps of {self.panel} over training, a panel for each BatchNorm layer, seed {seed}. "
            f"{self.greek} at the end: {', '.join(ranges) or 'not finite'}."
        )


@dataclass(frozen=True)
class Affine:
    """Everything about γ and β of one comparison."""

    figures: tuple[AffineFigure, ...]
    summary: pd.DataFrame
    """As `average_over_seeds` gives it; empty where nothing is learned."""
    order: tuple[int, ...]
    """The comparison's seeds."""
    left_out: str = ""
    """What a caption says of layers that no figure shows; with a space in front."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that have maps."""
        found = {seed for figure in self.figures for seed in figure.maps}
        return tuple(seed for seed in self.order if seed in found)

    def map_block(self, seed: int) -> dict[str, object]:
        """The maps of one seed, as plain JSON values: figure to scale and panels."""
        return {
            figure.name: {
                "centre": rounded(own.centre),
                "extent": rounded(own.extent),
                "panels": [
                    {
                        "slot": panel.slot,
                        "channels": list(panel.channels),
                        "steps": list(panel.steps),
                        "values": quantised(panel.values, own.centre, own.extent),
                    }
                    for panel in own.panels
                ],
            }
            for figure in self.figures
            if (own := figure.maps.get(seed)) is not None
        }

    def activity_rows(self) -> pd.DataFrame:
        """Activity over training as a tidy frame: a panel for each parameter and variant, a series for each slot."""
        return pd.DataFrame(
            [
                (step, value, slot, figure.panel, figure.variant)
                for figure in self.figures
                for slot, (steps, magnitude) in figure.activity.items()
                for step, value in zip(steps, magnitude, strict=True)
            ],
            columns=["x", "y", "series", "panel", "variant"],
        )


def affine_of(results: Results, each: Section, on_run: Callable[[], None] = lambda: None) -> Affine:
    """β, then γ, of every variant of a comparison that learns it, the full BatchNorm first, as in the study.

    Args:
        results: an opened results folder.
        each: the comparison.
        on_run: called after each run that was read.

    Raises:
        UserError: a table is damaged.
    """
    labels = variant_labels(results.records)
    found: list[AffineFigure] = []
    rows: list[dict[str, object]] = []
    for row in each.group.rows:
        read = []
        for record in row.records:
            read.append(_Run.read(results, record, labels))
            on_run()
        rows += [summary for run in read for summary in run.summaries]
        for parameter in (BETA, GAMMA):
            of_seed = {run.seed: run.maps[parameter] for run in read if parameter in run.maps}
            maps = {seed: of_seed[seed] for seed in each.group.seeds[:SEEDS] if seed in of_seed}
            if maps:
                activity = _mean_activity([run for run in read if not run.diverged], parameter)
                found.append(AffineFigure(row.variant, row.symbol, parameter, maps, activity))
    learned = Counter(figure.variant for figure in found)
    found.sort(key=lambda figure: (figure.parameter, -learned[figure.variant], figure.variant))
    summary = average_over_seeds(pd.DataFrame(rows)) if rows else pd.DataFrame()
    carrying = masked_slots(each.group.mask, each.group.slots)
    unseen = left_out(drawn_slots(each.group.places, carrying), carrying)
    return Affine(tuple(found), summary, each.group.seeds, unseen)


def quantised(values: Floats, centre: float, extent: float) -> str:
    """Values as signed bytes in base64: -127 to 127 for centre ± extent, -128 for what is not finite.

    Args:
        values: [rows, columns], row by row.
        centre: of the scale.
        extent: half the width of the scale; greater than 0.
    """
    with np.errstate(invalid="ignore"):
        scaled = np.clip(np.round((values.astype(np.float64) - centre) / extent * LARGEST), -LARGEST, LARGEST)
    whole = np.where(np.isfinite(values), scaled, MISSING).astype(np.int8)
    return base64.b64encode(whole.tobytes()).decode()


def panel_of(slot: str, trajectory: Trajectory) -> Panel:
    """A layer's map, cut down to what a screen can show: recorded values, never means."""
    even = even_steps(trajectory, ROWS)
    shown = every_so_many(even.values.shape[1], COLUMNS)
    return Panel(
        slot=slot,
        channels=tuple(int(place) + 1 for place in shown),
        steps=tuple(int(step) for step in even.steps),
        values=sort_channels(even.values)[:, shown],
    )


def finite_ends(values: Floats) -> list[float]:
    """The lowest and the highest finite value, before anything is cut down; none where nothing is finite."""
    finite = values if np.isfinite(values).all() else values[np.isfinite(values)]
    return [float(finite.min()), float(finite.max())] if finite.size else []


def extent_of(values: Floats, centre: float) -> float:
    """The farthest finite distance from the centre; never 0."""
    return max([SMALLEST_RANGE, *(abs(end - centre) for end in finite_ends(values))])


@dataclass(frozen=True)
class _Run:
    """What is kept of one run."""

    seed: int
    diverged: bool
    maps: dict[str, Map]
    activity: dict[str, dict[str, tuple[list[int], npt.NDArray[np.float64]]]]
    """Parameter and slot to steps and magnitudes."""
    summaries: list[dict[str, object]]

    @classmethod
    def read(cls, results: Results, record: RunRecord, labels: Mapping[DefinedAs, str]) -> _Run:
        run = cls(record.identity.seed, record.status == "diverged", {}, {}, [])
        drawn = drawn_slots(record.places, record.normalised_slots)
        for parameter in (BETA, GAMMA):
            panels: list[Panel] = []
            firsts: list[Trajectory] = []
            ends: list[float] = []
            for position, (slot, trajectory) in enumerate(_learned(results, record, parameter)):
                run._note(run_columns(record, labels), slot, parameter, trajectory, position)
                if slot not in drawn:
                    run.activity.get(parameter, {}).pop(slot, None)
                    continue
                panels.append(panel_of(slot, trajectory))
                firsts.append(Trajectory(trajectory.steps[:1], trajectory.values[:1]))
                ends += finite_ends(trajectory.values)
            if panels:
                centre = start_of(firsts, parameter)
                run.maps[parameter] = Map(tuple(panels), centre, extent_of(np.array(ends, np.float32), centre))
        return run

    def _note(
        self, who: Mapping[str, object], slot: str, parameter: str, trajectory: Trajectory, position: int
    ) -> None:
        """Keep what is measured on a trajectory, as far as it is finite."""
        good = np.asarray(np.isfinite(trajectory.values).all(axis=1))
        count = len(good) if good.all() else int(good.argmin())
        if not count:
            return
        finite = Trajectory(trajectory.steps[:count], trajectory.values[:count])
        kept = even_steps(finite, 2 * ROWS)
        magnitude = snapshot_measures(kept.values, NEUTRAL[parameter]).magnitude
        self.activity.setdefault(parameter, {})[slot] = ([int(step) for step in kept.steps], magnitude)
        self.summaries.append(
            {
                **who,
                "slot": slot,
                "position": position,
                "parameter": parameter,
                **asdict(measure_trajectory(finite, parameter)),
            }
        )


def _learned(results: Results, record: RunRecord, parameter: str) -> Iterator[tuple[str, Trajectory]]:
    """The trajectories of a parameter that the optimiser moves, one after the other, in the network's order."""
    if not record.readable or not record.learns(parameter):
        return
    recorded = {slot for slot, name in results.trajectory_names(record.identity.run_id) if name == parameter}
    for slot in record.normalised_slots:
        if slot in recorded:
            yield slot, results.trajectory(record.identity.run_id, slot, parameter)


def _mean_activity(runs: Sequence[_Run], parameter: str) -> dict[str, tuple[list[int], list[float | None]]]:
    """Slot to steps and mean magnitude, over the runs that have the same snapshots as the first."""
    found: dict[str, tuple[list[int], list[float | None]]] = {}
    for slot, (steps, _) in runs[0].activity.get(parameter, {}).items() if runs else ():
        alike = [own[slot][1] for run in runs if slot in (own := run.activity[parameter]) and own[slot][0] == steps]
        found[slot] = (steps, [rounded(value) for value in np.mean(alike, axis=0)])
    return found
