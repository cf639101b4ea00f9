"""The memory that a run's probes need beside its training: told before the run begins, and refused where it is much."""

from __future__ import annotations

from collections.abc import Iterable

from bnbench.components.architectures import trace
from bnbench.components.probes import PROBES, network_size, probe_bytes
from bnbench.errors import UserError
from bnbench.plan import RunSpec

GB = 1e9


def require_probe_memory(specs: Iterable[RunSpec], limit: float) -> None:
    """Refuse runs whose probes need more memory than they may.

    Args:
        specs: the runs.
        limit: gigabytes, for each probe of a run.

    Raises:
        UserError: a probe needs more, or its estimate cannot be made.
    """
    for spec in specs:
        for name in spec.probes.on:
            row = PROBES.get(name)
            if row.memory is None:
                continue
            traced = trace(spec.layers(), spec.input_shape)
            size = network_size(traced, spec.data.classes, spec.training.batch_size)
            needed = probe_bytes(row, spec.probes.options(name), size) / GB
            if needed > limit:
                raise UserError(
                    f"probe '{name}' needs {needed:.2g} GB in each run of {spec.problem}; {limit:g} GB are allowed",
                    hint=f"Allow more with --probe-memory {needed:.2g}, or ask less of it: "
                    + " or ".join(f"--set probes.{name}.{option.name}=…" for option in row.options),
                )
