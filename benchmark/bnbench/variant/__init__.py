"""The table of variants (torch-free).

A variant is a row of one table, applied when a network is built and never toggled while it trains: what normalises a
slot, what its weights are made of, what becomes of γ and β, and what is trained.
"""

from bnbench.variant.founding import STUDIED
from bnbench.variant.row import Affine, AffineRule, Variant
from bnbench.variant.table import ALL, VARIANTS, expand_variants

__all__ = ["ALL", "STUDIED", "VARIANTS", "Affine", "AffineRule", "Variant", "expand_variants"]
