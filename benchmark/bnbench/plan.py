"""What is to be run: run specifications, their identities, and the expansion of grids. Pure and torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from bnbench.architecture import ARCHITECTURES, Layer, Shape, layers_digest, slot_names, trace
from bnbench.errors import UserError, unknown
from bnbench.identity import digest, hashed, run_id_of, setting_id_of
from bnbench.measurement import RunIdentity
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
        return ARCHITECTURES.get(self.architecture).layer_table(self.data.classes, self.width)

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of an image as the network gets it."""
        size = ARCHITECTURES.get(self.architecture).image_size
        return (self.data.channels, size, size)

    def resolved(self) -> dict[str, Any]:
        """Every field that decides the numbers, as plain JSON values; what the ids are hashes of.

        Not in it: the problem's name and size, prose, targets, the seed list, device and threads; nor a setting that
        was added later and has its default (`bnbench.identity`).
        """
        probes = self.probes.hashed()
        return {
            "numerics": NUMERICS_VERSION,
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint, **self._split_of_others()},
            "split_seed": self.split_seed,
            "architecture": self.architecture,
            **self._network_of_others(),
            "width": self.width,
            "classes": self.data.classes,
            "channels": self.data.channels,
            "mask": self.mask,
            "variant": hashed(self.variant),
            "training": hashed(self.training),
            "augmentation": hashed(self.augmentation),
            "snapshots": hashed(self.snapshots),
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
        return run_id_of(self.resolved(), self.placement)

    @property
    def setting_id(self) -> str:
        """The same without variant, mask, learning rate and seed, and without what is merely recorded.

        Only runs that share it may be compared.

        Raises:
            UserError: the data are not at hand.
        """
        self._require_data()
        return setting_id_of(self.resolved())

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
        """What `run.json` keeps of it: the hashed mapping verbatim, the names it went by, the network's slots."""
        return {
            "problem": self.problem,
            "size": self.size,
            "placement": self.placement,
            "slots": slot_names(self.layers()),
            "data_origin": self.data.origin,
            "spec": self.resolved(),
        }

    def _split_of_others(self) -> dict[str, str]:
        """The digest of a split that the data set brings itself: it may change while the images stay."""
        return {} if self.data.split is None else {"split": self.data.split}

    def _network_of_others(self) -> dict[str, Any]:
        """What tells networks of one name apart: the row's revision, from its second on, and a digest of the layers.

        The digest only where another package brings the layers, who may change them under the same name: of this
        suite's own tables the golden tests and `NUMERICS_VERSION` take care.
        """
        revision = ARCHITECTURES.get(self.architecture).revision
        told: dict[str, Any] = {} if revision == 1 else {"architecture_revision": revision}
        if ARCHITECTURES.is_third_party(self.architecture):
            told["layers"] = layers_digest(self.layers(), self.input_shape)
        return told

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
        UserError: a placement does not fit the network, or the network the data; a factor is not a positive number; a
            variant or the precision is not one that can be trained.
    """
    if precision not in get_args(Precision):
        raise unknown("precision", precision, get_args(Precision))
    names = slot_names(_network(problem, data))
    masks = [parse_placement(each, names) for each in (tuple(placements) or problem.placements[:1])]
    rows = list(variants)
    for row in rows:
        _check_variant(row, names)
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
                    specs.setdefault(digest(spec.resolved()), spec)
    return list(specs.values())


def _network(problem: Problem, data: DataFacts) -> tuple[Layer, ...]:
    """The layers of a problem's network, which must make logits for the classes out of the images."""
    architecture = ARCHITECTURES.get(problem.architecture)
    layers = architecture.layer_table(data.classes, problem.width)
    image = (data.channels, architecture.image_size, architecture.image_size)
    try:
        output = trace(layers, image)[-1].output_shape
    except UserError as error:
        raise UserError(f"architecture '{architecture.name}': {error.problem}", hint=error.hint) from error
    if output != (data.classes,):
        raise UserError(
            f"architecture '{architecture.name}' makes an output of shape {output} of an image, not ({data.classes},)",
            hint=f"Data set '{data.name}' has {data.classes} classes, and a network gives a number for each.",
        )
    return layers


def _check_variant(variant: Variant, slots: Sequence[str]) -> None:
    variant.check()
    for name, rule in (("gamma", variant.gamma), ("beta", variant.beta)):
        if rule.learned_in is None:
            continue
        try:
            parse_placement(rule.learned_in, slots)
        except UserError as error:
            raise UserError(f"variant '{variant.name}': {name}.learned_in: {error.problem}", hint=error.hint) from error


def _scaled_rate(rate: float, factor: float) -> float:
    scaled = rate * factor
    if not (factor > 0 and 0 < scaled < float("inf")):
        raise UserError(
            f"learning-rate factor {factor} makes no usable learning rate of {rate}",
            hint="A factor is a positive number; 1 leaves the problem's learning rate as it is.",
        )
    return scaled
