"""The table of normalisers: what a slot's pre-activations are centred and divided by (torch-free).

A normaliser is a row and a function that builds its module (`bnbench.network.normalisers` has those of this package).
γ and β are the suite's, whatever stands before them, so that every normaliser has the same ablations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bnbench.components.site import Fit, Reference, Site, Unfit, keep
from bnbench.options import Described, Option, Options
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text
from bnbench.words import counted

NONE = "none"
"""The normaliser that leaves everything as it is."""

SMALLEST = 4
"""Numbers of which a mean and a variance are taken at least, within one image. Of one nothing is left when these are
gone, of two the sign: no gradient passes, and nothing in the results would say why."""


@dataclass(frozen=True)
class Normaliser(Row):
    """A normaliser that variants can name.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "normaliser"

    name: Name
    title: Text
    formula: Text
    source: Text
    """Who described it, or why it is here."""
    build: Reference
    """(channels, positions, options) to a torch module that maps (N, C, …) to the same shape."""
    options: Described = ()
    needs_map: bool = False
    """Whether it is undefined on a dense slot."""
    batch_dependent: bool = False
    """Whether it is evaluated with averages over training batches. Its module is a `BatchStatistics` then."""
    stochastic: bool = False
    """Whether it draws random numbers in training: its module is called with where they come from, too."""
    replays: bool = False
    """Whether nothing but tensors, which stay where they are, changes in its module from one training step to the next:
    no number that Python holds, and no choice by what a tensor holds. A GPU records a step of it and replays that."""
    affine: Literal["fused", "after"] = "after"
    """"after": the module maps x to x̂, and γ · x̂ + β follows. "fused": it does both, and γ and β are its parameters
    `weight` and `bias`, of shape (C,)."""
    fit: Fit = keep
    """What the options come to at a slot; raises `Unfit` where the normaliser cannot be there."""
    revision: Count = 1
    """Raised by its author whenever the same name comes to mean other numbers."""


NORMALISERS: Registry[Normaliser] = Registry("normaliser", Normaliser, "bnbench.normalisers")


