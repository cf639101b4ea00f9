"""The parts that a run is made of, by table; and which of them are other people's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bnbench.architecture import ARCHITECTURES
from bnbench.data.dataset import DATASETS
from bnbench.normaliser import NORMALISERS
from bnbench.optimiser import OPTIMISERS
from bnbench.plan import RunSpec
from bnbench.probe import PROBES
from bnbench.rate_schedule import RATE_SCHEDULES
from bnbench.registry import Registry
from bnbench.reparametrisation import REPARAMETRISATIONS
from bnbench.storage.third_parties import ThirdPartyRow
from bnbench.variant import VARIANTS

REGISTRIES: dict[str, Registry[Any]] = {
    "variants": VARIANTS,
    "normalisers": NORMALISERS,
    "reparametrisations": REPARAMETRISATIONS,
    "architectures": ARCHITECTURES,
    "datasets": DATASETS,
    "optimisers": OPTIMISERS,
    "rate_schedules": RATE_SCHEDULES,
    "probes": PROBES,
}
"""The tables of what a run can be made of, by what they hold."""


def parts_of(spec: RunSpec) -> Iterator[tuple[Registry[Any], str]]:
    """Every row that a run is made of: its table and its name. Arrays of a user's own are of no table."""
    yield VARIANTS, spec.variant.name
    yield NORMALISERS, spec.variant.normaliser
    yield REPARAMETRISATIONS, spec.variant.weights
    yield ARCHITECTURES, spec.architecture
    if spec.data.file is None:
        yield DATASETS, spec.data.name
    yield OPTIMISERS, spec.training.optimiser
    yield RATE_SCHEDULES, spec.training.schedule
    for name in spec.probes.on:
        yield PROBES, name


def third_parties(spec: RunSpec) -> tuple[ThirdPartyRow, ...]:
    """Those of them that are not this package's, as `run.json` records them."""
    found = [(registry.kind, name, registry.source(name)) for registry, name in parts_of(spec)]
    return tuple(ThirdPartyRow(kind, name, **vars(source)) for kind, name, source in found if source is not None)
