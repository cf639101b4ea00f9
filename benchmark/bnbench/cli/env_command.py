"""`bnbench env`: versions, devices and folders in use, for a bug report."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from bnbench.cli.output import print_tables

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "matplotlib", "submitit")


@click.command("env")
def command() -> None:
    """Print versions, devices and folders in use."""
    import platform

    import torch

    from bnbench import __version__
    from bnbench.analysis.table import Column, Kind, Table
    from bnbench.data.store import data_home
    from bnbench.plan import NUMERICS_VERSION
    from bnbench.resources import usable_cores
    from bnbench.shipped import shipped_folder
    from bnbench.storage.provenance import processor_model
    from bnbench.storage.schema import SCHEMA_VERSION

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    facts = {
        "bnbench": f"{__version__} (numerics {NUMERICS_VERSION}, schema {SCHEMA_VERSION})",
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "processor": f"{processor_model()}, {usable_cores()} usable cores",
        "GPUs": ", ".join(gpus) or "none",
        **{name: _version(name) for name in _PACKAGES},
        "problems": str(shipped_folder("problems")),
        "data": str(data_home()),
    }
    columns = (Column("name", ""), Column("value", "", Kind.IDENTIFIER))
    print_tables([Table("environment", columns, tuple(facts.items()), headless=True)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
