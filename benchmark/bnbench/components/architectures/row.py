"""A network that problems can name, and the table of them (torch-free)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from bnbench.components.architectures.layers import Layer, check_table
from bnbench.errors import UserError
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text


@dataclass(frozen=True)
class Architecture(Row):
    """A network that problems can name.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "architecture"

    name: Name
    title: Text
    summary: str
    source: str
    image_size: Count
    """Height and width of the input, in pixels; data sets of another size are resized to it."""
    layers: Callable[[int, float], tuple[Layer, ...]]
    """(classes, width) to the layer table; width scales every hidden channel and feature count. See `layer_table`."""
    revision: Count = 1
    """Raised by its author whenever the same name comes to mean other numbers."""

    def layer_table(self, classes: int, width: float) -> tuple[Layer, ...]:
        """The layers, looked at one by one.

        Raises:
            UserError: there is none that could carry a normaliser, one is of a kind that no network can be built of or
                has a field that cannot be, or two have one name.
        """
        try:
            table = self.layers(classes, width)
            check_table(table)
        except UserError as error:
            raise UserError(f"architecture '{self.name}': {error.problem}", hint=error.hint) from error
        except Exception as error:  # whatever a third-party function raises
            raise UserError(
                f"architecture '{self.name}': its layers cannot be made for {classes} classes and width {width:g}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return table


ARCHITECTURES: Registry[Architecture] = Registry("architecture", Architecture, "bnbench.architectures")
