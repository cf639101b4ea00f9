"""A real Slurm for the tests of this folder; where it is not installed they are skipped, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.slurm import Slurm, missing_programs


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A private cluster of three emulated nodes: n1 and n2 in the partition `main`, n3 in `apart`."""
    missing = missing_programs()
    if missing:
        pytest.skip(
            f"a real Slurm is needed, and {', '.join(missing)} are not installed "
            "(Debian: apt-get install slurmctld slurmd slurm-client munge)"
        )
    with Slurm() as cluster:
        yield cluster
