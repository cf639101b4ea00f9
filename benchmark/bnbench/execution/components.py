"""The parts that a run is made of, by table; and which of them are other people's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bnbench.components.architectures import ARCHITECTURES
from bnbench.components.normalisers import NORMALISERS
from bnbench.components.optimisers import OPTIMISERS
from bnbench.components.probes import PROBES
from bnbench.components.rate_schedules import RATE_SCHEDULES
from bnbench.components.reparametrisations import REPARAMETRISATIONS
from bnbench.components.variants import VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.plan import RunSpec
from bnbench.registry import Registry
from bnbench.storage.third_parties import ThirdPartyRow

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
