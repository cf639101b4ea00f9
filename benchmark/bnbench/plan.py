"""What is to be run: run specifications, their identities, and the expansion of grids. Pure and torch-free."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from bnbench.architecture import ARCHITECTURES, Layer, Shape, slot_names
from bnbench.errors import UserError
from bnbench.placement import canonical_placement, parse_placement
from bnbench.problem import Augmentation, Probes, Problem, Size, Snapshots, Training
from bnbench.variant import Variant

NUMERICS_VERSION = 1
"""Raised by hand whenever a change to the code changes a run's numbers; old results then keep their own ids."""

Precision = Literal["fp32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")

Origin = Literal["embedded", "official archive", "official pixels", "other copy"]
"""What kind of copy a data set is (`bnbench.data.origin` says what each kind is worth)."""


@dataclass(frozen=True)
class DataFacts:
    """What a plan must know of a data set. The fingerprint is None where the data are not on this machine."""

    name: str
    classes: int
    channels: int
    fingerprint: str | None
    """SHA-256 of pixels and labels, hexadecimal."""
    origin: Origin | None
    """None where the data are not on this machine."""
    split: str | None = None
    """Digest of the split, hexadecimal, where the data set brings one of its own; None: the suite's own seeded split,
    which follows from fingerprint and seed."""


@dataclass(frozen=True)
class RunIdentity:
    """Who a run is: the identity columns of every table, in this order."""

    run_id: str
    setting_id: str
    problem: str
    size: str
    variant: str
    placement: str
    mask: str
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class RunSpec:
    """One run, fully resolved: everything that decides its numbers, and the names it goes by."""

    problem: str
    size: Size
    data: DataFacts
    split_seed: int
    architecture: str
    width: float
    variant: Variant
    placement: str
    """The canonical expression of the mask; "none" where nothing carries a BatchNorm."""
    mask: str
    training: Training
    augmentation: Augmentation
    snapshots: Snapshots
    probes: Probes
    seed: int
    precision: Precision

    def layers(self) -> tuple[Layer, ...]:
        """The network's layer table."""
        return ARCHITECTURES.get(self.architecture).layers(self.data.classes, self.width)

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of an image as the network gets it."""
        size = ARCHITECTURES.get(self.architecture).image_size
        return (self.data.channels, size, size)

    def resolved(self) -> dict[str, Any]:
        """Every field that decides the numbers, as plain JSON values; what the ids are hashes of.

        Not in it: the problem's name and size, prose, targets, the seed list, device and threads; nor a probe that
        is off.
        """
        probes = self.probes.chosen()
        return {
            "numerics": NUMERICS_VERSION,
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint},
            "split_seed": self.split_seed,
            "architecture": self.architecture,
            "width": self.width,
            "classes": self.data.classes,
            "channels": self.data.channels,
            "mask": self.mask,
            "variant": self.variant.row(),
            "training": self.training.model_dump(),
            "augmentation": self.augmentation.model_dump(),
            "snapshots": self.snapshots.model_dump(),
            **({"probes": probes} if probes else {}),
            "seed": self.seed,
            "precision": self.precision,
        }

    @property
    def run_id(self) -> str:
        """A readable stem and a hash of the resolved specification; one run, one folder.

        Raises:
            UserError: the data are not at hand, so the run has no identity yet.
        """
        self._require_data()
        placement = self.placement if self.placement.replace(":", "").isalnum() else f"mask{self.mask}"
        stem = f"{self._stem}-{self.variant.name}-{placement.replace(':', '')}-s{self.seed}"
        return f"{stem}-{_digest(self.resolved())}"

    @property
    def setting_id(self) -> str:
        """The same without variant, mask, learning rate and seed: only runs that share it may be compared.

        Raises:
            UserError: the data are not at hand.
        """
        self._require_data()
        shared = self.resolved()
        for key in ("variant", "mask", "seed"):
            del shared[key]
        shared["training"] = {k: v for k, v in shared["training"].items() if k != "learning_rate"}
        return f"{self._stem}-{_digest(shared)}"

    @property
    def identity(self) -> RunIdentity:
        """The identity columns of the run's tables."""
        return RunIdentity(
            run_id=self.run_id,
            setting_id=self.setting_id,
            problem=self.problem,
            size=self.size,
            variant=self.variant.name,
            placement=self.placement,
            mask=self.mask,
            learning_rate=self.training.learning_rate,
            seed=self.seed,
        )

    def document(self) -> dict[str, Any]:
        """The specification as `run.json` keeps it: what was resolved, and the names it went by."""
        return {
            **self.resolved(),
            "problem": self.problem,
            "size": self.size,
            "placement": self.placement,
            "data_origin": self.data.origin,
        }

    @property
    def _stem(self) -> str:
        return f"{self.data.name}_{self.architecture}"

    def _require_data(self) -> None:
        if self.data.fingerprint is None:
            raise UserError(f"dataset '{self.data.name}' is not on this machine, so its runs have no ids yet")


def expand_grid(
    problem: Problem,
    data: DataFacts,
    variants: Iterable[Variant],
    *,
    placements: Iterable[str] = (),
    lr_factors: Iterable[float] = (1.0,),
    seeds: Iterable[int] | None = None,
    precision: Precision = "fp32",
) -> list[RunSpec]:
    """Every run of a grid once, seed by seed, so that a sweep that is cut short has complete comparisons.

    Args:
        problem: the problem at one size, overrides applied.
        data: its data set.
        variants: rows of the variant table.
        placements: expressions of the grammar; none means the problem's default.
        lr_factors: multiples of the problem's learning rate.
        seeds: the run seeds; none means the problem's first.
        precision: the arithmetic.

    Raises:
        UserError: a placement does not fit the network, a factor is not a positive number.
    """
    names = slot_names(ARCHITECTURES.get(problem.architecture).layers(data.classes, problem.width))
    masks = [parse_placement(each, names) for each in (tuple(placements) or problem.placements[:1])]
    rows = list(variants)
    rates = [_scaled_rate(problem.training.learning_rate, factor) for factor in lr_factors]
    specs: dict[str, RunSpec] = {}
    for seed in problem.seeds[:1] if seeds is None else seeds:
        for rate in rates:
            for mask in masks:
                for variant in rows:
                    own_mask = mask if variant.alters_slots else "0" * len(mask)
                    spec = RunSpec(
                        problem=problem.name,
                        size=problem.size,
                        data=data,
                        split_seed=problem.split_seed,
                        architecture=problem.architecture,
                        width=problem.width,
                        variant=variant,
                        placement=canonical_placement(own_mask, names),
                        mask=own_mask,
                        training=problem.training.model_copy(update={"learning_rate": rate}),
                        augmentation=problem.augmentation,
                        snapshots=problem.snapshots,
                        probes=problem.probes,
                        seed=seed,
                        precision=precision,
                    )
                    specs.setdefault(_digest(spec.resolved()), spec)
    return list(specs.values())


def pending(specs: Iterable[RunSpec], finished: Collection[str]) -> list[RunSpec]:
    """The runs that are not finished yet, in order."""
    return [spec for spec in specs if spec.run_id not in finished]


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces, floats in their shortest exact form: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _scaled_rate(rate: float, factor: float) -> float:
    scaled = rate * factor
    if not (factor > 0 and 0 < scaled < float("inf")):
        raise UserError(
            f"learning-rate factor {factor} makes no usable learning rate of {rate}",
            hint="A factor is a positive number; 1 leaves the problem's learning rate as it is.",
        )
    return scaled


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:12]
