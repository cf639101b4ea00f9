"""What the parts of a slot have in common: where they are, what builds them, what they cannot do (torch-free)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from bnbench.options import Options

Reference = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
"""A function, as entry points write it: "module:function". Listing rows imports no torch."""


@dataclass(frozen=True)
class Site:
    """A slot as a component sees it when a run is planned, and when a network is built."""

    slot: str
    channels: int
    """Or features, of a dense slot."""
    positions: int
    """Height · width of the slot's map; 1 for a dense slot."""
    is_map: bool
    """Whether the slot is a convolution."""
    fan_in: int
    """Weights that lead to one channel."""
    batch_size: int | None = None
    """Images of a training batch; None where nobody trains."""


class Unfit(Exception):  # noqa: N818 -- a finding, which the planner puts into a UserError
    """A component can do nothing at a site; the message says why, in a few words."""

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(reason)


Fit = Callable[[Site, Options], Options]


def keep(site: Site, options: Options) -> Options:
    """Options that are the same at every slot."""
    return options
