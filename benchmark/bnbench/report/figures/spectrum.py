"""The spectrum of the Hessian over training, as Ghorbani, Krishnan & Xiao (2019) draw it.

Two kinds of one probe: the density of all eigenvalues, and what the largest of them come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bnbench.analysis.asked import classes_and_channels
from bnbench.analysis.comparison import Comparison, seed_order
from bnbench.analysis.frames import Results
from bnbench.analysis.probes import density_curve, spectrum
from bnbench.analysis.settings import problem_at
from bnbench.errors import UserError
from bnbench.report.decimation import every_so_many
from bnbench.report.figures.kind import FigureKind, Labels, PanelLabel, Request, labelled
from bnbench.report.figures.parts import Floats
from bnbench.report.figures.probed import (
    EACH_SEED,
    GAPS,
    NOTHING,
    STEP_LABEL,
    not_measured,
    probe_rows,
    scale_of,
    variants_in_pages,
)
from bnbench.report.figures.variant_lines import draw_variant_lines
from bnbench.report.page import Page
from bnbench.report.style import looks_of, variant_label

PROBE = "spectrum"
EIGENVALUE_LABEL = "eigenvalue λ of the Hessian"
DENSITY_LABEL = "density"
MOMENTS = 5
"""Steps of which the density is drawn, at most."""
POINTS = 800
"""Of a drawn density, at most."""
FLOOR = 1e-6
"""Where densities are cut off: what lies below comes from the flanks of the Gaussians."""
MAKES = "bnbench run digits_mlp --variant vanilla --variant bn_gamma_beta --set probes.spectrum=true --seeds 3"
ABOUT = (
    "Spectral density of the Hessian of the training loss, by Lanczos quadrature (Ghorbani et al. 2019): a Gaussian of "
    "variance 10⁻⁵·max(1, λ_max − λ_min) at every node, averaged over draws, its integral 1; cut off at 10⁻⁶. A "
    "peak by itself is an outlier."
)
ABOUT_EIGENVALUES = (
    "The largest eigenvalues of the Hessian of the training loss (Ghorbani et al. 2019), C the number of classes: λ₁, "
    "which depends on the length of the weights behind a normaliser; λ₁/λ_C, which is large where outliers stand "
    "apart; and the part of the squared gradient in the eigenspace of the C largest."
)
_LARGEST, _RATIO, _SHARE = "λ₁", "λ₁ / λ_C", "gradient in the top C"
_QUANTITIES = (_LARGEST, _RATIO, _SHARE)


def density(results: Results, found: Sequence[Comparison], request: Request) -> pd.DataFrame:
    """The density of one seed: a panel for each probed step, a series for each variant.

    Raises:
        UserError: no run of the comparison with the probe has the seed that was asked for.
    """
    (compared,) = found
    rows = probe_rows(results, compared, "spectrum", ["step", "draw", "node", "weight"])
    if rows.empty:
        return NOTHING
    seed = _seed(rows, compared, request.seed)
    own = rows[rows["seed"] == seed]
    steps = np.sort(own["step"].unique())
    drawn = steps[every_so_many(len(steps), MOMENTS)]
    pieces = []
    for (step, variant), nodes in own[own["step"].isin(drawn)].groupby(["step", "series"], sort=False):
        curve = density_curve(
            nodes["node"].to_numpy(np.float64), nodes["weight"].to_numpy(np.float64), nodes["draw"].to_numpy(np.int64)
        )
        x, y = highest_of_each(*curve, POINTS)
        columns = {"x": x, "y": np.maximum(y, FLOOR), "series": str(variant), "panel": f"step {step}"}
        pieces.append(pd.DataFrame({**columns, "step": int(str(step))}))
    frame = pd.concat(pieces, ignore_index=True).sort_values("step", kind="stable").reset_index(drop=True)
    left = f" Of {len(steps)} probed steps {len(drawn)} are drawn." if len(drawn) < len(steps) else ""
    caption = f"{ABOUT}{left} Drawn is seed {seed}.{not_measured(results, compared, 'spectrum', PROBE)}"
    panels = {str(panel): PanelLabel(DENSITY_LABEL, "log") for panel in frame["panel"].unique()}
    return labelled(frame, Labels(EIGENVALUE_LABEL, DENSITY_LABEL, caption=caption, panels=panels))


def highest_of_each(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """A curve in at most so many points: of neighbours the highest, so that no peak is lost.

    Points are dense around 0, where most eigenvalues are, and ever wider apart beyond.

    Args:
        x: [n], ascending, evenly spaced.
        y: [n].
        most: of what comes back.
    """
    if len(x) <= most:
        return x, y
    place = np.arcsinh(x / (x[1] - x[0]))
    bins = np.minimum(((place - place[0]) / (place[-1] - place[0]) * most).astype(np.int64), most - 1)
    # By bin, and in it the highest first.
    order = np.lexsort((-y, bins))
    kept = np.sort(order[np.unique(bins[order], return_index=True)[1]])
    return x[kept], y[kept]


def _seed(rows: pd.DataFrame, compared: Comparison, wanted: int | None) -> int:
    """The seed that was asked for, else the first of those that most variants have."""
    counts = rows.groupby("seed")["series"].nunique()
    there = seed_order(set(counts.index), compared.problem, compared.size)
    if wanted is None:
        return next(int(seed) for seed in there if counts[seed] == counts.max())
    if wanted not in there:
        raise UserError(f"no run with seed {wanted}", hint=f"Recorded seeds: {', '.join(map(str, there))}.")
    return wanted


def draw_density(frame: pd.DataFrame, page: Page) -> Figure:
    """A row for each variant, a column for each step, all of one scale; λ is linear around 0, logarithmic beyond."""
    steps = np.sort(frame["step"].unique())
    with page.style():
        looks = looks_of(map(str, frame["series"].unique()))
        height = (page.width / len(steps) * 0.85 + page.font / 72) * len(looks) + 4 * page.font / 72
        figure = page.figure(page.tallest if page.wide else max(height, page.width * 0.3))
        grid = figure.subplots(len(looks), len(steps), squeeze=False, sharex=True, sharey=True)
        for row, (name, look) in zip(grid, looks.items(), strict=True):
            for axes, step in zip(row, steps, strict=True):
                page.dress(axes)
                own = frame[(frame["series"] == name) & (frame["step"] == step)]
                axes.fill_between(own["x"], FLOOR, own["y"], color=look.colour, alpha=0.35, linewidth=0)
                axes.plot(own["x"], own["y"], color=look.colour, linewidth=page.line * 0.5, label=name)
            row[0].set_ylabel(f"{variant_label(name)}\n{DENSITY_LABEL}")
        for axes, step in zip(grid[0], steps, strict=True):
            axes.set_title(f"step {step}")
        grid[-1, len(steps) // 2].set_xlabel(f"{EIGENVALUE_LABEL} [linear around 0, logarithmic beyond]")
        _scales(grid[0, 0], frame)
        return figure


def _scales(axes: Axes, frame: pd.DataFrame) -> None:
    farthest = float(frame["x"].abs().max()) or 1.0
    # Linear where the Gaussians are too wide for anything to be told apart.
    linear = 10.0 ** np.ceil(np.log10(np.sqrt(1e-5 * max(1.0, farthest)) * 4))
    axes.set_xscale("symlog", linthresh=linear, linscale=0.6)
    decades = 10.0 ** np.arange(np.log10(linear), max(np.floor(np.log10(farthest)), np.log10(linear)) + 1)
    both = np.array([*-decades[::-1], 0.0, *decades])
    inside = both[(both >= 1.05 * frame["x"].min()) & (both <= 1.05 * frame["x"].max())]
    axes.set_xticks(sorted({inside[0], 0.0, inside[-1]}))
    axes.set_xticks(inside, minor=True)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yscale("log")
    axes.set_ylim(FLOOR, 3 * float(frame["y"].max()))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_formatter(NullFormatter())


def eigenvalues(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """λ₁, λ₁/λ_C and the gradient's share in the top C of every run: a panel for each."""
    (compared,) = found
    columns = ["step", "index", "value", "gradient_share", "residual"]
    rows = probe_rows(results, compared, "eigenvalues", columns)
    if rows.empty:
        return NOTHING
    classes = _classes(compared)
    pieces = []
    doubtful = moments = 0
    for (_, step), own in rows.sort_values("index", kind="stable").groupby(["run_id", "step"], sort=False):
        value, share, residual = (own[name].to_numpy(np.float64) for name in columns[2:])
        ratio = gradient = np.nan
        if classes is not None and classes <= len(value):
            derived = spectrum(value, share, residual, classes=classes, learning_rate=compared.learning_rate)
            ratio, gradient = derived.outlier_ratio, derived.gradient_share
        moments, doubtful = moments + 1, doubtful + bool(np.isnan(ratio))
        who = {name: own[name].iloc[0] for name in ("series", "seed", "diverged_at_step")}
        numbers = zip(_QUANTITIES, (float(value[0]), ratio, gradient), strict=True)
        pieces += [{"x": step, "y": number, "panel": panel, **who} for panel, number in numbers]
    frame = pd.DataFrame(pieces).astype({"diverged_at_step": "Int64"})
    order = {panel: place for place, panel in enumerate(_QUANTITIES)}
    frame = frame.sort_values("panel", key=lambda names: names.map(order), kind="stable").reset_index(drop=True)
    panels = {
        str(panel): PanelLabel(str(panel), "share" if panel == _SHARE else scale_of(own["y"]))
        for panel, own in frame.groupby("panel", sort=False)
    }
    gaps = f" No ratio at {doubtful} of {moments}: λ_C not positive, or an eigenvalue not exact." if doubtful else ""
    caption = f"{ABOUT_EIGENVALUES}{gaps} {EACH_SEED} {GAPS}{not_measured(results, compared, 'eigenvalues', PROBE)}"
    labels = Labels(STEP_LABEL, "λ₁, λ₁/λ_C and the gradient's share in the top C", caption=caption, panels=panels)
    return labelled(frame, labels)


def _classes(compared: Comparison) -> int | None:
    """How many classes there are; None where the problem's file is not known."""
    return _classes_of(compared.problem, compared.size)


@cache
def _classes_of(problem: str, size: str) -> int | None:
    known = problem_at(problem, size)
    return None if known is None else classes_and_channels(known)[0]


SPECTRUM = FigureKind(
    "spectrum",
    "Spectrum of the Hessian",
    "spectral density of the Hessian at the probed steps",
    density,
    draw_density,
    web="lines",
    lacks="runs with the probe `spectrum`",
    tables=("spectrum", "probe_notes"),
    portions=variants_in_pages(lambda page: 3 if page.wide else 5, lambda each: "spectrum" in each.tables),
    seeded=True,
    makes=MAKES,
)
EIGENVALUES = FigureKind(
    "eigenvalues",
    "Largest eigenvalues of the Hessian",
    "λ₁, λ₁/λ_C and the gradient in the top eigenspace over training",
    eigenvalues,
    draw_variant_lines,
    web="lines",
    lacks="runs with the probe `spectrum`",
    tables=("eigenvalues", "probe_notes"),
    makes=MAKES,
)
