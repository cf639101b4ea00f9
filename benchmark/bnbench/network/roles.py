"""What the parameters of a slot are for."""

from __future__ import annotations

from typing import Literal

Role = Literal["weight", "bias", "gamma", "beta", "scale", "direction", "entries", "base"]
"""Who initialises, freezes, trains or records parameters asks a slot for them by role: where a parameter lives in the
modules, and whether it is computed from others, is the slot's to know.

"weight" is what a layer multiplies with, or what its weights are computed of in a way that keeps no length of its own;
"scale" and "direction" are the two halves of weights that are parted into length and direction; "entries" are single
weights that are learned while the rest, the "base", stays as it was drawn.
"""
