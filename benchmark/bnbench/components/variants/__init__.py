"""The table of variants (torch-free).

A variant is a row of one table, applied when a network is built and never toggled while it trains: what normalises a
slot, what its weights are made of, what becomes of γ and β, and what is trained.
"""

from bnbench.components.variants.founding import STUDIED
from bnbench.components.variants.row import Affine, AffineRule, Variant
from bnbench.components.variants.table import ALL, VARIANTS, expand_variants

__all__ = ["ALL", "STUDIED", "VARIANTS", "Affine", "AffineRule", "Variant", "expand_variants"]
