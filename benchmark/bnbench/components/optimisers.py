"""The table of optimisers (torch-free): what each takes from the problem file, and who builds it.

A row decides the update alone. Which parameters are moved, at which multiple of the rate, and which decay is the same
for every row (`bnbench.training.optimiser`); the rate at each step is the rate schedule's (`rate_schedules.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from bnbench.options import Described
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text

OptimiserSetting = Literal["momentum", "nesterov", "betas", "eps"]
"""The keys of [training] that are options of some optimisers and of others not."""
OPTIMISER_SETTINGS: tuple[OptimiserSetting, ...] = get_args(OptimiserSetting)


@dataclass(frozen=True)
class Optimiser(Row):
    """One row.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "optimiser"

    name: Name
    title: Text
    formula: Text
    """The update, in a line: g is the gradient, η the rate at this step, θ a parameter."""
    decay: Text
    """What the `l2` factor λ means here."""
    source: Text
    build: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """`module:function`. It is called with the groups of parameters, dictionaries with params, lr and weight_decay
    each, and with every setting and option by its name, and returns a `torch.optim.Optimizer` over these groups."""
    settings: tuple[OptimiserSetting, ...] = ()
    """The keys of [training] that are options of it."""
    options: Described = ()
    """What else it can be told, in the table [training.optimiser_options]."""
    revision: Count = 1
    """Raised by its author whenever the same settings come to mean other numbers."""


OPTIMISERS: Registry[Optimiser] = Registry("optimiser", Optimiser, "bnbench.optimisers")

for _row in (
    Optimiser(
        "sgd",
        "SGD",
        "v ← μ·v + g,  θ ← θ − η·v  (Nesterov: θ ← θ − η·(g + μ·v))",
        decay="the gradient of ½·λ·‖W‖² is part of g",
        source="Sutskever et al. 2013, as PyTorch writes it: the rate is outside the velocity",
        build="bnbench.training.optimiser:sgd",
        settings=("momentum", "nesterov"),
    ),
    Optimiser(
        "adamw",
        "AdamW",
        "θ ← θ − η·λ·θ − η·m̂/(√v̂ + ε),  m and v running means of g and g², divided by 1 − βᵗ",
        decay="decoupled: each update takes η·λ of the weight itself, past m and v",
        source="Loshchilov & Hutter 2019, as PyTorch writes it: the decay is times the rate",
        build="bnbench.training.optimiser:adamw",
        settings=("betas", "eps"),
    ),
):
    OPTIMISERS.register(_row.name, _row)
