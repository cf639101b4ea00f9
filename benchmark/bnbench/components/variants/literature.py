"""Rows that published work asks about, beside the founding study's."""

from __future__ import annotations

from bnbench.components.variants.founding import fixed, learned
from bnbench.components.variants.row import Affine, AffineRule, Variant

DRAWN = AffineRule(Affine.LEARNED, 0.0, initial_until=1.0)
"""γ as Frankle, Schwab & Morcos (2021) start it: uniform in [0, 1)."""
DRAWN_AND_KEPT = AffineRule(Affine.FIXED, 0.0, initial_until=1.0)


def _learned_in(placement: str, initial: float) -> AffineRule:
    return AffineRule(Affine.LEARNED, initial, learned_in=placement)


def _batch(
    name: str,
    symbol: str,
    summary: str,
    gamma: AffineRule,
    beta: AffineRule,
    *,
    weights: str = "plain",
    train_weights: bool = True,
    weights_in: str | None = None,
) -> Variant:
    """A row of BatchNorm."""
    return Variant(
        name,
        symbol,
        summary,
        "batch",
        gamma=gamma,
        beta=beta,
        train_weights=train_weights,
        weights=weights,
        weights_in=weights_in,
    )


def _affine(
    name: str, symbol: str, summary: str, gamma: AffineRule, beta: AffineRule, *, train_weights: bool = True
) -> Variant:
    """A row of γ and β without any normalisation."""
    return Variant(name, symbol, summary, "none", gamma=gamma, beta=beta, train_weights=train_weights)


ROWS = (
    # Which slots need γ and β (Tsingunidis 2023, chapter 5 and section 4.2.1).
    _batch(
        "bn_last_only",
        "BN_γ,β last",
        "BatchNorm; γ and β learned in the last hidden slot only",
        _learned_in("last:1", 1.0),
        _learned_in("last:1", 0.0),
    ),
    _batch(
        "bn_output_only",
        "BN_γ,β out",
        "BatchNorm; γ and β learned in the output slot only",
        _learned_in("output", 1.0),
        _learned_in("output", 0.0),
    ),
    _batch(
        "bn_gamma_output",
        "BN_β,γ out",
        "BatchNorm; β learned everywhere, γ in the output slot only",
        _learned_in("output", 1.0),
        learned(0.0),
    ),
    # Davis & Frank 2022: where γ starts, and how fast it moves.
    _batch("bn_g01", "BN_γ0.1,β", "BatchNorm; γ starts at 0.1", learned(0.1), learned(0.0)),
    _batch(
        "bn_slow_gamma",
        "BN_γ/100,β",
        "BatchNorm; γ at a hundredth of the learning rate",
        AffineRule(Affine.LEARNED, 1.0, learning_rate_factor=0.01),
        learned(0.0),
    ),
    _batch(
        "bn_davis",
        "BN_γ0.1/100,β",
        "BatchNorm; γ starts at 0.1 and has a hundredth of the learning rate",
        AffineRule(Affine.LEARNED, 0.1, learning_rate_factor=0.01),
        learned(0.0),
    ),
    _batch("bn_g01_fixed", "BN_β 0.1", "BatchNorm; γ fixed at 0.1, β learned", fixed(0.1), learned(0.0)),
    # Frankle, Schwab & Morcos 2021: training BatchNorm and only BatchNorm.
    _batch("bn_u", "BN_U", "BatchNorm; γ starts uniform in [0, 1), all is learned", DRAWN, learned(0.0)),
    _batch(
        "bn_u_frozen", "BN_U fix", "BatchNorm; γ drawn uniform in [0, 1) and fixed, β fixed", DRAWN_AND_KEPT, fixed(0.0)
    ),
    _batch(
        "bn_only",
        "only BN_U",
        "γ (from uniform in [0, 1)) and β alone are learned",
        DRAWN,
        learned(0.0),
        train_weights=False,
    ),
    _batch(
        "bn_only_output",
        "only BN_U+out",
        "γ (from uniform in [0, 1)), β and the output layer are learned",
        DRAWN,
        learned(0.0),
        train_weights=False,
        weights_in="output",
    ),
    _batch(
        "output_only",
        "only out",
        "the output layer alone is learned; γ drawn uniform in [0, 1) and fixed",
        DRAWN_AND_KEPT,
        fixed(0.0),
        train_weights=False,
        weights_in="output",
    ),
    _batch(
        "bn_only_ones", "only BN", "γ (from 1) and β alone are learned", learned(1.0), learned(0.0), train_weights=False
    ),
    _batch(
        "random_entries",
        "only 2 w",
        "two weights of each channel, drawn at random, are learned in the place of γ and β",
        DRAWN_AND_KEPT,
        fixed(0.0),
        weights="random_entries",
        train_weights=False,
    ),
    # Peerthum & Stamp 2023: the affine part without normalisation, and its halves.
    _affine("affine", "γ,β", "γ and β without normalisation", learned(1.0), learned(0.0)),
    _affine("affine_gamma", "γ", "γ without normalisation; no bias", learned(1.0), fixed(0.0)),
    _affine("affine_beta", "β", "β without normalisation", fixed(1.0), learned(0.0)),
    _affine(
        "affine_only",
        "only γ,β",
        "γ and β alone are learned, without normalisation",
        learned(1.0),
        learned(0.0),
        train_weights=False,
    ),
    _affine(
        "bias_only",
        "only β",
        "β alone is learned, without normalisation",
        fixed(1.0),
        learned(0.0),
        train_weights=False,
    ),
    # Where γ and β start.
    _batch(
        "bn_zero_last",
        "BN_γ,β 0",
        "BatchNorm; γ starts at 0 in the last slot of each residual block (Goyal et al. 2017)",
        AffineRule(Affine.LEARNED, 1.0, initial_in=("residual-last", 0.0)),
        learned(0.0),
    ),
    _batch(
        "bn_beta1", "BN_γ,β1", "BatchNorm; β starts at 1, so that most ReLUs begin open", learned(1.0), learned(1.0)
    ),
)
