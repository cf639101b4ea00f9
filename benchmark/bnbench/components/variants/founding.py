"""The five rows of the founding study (Tsingunidis 2023, section 3.1).

They ablate the learned scale γ and shift β of y = γ · (x - μ_B) / √(σ²_B + ε) + β (Ioffe & Szegedy 2015, algorithm 1).
"""

from __future__ import annotations

from bnbench.components.variants.row import Affine, AffineRule, Variant


def learned(initial: float) -> AffineRule:
    """A parameter that is learned from a start."""
    return AffineRule(Affine.LEARNED, initial)


def fixed(initial: float) -> AffineRule:
    """A parameter that keeps its start."""
    return AffineRule(Affine.FIXED, initial)


def absent(initial: float) -> AffineRule:
    """A parameter that is not there, and what stands for it."""
    return AffineRule(Affine.ABSENT, initial)


ROWS = (
    Variant(
        "vanilla",
        "vanilla",
        "no normalisation; every layer keeps its bias",
        "none",
        gamma=absent(1.0),
        beta=absent(0.0),
        baseline="lower",
    ),
    Variant(
        "bn",
        "BN",
        "normalisation alone: γ fixed at 1, β fixed at 0",
        "batch",
        gamma=fixed(1.0),
        beta=fixed(0.0),
    ),
    Variant(
        "bn_beta",
        "BN_β",
        "normalisation and a learned shift: γ fixed at 1",
        "batch",
        gamma=fixed(1.0),
        beta=learned(0.0),
    ),
    Variant(
        "bn_gamma",
        "BN_γ",
        "normalisation and a learned scale: β fixed at 0",
        "batch",
        gamma=learned(1.0),
        beta=fixed(0.0),
    ),
    Variant(
        "bn_gamma_beta",
        "BN_γ,β",
        "full BatchNorm: γ and β learned",
        "batch",
        gamma=learned(1.0),
        beta=learned(0.0),
        baseline="upper",
    ),
)

STUDIED = tuple(row.name for row in ROWS)
"""What `--variant all` means: the five of the founding study, in this order everywhere."""
