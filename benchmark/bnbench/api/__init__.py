"""The Python door: everything that `import bnbench` offers, and what a notebook needs. Loaded when it is asked for.

Whatever can be wrong is a `UserError` with the words of the command line; nothing here prints, but for the progress
that is asked for, and nothing ends the process.

    catalogue.py   what there is
    rows.py        rows of one's own
    networks.py    networks and batches
    running.py     run, plan
    results.py     a results folder
"""

from bnbench.api.catalogue import list_problems, list_variants, load_problem, variant
from bnbench.api.networks import batches, build_network
from bnbench.api.results import Ranking, Results, open_results
from bnbench.api.rows import (
    register_architecture,
    register_dataset,
    register_normaliser,
    register_optimiser,
    register_probe,
    register_rate_schedule,
    register_reparametrisation,
    register_variant,
    use_plugins,
)
from bnbench.api.running import plan, run

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
