"""bnbench: a reproducible benchmark suite that takes Batch Normalization apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnbench.analysis.frames import open_results

__all__ = ["open_results"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # pandas and pyarrow take long to import, and most of the package does without them.
    if name == "open_results":
        from bnbench.analysis.frames import open_results  # noqa: PLC0415 -- only when asked for

        return open_results
    raise AttributeError(f"module 'bnbench' has no attribute '{name}'")
