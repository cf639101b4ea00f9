"""bnbench: a reproducible benchmark suite that takes Batch Normalization apart.

What is offered here lies in `bnbench.api`, and is loaded when it is first asked for.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnbench.api import (
        Ranking,
        Results,
        batches,
        build_network,
        list_problems,
        list_variants,
        load_problem,
        open_results,
        plan,
        register_architecture,
        register_dataset,
        register_normaliser,
        register_optimiser,
        register_probe,
        register_rate_schedule,
        register_reparametrisation,
        register_variant,
        run,
        use_plugins,
        variant,
    )

__all__ = [
    "Ranking",
    "Results",
    "batches",
    "build_network",
    "list_problems",
    "list_variants",
    "load_problem",
    "open_results",
    "plan",
    "register_architecture",
    "register_dataset",
    "register_normaliser",
    "register_optimiser",
    "register_probe",
    "register_rate_schedule",
    "register_reparametrisation",
    "register_variant",
    "run",
    "use_plugins",
    "variant",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'bnbench' has no attribute '{name}'")
    return _offered(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _offered(name: str) -> object:
    # pandas and pyarrow take long to import, and most of the package does without them.
    from bnbench import api  # noqa: PLC0415 -- only when asked for

    return getattr(api, name)


class _Package(ModuleType):
    """This package. One of the names that it offers is the name of a module of it too, and means what is offered.

    The import of a module puts it into its package under its name; that would make `bnbench.plan` a function before
    and a module after. `from bnbench.plan import …` is not touched by this.
    """

    plan = property(lambda self: _offered("plan"), lambda self, module: None)


sys.modules[__name__].__class__ = _Package
