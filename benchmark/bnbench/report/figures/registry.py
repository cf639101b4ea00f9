"""Every kind of figure: this package's own, in the order in which they are listed, and those of other packages."""

from __future__ import annotations

from bnbench.registry import Registry
from bnbench.report.figures.activations import ACTIVATIONS
from bnbench.report.figures.activity import ACTIVITY, HEAT_MAP
from bnbench.report.figures.contours import BETA_CONTOURS, GAMMA_CONTOURS
from bnbench.report.figures.covariate_shift import COVARIATE_SHIFT
from bnbench.report.figures.curves import CURVES
from bnbench.report.figures.difference import DIFFERENCE
from bnbench.report.figures.disabled import DISABLED
from bnbench.report.figures.families import FAMILIES
from bnbench.report.figures.kind import FigureKind
from bnbench.report.figures.landscape import LANDSCAPE, SMOOTHNESS
from bnbench.report.figures.profile import PROFILE
from bnbench.report.figures.ranks import RANKS
from bnbench.report.figures.sensitivity import SENSITIVITY
from bnbench.report.figures.sparsity import SPARSITY
from bnbench.report.figures.spectrum import EIGENVALUES, SPECTRUM

FIGURES: Registry[FigureKind] = Registry("kind of figure", FigureKind, "bnbench.figures")

for _kind in (
    CURVES,
    DIFFERENCE,
    GAMMA_CONTOURS,
    BETA_CONTOURS,
    ACTIVITY,
    HEAT_MAP,
    DISABLED,
    SPARSITY,
    ACTIVATIONS,
    LANDSCAPE,
    SMOOTHNESS,
    COVARIATE_SHIFT,
    SPECTRUM,
    EIGENVALUES,
    FAMILIES,
    RANKS,
    PROFILE,
    SENSITIVITY,
):
    FIGURES.register(_kind.name, _kind)
