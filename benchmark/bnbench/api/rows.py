"""Rows of one's own: from plug-in files, or of this session alone."""

from __future__ import annotations

from bnbench.api.words import Plugins
from bnbench.components.architectures import ARCHITECTURES, Architecture
from bnbench.components.normalisers import NORMALISERS, Normaliser
from bnbench.components.optimisers import OPTIMISERS, Optimiser
from bnbench.components.probes import PROBES, ProbeRow
from bnbench.components.rate_schedules import RATE_SCHEDULES, RateSchedule
from bnbench.components.reparametrisations import REPARAMETRISATIONS, Reparametrisation
from bnbench.components.variants import VARIANTS, Variant
from bnbench.data.dataset import DATASETS, Dataset
from bnbench.errors import UserError
from bnbench.plugins import load_plugin
from bnbench.registry import check_name


def use_plugins(plugins: Plugins) -> None:
    """Let names mean the rows of files of your own, for this session, as `--plugin` does for a command.

    Every variant, normaliser, architecture, data set or other row at the level of a file's module is in its table from
    then on, also in the processes of runs (docs/plugins.md). A file that has changed is loaded anew.

    Args:
        plugins: paths, such as ["mine.py"].

    Raises:
        UserError: a file cannot be read or loaded, or has no row.
    """
    for path in plugins:
        load_plugin(path)


def register_variant(row: Variant) -> Variant:
    """Let names mean a row of your own for this session; it holds no code, so it trains anywhere.

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return VARIANTS.register_for_session(row)


def register_architecture(row: Architecture) -> Architecture:
    """Let problems name a network of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return ARCHITECTURES.register_for_session(row)


def register_dataset(row: Dataset) -> Dataset:
    """Let problems name a data set of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return DATASETS.register_for_session(row)


def register_optimiser(row: Optimiser) -> Optimiser:
    """Let problems name an optimiser of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return OPTIMISERS.register_for_session(row)


def register_rate_schedule(row: RateSchedule) -> RateSchedule:
    """Let problems name a rate schedule of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return RATE_SCHEDULES.register_for_session(row)


def register_normaliser(row: Normaliser) -> Normaliser:
    """Let variants name a normaliser of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return NORMALISERS.register_for_session(row)


def register_reparametrisation(row: Reparametrisation) -> Reparametrisation:
    """Let variants name a reparametrisation of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return REPARAMETRISATIONS.register_for_session(row)


def register_probe(row: ProbeRow) -> ProbeRow:
    """Let problems name a probe of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return PROBES.register_for_session(row)


def fair(row: Variant) -> Variant:
    """A row whose name can be recorded, and means no other row."""
    check_name("variant", row.name)
    if row.name in VARIANTS and VARIANTS.get(row.name) != row:
        raise UserError(
            f"the variant '{row.name}' is not as the table has it: numbers of one name must come from one row",
            hint="Give it another name: variant(…).replace(name=…, …).",
        )
    return row