def groups_of(channels: int, positions: int, wanted: int) -> int:
    """Into how many groups the channels of a slot are parted.

    The largest divisor, at most `wanted`, that leaves a group two channels (or it would be instance normalisation) and
    `SMALLEST` numbers; one group where there is none.
    """

    def large_enough(group: int) -> bool:
        return group >= 2 and group * positions >= SMALLEST

    divisors = [g for g in range(1, min(wanted, channels) + 1) if channels % g == 0]
    return max((g for g in divisors if large_enough(channels // g)), default=1)


def _one_image(site: Site, options: Options) -> Options:
    if site.channels * site.positions < SMALLEST:
        raise Unfit(f"{counted(site.channels * site.positions, 'number')} an image, fewer than {SMALLEST}")
    return options


def _groups(site: Site, options: Options) -> Options:
    groups = groups_of(site.channels, site.positions, int(options["groups"]))
    return Options({**_one_image(site, options), "groups": groups})


def _one_map(site: Site, options: Options) -> Options:
    if site.positions < SMALLEST:
        raise Unfit(f"a map of {counted(site.positions, 'position')}, fewer than {SMALLEST}")
    return options


def _chunks(site: Site, options: Options) -> Options:
    chunk = int(options["chunk"])
    if site.batch_size is not None and site.batch_size % chunk:
        raise Unfit(
            f"a chunk of {chunk} images does not divide a batch of {site.batch_size}",
            hint="Use a batch that it divides (--set training.batch_size=N), or a row with another chunk.",
        )
    return options


_MODULES = "bnbench.network.normalisers"
_PARTS = "bnbench.network.batch_parts"

for _row in (
    Normaliser(
        NONE,
        "no normalisation",
        "x̂ = x",
        "the lower baseline of Tsingunidis 2023",
        f"{_MODULES}:identity",
        replays=True,
    ),
    Normaliser(
        "batch",
        "Batch Normalization",
        "x̂ = (x − μ) / √(σ² + ε); μ, σ² of a channel over the batch and its positions",
        "Ioffe & Szegedy 2015",
        f"{_PARTS}:batch",
        batch_dependent=True,
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "layer",
        "Layer Normalization",
        "x̂ = (x − μ) / √(σ² + ε); μ, σ² of an image over all channels and positions",
        "Ba, Kiros & Hinton 2016",
        f"{_MODULES}:layer",
        affine="fused",
        fit=_one_image,
        replays=True,
    ),
    Normaliser(
        "instance",
        "Instance Normalization",
        "x̂ = (x − μ) / √(σ² + ε); μ, σ² of a channel of an image over its positions",
        "Ulyanov, Vedaldi & Lempitsky 2016",
        f"{_MODULES}:instance",
        needs_map=True,
        affine="fused",
        fit=_one_map,
        replays=True,
    ),
    Normaliser(
        "group",
        "Group Normalization",
        "x̂ = (x − μ) / √(σ² + ε); μ, σ² of an image over a group of channels and their positions",
        "Wu & He 2018",
        f"{_MODULES}:group",
        options=(
            Option(
                "groups",
                32,
                "groups of channels; at a slot the largest divisor of its channels that is no larger and leaves a "
                "group two channels and four numbers",
                minimum=1,
            ),
        ),
        affine="fused",
        fit=_groups,
        replays=True,
    ),
    Normaliser(
        "batch_detached",
        "Batch Normalization without the gradient of its statistics",
        "as batch; the derivatives of μ and σ are taken to be 0",
        "tells the value of normalisation from its gradient",
        f"{_PARTS}:detached",
        batch_dependent=True,
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "batch_init_stats",
        "normalisation by the first batch",
        "x̂ = (x − μ₀) / √(σ₀² + ε); μ₀, σ₀² of a channel over the first training batch, constants",
        "tells normalisation from initialisation; Mishkin & Matas 2016 scale likewise",
        f"{_PARTS}:first_batch",
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "batch_mean_only",
        "the mean of Batch Normalization alone",
        "x̂ = x − μ",
        "Salimans & Kingma 2016",
        f"{_PARTS}:mean_only",
        batch_dependent=True,
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "batch_var_only",
        "the variance of Batch Normalization alone",
        "x̂ = x / √(σ² + ε); σ² about the mean, which is not subtracted",
        "the other half",
        f"{_PARTS}:variance_only",
        batch_dependent=True,
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "batch_ghost",
        "Ghost Batch Normalization",
        "as batch, for each chunk of the batch by itself; the running statistics take in the chunks' average",
        "Hoffer, Hubara & Soudry 2017, who weigh later chunks more in the running statistics",
        f"{_PARTS}:ghost",
        options=(Option("chunk", 16, "images that are normalised together", minimum=2),),
        batch_dependent=True,
        affine="fused",
        fit=_chunks,
        replays=True,
    ),
    Normaliser(
        "batch_running",
        "Batch Normalization with running statistics in training",
        "x̂ = (x − m) / √(v + ε); m, v the running statistics from before the batch, constants",
        "a reading of the aggregated statistics of Ghorbani, Krishnan & Xiao 2019",
        f"{_PARTS}:running",
        batch_dependent=True,
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "batch_population",
        "Batch Normalization with population statistics in training",
        "x̂ = (x − m) / √(v + ε); m, v averages over the same batches, anew every so many steps, constants in between",
        "the other reading of the aggregated statistics of Ghorbani, Krishnan & Xiao 2019",
        f"{_PARTS}:population",
        options=(
            Option("batches", 4, "batches of train_eval, of training size, that are averaged over", minimum=1),
            Option("refresh", 40, "updates after which these averages are taken anew", minimum=1),
        ),
        batch_dependent=True,
        affine="fused",
    ),
    Normaliser(
        "batch_l1",
        "Batch Normalization by the mean absolute deviation",
        "x̂ = (x − μ) / √(s² + ε); s the mean of |x − μ|",
        "Santurkar et al. 2018, whose ℓ1 normalisation centres and divides by an average of ℓ1 norms",
        f"{_PARTS}:mean_deviation",
        batch_dependent=True,
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "batch_linf",
        "Batch Normalization by the largest deviation",
        "x̂ = (x − μ) / √(s² + ε); s the largest |x − μ|",
        "Santurkar et al. 2018, likewise for ℓ∞",
        f"{_PARTS}:largest_deviation",
        batch_dependent=True,
        affine="fused",
        replays=True,
    ),
    Normaliser(
        "batch_noisy",
        "noisy Batch Normalization",
        "as batch; then, in training, z · y + m with m and z drawn for each image and channel about means and scales "
        "that each step draws anew",
        "Santurkar et al. 2018; the constants are options, those of the paper were not verified",
        f"{_PARTS}:noisy",
        options=(
            Option("shift", 0.5, "half the range that a step draws a channel's mean from", minimum=0),
            Option(
                "scale", 1.25, "the upper end of the range from 1 that a step draws a channel's scale from", minimum=1
            ),
            Option(
                "jitter",
                0.1,
                "how far an image's mean is from its channel's at most, and its scale's deviation",
                minimum=0,
            ),
        ),
        batch_dependent=True,
        stochastic=True,
        affine="fused",
        replays=True,
    ),
):
    NORMALISERS.register(_row.name, _row)
