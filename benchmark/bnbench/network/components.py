"""From the row of a component to its torch module: the function that the row names is called, its work looked at."""

from __future__ import annotations

from importlib import import_module

from torch import nn

from bnbench.components.normalisers import Normaliser
from bnbench.components.reparametrisations import Reparametrisation
from bnbench.errors import UserError


def built(row: Normaliser | Reparametrisation, *arguments: object) -> nn.Module:
    """What the row's function makes of some arguments.

    Raises:
        UserError: it cannot be found or called, or makes something else than a module.
    """
    title = f"{row.kind} '{row.name}'"
    module, _, function = row.build.partition(":")
    try:
        made = getattr(import_module(module), function)(*arguments)
    except Exception as error:  # whatever a third-party function raises
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"{title} cannot be built: {what}", hint=f"The function is {row.build}.") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"{title} cannot be built: {row.build} makes a {type(made).__name__}, not a torch module")
    return made
